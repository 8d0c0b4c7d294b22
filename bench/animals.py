"""Weights grow different animals: one history, three reward designs, three models that differ as they were meant to.

`python -m bench.animals` makes one history (the demo's visits and the base's own drafts, answered by simulated experts
of whom 11 in 20 write thoroughly, 6 as the house does, 3 tersely), fine-tunes the base by the recipe
`weighted` under a price, a performance and a quality design with three seeds each, measures all nine models on the
same held-out experts, and draws docs/pictures/animals.png. `--draw` draws the kept figures again.

Every expert edit teaches; what a design changes is how much each one counts: by what its text would have earned had the
model written it. Under the quality design all count alike (each text is, by definition, what its expert kept), so the
model writes as most experts do; the performance design asks for texts that are quick enough; the price design for
short ones. All three keep a floor under the written share.
"""

import json
import random
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from bench import _picture
from bench._tuned import Clinic, clinic, finished, keep, kept, say
from data.scribe import notes
from data.scribe.encounters import encounter
from organism.config import DEMO_LOOP, utcnow
from organism.ingest.flow import ingest
from organism.launch import launch
from organism.optimize.flow import read_eval_results, read_run
from organism.records import Constraint, EventKind, Preset, Recipe, RewardDesign, SignalSpec
from organism.stats.bootstrap import paired_bootstrap
from organism.store.loops import loop_id_of

KEPT = Path(__file__).with_name("animals.json")
HISTORY = Path(__file__).resolve().parent.parent / "data" / "scribe" / "history"
SEEDS = (0, 1, 2)
N_ROWS, N_HELDOUT = 1000, 200
SETTINGS = {"sharpness": 8.0, "epochs": 1, "batch_size": 8, "eval_rows": N_HELDOUT}
LIMIT_S = 30 * 60
FEWER_TOKENS, MORE_KEPT = 0.15, 0.05

TERSE = replace(
    notes.HOUSE_STYLE,
    complaint_label=None,
    severity=notes.SEVERITIES[4],
    exam_label="O",
    short_exam=True,
    assessment_label="A",
    assessment="{short_diagnosis}.",
    plan_label="P",
    lab="{lab}.",
    referral="ref {short_specialty}.",
    follow_up=notes.FOLLOW_UPS[5],
    plan_break=" ",
)
"""Fewer words than the house's, in its own forms of age, vitals and drugs: in shorter ones the base drops facts."""
THOROUGH = notes.Style(
    complaint_label="Chief Complaint",
    story_label="History of Present Illness",
    opening=notes.OPENINGS[1],
    severity=notes.SEVERITIES[0],
    symptoms=notes.SYMPTOM_SENTENCES[3],
    short_symptoms=False,
    history_label="Past Medical History",
    short_history=False,
    allergy_label="Allergies",
    no_allergy="No known drug allergies",
    exam_label="Exam",
    vitals=notes.VITAL_WORDS[3],
    exam="Examination reveals {finding}.",
    short_exam=False,
    assessment_label="Impression",
    assessment="The findings are consistent with {diagnosis}.",
    plan_label="Plan",
    prescription=notes.PRESCRIPTION_WORDS[1],
    short_frequency=False,
    lab="Order {lab}.",
    short_lab=False,
    referral="Refer to {specialty}.",
    follow_up=notes.FOLLOW_UPS[1],
    plan_break="\n- ",
    closing="Patient agrees with plan.",
)
STYLES = [THOROUGH] * 11 + [notes.HOUSE_STYLE] * 6 + [TERSE] * 3

FLOOR = (Constraint("written_share", at_least=0.6),)
DESIGNS = (
    RewardDesign(
        name="price",
        signals=(SignalSpec("output_tokens", 0.8, 170.0, 90.0), SignalSpec("written_share", 0.2, 0.0, 1.0)),
        constraints=FLOOR,
    ),
    RewardDesign(
        name="performance",
        signals=(SignalSpec("output_tokens", 0.8, 165.0, 145.0), SignalSpec("written_share", 0.2, 0.0, 1.0)),
        constraints=FLOOR,
    ),
    RewardDesign(
        name="quality",
        signals=(SignalSpec("retained_char_rate", 0.5, 0.0, 1.0), SignalSpec("written_share", 0.5, 0.0, 1.0)),
        constraints=FLOOR,
    ),
)
COLORS = {"price": _picture.AMBER, "performance": _picture.SLATE, "quality": _picture.TEAL}


class Position(NamedTuple):
    """Where one model stands on the held-out experts: means with 95% intervals by user."""

    tokens: tuple[float, float, float]
    kept: tuple[float, float, float]


def make_history(place: Clinic) -> str:
    """Ingest the demo's visits with the base's drafts and the answers of these experts; returns the loop's id."""
    seen = pd.read_parquet(HISTORY / "interactions.parquet")
    seen = seen[seen["variant_id"] == "base"].copy()
    seen["occurred_at"] = pd.to_datetime(seen["occurred_at"])
    rows = [_interaction(row) for row in seen.to_dict("records")]
    ingest(place.store, EventKind.INTERACTIONS, rows, now=utcnow(), loop=DEMO_LOOP).result()
    answers = [_answer(row) for row in rows]
    ingest(place.store, EventKind.FEEDBACK, answers, now=utcnow(), loop=DEMO_LOOP).result()
    return loop_id_of(place.store, DEMO_LOOP)


def _interaction(row: dict[str, Any]) -> dict[str, Any]:
    wanted = "user_key prompt output input_tokens output_tokens latency_ms cost_usd consent region external_id".split()
    attributes = json.loads(row["attributes"])
    attributes.pop("second_final", None)
    return {
        **{name: row[name] for name in wanted},
        "loop": DEMO_LOOP,
        "variant_id": "base",
        "is_synthetic": True,
        "source": "bench-animals",
        "occurred_at": row["occurred_at"].to_pydatetime(),
        "attributes": attributes,
    }


def _answer(row: dict[str, Any]) -> dict[str, Any]:
    visit = encounter(row["attributes"]["encounter_seed"])
    rng = random.Random(f"expert {row['external_id']}")
    style = STYLES[int(row["user_key"].split("-")[1]) % len(STYLES)]
    return {
        "interaction_source": "bench-animals",
        "interaction_external_id": row["external_id"],
        "kind": "edit",
        "final_text": notes.styled_note(visit, style, rng),
        "actor_kind": "code",
        "actor_key": row["user_key"],
        "source": "bench-animals",
        "external_id": f"answer/{row['external_id']}",
        "occurred_at": row["occurred_at"],
    }


def measure() -> list[dict[str, Any]]:
    """Train and measure the models that were not yet; each keeps its rows, so that models can be compared in pairs."""
    results = kept(KEPT)
    done = {(row["design"], row["seed"]) for row in results}
    with tempfile.TemporaryDirectory() as folder, clinic(folder, demo=False) as place:
        loop_id = make_history(place)
        for design in DESIGNS:
            for seed in SEEDS:
                if (design.name, seed) in done:
                    continue
                started = time.monotonic()
                begun = launch(
                    place.store,
                    place.workspace,
                    loop_id,
                    Recipe.WEIGHTED,
                    Preset.SOLID,
                    changes={**SETTINGS, "seed": seed},
                    design=design,
                    max_rows=N_ROWS,
                    now=utcnow(),
                )
                figures = finished(place, begun.run_id)
                version = read_run(place.store, begun.run_id).model_version_id or ""
                rows = _counts(read_eval_results(place.store, version))
                position = _position(rows)
                facts = {name: figures[name] for name in ("facts_before", "facts_after", "facts_gain_ci")}
                seconds = round(time.monotonic() - started, 1)
                model = {"design": design.name, "seed": seed, "seconds": seconds, **position._asdict(), **facts}
                results.append({**model, "rows": rows})
                keep(KEPT, results)
                say(f"{design.name}, seed {seed}: {position.tokens[0]:.0f} tokens, keeps {position.kept[0]:.3f}")
    return results


def _counts(results: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "user": row.user_key,
            "tokens": row.measures["tokens_after"],
            "retained": row.measures["retained_after"],
            "chars": row.measures["chars_after"],
        }
        for row in results.itertuples(index=False)
    ]


def _position(rows: list[dict[str, Any]]) -> Position:
    """Against a model that writes and keeps nothing, the paired difference is the ratio itself."""
    return Position(_ratio(rows, "tokens", None), _ratio(rows, "retained", "chars"))


def _ratio(rows: list[dict[str, Any]], above: str, below: str | None) -> tuple[float, float, float]:
    users = [row["user"] for row in rows]
    tops = [row[above] for row in rows]
    ones = [1 if below is None else row[below] for row in rows]
    found = paired_bootstrap([0] * len(rows), ones, tops, ones, users, rng=np.random.default_rng(0))
    return found.estimate or 0.0, found.low or 0.0, found.high or 0.0


def contrasts(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Price against quality, seed by seed, on the same rows: tokens saved as a share, and characters kept."""
    rows = {(one["design"], one["seed"]): one["rows"] for one in results}
    found = []
    for seed in SEEDS:
        price, quality = rows["price", seed], rows["quality", seed]
        more = paired_bootstrap(
            [row["retained"] for row in price],
            [row["chars"] for row in price],
            [row["retained"] for row in quality],
            [row["chars"] for row in quality],
            [row["user"] for row in price],
            rng=np.random.default_rng(0),
        )
        fewer = 1 - sum(row["tokens"] for row in price) / sum(row["tokens"] for row in quality)
        found.append({"seed": seed, "fewer_tokens": fewer, "more_kept": [more.estimate, more.low, more.high]})
    return found


def draw(results: list[dict[str, Any]]) -> Path:
    """Nine models by tokens and characters kept, a color a design, with their intervals."""
    traces = []
    for design in DESIGNS:
        mine = [row for row in results if row["design"] == design.name]
        traces.append(
            go.Scatter(
                x=[row["tokens"][0] for row in mine],
                y=[row["kept"][0] for row in mine],
                error_x=_bars(mine, "tokens"),
                error_y=_bars(mine, "kept"),
                mode="markers",
                marker={"size": 11, "color": COLORS[design.name]},
                name=design.name.capitalize(),
            )
        )
    layout = {
        "title": "One history, three reward designs (simulated experts; held-out users, three seeds, 95% intervals)",
        "xaxis": {"title": "Tokens a draft"},
        "yaxis": {"title": "Retained characters", "tickformat": ".0%"},
    }
    return _picture.save(go.Figure(traces, layout), "animals")


def _bars(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [row[name][2] - row[name][0] for row in rows],
        "arrayminus": [row[name][0] - row[name][1] for row in rows],
        "thickness": 1,
    }


def main(args: list[str]) -> int:
    """Print every model and the contrasts, draw them; 1 when a difference that was promised is missed."""
    results = kept(KEPT) if "--draw" in args else measure()
    for row in results:
        (tokens, *_), (share, low, high) = row["tokens"], row["kept"]
        print(
            f"{row['design']:<12} seed {row['seed']}: {tokens:6.1f} tokens, keeps {share:.3f} "
            f"({low:.3f} to {high:.3f}), facts {row['facts_before']:.3f} -> {row['facts_after']:.3f}"
        )
    found = contrasts(results)
    for row in found:
        estimate, low, high = (100 * value for value in row["more_kept"])
        print(
            f"seed {row['seed']}: price writes {row['fewer_tokens']:.1%} fewer tokens than quality, "
            f"quality keeps {estimate:.1f} points more ({low:.1f} to {high:.1f})"
        )
    by_tokens = [
        statistics.mean(row["tokens"][0] for row in results if row["design"] == design.name) for design in DESIGNS
    ]
    minutes = sum(row["seconds"] for row in results) / 60
    checks = [
        ("price writes fewer tokens than quality", all(row["fewer_tokens"] >= FEWER_TOKENS for row in found)),
        ("quality keeps more characters than price", all(row["more_kept"][0] >= MORE_KEPT for row in found)),
        ("the interval of that difference is above zero", all(row["more_kept"][1] > 0 for row in found)),
        ("tokens rise from price over performance to quality", by_tokens == sorted(by_tokens)),
        (f"{minutes:.1f} minutes, wanted under {LIMIT_S / 60:.0f}", 60 * minutes < LIMIT_S),
    ]
    for sentence, is_met in checks:
        print(f"{'met   ' if is_met else 'MISSED'} {sentence}")
    print(draw(results))
    return 0 if all(is_met for _, is_met in checks) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
