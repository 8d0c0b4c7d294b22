"""Do accepts and rejects alone, without a word that an expert wrote, raise the acceptance of the base on new visits?

`python -m bench.thumbs [--sizes 96 480] [--seeds 3]` lets the base draft simulated visits, four sampled drafts each,
and asks half of the simulated physicians what they make of them. `dpo` (an accepted draft over a rejected one of the
same visit) and `kto` (every draft with its thumb) train on those answers alone. The other physicians then judge greedy
drafts of new visits by the base and by the new model: the same visits, the same mood. A draft counts as accepted when
it is used, with edits or without. What is measured is kept in thumbs.json at once, so a command that was cut off goes
on; the picture is docs/pictures/thumbs.png, and `--draw` draws it again.
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from bench import _picture
from bench._tuned import keep, say
from data.scribe import physicians
from data.scribe.environment import ScribeEnvironment, Visit
from organism.config import BUNDLED_BASE, Workspace
from organism.lm.decoder import Decoder
from organism.measures.acceptance import measure
from organism.measures.facts import right_facts
from organism.optimize.configs import DpoConfig, KtoConfig, TrainingConfig
from organism.optimize.recipes import dpo, kto
from organism.optimize.runs import Labeled, Pair, RunFolder, make_run_folder, read_lines, write_lines
from organism.optimize.training import Job, machine
from organism.records import FeedbackKind, Interval
from organism.stats.bootstrap import paired_bootstrap

KEPT = Path(__file__).with_name("thumbs.json")
TRAINING_SEED, TEST_SEED = 4100, 7000
N_DRAFTS, TEMPERATURE = 4, 0.9
VISITS_AT_ONCE = 96
VISITS_PER_TEACHER, VISITS_PER_JUDGE = 60, 10
CONFIGS: dict[str, TrainingConfig] = {
    "dpo": DpoConfig(epochs=1, learning_rate=1e-3, imitation=1.0, checkpoint_every=20),
    "kto": KtoConfig(epochs=1, learning_rate=5e-4, undesirable_share=0.3, checkpoint_every=20),
}
RECIPES: dict[str, Any] = {"dpo": dpo, "kto": kto}
AT = datetime(2026, 1, 5, 10)
"""Mornings: physicians answer less when they are tired."""
COLORS = {"dpo": _picture.TEAL, "kto": _picture.AMBER}


class Thumb(NamedTuple):
    """What a physician made of one sampled draft; `used` is None where they told us nothing."""

    visit: str
    user_key: str
    prompt: str
    draft: str
    used: bool | None


class Judged(NamedTuple):
    """What a held-out physician makes of a model's draft: used or not, and its facts, characters and tokens."""

    user_key: str
    used: int
    n_facts: int
    n_right: int
    chars: int
    retained: int
    tokens: int


def base_folder() -> Path:
    """The shipped base."""
    return Workspace(Path(tempfile.gettempdir())).locate(BUNDLED_BASE)


def thumbs(folder: Path, n_visits: int) -> list[Thumb]:
    """The answers to the base's drafts of the first n visits; those drafted before are read from the folder."""
    file = folder / "thumbs.jsonl"
    given = [Thumb(**row) for row in read_lines(file)]
    visits = teachers_visits()[:n_visits]
    n_done = len({thumb.visit for thumb in given})
    decoder = Decoder.from_folder(base_folder()) if n_done < len(visits) else None
    while decoder is not None and n_done < len(visits):
        part = teachers_visits()[n_done : n_done + VISITS_AT_ONCE]
        given += _answers(decoder, part, TRAINING_SEED * 1000 + n_done * 10)
        write_lines(file, [thumb._asdict() for thumb in given])
        n_done += len(part)
        say(f"the base drafted {n_done} visits, {N_DRAFTS} drafts each")
    wanted = {visit.encounter_id for visit in visits}
    return [thumb for thumb in given if thumb.visit in wanted and thumb.used is not None]


def teachers_visits() -> list[Visit]:
    """Visits of the physicians who give thumbs: those of even number who consent to learning from them."""
    fresh = ScribeEnvironment().fresh_visits(VISITS_PER_TEACHER, seed=TRAINING_SEED)
    return [visit for visit in fresh if visit.consent and visit.physician.index % 2 == 0]


def judges_visits() -> list[Visit]:
    """New visits of all other physicians."""
    fresh = ScribeEnvironment().fresh_visits(VISITS_PER_JUDGE, seed=TEST_SEED)
    return [visit for visit in fresh if visit.physician.index % 2 == 1]


def _answers(decoder: Decoder, visits: Sequence[Visit], seed: int) -> Iterator[Thumb]:
    """What those physicians make of four sampled drafts of each visit; some tell nothing."""
    for number in range(N_DRAFTS):
        prompts = [visit.prompt for visit in visits]
        drafts = decoder.generate(prompts, temperature=TEMPERATURE, seed=seed + number, batch_size=48)
        for visit, draft in zip(visits, drafts, strict=True):
            used = answered(visit, draft.text)
            yield Thumb(visit.encounter_id, visit.user_key, visit.prompt, draft.text, used)


def answered(visit: Visit, draft: str) -> bool | None:
    """Whether this physician says that they used the draft; None where they say nothing."""
    answers, _ = ScribeEnvironment(0).respond(visit, draft, interaction_id=visit.encounter_id, now=AT)
    return answers[0]["kind"] != FeedbackKind.REJECT if answers else None


def pairs_of(given: Sequence[Thumb], seed: int) -> list[Pair]:
    """Every accepted draft over every rejected one of its visit, in an order of the seed."""
    rejected: dict[str, list[Thumb]] = {}
    for thumb in given:
        if not thumb.used:
            rejected.setdefault(thumb.visit, []).append(thumb)
    pairs = [
        Pair(good.prompt, good.draft, bad.draft, good.user_key, good.visit)
        for good in given
        if good.used
        for bad in rejected.get(good.visit, [])
    ]
    random.Random(seed).shuffle(pairs)
    return pairs


def labeled_of(given: Sequence[Thumb], seed: int) -> list[Labeled]:
    """Every draft with its thumb, in an order of the seed."""
    rows = [Labeled(thumb.prompt, thumb.draft, bool(thumb.used), thumb.user_key, thumb.visit) for thumb in given]
    random.Random(seed).shuffle(rows)
    return rows


def trained(recipe: str, given: Sequence[Thumb], config: TrainingConfig, folder: Path) -> Path:
    """The adapter that this recipe makes of these thumbs; one that is in the folder already is taken as it is."""
    rows = pairs_of(given, config.seed) if recipe == "dpo" else labeled_of(given, config.seed)
    run: RunFolder = make_run_folder(folder, {}, rows, [])
    job = Job(
        base=base_folder(),
        config=config,
        run=run,
        where=machine(config),
        on_step=lambda step: say(f"step {step.step} of {step.total}: {step.loss:.4f}") if step.step % 10 == 0 else None,
        stop_asked=lambda: False,
        say=say,
    )
    if not run.adapter.is_dir():
        RECIPES[recipe].train(job)
    return run.adapter


def judged(adapter: Path | None, visits: Sequence[Visit], file: Path) -> list[Judged]:
    """What held-out physicians make of greedy drafts; equal visits meet the same mood, whoever wrote the draft.

    Kept in the file, and read from it where it is there.
    """
    if not file.exists():
        written = Decoder.from_folder(base_folder(), adapter).generate([visit.prompt for visit in visits])
        rows = [_judged(visit, draft.text, draft.output_tokens) for visit, draft in zip(visits, written, strict=True)]
        write_lines(file, [row._asdict() for row in rows])
    return [Judged(**row) for row in read_lines(file)]


def _judged(visit: Visit, draft: str, tokens: int) -> Judged:
    rng = random.Random(f"answer to {visit.encounter_id}")
    own = physicians.final_note(visit.physician, visit.encounter, rng)
    answer = physicians.judge(visit.physician, visit.encounter, draft, own, rng=rng)
    right = right_facts(draft, physicians.checks_of(visit.encounter))
    kept = measure(draft, own)
    used = int(answer is not FeedbackKind.REJECT)
    return Judged(visit.user_key, used, len(right), sum(right), kept.draft_chars, kept.retained_chars, tokens)


def compared(before: Sequence[Judged], after: Sequence[Judged]) -> dict[str, Any]:
    """Acceptance, facts and retained characters of both models, each with the interval of its change by physician."""
    ones = [1] * len(before)
    return {
        "n_visits_judged": len(before),
        **_change("accepted", [row.used for row in before], ones, [row.used for row in after], ones, before),
        **_change(
            "facts",
            [row.n_right for row in before],
            [row.n_facts for row in before],
            [row.n_right for row in after],
            [row.n_facts for row in after],
            before,
        ),
        **_change(
            "retained",
            [row.retained for row in before],
            [row.chars for row in before],
            [row.retained for row in after],
            [row.chars for row in after],
            before,
        ),
        "tokens_before": float(np.mean([row.tokens for row in before])),
        "tokens_after": float(np.mean([row.tokens for row in after])),
    }


def _change(
    name: str, num: list[int], den: list[int], new_num: list[int], new_den: list[int], rows: Sequence[Judged]
) -> dict[str, Any]:
    users = [row.user_key for row in rows]
    change: Interval = paired_bootstrap(num, den, new_num, new_den, users, rng=np.random.default_rng(0))
    return {
        f"{name}_before": sum(num) / sum(den),
        f"{name}_after": sum(new_num) / sum(new_den),
        f"{name}_gain": change.estimate,
        f"{name}_gain_ci": [change.low, change.high],
    }


def measure_all(folder: Path, recipes: Sequence[str], sizes: Sequence[int], n_seeds: int) -> list[dict[str, Any]]:
    """Train and judge what is not kept yet; every result is kept as soon as it is there."""
    results = kept_results()
    held_out = judges_visits()
    before = judged(None, held_out, folder / f"base-{len(held_out)}.jsonl")
    for size in sizes:
        given = thumbs(folder, size)
        for recipe in recipes:
            for seed in range(n_seeds):
                config = replace(CONFIGS[recipe], seed=seed)
                about = {"recipe": recipe, "n_visits": size, "config": asdict(config)}
                if any(about == {name: row[name] for name in about} for row in results):
                    continue
                place = folder / f"{recipe}-{size}-{config.id}"
                adapter = trained(recipe, given, config, place)
                figures = compared(before, judged(adapter, held_out, place / f"judged-{len(held_out)}.jsonl"))
                counts = {"n_thumbs": len(given), "n_rejects": sum(not thumb.used for thumb in given)}
                results.append({**about, **counts, "seed": seed, **figures})
                keep(KEPT, results)
                low, high = figures["accepted_gain_ci"]
                say(
                    f"{recipe}, {size} visits, seed {seed}: {figures['accepted_gain']:+.3f} ({low:+.3f} to {high:+.3f})"
                )
    return results


def kept_results() -> list[dict[str, Any]]:
    """What was measured before."""
    return list(json.loads(KEPT.read_text(encoding="utf-8"))["results"]) if KEPT.is_file() else []


def draw(results: Sequence[dict[str, Any]]) -> Path:
    """The gain of acceptance against the number of thumbs: a point a model with its interval, a line through means."""
    figure = go.Figure()
    for recipe, color in COLORS.items():
        rows = sorted((row for row in results if row["recipe"] == recipe), key=lambda row: row["n_thumbs"])
        if not rows:
            continue
        gains = [row["accepted_gain"] for row in rows]
        figure.add_scatter(
            x=[row["n_thumbs"] for row in rows],
            y=gains,
            name=recipe.upper(),
            mode="markers",
            marker={"color": color},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [row["accepted_gain_ci"][1] - row["accepted_gain"] for row in rows],
                "arrayminus": [row["accepted_gain"] - row["accepted_gain_ci"][0] for row in rows],
            },
        )
        sizes = sorted({row["n_thumbs"] for row in rows})
        means = [float(np.mean([row["accepted_gain"] for row in rows if row["n_thumbs"] == size])) for size in sizes]
        figure.add_scatter(x=sizes, y=means, mode="lines", line={"color": color}, showlegend=False)
    figure.add_hline(y=0, line={"color": _picture.SLATE, "dash": "dot"})
    base = results[0]["accepted_before"]
    figure.update_layout(
        title=f"Learning from thumbs alone: change of held-out acceptance (base {base:.1%}), 95% by physician",
        xaxis={"title": "Thumbs given to sampled drafts of the base (simulated physicians)", "rangemode": "tozero"},
        yaxis={"title": "Change of acceptance", "tickformat": "+.1%"},
    )
    return _picture.save(figure, "thumbs")


def main() -> int:
    """Measure and draw; 1 unless one recipe lifts acceptance on the largest training set with every seed's interval
    above zero.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=list(CONFIGS), action="append")
    parser.add_argument("--sizes", type=int, nargs="+", default=[96, 192, 480])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "organism-thumbs")
    parser.add_argument("--draw", action="store_true", help="draw the kept figures again, measure nothing")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    recipes = asked.recipe or list(CONFIGS)
    results = kept_results() if asked.draw else measure_all(asked.folder, recipes, asked.sizes, asked.seeds)
    if not results:
        say("nothing is kept yet; run `python -m bench.thumbs` first")
        return 1
    say(f"drew {draw(results)}")
    lifted = {recipe: lifts(results, recipe) for recipe in sorted({row["recipe"] for row in results})}
    for recipe, seeds in lifted.items():
        print(f"{recipe}: {sum(seeds)} of {len(seeds)} models lift acceptance with their interval above zero")
    return 0 if any(map(all, lifted.values())) else 1


def lifts(results: Sequence[dict[str, Any]], recipe: str) -> list[bool]:
    """Of each seed whether the recipe surely lifts acceptance with most thumbs. One of many would do so by luck."""
    own = [row for row in results if row["recipe"] == recipe]
    most = max(row["n_thumbs"] for row in own)
    return [row["accepted_gain_ci"][0] > 0 for row in own if row["n_thumbs"] == most]


if __name__ == "__main__":
    sys.exit(main())
