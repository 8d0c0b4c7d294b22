"""Recipe `dpo`: direct preference optimization (Rafailov et al. 2023) by TRL's trainer with LoRA, on pairs of texts.

The model learns to find the chosen text likelier than the rejected one, by more than its base does. TRL scores every
position, keeps entropy, accuracy and mean logits, and asks the reference again at every step. `Trainer` below puts
only the completions through the head and takes the reference's scores from before the first step; a test holds its
loss against TRL's, and bench/train.py prints what it is worth.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch.nn.functional as F
import trl
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, set_seed

from organism.optimize.configs import DpoConfig
from organism.optimize.drops import sift
from organism.optimize.preferences import Text, reference_log_probs, texts_of, token_log_probs
from organism.optimize.runs import Pair
from organism.optimize.training import (
    Job,
    Machine,
    Trained,
    arguments,
    batch_plan,
    fit,
    load_base,
    longest_of,
    lora,
    set_apart,
    settle,
)


class PairTokens(NamedTuple):
    """One pair as the model sees it: both texts begin with the prompt."""

    chosen: Text
    rejected: Text

    @property
    def input_ids(self) -> list[int]:
        return [*self.chosen.input_ids, *self.rejected.input_ids]

    @property
    def n_targets(self) -> int:
        return len(self.chosen.completion_ids) + len(self.rejected.completion_ids)

    @property
    def longest(self) -> int:
        """Tokens of the longer text with its prompt."""
        return max(len(self.chosen.input_ids), len(self.rejected.input_ids))


def train(job: Job) -> Trained:
    """Train an adapter on the run's pairs and leave it in the run's folder; raises what `train_on_pairs` raises."""
    return train_on_pairs(job, job.run.pairs())


def train_on_pairs(job: Job, pairs: Sequence[Pair]) -> Trained:
    """Train an adapter on these pairs; goes on from the last whole checkpoint if there is one.

    Raises DesignError when too few pairs differ and fit, ModelError when the base cannot be loaded, and RunError when
    the loss is no number or zero.
    """
    settle(job.where)
    config: DpoConfig = job.config
    model, tokenizer = load_base(job.base, job.where)
    rows = tokenized_pairs(pairs, tokenizer)
    sifted = sift(pairs, [row.longest for row in rows], longest_of(model, config))
    usable = [rows[place] for place in sifted.places]
    learned, watched = set_apart([pairs[place].user_key for place in sifted.places], config)
    job.say(f"The base reads the {2 * len(usable)} texts of {len(usable)} pairs")
    texts = [text for row in usable for text in row]
    reference = reference_log_probs(model, texts, job.run.path, job.where, job.stop_asked)
    plan = batch_plan([usable[place].longest for place in learned], config.batch_size, config.epochs, config.seed)
    if reference is None:
        return Trained(0, len(plan), True, len(learned), sifted.n_too_long, dropped=sifted.dropped)
    data = [row_of(row, reference[2 * place : 2 * place + 2]) for place, row in enumerate(usable)]
    batches = [[learned[number] for number in batch] for batch in plan]
    trainer = build_trainer(
        model,
        tokenizer,
        [data[place] for batch in batches for place in batch],
        config,
        job.run.checkpoints,
        job.where,
        watched=[data[place] for place in sorted(watched, key=lambda place: usable[place].longest)],
    )
    seen = [[usable[place] for place in batch] for batch in batches]
    return fit(trainer, job, seen, n_rows=len(learned), n_too_long=sifted.n_too_long, dropped=sifted.dropped)


def tokenized_pairs(pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerBase) -> list[PairTokens]:
    """Both texts of every pair as tokens."""
    prompts = [pair.prompt for pair in pairs]
    chosen = texts_of(prompts, [pair.chosen for pair in pairs], tokenizer)
    rejected = texts_of(prompts, [pair.rejected for pair in pairs], tokenizer)
    return [PairTokens(*both) for both in zip(chosen, rejected, strict=True)]


def row_of(pair: PairTokens, reference: Sequence[float]) -> dict[str, Any]:
    """The row that TRL's collator takes, with the reference's scores of the chosen and the rejected text."""
    return {
        "prompt_ids": pair.chosen.prompt_ids,
        "chosen_ids": pair.chosen.completion_ids,
        "rejected_ids": pair.rejected.completion_ids,
        "ref_chosen_logps": reference[0],
        "ref_rejected_logps": reference[1],
    }


class Trainer(trl.DPOTrainer):
    """TRL's trainer, computing the sigmoid loss (and the imitation of the chosen text where asked) and nothing else."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        """The rows come as tokens."""
        return dataset

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """-log sigmoid(beta (chosen gain - rejected gain)), a gain being the log-probability over the reference's."""
        causal_lm = self.accelerator.unwrap_model(model).get_base_model()
        ids, learned = inputs["input_ids"], inputs["completion_mask"]
        found = token_log_probs(causal_lm, ids, learned, bf16=self.args.bf16)
        chosen, rejected = found.sum(1).chunk(2)
        gained, lost = chosen - inputs["ref_chosen_logps"], rejected - inputs["ref_rejected_logps"]
        loss = -F.logsigmoid(self.beta * (gained - lost)).mean() * self.loss_weights[0]
        if len(self.loss_weights) > 1:
            n_chosen = learned[: len(chosen), 1:].sum()
            loss = loss - self.loss_weights[1] * chosen.sum() / n_chosen
        self._note(gained.detach(), lost.detach())
        return loss

    def _note(self, gained: Any, lost: Any) -> None:
        noted = self._metrics["train" if self.model.training else "eval"]
        noted["reward"].append(self.beta * gained.mean().item())
        noted["margin"].append(self.beta * (gained - lost).mean().item())
        noted["accuracy"].append((gained > lost).float().mean().item())


def build_trainer(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[dict[str, Any]],
    config: DpoConfig,
    checkpoints: Path,
    where: Machine,
    trainer_class: type[trl.DPOTrainer] = Trainer,
    *,
    watched: Sequence[dict[str, Any]] = (),
) -> trl.DPOTrainer:
    """A trainer that takes the rows in this order, batch_size pairs at a time, once, and watches those set apart."""
    set_seed(config.seed)
    imitates = config.imitation > 0
    asked = trl.DPOConfig(
        **arguments(config, checkpoints, where),
        max_length=config.max_length,
        beta=config.beta,
        loss_type=["sigmoid", "sft"] if imitates else ["sigmoid"],
        loss_weights=[1.0, config.imitation] if imitates else None,
    )
    return trainer_class(
        model=model,
        args=asked,
        train_dataset=Dataset.from_list(list(rows)),
        eval_dataset=Dataset.from_list(list(watched)) if watched else None,
        processing_class=tokenizer,
        peft_config=lora(config),
    )
