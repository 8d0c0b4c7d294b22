"""Share of the drafts that are the final text letter by letter.

`evaluate.load` reads the imports of this file by pattern: one a line.
"""

from typing import Any

import datasets
import evaluate

from organism.measures.text_overlap import exact_match

DESCRIPTION = """Share of the drafts that equal their final text, but for white space at the ends. None without
a row."""


class ExactMatch(evaluate.Metric):
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
        scores = [exact_match(draft, final) for draft, final in zip(predictions, references, strict=True)]
        return {"exact_match": sum(scores) / len(scores) if scores else None}
