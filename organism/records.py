"""The nouns that two rooms share, frozen. Nothing here computes more than an id; nothing imports the house."""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple


class EventKind(StrEnum):
    """The three kinds of event that strangers send."""

    INTERACTIONS = "interactions"
    FEEDBACK = "feedback"
    OUTCOMES = "outcomes"


class FeedbackKind(StrEnum):
    """How a person answered a draft."""

    ACCEPT = "accept"
    REJECT = "reject"
    EDIT = "edit"
    RATING = "rating"
    COMMENT = "comment"


class RunStatus(StrEnum):
    """Where a training run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    EVALUATING = "evaluating"
    PAUSED = "paused"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Verdict(StrEnum):
    """What an experiment's figures say."""

    SHIP = "ship"
    KEEP_RUNNING = "keep_running"
    STOP = "stop"
    ROLL_BACK = "roll_back"
    BLOCKED = "blocked"


class DatasetKind(StrEnum):
    """What one row of a training set is, by the trainer that takes it: SFT, DPO, KTO."""

    SFT = "sft"
    PREFERENCE = "preference"
    UNPAIRED = "unpaired"


class Recipe(StrEnum):
    """How a model learns from what the loop has collected. EVALUATE learns nothing: it measures what is there."""

    SFT = "sft"
    WEIGHTED = "weighted"
    BEST_OF_N = "best_of_n"
    DPO = "dpo"
    KTO = "kto"
    REWARD_MODEL = "reward_model"
    RLAIF = "rlaif"
    GRPO = "grpo"
    EVALUATE = "evaluate"


class Preset(StrEnum):
    """How much care a fine-tune takes: a look in a minute, a solid run, a careful one."""

    QUICK = "quick"
    SOLID = "solid"
    CAREFUL = "careful"


class Role(StrEnum):
    """What a model version does: write drafts for people, or judge drafts of others."""

    WRITER = "writer"
    JUDGE = "judge"


class SignalSpec(NamedTuple):
    """How one signal counts: its utility is 0 at `worst`, 1 at `best`, linear between, clipped outside.

    `missing` is the utility of an absent signal, or None to leave the row out.
    """

    signal: str
    weight: float
    worst: float
    best: float
    missing: float | None = None


class Constraint(NamedTuple):
    """A guardrail: a variant whose mean of this signal is out of these bounds may not win, whatever its reward."""

    signal: str
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardDesign:
    """A versioned recipe that turns signals into one reward in [0, 1]. Changing it makes a new design."""

    name: str
    signals: tuple[SignalSpec, ...]
    constraints: tuple[Constraint, ...] = ()
    note: str = ""
    author: str = ""

    def spec(self) -> dict[str, Any]:
        """What the design computes, as plain data; equal specs have equal ids, be a number written 1 or 1.0."""
        signals = [_as_floats(s._asdict()) for s in sorted(self.signals, key=lambda s: s.signal)]
        guardrails = [_as_floats(c._asdict()) for c in sorted(self.constraints, key=str)]
        return {"signals": signals} | ({"constraints": guardrails} if guardrails else {})

    @property
    def id(self) -> str:
        """The hash of the canonical JSON of the spec: equal recipe, equal id, on any machine."""
        return content_hash(self.spec())[:16]


class Moments(NamedTuple):
    """Mergeable sufficient statistics of k columns over n units (shapes: mean (k,), cross (k, k)).

    `cross` is the sum over units of the outer product of deviations from the mean, so that
    variance = cross / (n - 1) without the cancellation of plain sums of squares.
    """

    n: int
    mean: tuple[float, ...]
    cross: tuple[tuple[float, ...], ...]


class QuantileParts(NamedTuple):
    """What one arm's quantile, clustered by user, is computed from.

    `low` and `high` are the quantiles at probability - reach and + reach over all rows; `users` are moments over
    users of two columns: the user's rows at or below the estimate, and the user's rows. `tied` is the largest share
    of the rows that is at one of the three values, `under` and `over` the next values below `low` and above `high`.
    """

    probability: float
    reach: float
    n_rows: int
    estimate: float
    low: float
    high: float
    users: Moments
    tied: float = 0.0
    under: float | None = None
    over: float | None = None


class FactCheck(NamedTuple):
    """One fact that a draft must carry: right if any of the strings occurs in it."""

    kind: str
    any_of: tuple[str, ...]


class Interval(NamedTuple):
    """An estimate with its confidence interval; None where the data cannot say."""

    estimate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One deployable model: a base folder, or a base plus an adapter, with its lineage."""

    model_version_id: str
    loop_id: str
    name: str
    base_path: str
    adapter_path: str | None
    run_id: str | None
    dataset_id: str | None
    reward_design_id: str | None
    created_at: datetime
    role: Role = Role.WRITER


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One arm of an experiment: a model system under a name, and its planned share of the users.

    `model_version_id` is None for a system that the product serves by itself; `prompt` is an instruction that this
    workbench puts before what a person asks. The first variant of an experiment is its control.
    """

    name: str
    share: float
    model_version_id: str | None = None
    prompt: str | None = None


def content_hash(value: Mapping[str, Any] | list[Any] | str) -> str:
    """SHA-256 hex of a text, or of the canonical JSON (sorted keys, no spaces) of plain data."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def new_id(now: datetime) -> str:
    """A fresh UUIDv7 (RFC 9562, 5.7) whose time part is `now` (naive UTC)."""
    return _uuid7(now, secrets.randbits(74))


def event_id(occurred_at: datetime, source: str, external_id: str) -> str:
    """The UUIDv7-shaped id of a stranger's event: the same event always gets the same id."""
    digest = hashlib.blake2b(f"{source}\x1f{external_id}".encode(), digest_size=10).digest()
    return _uuid7(occurred_at, int.from_bytes(digest) >> 6)


def _as_floats(line: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as floats, and 0 for -0: canonical JSON tells 1 from 1.0, a recipe does not."""
    return {key: float(value) + 0.0 if isinstance(value, int | float) else value for key, value in line.items()}


def _uuid7(at: datetime, bits: int) -> str:
    ms = int(at.replace(tzinfo=UTC).timestamp() * 1000) & ((1 << 48) - 1)
    high, low = bits >> 62, bits & ((1 << 62) - 1)
    text = f"{ms << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
