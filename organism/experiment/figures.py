"""An experiment's figures in words, each metric in its unit: points for shares, milliseconds, cost of 1,000 drafts."""

from typing import NamedTuple

from organism.experiment.scorecard import Guardrail, MetricRow, SegmentRow
from organism.measures.metric_names import SHARES

NBSP = "\N{NO-BREAK SPACE}"
SUFFIXES = {name: f"{NBSP}{unit}" for name, unit in (
    ("latency_ms", "ms"), ("ttft_ms", "ms"), ("output_tokens", "tokens"), ("cost_usd", "USD"),
)}  # fmt: skip
COST = "cost_usd"
ROUNDING = 1e-6
"""Of a guardrail's margin: what is below it comes from adding up floats."""
PER = 1000.0
"""A draft costs fractions of a cent: its cost is said for a thousand."""


class Unit(NamedTuple):
    """How a figure is written: times `factor`, with `suffix`, and so many decimals (None: three figures or so)."""

    factor: float
    suffix: str
    digits: int | None

    def said(self, value: float | None, sign: str = "") -> str:
        """The figure in words; a dash where it is unknown."""
        if value is None:
            return "–"
        scaled = value * self.factor
        form = f"z,.{self.digits}f" if self.digits is not None else figures_of(abs(scaled))
        return f"{scaled:{sign}{form}}{self.suffix}".replace("-", "−")

    def tick(self, value: float) -> str:
        """A round figure on an axis: no more decimals than it has, and zero without sign or unit."""
        return f"{value * self.factor:+.6g}{self.suffix}".replace("-", "−") if value else "0"


def figures_of(size: float) -> str:
    """The format of a number of this size: three figures or so; below 1e-9 it came of rounding."""
    if size < 1e-9 or size >= 100:
        return "z,.0f"
    return "z,.1f" if size >= 1 else "z.3f" if size >= 1e-3 else ".2g"


PERCENT = Unit(100.0, "%", 1)


def change_unit(metric: str) -> Unit:
    """How a difference in this metric is written."""
    return Unit(100.0, f"{NBSP}pt", 1) if metric in SHARES else level_unit(metric)


def level_unit(metric: str) -> Unit:
    """How a value of this metric is written."""
    signal = metric.partition(".")[0]
    return PERCENT if metric in SHARES else Unit(PER if signal == COST else 1.0, SUFFIXES.get(signal, ""), None)


def level(metric: str, value: float | None) -> str:
    """A value in its unit: 60.1%, 0.512, 430 ms."""
    return level_unit(metric).said(value)


def change(metric: str, value: float | None) -> str:
    """A difference in its unit, with its sign: +4.2 pt, −12.0 ms."""
    return change_unit(metric).said(value, "+")


def interval(unit: Unit, low: float | None, high: float | None, sign: str = "+") -> str:
    """An interval, the unit said once; a dash where it is unknown. With `sign` it is one of a difference."""
    if low is None or high is None:
        return "–"
    return f"{unit._replace(suffix='').said(low, sign)} to {unit.said(high, sign)}"


def p_words(p: float | None) -> str:
    """A p-value as people read it."""
    return "p unknown" if p is None else f"p = {p_figure(p)}".replace("= <", "<")


def p_figure(p: float | None) -> str:
    """A p-value in a table."""
    return "–" if p is None else f"<{NBSP}0.001" if p < 0.001 else f"{p:.3f}"


def label_of(row: MetricRow | Guardrail) -> str:
    """A metric's label without its unit; cost is said for a thousand drafts, as it is written."""
    return "Cost of 1,000 drafts" if row.metric == COST else row.label.partition(",")[0]


def margin_words(guardrail: Guardrail) -> str:
    """How much worse a guardrail allows."""
    if guardrail.is_relative:
        return f"{guardrail.margin:.0%} of the control"
    return change(guardrail.metric, guardrail.margin).lstrip("+")


def worse_words(guardrail: Guardrail) -> str:
    """How much worse, or better, the treatment was found."""
    if guardrail.worse is None:
        return "–"
    found = change(guardrail.metric, abs(guardrail.worse)).lstrip("+")
    if abs(guardrail.worse) < ROUNDING * abs(guardrail.limit or 1.0) or found == change(guardrail.metric, 0.0).lstrip(
        "+"
    ):
        return "equal"
    return f"{found} {'worse' if guardrail.worse > 0 else 'better'}"


def segment_name(row: SegmentRow) -> str:
    """A segment's name as a heading."""
    return row.segment.replace("_", " ").capitalize()
