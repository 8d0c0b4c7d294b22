"""Recipe `reward_model`: a judge that learns from preferences, by TRL's trainer with LoRA and a head of one number.

The loss is -log sigmoid(reward of the chosen text - reward of the rejected one) (Bradley and Terry 1952; Ouyang et al.
2022). TRL puts every position through the head and passes a mask, which takes attention's slow path; `Trainer` below
reads right-padded rows without one and looks at their last tokens alone. What comes out is a version that judges and
never writes; it is measured on what held-out people preferred, beside what length alone would say.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import trl
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, set_seed

from organism.config import Workspace
from organism.lm.judge import JUDGE_FILE, Preference
from organism.lm.reward_judge import RewardModelJudge, load_classifier, rewards_of
from organism.optimize.agreement import agreement, longer_is_chosen
from organism.optimize.configs import RewardModelConfig, TrainingConfig
from organism.optimize.drops import sift, why_dropped
from organism.optimize.recipes.dpo import PairTokens, tokenized_pairs
from organism.optimize.runs import Pair, RunFolder, write_json
from organism.optimize.training import (
    Job,
    Machine,
    Trained,
    arguments,
    batch_plan,
    fit,
    longest_of,
    lora,
    set_apart,
    settle,
)

# A judge writes no drafts: what an evaluation says of drafts is missing, not 0.
NOT_WRITTEN = dict.fromkeys(
    "before after gain gain_ci written_share_before written_share_after facts_before facts_after facts_gain_ci "
    "chars_before chars_after tokens_before tokens_after".split()
)


def train(job: Job) -> Trained:
    """Train a judge and leave its adapter in the run's folder; goes on from the last whole checkpoint if there is one.

    Raises DesignError when too few pairs can be used, ModelError when the base cannot become a judge, and RunError
    when the loss is no number or zero.
    """
    settle(job.where)
    config: RewardModelConfig = job.config
    set_seed(config.seed)  # the head begins at random
    model, tokenizer = load_classifier(job.base, dtype=job.where.weights)
    pairs = job.run.pairs()
    learned, watched = set_apart([pair.user_key for pair in pairs], config)
    longest = longest_of(model, config)
    own = [pairs[place] for place in learned]
    rows = tokenized_pairs(own, tokenizer)
    sifted = sift(own, [row.longest for row in rows], longest)
    usable = [rows[place] for place in sifted.places]
    plan = batch_plan([row.longest for row in usable], config.batch_size, config.epochs, config.seed)
    batches = [[usable[place] for place in batch] for batch in plan]
    trainer = build_trainer(
        model,
        tokenizer,
        [row for batch in batches for row in batch],
        config,
        job.run.checkpoints,
        job.where,
        watched=_readable([pairs[place] for place in watched], tokenizer, longest),
    )
    return fit(trainer, job, batches, n_rows=len(usable), n_too_long=sifted.n_too_long, dropped=sifted.dropped)


def _readable(pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerBase, longest: int) -> list[PairTokens]:
    rows = tokenized_pairs(pairs, tokenizer) if pairs else []
    return [row for pair, row in zip(pairs, rows, strict=True) if why_dropped(pair, row.longest, longest) is None]


class Trainer(trl.RewardTrainer):
    """TRL's trainer, putting only each row's last token through the head."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        """The rows come as tokens."""
        return dataset

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """-log sigmoid(chosen - rejected), and a small pull of all rewards toward a mean of zero."""
        classifier = self.accelerator.unwrap_model(model).get_base_model()
        lengths = inputs["attention_mask"].sum(1)
        rewards = rewards_of(classifier, inputs["input_ids"], lengths, bf16=self.args.bf16)
        chosen, rejected = rewards.chunk(2)
        loss = -F.logsigmoid(chosen - rejected).mean()
        if self.args.center_rewards_coefficient:
            loss = loss + self.args.center_rewards_coefficient * ((chosen + rejected) ** 2).mean()
        self._note(chosen.detach(), rejected.detach())
        return loss

    def _note(self, chosen: torch.Tensor, rejected: torch.Tensor) -> None:
        noted = self._metrics["train" if self.model.training else "eval"]
        noted["margin"].append((chosen - rejected).mean().item())
        noted["accuracy"].append((chosen > rejected).float().mean().item())


def build_trainer(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[PairTokens],
    config: RewardModelConfig,
    checkpoints: Path,
    where: Machine,
    trainer_class: type[trl.RewardTrainer] = Trainer,
    *,
    watched: Sequence[PairTokens] = (),
) -> trl.RewardTrainer:
    """A trainer that takes the pairs in this order, batch_size at a time, once."""
    set_seed(config.seed)
    asked = trl.RewardConfig(
        **arguments(config, checkpoints, where),
        max_length=config.max_length,
        center_rewards_coefficient=config.centering,
    )
    return trainer_class(
        model=model,
        args=asked,
        train_dataset=_dataset(rows),
        eval_dataset=_dataset(watched) if watched else None,
        processing_class=tokenizer,
        peft_config=lora(config, "SEQ_CLS"),
    )


def _dataset(rows: Sequence[PairTokens]) -> Dataset:
    return Dataset.from_list(
        [{"chosen_ids": row.chosen.input_ids, "rejected_ids": row.rejected.input_ids} for row in rows]
    )


def evaluate(
    run: RunFolder,
    base: Path,
    config: TrainingConfig,
    description: Mapping[str, Any],
    on_draft: Callable[[str, int, int], bool],
) -> bool:
    """Judge what held-out people preferred and write evaluation.json; False when on_draft asked to stop.

    Its summary's `judge_agreement` is that of `agreement.Agreement.summary`. Raises ModelError when the judge cannot be
    loaded.
    """
    about = {"base": config.base, "name": description.get("name") or f"reward model {run.run_id[-8:]}"}
    write_json(run.adapter / JUDGE_FILE, about)
    judge = RewardModelJudge.from_folder(run.adapter, Workspace(run.workspace))
    differing = [pair for pair in run.heldout_pairs() if why_dropped(pair, 0, 1) is None]
    pairs = [pair for pair in differing if judge.fits(pair.prompt, pair.chosen, pair.rejected)]
    said: list[Preference] = []
    for first in range(0, len(pairs), config.eval_batch_size):
        some = pairs[first : first + config.eval_batch_size]
        said += judge.prefer_all(
            [pair.prompt for pair in some], [pair.chosen for pair in some], [pair.rejected for pair in some]
        )
        if on_draft("after", len(said), len(pairs)):
            return False
    found = agreement(pairs, said, longer_wins=longer_is_chosen(run.pairs()), seed=config.seed)
    summary = {**NOT_WRITTEN, "judge_agreement": found.summary(), "n_rows": found.n, "n_users": found.n_users}
    rows = [_judged(pair, preference) for pair, preference in zip(pairs, said, strict=True)]
    write_json(
        run.evaluation,
        {
            "summary": {**summary, "n_too_long": len(differing) - len(pairs)},
            "dataset_id": description["dataset_id"],
            "rows": rows,
        },
    )
    return True


def _judged(pair: Pair, said: Preference) -> dict[str, Any]:
    """A row of the evaluation: the rejected text as before, the chosen one as after and as the final text."""
    return {
        "user_key": pair.user_key,
        "interaction_id": pair.interaction_id,
        "prompt": pair.prompt,
        "before": pair.rejected,
        "after": pair.chosen,
        "final_text": pair.chosen,
        "measures": {"judge_agrees": said is Preference.FIRST, "tie": said is Preference.TIE, "facts": []},
    }
