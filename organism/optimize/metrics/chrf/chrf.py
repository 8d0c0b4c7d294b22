"""Character n-gram F-score (chrF2), averaged over the rows.

`evaluate.load` reads the imports of this file by pattern: one a line.
"""

from typing import Any

import datasets
import evaluate

from organism.measures.text_overlap import chrf

DESCRIPTION = """Mean over the rows of chrF2: the F-score of character n-grams of one to six, recall weighing
twice as much as precision. In [0, 1], where sacreBLEU prints it times 100. None without a row."""


class ChrF(evaluate.Metric):
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
        scores = [chrf(draft, final) for draft, final in zip(predictions, references, strict=True)]
        return {"chrf": sum(scores) / len(scores) if scores else None}
