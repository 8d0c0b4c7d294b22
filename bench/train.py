"""Tokens per second of each recipe: TRL as it is, ours, and the plainest torch loop, on the same batches.

`python -m bench train [--recipe sft] [--rounds 3]`. All contenders of a recipe train the same adapter on the same rows
in the same order, one after the other within a round, in another order each round. Beside the ratios stands the share
of the machine's measured matmul peak that the work's own arithmetic reaches.
"""

import argparse
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from organism.optimize.worker import ENVIRONMENT
from organism.records import Recipe

os.environ.update(ENVIRONMENT)  # before torch reads it

BOUTS = {
    Recipe.SFT: "_bout_sft.sft_bout",
    Recipe.WEIGHTED: "_bout_sft.weighted_bout",
    Recipe.DPO: "_bout_preferences.dpo_bout",
    Recipe.KTO: "_bout_preferences.kto_bout",
    Recipe.REWARD_MODEL: "_bout_rewards.reward_model_bout",
    Recipe.GRPO: "_bout_rewards.grpo_bout",
}
"""Where each recipe's contenders are made. best_of_n trains as sft does, rlaif as dpo; bench.generation drafts."""
WANTED = 0.9


def main() -> int:
    """Fight the bouts that were asked for; 1 when ours is slower than WANTED of a plain loop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=[str(recipe) for recipe in BOUTS], action="append")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    from bench._bouts import fight
    from organism.optimize.configs import SftConfig
    from organism.optimize.training import machine, settle

    where = machine(SftConfig())._replace(device="cpu")
    settle(where)
    missed = [
        recipe
        for recipe in asked.recipe or BOUTS
        if not fight(recipe, _bout(Recipe(recipe))(where), asked.rounds, where, WANTED)
    ]
    return 1 if missed else 0


def _bout(recipe: Recipe) -> Callable[[Any], Any]:
    module, _, name = BOUTS[recipe].partition(".")
    made: Callable[[Any], Any] = getattr(import_module(f"bench.{module}"), name)
    return made


if __name__ == "__main__":
    sys.exit(main())
