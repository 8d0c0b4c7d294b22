"""Read, decide, write: answers and rewards to frozen training sets."""

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd

from organism.digest.designs import check_design
from organism.digest.flow import check_guardrails, live_design
from organism.digest.guardrails import barred
from organism.digest.row_rewards import rewards
from organism.digest.training_sets import LEAKED, Choice, check_choice, choose, least_reward, rows_hash
from organism.digest.training_settings import Basis, SetSettings, check_name
from organism.digest.vote_pairs import vote_candidates
from organism.errors import DesignError, InputError
from organism.measures.near_duplicates import NearPair, near_pairs
from organism.records import DatasetKind, RewardDesign, new_id
from organism.store.candidates import read_candidates, read_texts
from organism.store.database import Store
from organism.store.datasets import append_dataset, find_dataset
from organism.store.signals import known_signals, read_signal_values
from organism.store.votes import read_voted_items

OnProgress = Callable[[float, str], None]
N_EXAMPLES, EXAMPLE_CHARS = 20, 2_000


class TrainingSet(NamedTuple):
    """A frozen set: its rows by split, how many drafts were dropped for which reason, how many leaked.

    `least_reward` is what a draft had to earn, None where any reward did.
    """

    dataset_id: str
    content_hash: str
    n_train: int
    n_heldout: int
    n_users_train: int
    n_users_heldout: int
    dropped: dict[str, int]
    kind: str = DatasetKind.SFT
    n_leaking: int = 0
    least_reward: float | None = None


class Preview(NamedTuple):
    """What a set would hold if it were frozen now; `objection` says why it cannot be, None when it can.

    `least_reward` is what a draft must earn, None where any reward does.
    """

    n_candidates: int
    n_train: int
    n_heldout: int
    n_users_train: int
    n_users_heldout: int
    dropped: dict[str, int]
    n_leaking: int
    objection: str | None
    least_reward: float | None = None


class _Draft(NamedTuple):
    """A set before it is frozen: candidates, what was chosen of them, its texts by place, what leaked, the least reward
    that was wanted.
    """

    candidates: pd.DataFrame
    choice: Choice
    texts: pd.DataFrame
    leakage: dict[str, Any]
    least_reward: float | None


class _Sizes(NamedTuple):
    """Rows and users on both sides."""

    n_train: int
    n_heldout: int
    n_users_train: int
    n_users_heldout: int


def build_training_set(
    store: Store,
    loop_id: str,
    *,
    name: str | None = None,
    max_rows: int = 400,
    heldout_share: float = 0.25,
    max_heldout_rows: int = 300,
    seed: int = 0,
    now: datetime,
) -> TrainingSet:
    """Freeze pairs of prompt and the text that its expert stood behind, split by user, newest first.

    The same answers give the same set: a second call returns the one that is there. Raises DesignError
    when fewer than 20 rows could be trained on, or nobody is held out.
    """
    settings = SetSettings(max_rows=max_rows, heldout_share=heldout_share, max_heldout_rows=max_heldout_rows, seed=seed)
    return freeze(store, loop_id, settings, name=name, now=now)


def freeze(
    store: Store,
    loop_id: str,
    settings: SetSettings,
    *,
    design: RewardDesign | None = None,
    name: str | None = None,
    now: datetime,
    on_progress: OnProgress | None = None,
) -> TrainingSet:
    """Freeze a training set of these settings under this design (the live one without).

    The same answers and settings give the same set: a second call returns the one that is there. Raises DesignError
    when too few rows are left, nobody is held out, a figure is out of range or the design cannot give a reward;
    InputError when a variant or region is asked for that no draft has, or the name is none.
    """
    check_name(name)
    say = on_progress or _silent
    recipe = design or live_design(store, loop_id)
    draft = _draft(store, loop_id, settings, recipe, say)
    check_choice(draft.choice, settings)
    say(0.9, "Freezing the rows")
    rows = _rows(draft, settings.kind)
    header = _header(loop_id, draft, rows, settings, recipe)
    dataset_id = find_dataset(
        store, loop_id, header["content_hash"], settings=header["settings"] if settings.needs_reward else None
    )
    if dataset_id is None:
        dataset_id = new_id(now)
        title = name or _title(settings, header["latest_signal_at"])
        append_dataset(store, {**header, "dataset_id": dataset_id, "name": title, "created_at": now}, rows)
    say(1.0, "Frozen")
    return TrainingSet(
        dataset_id=dataset_id,
        content_hash=header["content_hash"],
        **_sizes(draft)._asdict(),
        dropped=draft.choice.dropped,
        kind=settings.kind,
        n_leaking=draft.leakage["n_leaking"],
        least_reward=draft.least_reward,
    )


def preview(
    store: Store,
    loop_id: str,
    settings: SetSettings,
    *,
    design: RewardDesign | None = None,
    on_progress: OnProgress | None = None,
) -> Preview:
    """What `freeze` would keep and drop now, and why it would refuse; nothing is written.

    Raises what `freeze` raises for settings or a design that cannot work at all.
    """
    draft = _draft(store, loop_id, settings, design or live_design(store, loop_id), on_progress or _silent)
    try:
        check_choice(draft.choice, settings)
        objection = None
    except DesignError as error:
        objection = str(error)
    return Preview(
        n_candidates=len(draft.candidates),
        **_sizes(draft)._asdict(),
        dropped=draft.choice.dropped,
        n_leaking=draft.leakage["n_leaking"],
        objection=objection,
        least_reward=draft.least_reward,
    )


def _draft(store: Store, loop_id: str, settings: SetSettings, design: RewardDesign, say: OnProgress) -> _Draft:
    """Everything up to the decision whether the set is large enough."""
    settings.check()
    known = known_signals(store, loop_id)
    if settings.needs_reward:
        check_design(design, known)
    say(0.05, "Reading the drafts and their answers")
    candidates = _candidates(store, loop_id, settings)
    _check_filters(candidates, settings)
    say(0.4, "Scoring them")
    is_measured = all(spec.signal in known and known[spec.signal].removed_at is None for spec in design.signals)
    if is_measured and settings.basis is not Basis.VOTE:
        candidates["reward"] = _rewards(store, loop_id, design, candidates["interaction_id"])
    say(0.6, "Choosing rows")
    broken = barred(check_guardrails(store, loop_id, design)) if settings.basis is Basis.REWARD else ()
    choice = choose(candidates, settings, broken=broken)
    say(0.7, "Reading the chosen texts")
    texts = _texts(store, candidates, choice.rows)
    say(0.8, "Looking for training prompts that nearly repeat a held-out one")
    near = _near(choice, texts, settings.near)
    leakage = _leakage(choice, candidates, texts, near, settings.near)
    kept = choice.without([pair.train for pair in near], LEAKED)
    return _Draft(candidates, kept, texts, leakage, least_reward(candidates, settings))


def _candidates(store: Store, loop_id: str, settings: SetSettings) -> pd.DataFrame:
    """What could become a row, its reward still unknown."""
    if settings.basis is Basis.VOTE:
        return vote_candidates(read_voted_items(store, loop_id))
    answered, compared = settings.basis is Basis.EXPERT, settings.kind is not DatasetKind.SFT
    return read_candidates(store, loop_id, answered=answered, compared=compared).assign(reward=math.nan)


def _check_filters(candidates: pd.DataFrame, settings: SetSettings) -> None:
    for noun, asked, column in (("variant", settings.variants, "variant"), ("region", settings.regions, "region")):
        known = sorted(candidates[column].dropna().unique())
        if unknown := sorted(set(asked) - set(known)):
            raise InputError(f"no draft here has the {noun} {unknown[0]!r}; there are: {', '.join(known) or 'none'}")


def _rewards(store: Store, loop_id: str, design: RewardDesign, ids: pd.Series) -> pd.Series:
    """The reward of these interactions under the design; NaN where it gives none."""
    signals = read_signal_values(store, loop_id, [spec.signal for spec in design.signals])
    return pd.Series(rewards(signals.set_index("interaction_id").reindex(ids), design), index=ids.index)


def _texts(store: Store, candidates: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The texts of all drafts that the rows name, by place; ballots bring their own."""
    places = sorted({*rows["place"], *rows["rejected_place"]} - {-1})
    asked = candidates.loc[places]
    if "final" in candidates:
        return asked[["prompt", "output", "final", "facts"]]
    feedback = [text if isinstance(text, str) else None for text in asked["feedback_id"]]
    return read_texts(store, asked["interaction_id"].tolist(), feedback).set_axis(places)


def _near(choice: Choice, texts: pd.DataFrame, threshold: float) -> list[NearPair]:
    """Training rows whose prompt is nearly a held-out one, by their numbers in the choice."""
    prompts = texts["prompt"].loc[choice.rows["place"]].tolist()
    n_train = len(choice.split("train"))
    return near_pairs(prompts[:n_train], prompts[n_train:], threshold=threshold)


def _leakage(
    choice: Choice, candidates: pd.DataFrame, texts: pd.DataFrame, near: list[NearPair], threshold: float
) -> dict[str, Any]:
    """What was compared, how many leaked, and up to 20 of them, the nearest first."""
    n_train = len(choice.split("train"))
    places = choice.rows["place"].tolist()
    return {
        "threshold": threshold,
        "n_compared": n_train,
        "n_leaking": len(near),
        "examples": [
            {
                "similarity": round(pair.similarity, 4),
                "train_interaction_id": candidates["interaction_id"].loc[places[pair.train]],
                "heldout_interaction_id": candidates["interaction_id"].loc[places[n_train + pair.heldout]],
                "train_prompt": texts["prompt"].loc[places[pair.train]][:EXAMPLE_CHARS],
                "heldout_prompt": texts["prompt"].loc[places[n_train + pair.heldout]][:EXAMPLE_CHARS],
            }
            for pair in sorted(near, key=lambda pair: (-pair.similarity, pair.train))[:N_EXAMPLES]
        ],
    }


def _rows(draft: _Draft, kind: DatasetKind) -> list[dict[str, Any]]:
    """The chosen rows with their texts, training rows first, numbered from 0."""
    chosen = draft.choice.rows
    columns = ["interaction_id", "feedback_id", "user_key", "reward", "origin"]
    people = draft.candidates.reindex(columns=columns).loc[draft.texts.index].to_dict("index")
    texts = draft.texts.to_dict("index")
    return [
        {"row_number": number, "split": row.split}
        | _lineage(people[row.place], people.get(row.rejected_place))
        | _content(kind, row, texts)
        for number, row in enumerate(chosen.itertuples(index=False))
    ]


def _lineage(own: Mapping[Any, Any], rejected: Mapping[Any, Any] | None) -> dict[str, Any]:
    """Whose row it is and where it came from: the row's draft and answer, and those of the rejected text."""
    found = {
        "interaction_id": own["interaction_id"],
        "feedback_id": _word(own["feedback_id"]),
        "user_key": own["user_key"],
        "reward": _figure(own["reward"]),
        "origin": _word(own["origin"]),
    }
    if rejected is not None:
        found["rejected_interaction_id"] = rejected["interaction_id"]
        found["rejected_feedback_id"] = _word(rejected["feedback_id"])
        found["rejected_reward"] = _figure(rejected["reward"])
    return found


def _content(kind: DatasetKind, row: Any, texts: Mapping[Any, Mapping[Any, Any]]) -> dict[str, Any]:
    own = texts[row.place]
    words = {"prompt": own["prompt"]}
    if kind is DatasetKind.PREFERENCE:
        return words | {"chosen": own[row.text], "rejected": texts[row.rejected_place]["output"]}
    if kind is DatasetKind.UNPAIRED:
        return words | {"completion": own[row.text], "label": bool(row.label)}
    return words | {"completion": own[row.text], "facts": _word(own["facts"])}


def _header(
    loop_id: str, draft: _Draft, rows: list[dict[str, Any]], settings: SetSettings, design: RewardDesign
) -> dict[str, Any]:
    trained = draft.choice.split("train")["place"]
    recipe = {"least_reward": draft.least_reward, **_recipe(design)} if settings.needs_reward else {}
    return {
        "loop_id": loop_id,
        "content_hash": rows_hash(rows, settings.kind),
        **_sizes(draft)._asdict(),
        "dropped": draft.choice.dropped,
        "latest_signal_at": draft.candidates["answered_at"].loc[trained].max().to_pydatetime(),
        "kind": str(settings.kind),
        "settings": settings.spec() | recipe,
        "leakage": draft.leakage,
        "reward_design_id": design.id,
    }


def _recipe(design: RewardDesign) -> dict[str, Any]:
    """The whole recipe, since a set may come from a design that nobody saved."""
    return {"reward_design": {"reward_design_id": design.id, **design.spec()}}


def _sizes(draft: _Draft) -> _Sizes:
    users = draft.candidates["user_key"]
    train, heldout = (draft.choice.split(name)["place"] for name in ("train", "heldout"))
    return _Sizes(len(train), len(heldout), int(users.loc[train].nunique()), int(users.loc[heldout].nunique()))


def _title(settings: SetSettings, until: datetime) -> str:
    what = {
        DatasetKind.SFT: "notes",
        DatasetKind.PREFERENCE: "preference pairs",
        DatasetKind.UNPAIRED: "labeled drafts",
    }[settings.kind]
    by = {Basis.EXPERT: "", Basis.REWARD: " by reward", Basis.VOTE: " by vote"}[settings.basis]
    return f"{what}{by} until {until:%Y-%m-%d}"


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _figure(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _silent(_share: float, _text: str) -> None:
    """Nobody watches."""
