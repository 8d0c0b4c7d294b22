"""How much expert annotation pays: retained characters against the number of expert notes, with intervals.

`python -m bench.notes_curve` trains the sft recipe on 30, 100, 300 and 1,000 of the demo's latest notes (three training
seeds each), measures every model on the same held-out simulated physicians, and draws
docs/pictures/notes-curve.png. `--draw` draws the kept figures again.
"""

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from bench import _picture
from bench._tuned import clinic, finished, keep, kept, say
from organism.config import utcnow
from organism.digest.training_set_flow import build_training_set
from organism.launch import launch
from organism.records import Preset, Recipe

KEPT = Path(__file__).with_name("notes_curve.json")
PASSES = {30: (8, 6), 100: (8, 5), 300: (16, 4), 1000: (16, 2)}
"""Batch size and passes by number of notes: the style takes some 25 steps to learn, however few notes there are."""
SEEDS = (0, 1, 2)
EVAL_ROWS = 150
WANTED_AT_300 = 0.83


def measure() -> list[dict[str, Any]]:
    """Train and measure all models that were not yet; a plain object a model."""
    results = kept(KEPT)
    done = {(row["n_notes"], row["seed"]) for row in results}
    with tempfile.TemporaryDirectory() as folder, clinic(folder) as place:
        for seed in SEEDS:
            for n_notes, (batch_size, epochs) in PASSES.items():
                if (n_notes, seed) in done:
                    continue
                # A set's seed shuffles; which notes are in it depends on its size. Seeds here are of training.
                dataset = build_training_set(place.store, place.loop_id, max_rows=n_notes, seed=seed, now=utcnow())
                changes = {"batch_size": batch_size, "epochs": epochs, "seed": seed, "eval_rows": EVAL_ROWS}
                started = launch(
                    place.store,
                    place.workspace,
                    place.loop_id,
                    Recipe.SFT,
                    Preset.SOLID,
                    changes=changes,
                    dataset_id=dataset.dataset_id,
                    now=utcnow(),
                )
                figures = finished(place, started.run_id)
                wanted = ("before", "after", "gain_ci", "facts_before", "facts_after", "facts_gain_ci", "n_rows")
                results.append({"n_notes": n_notes, "seed": seed, **{name: figures[name] for name in wanted}})
                keep(KEPT, results)
                say(f"{n_notes} notes, seed {seed}: {figures['after']:.3f}, facts {figures['facts_after']:.3f}")
    return results


def draw(results: list[dict[str, Any]]) -> Path:
    """The curve: the mean over seeds, and the widest interval of a seed."""
    before = results[0]["before"]
    sizes = sorted({row["n_notes"] for row in results})
    of_size = {size: [row for row in results if row["n_notes"] == size] for size in sizes}
    means = [before, *(statistics.mean(row["after"] for row in rows) for rows in of_size.values())]
    lows = [before, *(min(before + row["gain_ci"][0] for row in rows) for rows in of_size.values())]
    highs = [before, *(max(before + row["gain_ci"][1] for row in rows) for rows in of_size.values())]
    facts = [results[0]["facts_before"]] + [
        statistics.mean(row["facts_after"] for row in rows) for rows in of_size.values()
    ]
    n_seeds = len({row["seed"] for row in results})
    labels = ["0", *(f"{size:,}" for size in sizes)]
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [high - mean for high, mean in zip(highs, means, strict=True)],
        "arrayminus": [mean - low for low, mean in zip(lows, means, strict=True)],
    }
    figure = go.Figure(
        [
            go.Scatter(x=labels, y=means, error_y=bars, name="Retained characters", line={"color": _picture.TEAL}),
            go.Scatter(x=labels, y=facts, name="Facts right", line={"color": _picture.SLATE, "dash": "dot"}),
        ],
        {
            "title": f"Expert notes pay early (simulated physicians, held-out users, mean of {n_seeds} training seeds)",
            "xaxis": {"title": "Expert notes to learn from", "type": "category"},
            "yaxis": {"tickformat": ".0%", "range": [0.3, 1.0]},
        },
    )
    return _picture.save(figure, "notes-curve")


def main(args: list[str]) -> int:
    """Print the curve, draw it; 1 when 300 notes do not reach what is wanted."""
    results = kept(KEPT) if "--draw" in args else measure()
    for row in results:
        low, high = row["gain_ci"]
        print(
            f"{row['n_notes']:>5} notes, seed {row['seed']}: {row['before']:.3f} -> {row['after']:.3f} "
            f"(gain {low:+.3f} to {high:+.3f}), facts {row['facts_before']:.3f} -> {row['facts_after']:.3f}"
        )
    reached = statistics.mean(row["after"] for row in results if row["n_notes"] == 300)
    print(f"at 300 notes {reached:.3f}, wanted {WANTED_AT_300}: {'met' if reached >= WANTED_AT_300 else 'MISSED'}")
    print(draw(results))
    return 0 if reached >= WANTED_AT_300 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
