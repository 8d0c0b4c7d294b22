"""Before and after: base and adapter draft the held-out rows of held-out users, and every figure has its interval.

Figures are ratios of sums over all rows; intervals resample whole users and keep the pair of drafts of a row together.
"""

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import evaluate
import numpy as np

from organism.errors import RunError
from organism.lm.decoder import Decoder
from organism.measures.acceptance import measure, null_floor
from organism.measures.facts import right_facts
from organism.optimize.configs import TrainingConfig
from organism.optimize.framing import framed
from organism.optimize.metrics.fact_accuracy.fact_accuracy import FactAccuracy
from organism.optimize.metrics.retained_char_rate.retained_char_rate import RetainedCharRate
from organism.optimize.metrics.written_share.written_share import WrittenShare
from organism.optimize.runs import Example, RunFolder, write_json
from organism.records import Interval
from organism.stats.bootstrap import paired_bootstrap

OnDraft = Callable[[str, int, int], bool]


class Drafts(NamedTuple):
    """What one model wrote for the held-out rows, and how fast it wrote."""

    texts: list[str]
    tokens: list[int]
    tokens_per_second: float


class _StopAsked(Exception):
    """Somebody asked the run to stop between two batches."""


def evaluate_run(
    run: RunFolder, base: Path, config: TrainingConfig, description: Mapping[str, Any], on_draft: OnDraft
) -> bool:
    """Draft with both models, compare, and write evaluation.json; False when on_draft asked to stop.

    Raises ModelError when a model cannot be loaded, RunError when no held-out row can be used.
    """
    decoder = Decoder.from_folder(base)
    chosen, n_too_long = readable(sampled(run.heldout(), config), decoder)
    try:
        before = draft_all(decoder, chosen, config, "before", on_draft)
        after = draft_all(Decoder.from_folder(base, run.adapter), chosen, config, "after", on_draft)
    except _StopAsked:
        return False
    rows = compare(chosen, before, after)
    summary = summarize(rows, before.tokens_per_second, after.tokens_per_second, config.seed)
    write_json(
        run.evaluation,
        {
            "summary": {**summary, "n_too_long": n_too_long},
            "dataset_id": description["dataset_id"],
            "rows": rows,
        },
    )
    return True


def sampled(heldout: Sequence[Example], config: TrainingConfig) -> list[Example]:
    """All held-out rows, or eval_rows of them, drawn by the seed and left in their order."""
    if config.eval_rows is None or config.eval_rows >= len(heldout):
        return list(heldout)
    places = random.Random(config.seed).sample(range(len(heldout)), config.eval_rows)
    return [heldout[place] for place in sorted(places)]


def readable(examples: Sequence[Example], decoder: Decoder) -> tuple[list[Example], int]:
    """The rows whose prompt the model can read, and how many it cannot; RunError when none is left."""
    prompts = framed([example.prompt for example in examples], decoder.tokenizer)
    lengths = [len(ids) for ids in decoder.tokenizer(prompts, add_special_tokens=False).input_ids]
    fitting = [example for example, length in zip(examples, lengths, strict=True) if length < decoder.n_positions]
    if not fitting:
        raise RunError(
            f"none of {len(examples)} held-out prompts fits into the model's {decoder.n_positions} tokens, "
            "so nothing can be compared; take a base with a longer context"
        )
    return fitting, len(examples) - len(fitting)


def draft_all(
    decoder: Decoder, examples: Sequence[Example], config: TrainingConfig, which: str, on_draft: OnDraft
) -> Drafts:
    """Greedy drafts of all rows; raises _StopAsked when on_draft returns True."""

    def on_batch(done: int, total: int) -> None:
        if on_draft(which, done, total):
            raise _StopAsked

    started = time.perf_counter()
    written = decoder.generate(
        [example.prompt for example in examples],
        max_new_tokens=config.max_new_tokens,
        batch_size=config.eval_batch_size,
        on_batch=on_batch,
    )
    tokens = [generation.output_tokens for generation in written]
    return Drafts([generation.text for generation in written], tokens, sum(tokens) / (time.perf_counter() - started))


def compare(examples: Sequence[Example], before: Drafts, after: Drafts) -> list[dict[str, Any]]:
    """One plain object a row: the texts, and their measures, all of them counts that can be summed."""
    return [
        {
            "user_key": example.user_key,
            "interaction_id": example.interaction_id,
            "prompt": example.prompt,
            "before": before.texts[place],
            "after": after.texts[place],
            "final_text": example.completion,
            "second_final": example.second_final,
            "measures": {
                **_counts("before", example, before.texts[place], before.tokens[place]),
                **_counts("after", example, after.texts[place], after.tokens[place]),
                "final_chars": len(example.completion),
                "facts": _facts(example, before.texts[place], after.texts[place]),
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


def summarize(rows: Sequence[Mapping[str, Any]], speed_before: float, speed_after: float, seed: int) -> dict[str, Any]:
    """The flat figures of an evaluation; None where the rows cannot say.

    before, after: retained characters; floor: drafts of the new model against other rows' final
    texts; ceiling: a second text of the same expert. Intervals are at 95%.
    """
    finals = [row["final_text"] for row in rows]
    texts = {which: [row[which] for row in rows] for which in ("before", "after")}
    rates = {which: _score(RetainedCharRate, texts[which], finals) for which in texts}
    shares = {which: _score(WrittenShare, texts[which], finals) for which in texts}
    gain = _difference(rows, "chars_before", "chars_after", seed)
    return {
        "before": rates["before"],
        "after": rates["after"],
        "gain": gain.estimate,
        "gain_ci": _pair(gain),
        "written_share_before": shares["before"],
        "written_share_after": shares["after"],
        "written_share_gain_ci": _pair(_difference(rows, "final_chars", "final_chars", seed)),
        "floor": null_floor(texts["after"], finals, rng=np.random.default_rng(seed)),
        "ceiling": _ceiling(rows),
        **_fact_figures(rows, seed),
        **{f"chars_{which}": _mean(rows, f"chars_{which}") for which in texts},
        "chars_final": _mean(rows, "final_chars"),
        **{f"tokens_{which}": _mean(rows, f"tokens_{which}") for which in texts},
        "tokens_per_second_before": speed_before,
        "tokens_per_second_after": speed_after,
        "n_rows": len(rows),
        "n_users": len({row["user_key"] for row in rows}),
    }


def _score(metric: type[evaluate.Metric], drafts: list[str], references: list[str]) -> float | None:
    """The one figure of a metric. It makes a folder even for what it keeps in memory: here, one that goes away."""
    with TemporaryDirectory() as folder:
        scored = metric(keep_in_memory=True, cache_dir=folder).compute(predictions=drafts, references=references)
    (figure,) = scored.values()
    return figure


def _difference(rows: Sequence[Mapping[str, Any]], den_before: str, den_after: str, seed: int) -> Interval:
    """Change of retained characters over a denominator."""

    def column(name: str) -> list[float]:
        return [row["measures"][name] for row in rows]

    return paired_bootstrap(
        column("retained_before"),
        column(den_before),
        column("retained_after"),
        column(den_after),
        [row["user_key"] for row in rows],
        rng=np.random.default_rng(seed),
    )


def _ceiling(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Retained characters of what the same expert wrote another time, over the rows that have it."""
    seconds = [row for row in rows if row.get("second_final")]
    if not seconds:
        return None
    texts = [row["second_final"] for row in seconds]
    return _score(RetainedCharRate, texts, [row["final_text"] for row in seconds])


def _fact_figures(rows: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    kinds = sorted({fact["kind"] for row in rows for fact in row["measures"]["facts"]})
    overall = _facts_of(rows, None, seed)
    return {
        "facts_before": overall["before"],
        "facts_after": overall["after"],
        "facts_gain_ci": overall["gain_ci"],
        "facts_by_kind": {kind: _facts_of(rows, kind, seed) for kind in kinds},
    }


def _facts_of(rows: Sequence[Mapping[str, Any]], kind: str | None, seed: int) -> dict[str, Any]:
    """before, after, gain_ci and n of the facts of one kind, or of all."""
    facts = [[fact for fact in row["measures"]["facts"] if kind in (None, fact["kind"])] for row in rows]
    checks = [json.dumps(row_facts) for row_facts in facts]
    accuracy = {which: _score(FactAccuracy, [row[which] for row in rows], checks) for which in ("before", "after")}
    asked = [len(row_facts) for row_facts in facts]
    change = paired_bootstrap(
        [sum(fact["before"] for fact in row_facts) for row_facts in facts],
        asked,
        [sum(fact["after"] for fact in row_facts) for row_facts in facts],
        asked,
        [row["user_key"] for row in rows],
        rng=np.random.default_rng(seed),
    )
    return {**accuracy, "gain_ci": _pair(change), "n": sum(asked)}


def _pair(interval: Interval) -> list[float] | None:
    return None if interval.low is None or interval.high is None else [interval.low, interval.high]


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return sum(row["measures"][name] for row in rows) / len(rows)
