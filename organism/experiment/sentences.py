"""What a scorecard says in words: the verdict for the meeting first, then what was adjusted and what to mind. Pure."""

from math import ceil
from typing import NamedTuple

from organism.experiment.analysis import DEFAULT_TUNING, Reading, Settings, gain_sign
from organism.experiment.contrasts import tied_words
from organism.experiment.evidence import Evidence
from organism.experiment.horizon import Horizon
from organism.experiment.plan import differences, plan_of
from organism.experiment.readout_words import FEW_UNITS, SMALL_RATIO
from organism.experiment.scorecard import Guardrail, GuardrailState, IntervalKind, RequestLevel, Rule, SplitCheck
from organism.measures.metric_names import SHARES

KEPT = "retained_char_rate"
MANY = 1.1


class Words(NamedTuple):
    """What the verdict's sentence is made of."""

    evidence: Evidence
    settings: Settings
    headline: Reading
    guardrails: tuple[Guardrail, ...]
    split: SplitCheck
    horizon: Horizon
    more: int | None

    @property
    def people(self) -> str:
        """Users, said to be simulated where they are."""
        return "simulated users" if self.evidence.is_synthetic else "users"

    @property
    def label(self) -> str:
        """The first primary metric, as a sentence says it."""
        return self.evidence.measure[self.headline.metric].label.partition(",")[0].lower()


def verdict(words: Words, rule: Rule) -> str:
    """One sentence that a meeting can act on, and the effect behind it."""
    if blocked := _blocked(words, rule):
        return blocked
    if rule.name == "too_few_users":
        return _too_few(words)
    return f"{_advice(words, rule)} {effect(words)}".strip()


def _blocked(words: Words, rule: Rule) -> str:
    if rule.name == "sample_ratio_mismatch":
        met = " and ".join(
            f"{n} {'met' if i else words.people + ' met'} {name}"
            for i, (name, n) in enumerate(words.split.counts.items())
        )
        p = words.split.deciding_p or 0.0
        return (
            f"Do not read this experiment: {met}, which the planned split makes all but impossible (p = {p:.1g}); "
            "find what lost users first."
        )
    if rule.name == "users_in_both":
        return (
            f"Do not read this experiment: {words.evidence.sums.n_strayed} {words.people} were served by two variants "
            "or by the wrong one; mend the assignment and start anew."
        )
    if rule.name == "unknown_probabilities":
        return (
            f"Do not read this experiment: its shares followed the results, and {words.evidence.sums.n_unweighted} "
            f"{words.people} have no probability on record; serve only users whom the experiment assigned."
        )
    return ""


def _too_few(words: Words) -> str:
    found, control, treatment = words.headline.comparison, words.settings.control, words.headline.variant
    if not words.evidence.measure[words.headline.metric].is_known:
        return (
            f"Nothing can be told: no signal of this loop measures {words.headline.metric}; name another in the plan."
        )
    least = min(found.n_control, found.n_treatment)
    ask = f"{_users(words)} are needed" if words.more else "their answers do not differ enough to tell"
    if words.more and least >= words.settings.plan.min_users_per_arm:
        ask = "their answers do not differ enough to tell"
    return (
        f"Too early to tell: {found.n_control} {words.people} of {control} and {found.n_treatment} of {treatment} have "
        f"a known answer; {ask}."
    )


def _users(words: Words) -> str:
    """How many more, and in how many days at this loop's rate."""
    rate = words.horizon.users_per_day
    if not words.more:
        return "some more"
    if words.evidence.is_synthetic:
        return f"{words.more:,} more"
    if not rate:
        return f"{words.more:,} more (no new user came in the last seven days)"
    days = ceil(words.more / rate)
    return f"{words.more:,} more ({days:,} day{'' if days == 1 else 's'} at {rate:,.3g} new users a day)"


def _advice(words: Words, rule: Rule) -> str:
    control, treatment, plan = words.settings.control, words.headline.variant, words.settings.plan
    mine = [guardrail for guardrail in words.guardrails if guardrail.variant == treatment]
    said = {state: _and([_short(one) for one in mine if one.state is state]) for state in GuardrailState}
    unseen = said[GuardrailState.UNMEASURED]
    all_but = f"every guardrail but {unseen}, which nothing measures," if unseen else "every guardrail"
    wanted = f"a gain of {amount(words.headline.metric, plan.minimum_effect)}"
    chance = words.horizon.conditional_power
    rivals = f" of {len(words.settings.treatments)} treatments" if len(words.settings.treatments) > 1 else ""
    return {
        "worse": f"Keep {control}: {treatment} is worse.",
        "guardrail_broken": f"Keep {control}: {treatment} breaks the guardrail on {said[GuardrailState.BROKEN]}.",
        "no_worthwhile_gain": (
            f"Stop and keep {control}: {treatment} has no clear gain, and {wanted} would have shown by now."
        ),
        "futile": (
            f"Stop and keep {control}: even if {wanted} is real, the planned users would show it with a chance of only "
            f"{chance or 0.0:.0%}."
        ),
        "not_settled": _keep_running(words, wanted),
        "guardrail_open": (
            f"Keep running: {treatment} is better, but {said[GuardrailState.OPEN]} is not settled"
            + (f"; {_users(words)} {words.people} would settle it if it stays as it is." if words.more else ".")
        ),
        "better": f"Ship {treatment}: it is {'the best' + rivals if rivals else 'better'} and {all_but} holds.",
    }[rule.name]


def _keep_running(words: Words, wanted: str) -> str:
    who = words.people
    if words.settings.n_planned is not None and words.more:
        return f"Keep running: nothing is clear yet, and the plan asks for {_users(words)} {who}."
    if words.more:
        return f"Keep running: about {_users(words)} {who} would show {wanted}."
    return f"Keep running: {wanted} is still possible."


def effect(words: Words) -> str:
    """The effect, its interval, p and users in words; empty where they cannot be said."""
    found, headline = words.headline.comparison, words.headline
    if found.effect is None or headline.low is None or headline.high is None or headline.p_value is None:
        return ""
    level = 1 - words.settings.plan.alpha
    always = "" if words.settings.is_fixed else "always-valid "
    shown = headline.p_adjusted if headline.p_adjusted is not None else headline.p_value
    p = "p < 0.001" if shown < 0.001 else f"p = {shown:.3f}"
    metric = headline.metric
    control, treated = value(metric, found.mean_control), value(metric, found.mean_treatment)
    means = (
        f"Of what {headline.variant} wrote, {treated} was kept against {control}"
        if metric == KEPT
        else f"The {words.label} of {headline.variant} is {treated} against {control}"
    )
    return (
        f"{means}: {change(metric, found.effect)} ({always}{level:.0%} interval {change(metric, headline.low, '')} to "
        f"{change(metric, headline.high, '')}, {p}), by {found.n_treatment} and {found.n_control} {words.people}."
    )


def value(metric: str, figure: float | None) -> str:
    """A metric's value as a sentence says it."""
    if figure is None:
        return "unknown"
    return f"{figure:.1%}" if metric in SHARES else f"{figure:,.4g}"


def change(metric: str, figure: float, unit: str = " points") -> str:
    """A difference with its sign, in points where the metric is a share."""
    return f"{figure * 100:+.1f}{unit}" if metric in SHARES else f"{figure:+,.3g}"


def amount(metric: str, figure: float) -> str:
    """A gain without its sign."""
    points = f"{figure * 100:.3g}"
    return f"{points} point{'' if points == '1' else 's'}" if metric in SHARES else f"{figure:.3g}"


def split(found: SplitCheck) -> str:
    """Whether users fell into the variants as planned, and by which p."""
    seen = ", ".join(f"{n:,} {name}" for name, n in found.counts.items())
    planned = " to ".join(f"{share:.0%}" for share in found.shares.values())
    said = f"The split ({seen}) {'does not fit' if found.blocked else 'fits'} the planned {planned}"
    alone = "p is unknown" if found.p_value is None else f"p = {found.p_value:.2g}"
    if found.sequential_p is None:
        return f"{said}: {alone} (one look)."
    return f"{said}: p = {found.sequential_p:.2g} over all looks so far, which decides; this look alone has {alone}."


def request(found: RequestLevel, p_value: float | None) -> str:
    """Why the test over single requests is not the one to read, with its figures."""
    if found.p_value is None or found.design_effect is None or p_value is None:
        return ""
    said = f"A test over single drafts would say p = {found.p_value:.2g} instead of {p_value:.2g}."
    if found.design_effect <= 1.05:
        return f"{said} Here the two nearly agree; users stay the units, since users were split and not drafts."
    worth = found.n_requests / found.design_effect
    return (
        f"{said} Drafts of one user resemble each other: {found.n_requests:,} drafts tell as much as {worth:,.0f} "
        f"independent ones (design effect {found.design_effect:.1f}), so users are the units."
    )


def adjustment(settings: Settings) -> str:
    """What was adjusted for several comparisons, in words."""
    n_metrics, n_treatments = len(settings.plan.primary), len(settings.treatments)
    n = n_metrics * n_treatments
    if n == 1:
        words = "One primary metric and one treatment: nothing had to be adjusted"
    else:
        words = (
            f"{n} comparisons decide ({n_metrics} primary metric{'' if n_metrics == 1 else 's'}, {n_treatments} "
            f"treatment{'' if n_treatments == 1 else 's'}): their p-values are Holm's, and each interval stands at the "
            "level of its step"
        )
    return f"{words}. Guardrails are one-sided, each at {settings.plan.alpha:g}; watched signals are not adjusted."


def interval(settings: Settings) -> str:
    """Which interval counts, and why."""
    n, planned = settings.n_exposed, settings.n_planned
    if settings.kind is IntervalKind.FIXED:
        return f"{n:,} of {planned:,} planned users are in: the interval is for this one look at the planned size."
    if settings.kind is IntervalKind.WITHHELD:
        return "No interval is given: the shares followed the results, and not every probability is on record."
    tuned = (
        f"tuned to {planned:,} planned users" if planned else f"tuned to {DEFAULT_TUNING} users, since nobody planned"
    )
    so_far = f"{n:,} of {planned:,} planned users are in" if planned else "No size was planned"
    if settings.is_adaptive:
        so_far = "The shares followed the results (Thompson sampling), so each user weighs 1 / the logged probability"
    return f"{so_far}: the interval holds at every look (confidence sequence, {tuned}), so it may be watched."


def warnings(evidence: Evidence, settings: Settings, headline: Reading) -> tuple[str, ...]:
    """What to mind, a sentence each."""
    sums, planned = evidence.sums, settings.n_planned
    said = _bent(evidence)
    if sums.n_strayed:
        said.append(f"{sums.n_strayed} users met two variants, or one they were not assigned; they are in no figure.")
    if sums.n_foreign:
        said.append(f"{sums.n_foreign} interactions name no variant of this experiment; they are in no figure.")
    empty = [name for name in (settings.control, *settings.treatments) if not sums.n_users.get(name)]
    if empty and settings.n_exposed:
        said.append(f"No user was served by {_and(empty)}.")
    if settings.is_fixed and planned and settings.n_exposed > MANY * planned and evidence.status == "running":
        said.append(
            f"{settings.n_exposed:,} users are in, {planned:,} were planned: every further look at an interval "
            "for one look is one more chance of a false alarm. Decide."
        )
    fewest = min(headline.comparison.n_control, headline.comparison.n_treatment)
    said += [f"{words}." for name, parts in sums.quantiles.items() if (words := tied_words(name, parts))]
    if headline.comparison.p_value is not None and headline.metric not in sums.quantiles and fewest < FEW_UNITS:
        said.append(f"A variant has {fewest} users with a known answer, and {SMALL_RATIO}.")
    said += [
        f"The segment {name} has {n} or more values and is left out; group them before they are sent."
        for name, n in sorted(sums.left_out.items())
    ]
    said += [f"Nothing measures {one.name}: no signal has that name." for one in evidence.measures if not one.is_known]
    if gain_sign(evidence, headline.metric) != evidence.measure[headline.metric].better:
        said.append(f"Nobody said which way {headline.metric} is better; more is taken for better.")
    if settings.is_adaptive:
        said.append("The shares followed the results: claims for one look are withheld, and the split is not tested.")
        if sums.quantiles:
            said.append("Quantiles are of what was served, not weighed: shares that moved can bend them.")
    return tuple(said)


def _bent(evidence: Evidence) -> list[str]:
    """What was changed after the start, so that the plan of the start could say otherwise; empty where nothing was."""
    first, last = (plan_of(one.plan) for one in (evidence.plans[0], evidence.plans[-1]))
    changed = [one.words for one in differences(first, last) if one.is_telling]
    if not changed:
        return []
    return [f"The plan was changed after the start, which can bend this verdict: {'; '.join(changed)}."]


def _short(guardrail: Guardrail) -> str:
    return guardrail.label.partition(",")[0].lower()


def _and(names: list[str]) -> str:
    return " and ".join(names)
