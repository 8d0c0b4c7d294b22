"""What a training set is built from: the kind of its rows, whose word counts, filters, limits. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from organism.errors import DesignError, InputError
from organism.measures.near_duplicates import NEAR
from organism.records import DatasetKind, FeedbackKind

LEAST_NEAR = 0.3
MAX_NAME = 200
ANSWERS = (FeedbackKind.ACCEPT, FeedbackKind.EDIT, FeedbackKind.REJECT)


class Basis(StrEnum):
    """Whose word decides: what experts did with the drafts, the reward that the drafts earned, or blind votes."""

    EXPERT = "expert"
    REWARD = "reward"
    VOTE = "vote"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSettings:
    """The settings of a training set; equal settings on equal answers give equal rows.

    `since` is inclusive and `until` exclusive (naive UTC), by the time of the answer. No variants, answers or
    regions means all of them. `margin` parts chosen from rejected in pairs by reward; `threshold` and `dead_band`
    part desirable from undesirable drafts by reward: those within half a band of the threshold are left out.
    Without a `min_reward` a set that imitates drafts takes those that earned the median of the drafts scored or more.
    `near` is the share of word runs from which a training prompt leaks a held-out one.
    """

    kind: DatasetKind = DatasetKind.SFT
    basis: Basis = Basis.EXPERT
    since: datetime | None = None
    until: datetime | None = None
    variants: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    min_reward: float | None = None
    margin: float = 0.1
    threshold: float = 0.5
    dead_band: float = 0.1
    max_rows: int = 400
    max_heldout_rows: int = 300
    max_rows_per_user: int | None = None
    heldout_share: float = 0.25
    near: float = NEAR
    seed: int = 0

    @property
    def needs_reward(self) -> bool:
        """Whether a draft without a reward cannot be taken."""
        return self.basis is Basis.REWARD or self.min_reward is not None

    @property
    def imitates_drafts(self) -> bool:
        """Whether drafts become completions for what they earned, with no person's text in between."""
        return self.kind is DatasetKind.SFT and self.basis is Basis.REWARD

    def spec(self) -> dict[str, Any]:
        """The settings as plain JSON data."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(self).items()
        }

    def check(self) -> None:
        """Raise DesignError, with what was found and wanted, when no set can be built with these settings."""
        if not 0 < self.heldout_share < 1 or self.max_rows < 1 or self.max_heldout_rows < 1:
            raise DesignError(
                f"found a held-out share of {self.heldout_share}, at most {self.max_rows} training rows and "
                f"{self.max_heldout_rows} held-out rows; wanted a share between 0 and 1 and at least one row each"
            )
        if self.max_rows_per_user is not None and self.max_rows_per_user < 1:
            raise DesignError(f"found at most {self.max_rows_per_user} rows a user; give 1 or more, or leave it out")
        if self.since and self.until and self.since >= self.until:
            raise DesignError(
                f"the set would start at {self.since:%Y-%m-%d %H:%M} and end at {self.until:%Y-%m-%d %H:%M}; "
                "give an end after the start"
            )
        if unknown := sorted(set(self.answers) - set(ANSWERS)):
            raise DesignError(f"{unknown[0]!r} is no kind of answer; use any of: {', '.join(ANSWERS)}")
        if self.basis is Basis.VOTE and self.kind is not DatasetKind.PREFERENCE:
            raise DesignError(
                f"blind votes make preference pairs, not rows of the kind {self.kind}; ask for the kind "
                f"{DatasetKind.PREFERENCE}, or for another basis"
            )
        self._check_figures()

    def _check_figures(self) -> None:
        if not 0 < self.margin <= 1:
            raise DesignError(
                f"a margin of {self.margin:g} is out of range: rewards run from 0 to 1; give more than 0 and "
                "at most 1, for example 0.1"
            )
        if self.min_reward is not None and not 0 <= self.min_reward <= 1:
            raise DesignError(f"a least reward of {self.min_reward:g} is out of range: rewards run from 0 to 1")
        half = self.dead_band / 2
        if not (self.dead_band >= 0 and self.threshold - half > 0 and self.threshold + half < 1):
            raise DesignError(
                f"a threshold of {self.threshold:g} with a dead band of {self.dead_band:g} leaves no room on both "
                "sides: rewards run from 0 to 1; give for example 0.5 and 0.1"
            )
        if not LEAST_NEAR <= self.near <= 1:
            raise DesignError(
                f"near means a share of {self.near:g} of word runs; give {LEAST_NEAR} to 1, for example {NEAR}: under "
                "that, texts about the same things are near"
            )


def least_in_words(least: float | None, asked: float | None) -> str:
    """What a draft has to earn, and whose figure that is; empty where any reward does."""
    whose = "the median of the drafts scored" if asked is None else "as asked"
    return "" if least is None else f"Least reward: {least:.3f}, {whose}."


def check_name(name: str | None) -> None:
    """Raise InputError when this is no name that a list of sets can show; None leaves the choice to the set."""
    if name is not None and (len(name) > MAX_NAME or not name.isprintable()):
        raise InputError(f"the name {name[:40]!r}… is no name of a set; give one line of up to {MAX_NAME} letters")


def settings_from(asked: Mapping[str, Any]) -> SetSettings:
    """Settings from a stranger's words, the usual ones where nothing is said; checked.

    Times are ISO 8601; lists may be lists or one word. Raises InputError for an unknown name or a value that cannot
    be read, DesignError for settings that cannot work.
    """
    if unknown := sorted(set(asked) - set(_READERS)):
        raise InputError(f"{unknown[0]!r} is no setting of a training set; there are: {', '.join(_READERS)}")
    given: dict[str, Any] = {name: _READERS[name](name, value) for name, value in asked.items() if value is not None}
    settings = SetSettings(**given)
    settings.check()
    return settings


def _kind(name: str, value: Any) -> DatasetKind:
    return DatasetKind(_one_of(name, value, list(DatasetKind)))


def _basis(name: str, value: Any) -> Basis:
    return Basis(_one_of(name, value, list(Basis)))


def _one_of(name: str, value: Any, known: list[Any]) -> str:
    if value not in known:
        raise InputError(f"{name} is {value!r}; give one of: {', '.join(known)}")
    return str(value)


def _moment(name: str, value: Any) -> datetime:
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError) as error:
        raise InputError(f"{name} is {value!r}; give a date such as 2026-10-01 or 2026-10-01T08:00:00Z") from error


def _words(name: str, value: Any) -> tuple[str, ...]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise InputError(f"{name} is {value!r}; give a word or a list of words")
    return tuple(sorted(set(words)))


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{name} is {value!r}; give a number")
    try:
        return float(value)
    except OverflowError as error:
        raise InputError(
            f"{name} is {str(value)[:40]}…, which is too large for a number; give a smaller one"
        ) from error


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{name} is {value!r}; give a whole number")
    return value


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "kind": _kind,
    "basis": _basis,
    "since": _moment,
    "until": _moment,
    **dict.fromkeys(("variants", "answers", "regions"), _words),
    **dict.fromkeys(("min_reward", "margin", "threshold", "dead_band", "heldout_share", "near"), _number),
    **dict.fromkeys(("max_rows", "max_heldout_rows", "max_rows_per_user", "seed"), _count),
}
