"""Share of the drafts' characters that the final texts kept: a ratio of sums over all rows.

`evaluate.load` reads the imports of this file by pattern: one a line.
"""

from typing import Any

import datasets
import evaluate

from organism.measures.acceptance import measure

DESCRIPTION = """Characters of the drafts that survive in the final texts, in runs of at least six, divided by the
characters of the drafts. 0 for a draft of which nothing was kept; None when no draft has a character. Gameable alone by
short drafts: read it beside written_share."""


class RetainedCharRate(evaluate.Metric):
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
        rows = [measure(draft, final) for draft, final in zip(predictions, references, strict=True)]
        n_chars = sum(row.draft_chars for row in rows)
        return {"retained_char_rate": sum(row.retained_chars for row in rows) / n_chars if n_chars else None}
