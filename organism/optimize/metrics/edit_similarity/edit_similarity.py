"""One minus the edit distance over the longer length, averaged over the rows.

`evaluate.load` reads the imports of this file by pattern: one a line.
"""

from typing import Any

import datasets
import evaluate

from organism.measures.text_overlap import edit_similarity

DESCRIPTION = """Mean over the rows of 1 minus the Levenshtein distance in characters over the longer length.
None without a row."""


class EditSimilarity(evaluate.Metric):
    """predictions: drafts; references: final texts."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description="predictions: list of drafts; references: list of final texts",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, Any]:
        scores = [edit_similarity(draft, final) for draft, final in zip(predictions, references, strict=True)]
        return {"edit_similarity": sum(scores) / len(scores) if scores else None}
