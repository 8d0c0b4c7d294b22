"""Recipe `best_of_n`: the base drafts every prompt n times, the reward design picks the best, the model imitates it.

Rejection sampling fine-tuning (Dong et al. 2023, "RAFT"). What was sampled stays in the run's folder, in sampled.jsonl,
a prompt a line, and each batch of prompts has a seed of its own: a resumed run goes on with the next batch and samples
what an uninterrupted one would have.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from organism.errors import DesignError
from organism.lm.decoder import Decoder, Generation
from organism.lm.framing import framed
from organism.measures.draft_reward import draft_reward
from organism.optimize.configs import BestOfNConfig, TrainingConfig
from organism.optimize.draft_rewards import add_rewards, signals_of
from organism.optimize.drops import Reason, added, require_enough
from organism.optimize.evaluation import evaluate_run
from organism.optimize.recipes import sft
from organism.optimize.runs import Example, RunFolder, append_line, keep_lines, read_lines
from organism.optimize.training import Job, Trained, settle

SAMPLED = "sampled.jsonl"
PROMPTS_AT_ONCE = 8


class Draft(NamedTuple):
    """One sampled draft and what the design makes of it."""

    text: str
    tokens: int
    reward: float | None


def train(job: Job) -> Trained:
    """Sample, choose, then train an adapter on what was chosen.

    Raises DesignError without a design, or when it values too few drafts; and what `sft.imitate` raises.
    """
    if job.design is None:
        raise DesignError("the recipe 'best_of_n' chooses drafts by a reward design, and this run has none; name one")
    settle(job.where)
    examples = job.run.examples()
    sampled = sample(job, examples)
    if sampled is None:
        return Trained(0, 0, True, len(examples), 0)
    chosen, dropped = best_of(examples, sampled)
    require_enough(len(chosen), len(examples), dropped, job.config.max_length)
    trained = sft.imitate(job, chosen)
    return trained._replace(dropped=added(dropped, trained.dropped))


def sample(job: Job, examples: Sequence[Example]) -> list[list[Draft]] | None:
    """The drafts of every prompt that the model can read, in the order of the rows; none for one that it cannot.

    Goes on after the last whole batch of sampled.jsonl. None when somebody asked to stop.
    """
    file = job.run.path / SAMPLED
    done = [_drafts(line) for line in read_lines(file)]
    if len(done) < len(examples):  # a kill may have cut a batch, and a batch draws its numbers as one
        done = done[: len(done) - len(done) % PROMPTS_AT_ONCE]
        keep_lines(file, len(done))
    decoder = None if len(done) == len(examples) else Decoder.from_folder(job.base)
    while decoder is not None and len(done) < len(examples):
        if job.stop_asked():
            return None
        places = range(len(done), min(len(done) + PROMPTS_AT_ONCE, len(examples)))
        for place, drafts in zip(
            places, _sampled(decoder, [examples[p] for p in places], places.start, job), strict=True
        ):
            append_line(file, {"row": place, "drafts": [draft._asdict() for draft in drafts]})
            done.append(drafts)
        job.say(f"The base drafted {len(done)} of {len(examples)} prompts {job.config.n_drafts} times each")
    return done


def _drafts(line: Mapping[str, Any]) -> list[Draft]:
    return [Draft(**draft) for draft in line["drafts"]]


def _sampled(decoder: Decoder, examples: Sequence[Example], first: int, job: Job) -> list[list[Draft]]:
    config: BestOfNConfig = job.config
    prompts = framed([example.prompt for example in examples], decoder.tokenizer)
    lengths = [len(ids) for ids in decoder.tokenizer(prompts, add_special_tokens=False).input_ids]
    readable = [place for place, length in enumerate(lengths) if length < decoder.n_positions]
    written = decoder.generate(
        [examples[place].prompt for place in readable for _ in range(config.n_drafts)],
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        # The decoder numbers the prompts of one call from 0; a call begins at a row that no other begins at.
        seed=config.seed * 1_000_003 + first,
        batch_size=config.eval_batch_size,
    )
    drafts: list[list[Draft]] = [[] for _ in examples]
    for number, generation in enumerate(written):
        place = readable[number // config.n_drafts]
        drafts[place].append(_scored(generation, examples[place], job))
    return drafts


def _scored(generation: Generation, example: Example, job: Job) -> Draft:
    """A draft's reward against what the expert finally kept. One that was cut off by the limit earns nothing."""
    n_prompt, n_text = generation.prompt_tokens, generation.output_tokens
    seconds = job.config.seconds(n_prompt, n_text)
    signals = signals_of(example, generation.text, n_text, n_prompt, seconds=seconds)
    reward = 0.0 if generation.finish_reason == "length" else draft_reward(job.design or {}, signals)
    return Draft(generation.text, n_text, reward)


def best_of(examples: Sequence[Example], sampled: Sequence[Sequence[Draft]]) -> tuple[list[Example], dict[str, int]]:
    """Every row with its best draft as the completion, of equals the first, and how many rows have none, by reason."""
    chosen, left_out = [], Counter[str]()
    for example, drafts in zip(examples, sampled, strict=True):
        best = max(drafts, key=lambda draft: draft.reward or 0.0, default=None)
        if best is not None and best.reward:
            chosen.append(example._replace(completion=best.text))
        elif best is None:
            left_out[Reason.TOO_LONG] += 1
        else:
            left_out[Reason.UNSCORED if best.reward is None else Reason.WORTHLESS] += 1
    return chosen, {str(reason): count for reason, count in left_out.items()}


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
