"""Share of the facts to check that the drafts carry, over all rows, optionally of one kind.

`evaluate.load` reads the imports of this file by pattern: one a line.
"""

import json
from typing import Any

import datasets
import evaluate

from organism.measures.facts import fact_accuracy
from organism.records import FactCheck

DESCRIPTION = """Facts found in the drafts divided by facts to be found. A fact is a kind and a list of spellings, any
of which will do. None when there is nothing to check."""


class FactAccuracy(evaluate.Metric):
    """predictions: drafts; references: a JSON list of {"kind": …, "any_of": […]} a draft."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation="",
            inputs_description="predictions: drafts; references: a JSON list of facts a draft; kind: of this kind only",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(self, predictions: list[str], references: list[str], kind: str | None = None) -> dict[str, Any]:
        checks = [
            [FactCheck(fact["kind"], tuple(fact["any_of"])) for fact in json.loads(facts)] for facts in references
        ]
        return {"fact_accuracy": fact_accuracy(predictions, checks, kind)}
