"""From two models' drafts of the same prompts to rows of counts, and from rows to figures. Pure: no torch, no store.

Figures are ratios of sums over all rows; intervals resample whole users and keep the two drafts of a row together.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from organism.measures.acceptance import measure, null_floor, retained_chars
from organism.measures.facts import right_facts
from organism.optimize.paired import (
    SIDES,
    Row,
    change_by_user,
    facts_changed,
    loss_figures,
    metric_figures,
    outcome,
    pair,
    win_rate,
)
from organism.optimize.runs import Example
from organism.optimize.slices import slices
from organism.records import Interval


class Drafts(NamedTuple):
    """What one model wrote for the held-out rows, and how fast it wrote.

    losses and loss_tokens, a row each, are -ln p of the final text (nats) and its tokens; None where it did not fit.
    """

    texts: list[str]
    tokens: list[int]
    tokens_per_second: float
    losses: list[float | None] | None = None
    loss_tokens: list[int | None] | None = None


def compare(
    examples: Sequence[Example], before: Drafts, after: Drafts, nearest: Sequence[float] | None = None
) -> list[dict[str, Any]]:
    """One plain object a row: the texts, and their measures, all of them counts that can be summed.

    `nearest` is how much of its prompt each row shares with the nearest training prompt, where that is known.
    """
    return [
        {
            "user_key": example.user_key,
            "interaction_id": example.interaction_id,
            "prompt": example.prompt,
            "before": before.texts[place],
            "after": after.texts[place],
            "final_text": example.completion,
            "second_final": example.second_final,
            **({"segments": example.segments} if example.segments else {}),
            "measures": {
                **_counts("before", example, before.texts[place], before.tokens[place]),
                **_counts("after", example, after.texts[place], after.tokens[place]),
                "final_chars": len(example.completion),
                "facts": _facts(example, before.texts[place], after.texts[place]),
                **_losses(before, after, place),
                **({} if nearest is None else {"nearest": nearest[place]}),
            },
        }
        for place, example in enumerate(examples)
    ]


def _counts(which: str, example: Example, draft: str, tokens: int) -> dict[str, int]:
    kept = measure(draft, example.completion)
    return {
        f"chars_{which}": kept.draft_chars,
        f"retained_{which}": kept.retained_chars,
        f"tokens_{which}": tokens,
    }


def _facts(example: Example, before: str, after: str) -> list[dict[str, Any]]:
    right_before, right_after = right_facts(before, example.facts), right_facts(after, example.facts)
    return [
        {"kind": fact.kind, "any_of": list(fact.any_of), "before": was, "after": now}
        for fact, was, now in zip(example.facts, right_before, right_after, strict=True)
    ]


def _losses(before: Drafts, after: Drafts, place: int) -> dict[str, float]:
    """The losses of a final text that both models read in as many tokens: else they are not of one kind."""
    if before.losses is None or after.losses is None or before.loss_tokens is None or after.loss_tokens is None:
        return {}
    first, last, n_tokens = before.losses[place], after.losses[place], before.loss_tokens[place]
    if first is None or last is None or n_tokens is None or n_tokens != after.loss_tokens[place]:
        return {}
    return {"loss_before": first, "loss_after": last, "loss_tokens": n_tokens}


def summarize(rows: Sequence[Row], speed_before: float | None, speed_after: float | None, seed: int) -> dict[str, Any]:
    """The figures of an evaluation as plain data; None where the rows cannot say.

    before, after: retained characters; floor: drafts of the new model against other rows' final texts; ceiling: a
    second text of the same expert; win_rate: prompts on which the new draft is nearer to the final text; metrics: the
    usual measures of likeness; loss and perplexity: on the final texts. Intervals are at 95%.
    """
    finals = [row["final_text"] for row in rows]
    gain = _difference(rows, "chars_before", "chars_after", seed)
    return {
        "before": _share(rows, "retained_before", "chars_before"),
        "after": _share(rows, "retained_after", "chars_after"),
        "gain": gain.estimate,
        "gain_ci": pair(gain),
        "written_share_before": _share(rows, "retained_before", "final_chars"),
        "written_share_after": _share(rows, "retained_after", "final_chars"),
        "written_share_gain_ci": pair(_difference(rows, "final_chars", "final_chars", seed)),
        "floor": null_floor([row["after"] for row in rows], finals, rng=np.random.default_rng(seed)),
        "ceiling": _ceiling(rows),
        **_fact_figures(rows, seed),
        **{f"chars_{which}": _mean(rows, f"chars_{which}") for which in SIDES},
        "chars_final": _mean(rows, "final_chars"),
        **{f"tokens_{which}": _mean(rows, f"tokens_{which}") for which in SIDES},
        "tokens_gain_ci": pair(_change(rows, "tokens_before", "tokens_after", seed)),
        "tokens_per_second_before": speed_before,
        "tokens_per_second_after": speed_after,
        "n_rows": len(rows),
        "n_users": len({row["user_key"] for row in rows}),
        **more_figures(rows, seed),
    }


def more_figures(rows: Sequence[Row], seed: int) -> dict[str, Any]:
    """What can be said of any rows, however old: win_rate, facts lost and won, likeness, losses, slices."""
    return {
        "win_rate": win_rate(rows, [outcome(row) for row in rows]),
        **facts_changed(rows),
        **loss_figures(rows, seed),
        "metrics": metric_figures(rows, seed),
        "slices": slices(rows, seed),
    }


def _share(rows: Sequence[Row], num: str, den: str) -> float | None:
    total = sum(row["measures"][den] for row in rows)
    return sum(row["measures"][num] for row in rows) / total if total else None


def _column(rows: Sequence[Row], name: str) -> list[float]:
    return [row["measures"][name] for row in rows]


def _difference(rows: Sequence[Row], den_before: str, den_after: str, seed: int) -> Interval:
    """Change of retained characters over a denominator."""
    columns = [_column(rows, name) for name in ("retained_before", den_before, "retained_after", den_after)]
    return change_by_user(rows, columns[0], columns[1], columns[2], columns[3], seed)


def _change(rows: Sequence[Row], before: str, after: str, seed: int) -> Interval:
    """Change of a mean over the rows."""
    ones = [1] * len(rows)
    return change_by_user(rows, _column(rows, before), ones, _column(rows, after), ones, seed)


def _ceiling(rows: Sequence[Row]) -> float | None:
    """Retained characters of what the same expert wrote another time, over the rows that have it."""
    seconds = [(row["second_final"], row["final_text"]) for row in rows if row.get("second_final")]
    n_chars = sum(len(second) for second, _ in seconds)
    return sum(retained_chars(second, final) for second, final in seconds) / n_chars if n_chars else None


def _fact_figures(rows: Sequence[Row], seed: int) -> dict[str, Any]:
    kinds = sorted({fact["kind"] for row in rows for fact in row["measures"]["facts"]})
    overall = _facts_of(rows, None, seed)
    return {
        "facts_before": overall["before"],
        "facts_after": overall["after"],
        "facts_gain_ci": overall["gain_ci"],
        "facts_by_kind": {kind: _facts_of(rows, kind, seed) for kind in kinds},
    }


def _facts_of(rows: Sequence[Row], kind: str | None, seed: int) -> dict[str, Any]:
    """before, after, gain_ci and n of the facts of one kind, or of all."""
    facts = [[fact for fact in row["measures"]["facts"] if kind in (None, fact["kind"])] for row in rows]
    asked = [len(row_facts) for row_facts in facts]
    right = {side: [sum(fact[side] for fact in row_facts) for row_facts in facts] for side in SIDES}
    change = change_by_user(rows, right["before"], asked, right["after"], asked, seed)
    accuracy = {side: sum(right[side]) / sum(asked) if sum(asked) else None for side in SIDES}
    return {**accuracy, "gain_ci": pair(change), "n": sum(asked)}


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return sum(row["measures"][name] for row in rows) / len(rows)
