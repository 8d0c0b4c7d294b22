"""Recipe `weighted`: imitate what experts finally wrote, each text as much as the reward design values it.

Reward-weighted regression (Peters and Schaal 2007) on demonstrations: the cross-entropy of every text is multiplied by
its weight. A text's weight is what it would have earned, had the model written it, to the power of `sharpness`, divided
by the mean; so a design moves the model toward the experts that it values. A text that earns nothing is left out.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from transformers import AutoTokenizer

from organism.errors import DesignError
from organism.measures.draft_reward import draft_reward
from organism.optimize.configs import TrainingConfig, WeightedConfig
from organism.optimize.draft_rewards import add_rewards, signals_of
from organism.optimize.drops import Reason, added, require_enough
from organism.optimize.evaluation import evaluate_run
from organism.optimize.recipes import sft
from organism.optimize.runs import Example, RunFolder
from organism.optimize.training import Job, Tokens, Trained, tokenized


def train(job: Job) -> Trained:
    """Train an adapter on the run's rows, weighed by the run's reward design.

    Raises DesignError without a design, or when it values too few rows; and what `sft.imitate` raises.
    """
    rewards = rewards_of(job.run.examples(), job)
    examples, dropped = weighed(job.run.examples(), rewards, job.config.sharpness)
    require_enough(len(examples), len(rewards), dropped, job.config.max_length)
    trained = sft.imitate(job, examples, Trainer)
    return trained._replace(dropped=added(dropped, trained.dropped))


def rewards_of(examples: Sequence[Example], job: Job) -> list[float | None]:
    """What each row's text would have earned under the run's design, had the model written it."""
    if job.design is None:
        raise DesignError("the recipe 'weighted' weighs rows by a reward design, and this run has none; name one")
    tokenizer = AutoTokenizer.from_pretrained(str(job.base), local_files_only=True)
    rows = tokenized(examples, tokenizer)
    return [_earned(job.design, example, row, job.config) for example, row in zip(examples, rows, strict=True)]


def _earned(design: Mapping[str, Any], example: Example, row: Tokens, config: WeightedConfig) -> float | None:
    n_text = row.n_targets
    n_prompt = len(row.input_ids) - n_text
    seconds = config.seconds(n_prompt, n_text)
    return draft_reward(design, signals_of(example, example.completion, n_text, n_prompt, seconds=seconds))


def weighed(
    examples: Sequence[Example], rewards: Sequence[float | None], sharpness: float
) -> tuple[list[Example], dict[str, int]]:
    """The rows that earn something, with weights of mean 1, and how many do not, by reason."""
    kept = [(row, reward**sharpness) for row, reward in zip(examples, rewards, strict=True) if reward]
    mean = sum(weight for _, weight in kept) / max(len(kept), 1)
    left_out = Counter(Reason.UNSCORED if reward is None else Reason.WORTHLESS for reward in rewards if not reward)
    return [row._replace(weight=weight / mean) for row, weight in kept], {
        str(reason): n for reason, n in left_out.items()
    }


def evaluate(
    run: RunFolder,
    base: Path,
    config: TrainingConfig,
    description: Mapping[str, Any],
    on_draft: Callable[[str, int, int], bool],
) -> bool:
    """Before and after as for any recipe, and the design's reward of both on the held-out rows."""
    if not evaluate_run(run, base, config, description, on_draft):
        return False
    add_rewards(run, base, description["reward_design"], config)
    return True


class Trainer(sft.Trainer):
    """The loss on the targets, each row's times its weight."""

    data_collator: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        collate = self.data_collator

        def with_weights(rows: list[dict[str, Any]]) -> dict[str, Any]:
            weights = torch.tensor([row["weight"] for row in rows], dtype=torch.float32)
            return {**collate(rows), "weight": weights}

        self.data_collator = with_weights

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = ["input_ids", "labels", "weight"]

    def summed(
        self, logits: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor, inputs: dict[str, Any]
    ) -> torch.Tensor:
        """The cross-entropy of all targets, times the weight of the row that each stands in."""
        losses = F.cross_entropy(logits, labels[targets], reduction="none")
        return (losses * inputs["weight"][:, None].expand(targets.shape)[targets]).sum()
