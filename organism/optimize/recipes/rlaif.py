"""Recipe `rlaif`: the base drafts every prompt twice, a judge says which is better, and DPO learns from the labels.

Reinforcement learning from AI feedback (Bai et al. 2022; Lee et al. 2023), with a judge of the product's own: a reward
model, or an endpoint. A judge is worth what it agrees with people, so it is first asked about held-out people: about
the pairs that they chose from, and about two of the base's own drafts, where the better one is that which is nearer to
the text that the person chose. The second question is the harder one, and the one that it labels the training rows by.

Every prompt's drafts and label stay in judged.jsonl, a prompt a line. What is sampled depends on the seed and the row
alone: a resumed run goes on with the next few prompts as an uninterrupted one would have.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from organism.config import Workspace
from organism.errors import DesignError
from organism.lm.decoder import Decoder
from organism.lm.framing import framed
from organism.lm.judge import Judge, Preference, judge_of
from organism.measures.acceptance import measure
from organism.optimize.agreement import agreement, longer_is_chosen
from organism.optimize.configs import RlaifConfig, TrainingConfig
from organism.optimize.drops import Reason, added, in_words
from organism.optimize.evaluation import evaluate_run
from organism.optimize.paired import dice
from organism.optimize.recipes.dpo import train_on_pairs
from organism.optimize.runs import MIN_TRAIN_ROWS, Pair, RunFolder, append_line, keep_lines, read_lines, write_json
from organism.optimize.training import Job, Trained, settle

JUDGED = "judged.jsonl"
JUDGED_HELDOUT = "judged_heldout.jsonl"
AGREEMENT = "judge_agreement.json"
PROMPTS_AT_ONCE = 8
CHANCE = 0.5
SWAPPED = {
    Preference.FIRST: Preference.SECOND,
    Preference.SECOND: Preference.FIRST,
    Preference.TIE: Preference.TIE,
}


class Duel(NamedTuple):
    """Two drafts of one prompt and what the judge said; both None where the model cannot read the prompt."""

    first: str | None
    second: str | None
    said: Preference


def train(job: Job) -> Trained:
    """Draft, have it judged, then train an adapter on the judge's preferences.

    Raises ModelError when the judge cannot be asked, DesignError when it prefers the worse drafts, or neither of too
    many prompts, and what `dpo.train_on_pairs` raises.
    """
    settle(job.where)
    rows = job.run.pairs()
    judge = judge_of(job.config.judge, Workspace(job.run.workspace))
    if not measure_judge(job, judge):
        return Trained(0, 0, True, len(rows), 0)
    require_no_contrary(json.loads((job.run.path / AGREEMENT).read_text(encoding="utf-8")))
    duels = hold_duels(job, rows, judge)
    if duels is None:
        return Trained(0, 0, True, len(rows), 0)
    labeled, dropped = labeled_pairs(rows, duels)
    if len(labeled) < MIN_TRAIN_ROWS:
        raise DesignError(
            f"the judge {judge.name} told {len(labeled)} of {len(rows)} pairs of drafts apart ({in_words(dropped)}); "
            f"at least {MIN_TRAIN_ROWS} are needed. Raise the temperature, take more rows, or name another judge."
        )
    trained = train_on_pairs(job, labeled)
    return trained._replace(dropped=added(dropped, trained.dropped))


def measure_judge(job: Job, judge: Judge) -> bool:
    """Ask the judge about what held-out people chose, and keep its agreement with them; False when asked to stop."""
    file = job.run.path / AGREEMENT
    if file.exists():
        return True
    pairs = job.run.heldout_pairs()[: job.config.max_asked]
    said: list[Preference] = []
    for first in range(0, len(pairs), PROMPTS_AT_ONCE):
        if job.stop_asked():
            return False
        some = pairs[first : first + PROMPTS_AT_ONCE]
        chosen, rejected = [row.chosen for row in some], [row.rejected for row in some]
        said += judge.prefer_all([row.prompt for row in some], chosen, rejected)
        job.say(f"The judge {judge.name} looked at {len(said)} of {len(pairs)} pairs that people chose from")
    duels = hold_duels(job, pairs, judge, JUDGED_HELDOUT)
    if duels is None:
        return False
    longer_wins, seed = longer_is_chosen(job.run.pairs()), job.config.seed
    on_pairs = agreement(pairs, said, longer_wins=longer_wins, seed=seed).summary()
    on_drafts = agreement(*nearer_first(pairs, duels), longer_wins=longer_wins, seed=seed).summary()
    write_json(file, {"judge": judge.name, **on_pairs, "own_drafts": on_drafts})
    return True


def require_no_contrary(found: Mapping[str, Any]) -> None:
    """DesignError for a judge that prefers the worse of the base's own drafts: its whole interval below chance."""
    own = found["own_drafts"]
    if own["ci"] is not None and own["ci"][1] < CHANCE:
        raise DesignError(
            f"the judge {found['judge']} agrees with people on {own['agreement']:.0%} of {own['n']} pairs of the "
            f"base's own drafts, at most {own['ci'][1]:.0%}: it prefers the worse draft. Train a judge on pairs of "
            "drafts that people compared, such as votes, or name another one."
        )


def nearer_first(rows: Sequence[Pair], duels: Sequence[Duel]) -> tuple[list[Pair], list[Preference]]:
    """Of each two drafts the one nearer to the chosen text first, and what the judge said in that order.

    Where both are as near, nobody knows which is better, and the row is left out.
    """
    ranked: list[Pair] = []
    said: list[Preference] = []
    for row, duel in zip(rows, duels, strict=True):
        if duel.first is None or duel.second is None:
            continue
        ahead = nearness(duel.first, row.chosen) - nearness(duel.second, row.chosen)
        if ahead:
            nearer, other = (duel.first, duel.second) if ahead > 0 else (duel.second, duel.first)
            ranked.append(row._replace(chosen=nearer, rejected=other))
            said.append(duel.said if ahead > 0 else SWAPPED[duel.said])
    return ranked, said


def nearness(draft: str, final: str) -> float:
    """How near two texts are, from 0 to 1: twice the characters that they share over the characters of both."""
    shared = measure(draft, final)
    return dice(shared.retained_chars, shared.draft_chars, shared.final_chars)


def hold_duels(job: Job, rows: Sequence[Pair], judge: Judge, name: str = JUDGED) -> list[Duel] | None:
    """Two drafts of every row's prompt and the judge's word on them, in their order; None when asked to stop."""
    file = job.run.path / name
    found = [Duel(line["first"], line["second"], Preference(line["said"])) for line in read_lines(file)]
    whole = len(found) if len(found) == len(rows) else len(found) // PROMPTS_AT_ONCE * PROMPTS_AT_ONCE
    done = found[:whole]
    keep_lines(file, whole)
    decoder = None if len(done) == len(rows) else Decoder.from_folder(job.base)
    while decoder is not None and len(done) < len(rows):
        if job.stop_asked():
            return None
        some = rows[len(done) : len(done) + PROMPTS_AT_ONCE]
        for duel in _duels(decoder, [row.prompt for row in some], len(done), judge, job.config):
            append_line(file, duel._asdict())
            done.append(duel)
        job.say(f"The base drafted {len(done)} of {len(rows)} prompts twice, and the judge {judge.name} compared them")
    return done


def _duels(decoder: Decoder, prompts: Sequence[str], start: int, judge: Judge, config: RlaifConfig) -> list[Duel]:
    heads = decoder.tokenizer(framed(prompts, decoder.tokenizer), add_special_tokens=False).input_ids
    lengths = [len(head) for head in heads]
    readable = [place for place, length in enumerate(lengths) if length < decoder.n_positions]
    asked = [prompts[place] for place in readable]
    written = decoder.generate(
        [prompt for prompt in asked for _ in range(2)],
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        # The decoder numbers the prompts of one call from 0; a call begins at a row that no other begins at.
        seed=config.seed * 1_000_003 + start,
        batch_size=config.eval_batch_size,
    )
    firsts, seconds = [draft.text for draft in written[::2]], [draft.text for draft in written[1::2]]
    duels = [Duel(None, None, Preference.TIE)] * len(prompts)
    said = judge.prefer_all(asked, firsts, seconds)
    for place, first, second, preference in zip(readable, firsts, seconds, said, strict=True):
        duels[place] = Duel(first, second, preference)
    return duels


def labeled_pairs(rows: Sequence[Pair], duels: Sequence[Duel]) -> tuple[list[Pair], dict[str, int]]:
    """The drafts that the judge told apart, the better one chosen, and how many prompts gave none, by reason."""
    labeled, left_out = [], Counter[str]()
    for row, duel in zip(rows, duels, strict=True):
        if duel.first is None or duel.second is None:
            left_out[Reason.TOO_LONG] += 1
        elif duel.first.strip() == duel.second.strip():
            left_out[Reason.EQUAL] += 1
        elif duel.said is Preference.TIE:
            left_out[Reason.TIED] += 1
        else:
            better, worse = (duel.first, duel.second)[:: 1 if duel.said is Preference.FIRST else -1]
            labeled.append(row._replace(chosen=better, rejected=worse))
    return labeled, {str(reason): count for reason, count in left_out.items()}


def evaluate(
    run: RunFolder,
    base: Path,
    config: TrainingConfig,
    description: Mapping[str, Any],
    on_draft: Callable[[str, int, int], bool],
) -> bool:
    """Before and after as for any recipe, and how far the judge agreed with people (`judge_agreement`, in the form of
    `agreement.Agreement.summary`; its `own_drafts` is about the base's drafts).
    """
    if not evaluate_run(run, base, config, description, on_draft):
        return False
    found = json.loads((run.path / AGREEMENT).read_text(encoding="utf-8"))
    written = json.loads(run.evaluation.read_text(encoding="utf-8"))
    write_json(run.evaluation, {**written, "summary": {**written["summary"], "judge_agreement": found}})
    return True
