"""Recipe `grpo`: the model drafts, the reward design grades, and what earned more than its siblings becomes likelier.

Group relative policy optimization (Shao et al. 2024, "DeepSeekMath") by TRL's trainer with LoRA. The reward function is
the reward design itself: quality by the characters that the expert's text keeps (or by a judge), price by tokens,
performance by the seconds that the tokens take. Its guardrails are floors for every draft, and so is the base: a draft
that keeps less of the expert's text or of the facts than a share of what the base's own draft of that prompt did earns
less than nothing, the less the worse. Without that a price weight is a cliff: a model stopped after 37 tokens.

TRL drafts by `generate` and scores by a masked forward; `Trainer` below drafts by the product's decoder on merged
weights, and scores right-padded rows without a mask. What a step samples depends on the seed and its number alone, so a
resumed run samples the same.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import trl
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, set_seed

from organism.config import Workspace
from organism.errors import DesignError
from organism.lm.decoder import Decoder, Generation
from organism.lm.framing import framed
from organism.lm.judge import judge_of
from organism.lm.reward_judge import RewardModelJudge
from organism.measures.draft_reward import draft_reward, shortfall
from organism.optimize.configs import GrpoConfig, TrainingConfig
from organism.optimize.draft_rewards import add_rewards, signals_of
from organism.optimize.drops import sift
from organism.optimize.evaluation import evaluate_run
from organism.optimize.preferences import token_log_probs
from organism.optimize.reporter import Reporter
from organism.optimize.runs import Example, RunFolder, append_line, keep_lines, read_lines
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
    settle,
)

SCHEDULE = {"train_sampling_strategy": "random", "lr_scheduler_type": "constant_with_warmup"}
"""TRL has a sampler of its own for groups; and a policy that has hardly moved yet should not slow down."""
FLOORS = "floors.jsonl"
FLOORED = ("written_share", "facts_right")
TOLD = frozenset({"reward", "kl", "entropy", "written_share", "facts_right", "output_tokens", "kept_floors"})


class Prompt(NamedTuple):
    """One prompt to draft for: its tokens, what its drafts are graded by, and what the base's own draft reached."""

    example: Example
    prompt_ids: list[int]
    floors: Mapping[str, float]

    @property
    def input_ids(self) -> list[int]:
        return self.prompt_ids

    @property
    def n_targets(self) -> int:
        return 0


def train(job: Job) -> Trained:
    """Train an adapter that climbs the run's reward design; goes on from the last whole checkpoint if there is one.

    Raises DesignError without a design, for one that weighs nothing that can be known of an unseen draft, and when too
    few prompts can be used; ModelError when the base or the judge cannot be loaded, RunError for a loss that is no
    number.
    """
    if job.design is None:
        raise DesignError("the recipe 'grpo' climbs a reward design, and this run has none; name one")
    settle(job.where)
    config: GrpoConfig = job.config
    model, tokenizer = load_base(job.base, job.where)
    examples, dropped = _usable(job.run.examples(), tokenizer, longest_of(model, config), config)
    floors = base_floors(job, examples)
    if floors is None:
        return Trained(0, 0, True, len(examples), 0)
    ids = tokenizer(framed([row.prompt for row in examples], tokenizer), add_special_tokens=False).input_ids
    prompts = [Prompt(*row) for row in zip(examples, ids, floors, strict=True)]
    a_step = config.batch_size // config.group_size
    plan = [
        batch
        for batch in batch_plan([len(row) for row in ids], a_step, config.epochs, config.seed)
        if len(batch) == a_step
    ]
    grader = Grader(job.design, prompts, config, _judge(config, job.run))
    # 4-bit weights cannot take an adapter into a copy: there TRL's own `generate` drafts.
    rollout = None if job.where.four_bit else Rollout(job.base, job.where, config)
    trainer = build_trainer(model, tokenizer, plan, grader, rollout, config, job.run.checkpoints, job.where)
    batches = [[prompts[place] for place in batch] for batch in plan]
    return fit(trainer, job, batches, n_rows=len(prompts), n_too_long=0, dropped=dropped)


def _usable(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, longest: int, config: GrpoConfig
) -> tuple[list[Example], dict[str, int]]:
    """The rows whose prompt leaves room for a draft of max_new_tokens."""
    prompts = framed([row.prompt for row in examples], tokenizer)
    lengths = [len(ids) for ids in tokenizer(prompts, add_special_tokens=False).input_ids]
    sifted = sift(examples, lengths, longest - min(config.max_new_tokens, longest // 2))
    return [examples[place] for place in sifted.places], sifted.dropped


def base_floors(job: Job, examples: Sequence[Example]) -> list[dict[str, float]] | None:
    """What each draft must reach: a share of what the base's own draft of its prompt does. None when asked to stop.

    Kept in floors.jsonl, a prompt a line, so that a resumed run goes on with the next.
    """
    config: GrpoConfig = job.config
    if config.floor_share == 0:
        return [{} for _ in examples]
    file = job.run.path / FLOORS
    done = [line["base"] for line in read_lines(file)]
    keep_lines(file, len(done))
    decoder = None if len(done) >= len(examples) else Decoder.from_folder(job.base)
    while decoder is not None and len(done) < len(examples):
        if job.stop_asked():
            return None
        some = examples[len(done) : len(done) + config.eval_batch_size]
        for example, written in zip(some, _greedy(decoder, some, config), strict=True):
            signals = signals_of(example, written.text, written.output_tokens, written.prompt_tokens)
            done.append({name: signals[name] for name in FLOORED if signals.get(name) is not None})
            append_line(file, {"base": done[-1]})
        job.say(f"The base drafted {len(done)} of {len(examples)} prompts, which no draft may fall short of")
    return [{name: config.floor_share * value for name, value in base.items()} for base in done]


def _greedy(decoder: Decoder, examples: Sequence[Example], config: GrpoConfig) -> list[Generation]:
    prompts = [example.prompt for example in examples]
    return decoder.generate(prompts, max_new_tokens=config.max_new_tokens, batch_size=config.eval_batch_size)


def _judge(config: GrpoConfig, run: RunFolder) -> RewardModelJudge | None:
    """The reward model that stands for quality; an endpoint would be asked hundreds of times a step."""
    if not config.judge:
        return None
    judge = judge_of(config.judge, Workspace(run.workspace))
    if not isinstance(judge, RewardModelJudge):
        raise DesignError("grpo grades every draft it samples; name a reward model as its judge, not an endpoint")
    return judge


class Grader:
    """The reward function: the design's reward of a draft, or less than nothing for one that breaks a floor."""

    __name__ = "reward_design"

    def __init__(
        self,
        design: Mapping[str, Any],
        prompts: Sequence[Prompt],
        config: GrpoConfig,
        judge: RewardModelJudge | None = None,
    ) -> None:
        self.design, self.prompts, self.config, self.judge = design, prompts, config, judge

    def __call__(
        self,
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
        place: Sequence[int],
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[float]:
        """A reward a draft; TRL's columns, `place` being the prompt's."""
        asked = [self.prompts[number] for number in place]
        graded = self.judge and self.judge.scores([row.example.prompt for row in asked], completions)
        found = [self._signals(*row) for row in zip(asked, completions, completion_ids, strict=True)]
        if graded:
            found = [_judged(signals, score) for signals, score in zip(found, graded, strict=True)]
        misses = [self._miss(row, signals) for row, signals in zip(asked, found, strict=True)]
        rewards = [
            0.0 if miss else draft_reward(self.design, row) or 0.0 for row, miss in zip(found, misses, strict=True)
        ]
        log_metric("design_reward", statistics.fmean(rewards))
        log_metric("kept_floors", statistics.fmean(miss == 0 for miss in misses))
        for name in ("written_share", "facts_right", "output_tokens"):
            if known := [value for row in found if (value := row.get(name)) is not None]:
                log_metric(name, statistics.fmean(known))
        return [reward - miss for reward, miss in zip(rewards, misses, strict=True)]

    def _signals(self, prompt: Prompt, text: str, ids: Sequence[int]) -> dict[str, float | None]:
        config, n_prompt = self.config, len(prompt.prompt_ids)
        return signals_of(prompt.example, text, len(ids), n_prompt, seconds=config.seconds(n_prompt, len(ids)))

    def _miss(self, prompt: Prompt, signals: Mapping[str, float | None]) -> float:
        """How far a draft falls short of the design's guardrails and of the base's own draft, from 0 to 1."""
        below = [1 - (signals.get(name) or 0.0) / floor for name, floor in prompt.floors.items() if floor > 0]
        return max([shortfall(self.design, signals), *below, 0.0])


def _judged(signals: Mapping[str, float | None], score: float) -> dict[str, float | None]:
    """The judge's score in place of the shares that need the expert's text; a reward model's scores center on 0."""
    quality = torch.sigmoid(torch.tensor(score)).item()
    return {**signals, "retained_char_rate": quality, "written_share": quality}


class Trainer(trl.GRPOTrainer):
    """TRL's trainer, scoring right-padded rows without a mask, and telling the few figures that matter."""

    zero_loss_fails = False

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, logits_to_keep: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor, None]:
        """Log-probabilities (rows, logits_to_keep) of the drafts' tokens, 0 on padding; in place of the entropy the
        surprise of the tokens drawn, whose mean it is.
        """
        causal_lm = self.accelerator.unwrap_model(model).get_base_model()
        n_prompt = attention_mask[:, :-logits_to_keep].sum(1)
        order = (1 - attention_mask).argsort(dim=1, stable=True)
        packed, real = input_ids.gather(1, order), attention_mask.gather(1, order)
        width = int(real.sum(1).max())
        packed, real = packed[:, :width], real[:, :width]
        learned = real.bool() & (torch.arange(width, device=packed.device) >= n_prompt[:, None])
        found = token_log_probs(causal_lm, packed, learned, bf16=self.args.bf16)
        drawn = torch.arange(logits_to_keep, device=packed.device) + n_prompt[:, None] - 1
        log_probs = found.gather(1, drawn.clamp(max=width - 2)) * attention_mask[:, -logits_to_keep:]
        return log_probs, -log_probs.detach(), None

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """The reward that is told is the design's own, 0 for a draft that broke a floor."""
        noted = self._metrics["train"]
        if "design_reward" in noted:
            noted["reward"] = noted.pop("design_reward")
        for name in set(noted) - TOLD:
            del noted[name]
        super().log(logs, start_time)


class Rollout:
    """Drafts a step's prompts by the decoder, with the adapter merged into weights of its own."""

    def __init__(self, base: Path, where: Machine, config: GrpoConfig) -> None:
        self.config = config
        self.writer, self.tokenizer = load_base(base, where)
        self.writer.to(where.device)
        self.base_weights = {name: weight.detach().clone() for name, weight in self.writer.named_parameters()}

    def __call__(self, prompts: Sequence[str], trainer: Any) -> dict[str, Any]:
        """TRL's rollout function: prompt and draft tokens of every prompt, in their order."""
        step = trainer.state.global_step
        self._follow(trainer.accelerator.unwrap_model(trainer.model))
        written = Decoder(self.writer, self.tokenizer, self.writer.dtype).generate(
            prompts,
            max_new_tokens=self.config.max_new_tokens,
            temperature=1.0,
            seed=self.config.seed * 1_000_003 + step,
            batch_size=len(prompts),
        )
        _count(trainer, step, written)
        heads = self.tokenizer(framed(prompts, self.tokenizer), add_special_tokens=False).input_ids
        return {"prompt_ids": heads, "completion_ids": [list(row.token_ids) for row in written], "logprobs": None}

    @torch.no_grad()
    def _follow(self, adapted: Any) -> None:
        """The writer's weights become base + adapter, anew from the base, so that no rounding adds up."""
        weights = dict(self.writer.named_parameters())
        for name, layer in adapted.get_base_model().named_modules():
            if hasattr(layer, "get_delta_weight"):
                weight = f"{name}.weight"
                weights[weight].copy_(self.base_weights[weight] + layer.get_delta_weight(adapted.active_adapter))


def _count(trainer: Any, step: int, written: Sequence[Generation]) -> None:
    """Tell the reporter how many tokens this step has, which nobody knows before."""
    for reporter in trainer.callback_handler.callbacks:
        if isinstance(reporter, Reporter):
            reporter.targets[step] = sum(row.output_tokens for row in written)
            reporter.all_tokens[step] = reporter.targets[step] + sum(row.prompt_tokens for row in written)


def build_trainer(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    plan: Sequence[Sequence[int]],
    grader: Grader,
    rollout: Rollout | None,
    config: GrpoConfig,
    checkpoints: Path,
    where: Machine,
    trainer_class: type[trl.GRPOTrainer] = Trainer,
) -> trl.GRPOTrainer:
    """A trainer that takes the prompts in this order, group_size drafts of each, once; TRL drafts without a rollout."""
    set_seed(config.seed)
    asked = trl.GRPOConfig(
        **{**arguments(config, checkpoints, where), **SCHEDULE},
        num_generations=config.group_size,
        max_completion_length=config.max_new_tokens,
        temperature=1.0,
        beta=config.beta,
        scale_rewards="group",
        shuffle_dataset=False,
    )
    rows = [{"prompt": grader.prompts[place].example.prompt, "place": place} for batch in plan for place in batch]
    return trainer_class(
        model=model,
        reward_funcs=grader,
        args=asked,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora(config),
        rollout_func=rollout,
    )


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
