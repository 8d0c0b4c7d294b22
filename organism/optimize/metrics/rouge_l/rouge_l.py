"""Longest common subsequence of words, as F1, averaged over the rows.

`evaluate.load` reads the imports of this file by pattern: one a line.
"""

from typing import Any

import datasets
import evaluate

from organism.measures.text_overlap import rouge_l

DESCRIPTION = """Mean over the rows of ROUGE-L: the F1 of the longest common subsequence of words of draft
and final text, without stemming. None without a row."""


class RougeL(evaluate.Metric):
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
        scores = [rouge_l(draft, final) for draft, final in zip(predictions, references, strict=True)]
        return {"rouge_l": sum(scores) / len(scores) if scores else None}
