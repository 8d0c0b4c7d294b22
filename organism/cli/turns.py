"""`organism loop`: work that takes minutes, with progress on stderr."""

import argparse
from contextlib import closing
from typing import Any

from organism.cli.output import ProgressLine, Result
from organism.config import DEMO_LOOP, workspace
from organism.demo import demo_environment, open_workspace
from organism.errors import InputError
from organism.loop import Turn, TurnPlan, turn
from organism.optimize.flow import SftConfig
from organism.store.loops import loop_id_of


def loop(args: argparse.Namespace) -> Result:
    """Turn the demo's loop `--turns` times; prints the last turn's figures."""
    if args.turns < 1:
        raise InputError(f"--turns {args.turns} turns nothing; give 1 or more.")
    place = workspace(args.workspace)
    turns: list[dict[str, Any]] = []
    with closing(open_workspace(place, demo=not args.no_demo)) as store:
        loop_id = loop_id_of(store, DEMO_LOOP)
        for number in range(args.turns):
            seed = args.seed + number
            plan = TurnPlan(
                max_rows=args.rows,
                max_heldout_rows=args.heldout_rows,
                visits_per_user=args.visits,
                seed=seed,
                config=SftConfig(seed=seed),
            )
            done = turn(store, place, loop_id, demo_environment(), plan=plan, progress=ProgressLine())
            turns.append(_figures(done))
    last = turns[-1]
    return Result(_in_words(last), {**last, "turns": len(turns), "earlier": turns[:-1]})


def _figures(done: Turn) -> dict[str, Any]:
    wanted = (
        "before", "after", "gain", "gain_ci", "written_share_before", "written_share_after", "floor", "ceiling",
        "facts_before", "facts_after", "facts_gain_ci", "facts_by_kind", "n_rows", "n_users",
    )  # fmt: skip
    card, trained = done.scorecard, done.trained
    return {
        **{key: trained.evaluation.get(key) for key in wanted},
        "experiment": {
            "effect": card.effect,
            "ci": [card.ci_low, card.ci_high],
            "p_value": card.p_value,
            "srm_p_value": card.srm_p_value,
            "verdict": card.verdict,
            "rule": card.rule,
            "sentence": card.sentence,
            "n_control": card.n_control,
            "n_treatment": card.n_treatment,
        },
        "live": done.decided.live,
        "decision": done.decided.sentence,
        "seconds": done.seconds,
        "dataset_id": trained.dataset_id,
        "run_id": trained.run_id,
        "version": trained.version.name,
        "model_version_id": trained.version.model_version_id,
        "experiment_id": done.experiment_id,
    }


def _in_words(figures: dict[str, Any]) -> str:
    def said(name: str, form: str = ".3f") -> str:
        return "unknown" if figures[name] is None else format(figures[name], form)

    return "\n".join(
        [
            (
                f"Retained characters on held-out simulated physicians: {said('before')} before, {said('after')} after "
                f"(floor {said('floor')}, ceiling {said('ceiling')})."
            ),
            (
                f"Written share: {said('written_share_before')} before, {said('written_share_after')} after. "
                f"Facts right: {said('facts_before', '.1%')} before, {said('facts_after', '.1%')} after."
            ),
            f"Experiment: {figures['experiment']['sentence']}",
            f"{figures['decision']} The turn took {figures['seconds']['total']:.0f} s.",
        ]
    )
