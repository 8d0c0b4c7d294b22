"""What is asked of a file, as people write it, and what it means once the file's columns are known."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple, TypeVar

from organism.errors import DesignError, InputError
from organism.experiment.metrics import MetricKind
from organism.stats.multiplicity import Correction
from organism.stats.sequential import TUNING
from organism.store.analysis_files import AnalysisFile, said

T = TypeVar("T")

MAX_METRICS = 50
SMALLEST = 1e-12
"""What is nearer 0 is no share that anybody means, and takes floats to their ends."""
MAX_SEGMENTS = 10
NO_CORRECTION = "none"
CORRECTIONS = {
    NO_CORRECTION: None,
    "holm": Correction.HOLM,
    "hochberg": Correction.HOCHBERG,
    "bh": Correction.BH,
    "by": Correction.BY,
}
CORRECTION_NAMES = {
    NO_CORRECTION: "no correction",
    "holm": "Holm",
    "hochberg": "Hochberg",
    "bh": "Benjamini–Hochberg",
    "by": "Benjamini–Yekutieli",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileQuestion:
    """One analysis of a file. Texts are as on the command line: `num/den`, `latency:0.95`, `metric=column`, `A=0.5`.

    A metric's name is its column, `num/den`, or `column:probability`. `shares` are the planned ones, equal when not
    given; `margins` make a metric a guardrail (non-inferiority). Columns are named as in the file.
    """

    variant: str = "variant"
    control: str | None = None
    unit: str | None = None
    metrics: tuple[str, ...] = ()
    proportions: tuple[str, ...] = ()
    ratios: tuple[str, ...] = ()
    quantiles: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    margins: tuple[str, ...] = ()
    lower_is_better: tuple[str, ...] = ()
    winsorize: float | None = None
    alpha: float = 0.05
    sequential: bool = False
    tuning: float = TUNING
    correction: str = "holm"


class Asked(NamedTuple):
    """One metric that is asked for, by the numbers of its columns in the file."""

    name: str
    kind: MetricKind
    num: int
    den: int | None = None
    probability: float | None = None


class Plan(NamedTuple):
    """A question whose every name was found in the file. Columns are numbers; covariates are by metric."""

    unit: int | None
    variant: int
    metrics: tuple[Asked, ...]
    covariates: dict[str, tuple[int, ...]]
    segments: dict[str, int]
    shares: dict[str, float]
    margins: dict[str, float]
    lower_is_better: frozenset[str]

    @property
    def covariate_columns(self) -> tuple[int, ...]:
        """Every covariate's column, once."""
        return tuple(dict.fromkeys(place for own in self.covariates.values() for place in own))

    @property
    def numbers(self) -> tuple[int, ...]:
        """Every column that is read as numbers, once."""
        used = [place for asked in self.metrics for place in (asked.num, asked.den) if place is not None]
        return tuple(dict.fromkeys([*used, *self.covariate_columns]))


def resolve(question: FileQuestion, file: AnalysisFile) -> Plan:
    """Find every column of a question; raises InputError or DesignError with what is there when one cannot be meant."""
    _check_settings(question)
    metrics = _metrics(question, file)
    names = _spellings(metrics, question)
    covariates = _covariates(question.covariates, names, file)
    segments = {name: file.place(name) for name in dict.fromkeys(question.segments)}
    if len(segments) > MAX_SEGMENTS:
        raise DesignError(f"found {len(segments)} segments; ask for at most {MAX_SEGMENTS} at once")
    margins = dict(_pair(text, names, "margin", _positive) for text in question.margins)
    for asked in metrics:
        if asked.name in margins and asked.kind is MetricKind.QUANTILE:
            raise DesignError(f"a margin on the quantile {asked.name} is not supported; give one on a mean or a ratio")
    return Plan(
        unit=None if question.unit is None else file.place(question.unit),
        variant=file.place(question.variant),
        metrics=metrics,
        covariates=covariates,
        segments=segments,
        shares=_shares(question.shares),
        margins=margins,
        lower_is_better=frozenset(_known(name, names, "lower-is-better") for name in question.lower_is_better),
    )


def _check_settings(question: FileQuestion) -> None:
    if not SMALLEST <= question.alpha < 0.5:
        raise DesignError(f"alpha is {question.alpha:g}; give a share from {SMALLEST:g} to below 0.5, such as 0.05")
    if question.winsorize is not None and not 0.5 < question.winsorize < 1:
        raise DesignError(f"winsorize is {question.winsorize:g}; give the quantile to cap at, such as 0.99")
    if not 1 <= question.tuning <= 1 / SMALLEST:
        raise DesignError(f"tuning is {question.tuning:g}; give the number of units at which to be most sure")
    if question.correction not in CORRECTIONS:
        raise DesignError(f"correction is {question.correction!r}; give one of: {', '.join(CORRECTIONS)}")


def _metrics(question: FileQuestion, file: AnalysisFile) -> tuple[Asked, ...]:
    found = [Asked(name, MetricKind.MEAN, _number(name, file)) for name in question.metrics]
    found += [Asked(name, MetricKind.PROPORTION, _number(name, file)) for name in question.proportions]
    found += [_ratio(text, file) for text in question.ratios]
    found += [_quantile(text, file) for text in question.quantiles]
    names = [asked.name for asked in found]
    if not found:
        raise DesignError(
            f"no metric is asked for; name at least one metric, ratio, proportion or quantile, by the columns of "
            f"{file.name}: {said([column.name for column in file.columns])}"
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DesignError(f"the metric {twice[0]!r} is asked for more than once; ask once")
    if len(found) > MAX_METRICS:
        raise DesignError(f"found {len(found)} metrics; ask for at most {MAX_METRICS} at once")
    return tuple(found)


def _spellings(metrics: Sequence[Asked], question: FileQuestion) -> dict[str, str]:
    """Each metric's name by what it may be called: itself, and a quantile as it was written (latency:p95)."""
    own = {asked.name: asked.name for asked in metrics}
    quantiles = [asked.name for asked in metrics if asked.kind is MetricKind.QUANTILE]
    return own | dict(zip(question.quantiles, quantiles, strict=True))


def _number(name: str, file: AnalysisFile) -> int:
    place = file.place(name)
    column = file.columns[place]
    if not column.may_be_number:
        raise InputError(f"the column {name!r} holds {column.kind} values; wanted numbers, or true and false")
    return place


def _ratio(text: str, file: AnalysisFile) -> Asked:
    """A name may hold a slash itself: the split at which both sides are columns is meant."""
    names = {column.name for column in file.columns}
    cuts = [(text[:at].strip(), text[at + 1 :].strip()) for at, letter in enumerate(text) if letter == "/"]
    fitting = [cut for cut in cuts if names.issuperset(cut)]
    if not cuts or len(fitting) > 1:
        raise DesignError(f"the ratio {text!r} should be two columns with a slash between, such as accepted/suggested")
    num, den = (fitting or cuts)[0]
    return Asked(f"{num}/{den}", MetricKind.RATIO, _number(num, file), _number(den, file))


def _quantile(text: str, file: AnalysisFile) -> Asked:
    name, _, given = text.rpartition(":")
    probability = _float(given.removeprefix("p"))
    if probability is not None and given.startswith("p"):
        probability /= 100
    if not name or probability is None or not 0 < probability < 1:
        raise DesignError(f"the quantile {text!r} should be a column and a share, such as latency:0.95 or latency:p95")
    return Asked(f"{name}:{probability:g}", MetricKind.QUANTILE, _number(name, file), probability=probability)


def _covariates(texts: Sequence[str], names: Mapping[str, str], file: AnalysisFile) -> dict[str, tuple[int, ...]]:
    """By metric: `column` is for all metrics, `metric=column` for one; a column of that whole name goes before."""
    columns = {column.name for column in file.columns}
    found: dict[str, list[int]] = {name: [] for name in names.values()}
    for text in texts:
        if "=" not in text or text in columns:
            for own in found.values():
                own.append(_number(text, file))
        else:
            metric, place = _pair(text, names, "covariate", lambda name: _number(name, file))
            found[metric].append(place)
    return {name: tuple(dict.fromkeys(own)) for name, own in found.items() if own}


def _pair(text: str, names: Mapping[str, str], what: str, read: Callable[[str], T]) -> tuple[str, T]:
    """`name=value`, where the name is a metric and may hold = itself."""
    for name in sorted(names, key=len, reverse=True):
        if text.startswith(f"{name}="):
            return names[name], read(text[len(name) + 1 :])
    if "=" not in text:
        raise DesignError(f"the {what} {text!r} should be a metric, = and a value, such as {next(iter(names))}=0.02")
    raise DesignError(f"the {what} {text!r} names no metric that is asked for; those are {said(list(names))}")


def _known(name: str, names: Mapping[str, str], what: str) -> str:
    if name not in names:
        raise DesignError(f"{what} names {name!r}, which is no metric that is asked for; those are {said(list(names))}")
    return names[name]


def _positive(text: str) -> float:
    value = _float(text)
    if value is None or value <= 0:
        raise DesignError(f"the margin {text!r} should be a number above 0: how much worse is still acceptable")
    return value


def _shares(texts: Iterable[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in texts:
        name, _, given = text.rpartition("=")
        share = _float(given)
        if not name or share is None or not SMALLEST <= share <= 1 / SMALLEST:
            raise DesignError(f"the share {text!r} should be a variant, = and a number above 0, such as A=0.5")
        if name in found:
            raise DesignError(f"the share of variant {name!r} is given more than once; give it once")
        found[name] = share
    return found


def _float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None
