"""Which drafts and answers become training rows. Pure: the same candidates and settings give the same rows."""

import hashlib
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from organism.digest import pairs
from organism.digest.training_settings import Basis, SetSettings
from organism.errors import DesignError
from organism.records import DatasetKind, FeedbackKind, content_hash

MIN_TRAIN_ROWS = 20
NO_CONSENT = "no consent"
NO_USER = "no user named"
NO_PROMPT = "no prompt"
NO_REWARD = "no reward under this design"
LOW_REWARD = "reward under the least one"
BREAKS = " breaks a guardrail"
UNDER_MEDIAN = "reward under the median of the drafts scored"
OTHER_DATES = "outside the dates"
OTHER_VARIANT = "another variant"
OTHER_ANSWER = "another kind of answer"
OTHER_REGION = "another region"
OVER_USER = "over the limit for one user"
OVER_LIMIT = "over the limit, newest first"
OVER_HELDOUT = "over the limit of held-out rows, newest first"
OVER_LIMIT_BY_REWARD = "over the limit, best rewarded first"
LEAKED = "nearly the same prompt is held out"

_CONTENT = {
    DatasetKind.SFT: ("split", "user_key", "prompt", "completion", "facts"),
    DatasetKind.PREFERENCE: ("split", "user_key", "prompt", "chosen", "rejected"),
    DatasetKind.UNPAIRED: ("split", "user_key", "prompt", "completion", "label"),
}
HASHED = "The hash covers prompts, texts, facts, labels, split and users, in order; rewards are notes beside them"


class Choice(NamedTuple):
    """The chosen rows in the order they are frozen, and how many candidates were dropped for which reason.

    Columns of `rows`: split, place (of the candidate whose text is completed or chosen), rejected_place (-1 without),
    text ('final' or 'output', the text that is taken), label (True, False, None without).
    """

    rows: pd.DataFrame
    dropped: dict[str, int]

    def without(self, leaking: Sequence[int], reason: str) -> "Choice":
        """The same without these rows (their numbers in the order of `rows`), counted."""
        if not len(leaking):
            return self
        rows = self.rows.drop(self.rows.index[list(leaking)]).reset_index(drop=True)
        lost = Counter({reason: pairs.count_drafts(self.rows.iloc[list(leaking)])})
        return Choice(rows, dict(sorted((Counter(self.dropped) + lost).items())))

    def split(self, name: str) -> pd.DataFrame:
        """The rows of one split, 'train' or 'heldout'."""
        return self.rows[self.rows["split"] == name]


def is_heldout(user_key: str, share: float) -> bool:
    """Whether this user is kept for evaluation: by a hash of the user alone, so that it is the same in every set.

    A larger share keeps everyone who was held out under a smaller one.
    """
    digest = hashlib.blake2b(f"heldout/{user_key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64


def choose(candidates: pd.DataFrame, settings: SetSettings, *, broken: Collection[str] = ()) -> Choice:
    """Split the candidates (newest first; the columns of `read_candidates`, and reward) by user.

    A prompt stands on one side only, that of its newest row. Rows are taken newest first up to the limits; training
    rows that imitate drafts, best rewarded first. The seed shuffles the order of the training rows. No draft of the
    variants in `broken`, which break a guardrail of the design, is imitated for its reward.
    """
    dropped: Counter[str] = Counter()
    least = least_reward(candidates, settings)
    barred = candidates.assign(bar=_bars(candidates, broken))
    left = _usable(_asked_for(barred, settings, dropped), settings, least, dropped)
    users = {user: is_heldout(user, settings.heldout_share) for user in left["user_key"].unique()}
    left = left.assign(is_heldout=left["user_key"].map(users).astype(bool))
    formed = pairs.form(left, settings, dropped)
    rows = _within_limits(formed, left, settings, dropped)
    train, heldout = rows.index[~rows["is_heldout"]].tolist(), rows.index[rows["is_heldout"]].tolist()
    random.Random(settings.seed).shuffle(train)
    rows = rows.loc[train + heldout, ["place", "rejected_place", "text", "label"]].reset_index(drop=True)
    rows.insert(0, "split", ["train"] * len(train) + ["heldout"] * len(heldout))
    return Choice(rows, dict(sorted(dropped.items())))


def least_reward(candidates: pd.DataFrame, settings: SetSettings) -> float | None:
    """What a draft must have earned: what was asked for, else the median of all that were scored where drafts are
    imitated; None where any reward, or none, will do.
    """
    if settings.min_reward is not None or not settings.imitates_drafts:
        return settings.min_reward
    scored = candidates["reward"].dropna()
    return None if scored.empty else float(scored.median())


def check_choice(choice: Choice, settings: SetSettings) -> None:
    """Raise DesignError, with what waits and what is missing, when the rows are too few to learn or to measure."""
    train, n_heldout = choice.split("train"), len(choice.split("heldout"))
    lost = ", ".join(f"{count} {reason}" for reason, count in choice.dropped.items()) or "none"
    if len(train) < MIN_TRAIN_ROWS:
        raise DesignError(
            f"{len(train)} {_NOUN[settings.kind]} can be trained on (held out: {n_heldout}; dropped: {lost}); wanted "
            f"at least {MIN_TRAIN_ROWS} {_wanted(settings)} from users who consent. {_cure(settings, choice.dropped)}"
        )
    if not n_heldout:
        raise DesignError(
            f"no user is held out, so nothing could be measured ({len(train)} rows to train on; dropped: "
            f"{lost}). Wait for more users, or raise the held-out share."
        )
    if settings.kind is DatasetKind.UNPAIRED and train["label"].nunique() < 2:
        found = "desirable" if train["label"].iloc[0] else "undesirable"
        raise DesignError(
            f"all {len(train)} rows to train on are {found} (dropped: {lost}); a model learns from both sides. "
            "Move the threshold, or ask for more kinds of answer."
        )


def rows_hash(rows: Sequence[Mapping[str, Any]], kind: DatasetKind = DatasetKind.SFT) -> str:
    """The SHA-256 of the rows' content and order: equal sets have equal hashes on any machine, whatever their ids.

    Rewards are left out, since no trainer reads them: sets of two designs that chose the same rows have one hash.
    """
    return content_hash([{name: row[name] for name in _CONTENT[kind]} for row in rows])


def _asked_for(candidates: pd.DataFrame, settings: SetSettings, dropped: Counter[str]) -> pd.DataFrame:
    """The candidates within the filters."""
    left, at = candidates, candidates["answered_at"]
    if settings.since is not None or settings.until is not None:
        first, end = settings.since or pd.Timestamp.min, settings.until or pd.Timestamp.max
        left = pairs.keep(left, (at >= first) & (at < end), OTHER_DATES, dropped)
    for names, column, reason in (
        (settings.variants, "variant", OTHER_VARIANT),
        (settings.answers, "answer", OTHER_ANSWER),
        (settings.regions, "region", OTHER_REGION),
    ):
        if names:
            left = pairs.keep(left, left[column].isin(names), reason, dropped)
    return left


def _bars(candidates: pd.DataFrame, broken: Collection[str]) -> pd.Series:
    """Why each draft's text may not be imitated for its reward; None where it may. A person's word comes first."""
    variants = candidates["variant"]
    bars = (variants + BREAKS).where(variants.isin(list(broken)), None).astype(object)
    return bars.mask(candidates["answer"] == FeedbackKind.REJECT, pairs.REJECTED)


def _usable(
    candidates: pd.DataFrame, settings: SetSettings, least: float | None, dropped: Counter[str]
) -> pd.DataFrame:
    """The candidates whose user is known and consented, with a prompt, and a reward where one is needed."""
    users = candidates["user_key"]
    left = pairs.keep(candidates, users.notna() & (users != ""), NO_USER, dropped)
    left = pairs.keep(left, left["consent"].astype(bool), NO_CONSENT, dropped)
    if settings.basis is Basis.REWARD:
        left = pairs.keep(left, left["has_prompt"].astype(bool), NO_PROMPT, dropped)
    if settings.needs_reward:
        left = pairs.keep(left, left["reward"].notna(), NO_REWARD, dropped)
    if settings.imitates_drafts:
        left = pairs.imitable(left, dropped)
    if least is not None:
        reason = UNDER_MEDIAN if settings.min_reward is None else LOW_REWARD
        left = pairs.keep(left, left["reward"] >= least, reason, dropped)
    return left


def _within_limits(
    formed: pd.DataFrame, usable: pd.DataFrame, settings: SetSettings, dropped: Counter[str]
) -> pd.DataFrame:
    """The first rows of each user and of each side: the newest, or to imitate drafts those that earned most.

    Held-out rows are the newest always: the best rewarded would make an easier test.
    """
    left = _best_first(formed, usable["reward"]) if settings.imitates_drafts else formed
    if settings.max_rows_per_user is not None:
        number = left.groupby(usable["user_key"].loc[left["place"]].to_numpy()).cumcount()
        left = pairs.keep(left, number < settings.max_rows_per_user, OVER_USER, dropped)
    number = left.groupby("is_heldout").cumcount()
    trained, judged = (OVER_LIMIT_BY_REWARD, OVER_HELDOUT) if settings.imitates_drafts else (OVER_LIMIT, OVER_LIMIT)
    left = pairs.keep(left, ~left["is_heldout"] | (number < settings.max_heldout_rows), judged, dropped)
    return pairs.keep(left, left["is_heldout"] | (number.loc[left.index] < settings.max_rows), trained, dropped)


def _best_first(formed: pd.DataFrame, rewards: pd.Series) -> pd.DataFrame:
    """Training rows by the reward that they earned, of equals the newest first; held-out rows as they stand."""
    order = rewards.loc[formed["place"]].set_axis(formed.index).mask(formed["is_heldout"], 0.0)
    return formed.loc[order.sort_values(ascending=False, kind="stable").index]


_NOUN = {
    DatasetKind.SFT: "answers",
    DatasetKind.PREFERENCE: "preference pairs",
    DatasetKind.UNPAIRED: "labeled drafts",
}


def _wanted(settings: SetSettings) -> str:
    if settings.kind is DatasetKind.SFT:
        return "edited or accepted drafts" if settings.basis is Basis.EXPERT else "drafts with a reward"
    if settings.kind is DatasetKind.UNPAIRED:
        return "accepted, edited or rejected drafts" if settings.basis is Basis.EXPERT else "drafts with a reward"
    if settings.basis is Basis.VOTE:
        return "prompts of a ballot where most voters agree,"
    if settings.basis is Basis.EXPERT:
        return "edited drafts"
    return "prompts that were drafted at least twice, with rewards further apart than the margin,"


def _cure(settings: SetSettings, dropped: Mapping[str, int]) -> str:
    if alone := dropped.get(pairs.SINGLE):
        return (
            f"A pair needs several drafts of the same prompt, and {alone:,} here "
            f"{'is' if alone == 1 else 'are'} the only draft of theirs. Send several interactions with the same "
            "prompt (and user), each with its own output, or build the pairs from what experts did (basis expert)."
        )
    if settings.basis is Basis.VOTE:
        return "An evaluation's prompts are all of held-out users: open a ballot on recent prompts and vote on it."
    if {UNDER_MEDIAN, LOW_REWARD} & set(dropped):
        return "Ask for a lower least reward, widen the filters or collect more feedback, then build the set again."
    if settings == SetSettings(max_rows=settings.max_rows, max_heldout_rows=settings.max_heldout_rows):
        return "Collect more feedback, then build the set again."
    return "Widen the filters or collect more feedback, then build the set again."
