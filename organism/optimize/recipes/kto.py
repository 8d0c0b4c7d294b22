"""Recipe `kto`: Kahneman-Tversky optimization (Ethayarajh et al. 2024) by TRL's trainer with LoRA, on single thumbs.

A desirable text is to become likelier than the base finds it, an undesirable one less likely, both measured from z0:
how much likelier the model finds completions that belong to other prompts. TRL scores every position of all texts and
asks the reference again at every step. `Trainer` below puts only the completions through the head and takes the
reference's scores of the texts themselves from before the first step; a test holds its loss against TRL's, and
bench/train.py prints what it is worth.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import trl
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, set_seed

from organism.errors import DesignError
from organism.optimize.configs import KtoConfig
from organism.optimize.drops import sift
from organism.optimize.preferences import Text, reference_log_probs, texts_of, token_log_probs
from organism.optimize.runs import Labeled
from organism.optimize.training import (
    Job,
    Machine,
    Trained,
    arguments,
    batch_plan,
    cut,
    fit,
    load_base,
    longest_of,
    lora,
    set_apart,
    settle,
)


class Thumb(NamedTuple):
    """One labeled text as the model sees it."""

    text: Text
    label: bool

    @property
    def input_ids(self) -> list[int]:
        return self.text.input_ids

    @property
    def n_targets(self) -> int:
        return len(self.text.completion_ids)


class Weights(NamedTuple):
    """How much a desirable and an undesirable row count in the loss; 1 on average over all rows."""

    desirable: float
    undesirable: float


def train(job: Job) -> Trained:
    """Train an adapter and leave it in the run's folder; goes on from the last whole checkpoint if there is one.

    Raises DesignError when too few rows can be used or all are of one label, ModelError when the base cannot be
    loaded, and RunError when the loss is no number or zero.
    """
    settle(job.where)
    config: KtoConfig = job.config
    labeled = job.run.labeled()
    model, tokenizer = load_base(job.base, job.where)
    rows = tokenized_thumbs(labeled, tokenizer)
    sifted = sift(labeled, [len(row.input_ids) for row in rows], longest_of(model, config))
    usable = [rows[place] for place in sifted.places]
    learned, watched = set_apart([labeled[place].user_key for place in sifted.places], config)
    weights = weights_of([usable[place].label for place in learned], config.undesirable_share)
    job.say(f"The base reads the {len(usable)} labeled texts")
    texts = [row.text for row in usable]
    reference = reference_log_probs(model, texts, job.run.path, job.where, job.stop_asked)
    lengths = [len(row.input_ids) for row in usable]
    plan = batch_plan([lengths[place] for place in learned], config.batch_size, config.epochs, config.seed)
    if reference is None:
        return Trained(0, len(plan), True, len(learned), sifted.n_too_long, dropped=sifted.dropped)
    batches = [[learned[number] for number in batch] for batch in plan]
    by_length = sorted(watched, key=lambda place: lengths[place])
    trainer = build_trainer(
        model,
        tokenizer,
        [row for batch in batches for row in batch_rows(batch, usable, reference)],
        config,
        weights,
        job.run.checkpoints,
        job.where,
        watched=[row for batch in cut(by_length, config.batch_size) for row in batch_rows(batch, usable, reference)],
    )
    seen = [[usable[place] for place in batch] for batch in batches]
    return fit(trainer, job, seen, n_rows=len(learned), n_too_long=sifted.n_too_long, dropped=sifted.dropped)


def tokenized_thumbs(rows: Sequence[Labeled], tokenizer: PreTrainedTokenizerBase) -> list[Thumb]:
    """Every labeled text as tokens."""
    texts = texts_of([row.prompt for row in rows], [row.completion for row in rows], tokenizer)
    return [Thumb(text, row.label) for text, row in zip(texts, rows, strict=True)]


def weights_of(labels: Sequence[bool], undesirable_share: float) -> Weights:
    """Weights under which undesirable rows make up this share of the loss, whatever their number.

    Equal shares are the upper end of the range that the paper advises (section 4.2: from 1:1 to 4:3 for desirable
    ones). Raises DesignError when all rows have one label: nothing would hold the model back.
    """
    n_desirable = sum(labels)
    n_undesirable = len(labels) - n_desirable
    if not n_desirable or not n_undesirable:
        found = "desirable (accepted or edited)" if n_desirable else "undesirable (rejected)"
        raise DesignError(
            f"all {len(labels)} rows are {found}; thumbs teach by their contrast, so give rows of both kinds. "
            "Take a longer time span or more variants into the training set, or learn from edits with the recipe sft."
        )
    return Weights((1 - undesirable_share) * len(labels) / n_desirable, undesirable_share * len(labels) / n_undesirable)


def batch_rows(places: Sequence[int], rows: Sequence[Thumb], reference: Sequence[float]) -> list[dict[str, Any]]:
    """The rows of one batch as TRL's collator takes them; each also carries its neighbor's completion, for z0."""
    texts = [rows[place].text for place in places]
    return [
        {
            "prompt_ids": text.prompt_ids,
            "completion_ids": text.completion_ids,
            "KL_completion_ids": texts[number - 1].completion_ids,
            "label": rows[place].label,
            "ref_logps": reference[place],
        }
        for number, (place, text) in enumerate(zip(places, texts, strict=True))
    ]


class Trainer(trl.KTOTrainer):
    """TRL's trainer, computing the KTO loss and nothing else."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        """The rows come as tokens, each with the completion of its neighbor."""
        return dataset

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean of w (1 - sigmoid(beta s (gain - z0))); s is 1 for a desirable row and -1 else (paper, equation 7)."""
        peft_model = self.accelerator.unwrap_model(model)
        causal_lm = peft_model.get_base_model()
        z0 = self._z0(peft_model, causal_lm, inputs)
        found = token_log_probs(causal_lm, inputs["input_ids"], inputs["completion_mask"], bf16=self.args.bf16)
        gain, desirable = found.sum(1) - inputs["ref_logps"], inputs["label"].bool()
        sign = torch.where(desirable, 1.0, -1.0)
        weight = torch.where(desirable, self.desirable_weight, self.undesirable_weight)
        loss = (weight * (1 - torch.sigmoid(self.beta * sign * (gain - z0)))).mean()
        self._note(gain.detach(), desirable, z0)
        return loss

    @torch.no_grad()
    def _z0(self, peft_model: Any, causal_lm: Any, inputs: dict[str, Any]) -> Any:
        """The mean gain of completions that belong to other prompts, and 0 at least."""
        ids, learned = inputs["KL_input_ids"], inputs["KL_completion_mask"]
        now = token_log_probs(causal_lm, ids, learned, bf16=self.args.bf16).sum(1)
        with peft_model.disable_adapter():
            before = token_log_probs(causal_lm, ids, learned, bf16=self.args.bf16).sum(1)
        return self.accelerator.gather((now - before).mean()).mean().clamp(min=0)

    def _note(self, gain: Any, desirable: Any, z0: Any) -> None:
        noted = self._metrics["train" if self.model.training else "eval"]
        noted["kl"].append(z0.item())
        means = [self.beta * gain[rows].mean().item() if rows.any() else None for rows in (desirable, ~desirable)]
        for name, mean in zip(("reward", "reward_undesirable"), means, strict=True):
            if mean is not None:
                noted[name].append(mean)
        if means[0] is not None and means[1] is not None:
            noted["margin"].append(means[0] - means[1])


def build_trainer(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[dict[str, Any]],
    config: KtoConfig,
    weights: Weights,
    checkpoints: Path,
    where: Machine,
    trainer_class: type[trl.KTOTrainer] = Trainer,
    *,
    watched: Sequence[dict[str, Any]] = (),
) -> trl.KTOTrainer:
    """A trainer that takes the rows in this order, batch_size at a time, once, and watches those set apart."""
    set_seed(config.seed)
    asked = trl.KTOConfig(
        **arguments(config, checkpoints, where),
        max_length=config.max_length,
        beta=config.beta,
        desirable_weight=weights.desirable,
        undesirable_weight=weights.undesirable,
    )
    return trainer_class(
        model=model,
        args=asked,
        train_dataset=Dataset.from_list(list(rows)),
        eval_dataset=Dataset.from_list(list(watched)) if watched else None,
        processing_class=tokenizer,
        peft_config=lora(config),
    )
