"""Two models draft the held-out rows of held-out users, and every figure has its interval: what a worker measures.

A fine-tune is measured against its base at its end; the recipe `evaluate` measures any version against any other.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import evaluate
from scipy.stats import quantile_test

from organism.config import Workspace
from organism.errors import RunError
from organism.lm.decoder import Decoder
from organism.lm.framing import framed
from organism.lm.judge import Judge, Preference, judge_of
from organism.lm.scoring import score_texts
from organism.optimize.configs import TrainingConfig
from organism.optimize.contamination import contamination, nearness
from organism.optimize.figures import Drafts, compare, summarize
from organism.optimize.metrics.chrf.chrf import ChrF
from organism.optimize.metrics.edit_similarity.edit_similarity import EditSimilarity
from organism.optimize.metrics.exact_match.exact_match import ExactMatch
from organism.optimize.metrics.rouge_l.rouge_l import RougeL
from organism.optimize.paired import win_rate
from organism.optimize.runs import Example, RunFolder, read_lines, write_json
from organism.optimize.safety import SafetyCase, case_of, safety_figures
from organism.records import Interval

__all__ = ["Drafts", "compare", "evaluate_run", "measure_models", "sampled", "summarize"]

OnDraft = Callable[[str, int, int], bool]
Load = Callable[[], Decoder]
N_TIMED = 9
LIKENESS = (RougeL, ChrF, EditSimilarity, ExactMatch)


class _StopAsked(Exception):
    """Somebody asked the run to stop between two batches."""


class _Written(NamedTuple):
    """What one model wrote: for the rows that it can read (their places), and for the safety cases."""

    places: list[int]
    drafts: Drafts
    safety: list[str]
    latency_ms: Interval


def evaluate_run(
    run: RunFolder, base: Path, config: TrainingConfig, description: Mapping[str, Any], on_draft: OnDraft
) -> bool:
    """Draft with base and adapter, compare, and write evaluation.json; False when on_draft asked to stop.

    Raises ModelError when a model cannot be loaded, RunError when no held-out row can be used.
    """
    found = measure_models(
        run,
        lambda: Decoder.from_folder(base),
        lambda: Decoder.from_folder(base, run.adapter),
        config,
        description,
        on_draft,
    )
    if found is None:
        return False
    write_json(run.evaluation, found)
    return True


def measure_models(
    run: RunFolder, before: Load, after: Load, config: TrainingConfig, description: Mapping[str, Any], on_draft: OnDraft
) -> dict[str, Any] | None:
    """The content of evaluation.json (summary, dataset_id, rows) of two models; None when on_draft asked to stop.

    One model is held in memory at a time. `description` is the run's config.json; its `safety` lists the cases.
    """
    examples = sampled(run.heldout(), config)
    cases = [case_of(line) for line in description.get("safety") or ()]
    try:
        old = _write(before(), examples, cases, config, "before", on_draft)
        new = _write(after(), examples, cases, config, "after", on_draft)
    except _StopAsked:
        return None
    places = sorted({*old.places} & {*new.places})
    if not places:
        raise RunError(
            f"none of {len(examples)} held-out prompts fits into both models, so nothing can be compared; "
            "take a base with a longer context"
        )
    chosen, known = [examples[place] for place in places], _Training.of(run)
    near = nearness(known.prompts, [example.prompt for example in chosen])
    first, last = (_only(places, side) for side in (old, new))
    rows = compare(chosen, first, last, [found.similarity for found in near] if known.prompts else None)
    summary = summarize(rows, first.tokens_per_second, last.tokens_per_second, config.seed)
    users = [example.user_key for example in chosen]
    summary |= {
        "metrics": _likeness(rows, summary["metrics"]),
        "n_too_long": len(examples) - len(places),
        **_latency_figures("before", old.latency_ms),
        **_latency_figures("after", new.latency_ms),
        "n_timed": min(N_TIMED, len(places)),
        "contamination": contamination(known.prompts, known.users, [e.prompt for e in chosen], users, near),
        "safety": safety_figures(cases, old.safety, new.safety),
    }
    if address := description.get("judge"):
        summary["judge"] = judged(rows, judge_of(address, Workspace(run.workspace)))
    return {"summary": summary, "dataset_id": description["dataset_id"], "rows": rows}


class _Training(NamedTuple):
    """The prompts and users that the new model learned from, whatever its rows are."""

    prompts: list[str]
    users: list[str]

    @classmethod
    def of(cls, run: RunFolder) -> "_Training":
        rows = list(read_lines(run.path / "data.jsonl"))
        return cls([row["prompt"] for row in rows], [row["user_key"] for row in rows])


def sampled(heldout: Sequence[Example], config: TrainingConfig) -> list[Example]:
    """All held-out rows, or eval_rows of them, drawn by the seed and left in their order."""
    if config.eval_rows is None or config.eval_rows >= len(heldout):
        return list(heldout)
    places = random.Random(config.seed).sample(range(len(heldout)), config.eval_rows)
    return [heldout[place] for place in sorted(places)]


def judged(rows: Sequence[Mapping[str, Any]], judge: Judge) -> dict[str, Any]:
    """Whose draft the judge prefers, prompt by prompt: its name, n, and the win rate of the new model."""
    value = {Preference.FIRST: -1, Preference.TIE: 0, Preference.SECOND: 1}
    prompts, before, after = ([row[name] for row in rows] for name in ("prompt", "before", "after"))
    outcomes = [value[preferred] for preferred in judge.prefer_all(prompts, before, after)]
    return {"judge": judge.name, "n": len(rows), **win_rate(rows, outcomes)}


def _write(
    decoder: Decoder,
    examples: Sequence[Example],
    cases: Sequence[SafetyCase],
    config: TrainingConfig,
    which: str,
    on_draft: OnDraft,
) -> _Written:
    places = _readable([example.prompt for example in examples], decoder)
    own = [examples[place] for place in places]
    drafts = _draft_all(decoder, own, config, which, on_draft)
    scores = score_texts(decoder, [row.prompt for row in own], [row.completion for row in own])
    scored = drafts._replace(
        losses=[None if score is None else score.loss for score in scores],
        loss_tokens=[None if score is None else score.n_tokens for score in scores],
    )
    safety = _draft_cases(decoder, cases, config)
    return _Written(places, scored, safety, _latency_ms(decoder, [row.prompt for row in own], config))


def _readable(prompts: Sequence[str], decoder: Decoder) -> list[int]:
    """The places of the prompts that the model can read."""
    if not prompts:
        return []
    ids = decoder.tokenizer(framed(prompts, decoder.tokenizer), add_special_tokens=False).input_ids
    return [place for place, row in enumerate(ids) if len(row) < decoder.n_positions]


def _draft_all(
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


def _draft_cases(decoder: Decoder, cases: Sequence[SafetyCase], config: TrainingConfig) -> list[str]:
    """A draft for each safety case; nothing for a prompt that the model cannot read."""
    readable = _readable([case.prompt for case in cases], decoder)
    prompts = [cases[place].prompt for place in readable]
    written = decoder.generate(prompts, max_new_tokens=config.max_new_tokens, batch_size=config.eval_batch_size)
    texts = [""] * len(cases)
    for place, generation in zip(readable, written, strict=True):
        texts[place] = generation.text
    return texts


def _latency_ms(decoder: Decoder, prompts: Sequence[str], config: TrainingConfig) -> Interval:
    """The median time of some drafts written alone, as a person would wait for them, with its interval at 95%.

    The interval is that of the quantile test by order statistics (Conover 1999, 3.2); None under six drafts.
    """
    step = max(len(prompts) // N_TIMED, 1)
    timed = [
        1000 * decoder.generate([prompt], max_new_tokens=config.max_new_tokens)[0].seconds
        for prompt in prompts[::step][:N_TIMED]
    ]
    if not timed:
        return Interval(None, None, None)
    middle = statistics.median(timed)
    ends = quantile_test(timed, q=middle, p=0.5).confidence_interval(0.95)
    low, high = (None if math.isnan(end) else float(end) for end in (ends.low, ends.high))
    return Interval(middle, low, high)


def _latency_figures(which: str, latency: Interval) -> dict[str, Any]:
    known = latency.low is not None and latency.high is not None
    ends = [latency.low, latency.high] if known else None
    return {f"latency_ms_{which}": latency.estimate, f"latency_ms_{which}_ci": ends}


def _only(places: Sequence[int], written: _Written) -> Drafts:
    """The drafts of the rows at these places."""
    row_of = {place: row for row, place in enumerate(written.places)}
    rows, drafts = [row_of[place] for place in places], written.drafts
    losses, loss_tokens = drafts.losses or [], drafts.loss_tokens or []
    return Drafts(
        [drafts.texts[row] for row in rows],
        [drafts.tokens[row] for row in rows],
        drafts.tokens_per_second,
        [losses[row] for row in rows],
        [loss_tokens[row] for row in rows],
    )


def _likeness(rows: Sequence[Mapping[str, Any]], figures: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The usual measures by the evaluate library's modules, beside the intervals of their change.

    A module makes a folder even for what it keeps in memory: here, one that goes away.
    """
    finals = [row["final_text"] for row in rows]
    with TemporaryDirectory() as folder:
        modules = [module(keep_in_memory=True, cache_dir=folder) for module in LIKENESS]
        before, after = (
            evaluate.combine(modules).compute(predictions=[row[side] for row in rows], references=finals)
            for side in ("before", "after")
        )
    return {name: {**figure, "before": before[name], "after": after[name]} for name, figure in figures.items()}
