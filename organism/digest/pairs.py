"""How rows are formed from usable drafts, by kind of set and by whose word counts. Pure.

Every candidate that becomes no row is counted under one reason, so a pair of two drafts counts as two.
"""

from collections import Counter
from collections.abc import Callable

import pandas as pd

from organism.digest.training_settings import Basis, SetSettings
from organism.records import DatasetKind, FeedbackKind

NO_FINAL_TEXT = "no final text"
NO_OUTPUT = "the model wrote nothing"
ACCEPTED = "accepted as it was, so nothing to compare"
UNCHANGED = "edited in case or spaces only"
REPEATED_PROMPT = "prompt already taken"
SIMILAR_PROMPT = "prompt already taken, but for case and spaces"
REPEATED_TEXT = "prompt and completion already taken"
OTHER_SIDE = "prompt is on the other side of the split"
REJECTED = "rejected, so not to imitate"
LEFT_ALONE = "no other draft of its prompt may be chosen over it"
NOT_BEST = "another draft of the prompt earned more"
SINGLE = "the only draft of its prompt"
BETWEEN = "neither the best nor the worst of its prompt"
SAME_TEXT = "best and worst draft read the same"
UNDER_MARGIN = "rewards closer than the margin"
IN_DEAD_BAND = "reward within the dead band"
NO_VISIT = "typed for the vote, so of nobody's visit"
TIED = "as many votes for one text as for the other"

Former = Callable[[pd.DataFrame, SetSettings, Counter[str]], pd.DataFrame]


def form(usable: pd.DataFrame, settings: SetSettings, dropped: Counter[str]) -> pd.DataFrame:
    """The rows that these candidates make, newest first.

    `usable` has the columns of `read_candidates`, reward, bar (why its text may not be imitated, None where it may) and
    is_heldout, indexed by place. Columns of the rows:
    place, rejected_place (-1 without), text, label, is_heldout.
    """
    return _FORMERS[settings.kind, settings.basis](usable, settings, dropped)


def keep(frame: pd.DataFrame, mask: pd.Series, reason: str, dropped: Counter[str]) -> pd.DataFrame:
    """The rows under the mask; the others are counted under the reason."""
    if n_lost := count_drafts(frame[~mask]):
        dropped[reason] += n_lost
    return frame[mask]


def imitable(frame: pd.DataFrame, dropped: Counter[str], *, unless: pd.Series | bool = False) -> pd.DataFrame:
    """Without the drafts that may not be imitated, but for those that are not to be; each counted under its reason."""
    kept = frame["bar"].isna() | unless
    dropped.update(frame.loc[~kept, "bar"].value_counts().to_dict())
    return frame[kept]


def count_drafts(rows: pd.DataFrame) -> int:
    """How many candidates these rows, or candidates, are made of."""
    if "rejected_place" not in rows:
        return len(rows)
    return len(rows) + int(((rows["rejected_place"] >= 0) & (rows["rejected_place"] != rows["place"])).sum())


def _expert_texts(usable: pd.DataFrame, _: SetSettings, dropped: Counter[str]) -> pd.DataFrame:
    """SFT by experts: the text that a person stood behind, once a prompt, the newest."""
    left = keep(usable, usable["has_final"], NO_FINAL_TEXT, dropped)
    return _rows(_prompts_once(left, dropped), text="final")


def _best_drafts(usable: pd.DataFrame, _: SetSettings, dropped: Counter[str]) -> pd.DataFrame:
    """SFT by reward: of each prompt the draft that earned most; of equals the newest."""
    left = keep(usable, usable["has_output"], NO_OUTPUT, dropped)
    ranked = left.sort_values("reward", ascending=False, kind="stable")
    best = keep(ranked, ~ranked["prompt_key"].duplicated(), NOT_BEST, dropped)
    return _rows(best.sort_index(), text="output")


def _edits_over_drafts(usable: pd.DataFrame, _: SetSettings, dropped: Counter[str]) -> pd.DataFrame:
    """Preference by experts: the text that they wrote, edited or anew, over the draft that it replaced."""
    left = keep(usable, usable["answer"] != FeedbackKind.ACCEPT, ACCEPTED, dropped)
    left = keep(left, left["has_final"] & left["has_prompt"], NO_FINAL_TEXT, dropped)
    left = keep(left, left["has_output"], NO_OUTPUT, dropped)
    left = keep(left, left["is_changed"], UNCHANGED, dropped)
    rows = _rows(_prompts_once(left, dropped), text="final")
    return rows.assign(rejected_place=rows["place"])


def _best_over_worst(usable: pd.DataFrame, settings: SetSettings, dropped: Counter[str]) -> pd.DataFrame:
    """Preference by reward: of each prompt the best draft that may be imitated over the worst, if a margin apart."""
    left = _one_side(keep(usable, usable["has_output"], NO_OUTPUT, dropped), dropped)
    n_drafts = left.groupby("prompt_key")["reward"].transform("size")
    left = keep(left, n_drafts > 1, SINGLE, dropped)
    ranked = _pairable(left.sort_values("reward", ascending=False, kind="stable"), dropped)
    best = ranked[~ranked["prompt_key"].duplicated()]
    worst = ranked[~ranked["prompt_key"].duplicated(keep="last")]
    if between := len(ranked) - 2 * len(best):
        dropped[BETWEEN] += between
    place_of = pd.Series(worst.index, index=worst["prompt_key"])
    other = worst.loc[place_of.loc[best["prompt_key"]]]
    rows = _rows(best, text="output").assign(
        rejected_place=other.index.to_numpy(),
        gap=best["reward"].to_numpy() - other["reward"].to_numpy(),
        reads_same=best["output_key"].to_numpy() == other["output_key"].to_numpy(),
    )
    rows = keep(rows, ~rows["reads_same"], SAME_TEXT, dropped)
    rows = keep(rows, rows["gap"] >= settings.margin, UNDER_MARGIN, dropped)
    return rows.drop(columns=["gap", "reads_same"]).sort_values("place").reset_index(drop=True)


def _pairable(ranked: pd.DataFrame, dropped: Counter[str]) -> pd.DataFrame:
    """The drafts of prompts where one that may be imitated stands over another; one that may not can only be worst."""
    is_worst = ~ranked["prompt_key"].duplicated(keep="last")
    may_lose = is_worst & ranked["bar"].isna().groupby(ranked["prompt_key"]).transform("any")
    left = imitable(ranked, dropped, unless=may_lose)
    n_drafts = left.groupby("prompt_key")["reward"].transform("size")
    return keep(left, n_drafts > 1, LEFT_ALONE, dropped)


def _labeled_answers(usable: pd.DataFrame, _: SetSettings, dropped: Counter[str]) -> pd.DataFrame:
    """Unpaired by experts: what they stood behind is desirable, what they rejected is not."""
    rejected = usable["answer"] == FeedbackKind.REJECT
    left = keep(usable, rejected | usable["has_final"], NO_FINAL_TEXT, dropped)
    rejected = rejected.loc[left.index]
    left = keep(left, ~rejected | (left["has_output"] & left["has_prompt"]), NO_OUTPUT, dropped)
    rejected = rejected.loc[left.index]
    text_key = left["output_key"].where(rejected, left["final_key"])
    left = _texts_once(_one_side(left.assign(text_key=text_key, label=~rejected), dropped), dropped)
    return _rows(left, text="final", label=left["label"]).assign(
        text=["final" if label else "output" for label in left["label"]]
    )


def _labeled_rewards(usable: pd.DataFrame, settings: SetSettings, dropped: Counter[str]) -> pd.DataFrame:
    """Unpaired by reward: drafts above the band are desirable if they may be imitated, those under it are not."""
    left = keep(usable, usable["has_output"], NO_OUTPUT, dropped)
    outside = (left["reward"] - settings.threshold).abs() >= max(settings.dead_band / 2, 1e-12)
    left = keep(left, outside, IN_DEAD_BAND, dropped)
    left = imitable(left, dropped, unless=left["reward"] < settings.threshold)
    left = left.assign(text_key=left["output_key"], label=left["reward"] > settings.threshold)
    left = _texts_once(_one_side(left, dropped), dropped)
    return _rows(left, text="output", label=left["label"])


def _preferred_texts(usable: pd.DataFrame, _: SetSettings, dropped: Counter[str]) -> pd.DataFrame:
    """Preference by votes: the text that more voters preferred over the other one of the same prompt."""
    left = keep(usable, usable["interaction_id"].notna(), NO_VISIT, dropped)
    left = keep(left, left["is_changed"], TIED, dropped)
    rows = _rows(_prompts_once(left, dropped), text="final")
    return rows.assign(rejected_place=rows["place"])


_FORMERS: dict[tuple[DatasetKind, Basis], Former] = {
    (DatasetKind.SFT, Basis.EXPERT): _expert_texts,
    (DatasetKind.SFT, Basis.REWARD): _best_drafts,
    (DatasetKind.PREFERENCE, Basis.EXPERT): _edits_over_drafts,
    (DatasetKind.PREFERENCE, Basis.REWARD): _best_over_worst,
    (DatasetKind.PREFERENCE, Basis.VOTE): _preferred_texts,
    (DatasetKind.UNPAIRED, Basis.EXPERT): _labeled_answers,
    (DatasetKind.UNPAIRED, Basis.REWARD): _labeled_rewards,
}


def _prompts_once(frame: pd.DataFrame, dropped: Counter[str]) -> pd.DataFrame:
    left = keep(frame, ~frame["prompt_hash"].duplicated(), REPEATED_PROMPT, dropped)
    return keep(left, ~left["prompt_key"].duplicated(), SIMILAR_PROMPT, dropped)


def _texts_once(frame: pd.DataFrame, dropped: Counter[str]) -> pd.DataFrame:
    return keep(frame, ~frame.duplicated(["prompt_key", "text_key"]), REPEATED_TEXT, dropped)


def _one_side(frame: pd.DataFrame, dropped: Counter[str]) -> pd.DataFrame:
    """Without the drafts whose prompt's newest draft is of a user on the other side."""
    side = frame.groupby("prompt_key")["is_heldout"].transform("first")
    return keep(frame, side == frame["is_heldout"], OTHER_SIDE, dropped)


def _rows(frame: pd.DataFrame, *, text: str, label: pd.Series | None = None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "place": frame.index.to_numpy(dtype="int64"),
            "rejected_place": -1,
            "text": text,
            "label": pd.Series([None] * len(frame), dtype=object) if label is None else label.astype(object).to_numpy(),
            "is_heldout": frame["is_heldout"].to_numpy(dtype=bool),
        }
    )
