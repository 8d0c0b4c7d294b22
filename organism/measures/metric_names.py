"""What metrics are called and which way is better: for signals that every loop has, outcomes, answers and quantiles."""

import re

REWARD = "reward"
LABELS = {
    "retained_char_rate": "Retained characters",
    "written_share": "Written share",
    "accepted": "Drafts used",
    "latency_ms": "Latency, ms",
    "ttft_ms": "Time to first token, ms",
    "cost_usd": "Cost, USD",
    "output_tokens": "Length, tokens",
    "error": "Errors",
    "rating": "Rating",
    REWARD: "Reward",
}
LOWER = frozenset({"latency_ms", "ttft_ms", "cost_usd", "error"})
NEUTRAL = frozenset({"output_tokens"})
SHARES = frozenset({"retained_char_rate", "written_share", "accepted", "error"})
"""Metrics between 0 and 1 that are said in percent and points; a reward is no share, whatever its range."""
_QUANTILE = re.compile(r"(.+)\.p(\d{1,2}(?:\.\d{1,3})?)")


def quantile_of(metric: str) -> tuple[str, float] | None:
    """`latency_ms.p95` as (latency_ms, 0.95); None for a metric that is no quantile."""
    found = _QUANTILE.fullmatch(metric)
    if found is None or not 0 < float(found[2]) < 100:
        return None
    return found[1], float(found[2]) / 100


def label_of(metric: str) -> str:
    """A metric as people read it: Latency, ms; Latency p95, ms. A team's own signal keeps its name."""
    quantile = quantile_of(metric)
    if quantile is None:
        return LABELS.get(metric, metric)
    head, _, unit = LABELS.get(quantile[0], quantile[0]).partition(", ")
    return f"{head} p{100 * quantile[1]:g}" + (f", {unit}" if unit else "")


def name_of(metric: str) -> str:
    """A metric's label without its unit, as lists and sentences have it: Latency p95."""
    return label_of(metric).partition(", ")[0]


def phrase_of(metric: str) -> str:
    """A metric within a sentence: retained characters, latency p95; a team's own signal by its name."""
    label = name_of(metric)
    return metric if label == metric else label[:1].lower() + label[1:]


def better_of(metric: str) -> int | None:
    """+1 where more of a metric is better, −1 where less, 0 where neither; None where its name does not say."""
    quantile = quantile_of(metric)
    signal = quantile[0] if quantile else metric
    if signal in LOWER:
        return -1
    if signal in NEUTRAL:
        return 0
    return 1 if signal in LABELS or signal.startswith(("outcome.", "answer.", "judge.")) else None
