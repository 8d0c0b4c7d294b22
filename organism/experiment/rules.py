"""The written rules that turn figures into a verdict, and the sentence for the meeting. Pure."""

from organism.experiment.analysis import (
    ALPHA_SRM,
    SHARE_IN_BOTH,
    Figures,
)
from organism.experiment.plan import Plan
from organism.experiment.scorecard import GuardrailState, RequestLevel, Rule
from organism.experiment.scorecard import Scorecard as Scorecard
from organism.records import Verdict
from organism.stats.compare import Comparison

RULES = (
    Rule(
        "sample_ratio_mismatch",
        Verdict.BLOCKED,
        f"the split of users has a chi-square p below {ALPHA_SRM} for the shares that were planned",
    ),
    Rule(
        "users_in_both",
        Verdict.BLOCKED,
        f"more than {SHARE_IN_BOTH:.1%} of the users were served by both versions, or by one they were not assigned",
    ),
    Rule("too_few_users", Verdict.KEEP_RUNNING, "an arm has fewer users with a known answer than the plan asks for"),
    Rule("worse", Verdict.ROLL_BACK, "the whole interval of the effect on retained characters is below 0"),
    Rule("guardrail_broken", Verdict.ROLL_BACK, "a guardrail is surely worse than its margin"),
    Rule(
        "no_worthwhile_gain",
        Verdict.ROLL_BACK,
        "the interval holds 0, and it ends below the smallest gain worth shipping for or the planned users are in",
    ),
    Rule("not_settled", Verdict.KEEP_RUNNING, "the interval still holds 0 and the planned users are not in"),
    Rule("guardrail_open", Verdict.KEEP_RUNNING, "the effect is above 0, but a guardrail is not settled yet"),
    Rule("better", Verdict.SHIP, "the whole interval of the effect is above 0 and every measured guardrail holds"),
)


def judge(
    found: Figures, plan: Plan, *, experiment_id: str, name: str, control: str, treatment: str, is_synthetic: bool
) -> Scorecard:
    """The figures with the verdict of the first rule that fits."""
    rule = fired(found, plan)
    more = _more_users(found, plan) if rule.verdict is Verdict.KEEP_RUNNING else None
    return Scorecard(
        experiment_id,
        name,
        control,
        treatment,
        *found.primary,
        found.srm_p_value,
        found.n_users,
        found.n_interactions,
        found.n_in_both,
        more,
        rule.verdict,
        rule.name,
        _sentence(rule, found, plan, more, control, treatment, is_synthetic),
        found.metrics,
        found.guardrails,
        found.request_level,
        request_words(found.request_level, found.primary),
        is_synthetic,
    )


def fired(found: Figures, plan: Plan) -> Rule:
    """The first rule whose condition holds."""
    conditions = _conditions(found, plan)
    return next(rule for rule in RULES if conditions[rule.name])


def _conditions(found: Figures, plan: Plan) -> dict[str, bool]:
    primary, states = found.primary, {guardrail.state for guardrail in found.guardrails}
    n_known = primary.n_control + primary.n_treatment
    low, high = primary.ci_low, primary.ci_high
    is_clear = low is not None and high is not None and (low > 0 or high < 0)
    planned_in = found.n_needed is not None and n_known >= found.n_needed
    strayed = found.n_in_both / max(sum(found.n_users.values()) + found.n_in_both, 1)
    return {
        "sample_ratio_mismatch": found.srm_p_value < ALPHA_SRM,
        "users_in_both": strayed > SHARE_IN_BOTH,
        "too_few_users": min(primary.n_control, primary.n_treatment) < plan.min_users_per_arm or low is None,
        "worse": high is not None and high < 0,
        "guardrail_broken": GuardrailState.BROKEN in states,
        "no_worthwhile_gain": not is_clear and (planned_in or (high is not None and high < plan.minimum_effect)),
        "not_settled": not is_clear,
        "guardrail_open": GuardrailState.OPEN in states,
        "better": True,
    }


def _more_users(found: Figures, plan: Plan) -> int | None:
    """How many more users with a known answer the plan wants; None where they are in, or cannot be counted yet."""
    n_known = found.primary.n_control + found.primary.n_treatment
    least = 2 * plan.min_users_per_arm
    short_of_least = sum(
        max(plan.min_users_per_arm - n, 0) for n in (found.primary.n_control, found.primary.n_treatment)
    )
    more = max((found.n_needed or least) - n_known, short_of_least)
    return more if more > 0 else None


def _sentence(
    rule: Rule, found: Figures, plan: Plan, more: int | None, control: str, treatment: str, is_synthetic: bool
) -> str:
    """One sentence that a meeting can act on."""
    people = "simulated users" if is_synthetic else "users"
    if rule.name == "sample_ratio_mismatch":
        n = found.n_users
        return (
            f"Do not read this experiment: {n['control']} {people} met {control} and {n['treatment']} met {treatment}, "
            f"which the planned split makes all but impossible (p = {found.srm_p_value:.1g}); find what lost users "
            "first."
        )
    if rule.name == "users_in_both":
        return (
            f"Do not read this experiment: {found.n_in_both} {people} were served by both versions or by the wrong "
            "one; mend the assignment and start anew."
        )
    if rule.name == "too_few_users":
        ask = f"{more} more are needed" if more else "their answers do not differ enough to tell"
        return (
            f"Too early to tell: {found.primary.n_control} {people} of {control} and {found.primary.n_treatment} of "
            f"{treatment} have a known answer; {ask}."
        )
    advice = _advice(rule, found, plan, more, control, treatment, people)
    return f"{advice} {effect_words(found.primary, treatment, people, 1 - plan.alpha)}"


def _advice(rule: Rule, found: Figures, plan: Plan, more: int | None, control: str, treatment: str, people: str) -> str:
    worst = [g.label.partition(",")[0].lower() for g in found.guardrails if g.state is GuardrailState.BROKEN]
    unsure = [g.label.partition(",")[0].lower() for g in found.guardrails if g.state is GuardrailState.OPEN]
    unseen = [g.label.partition(",")[0].lower() for g in found.guardrails if g.state is GuardrailState.UNMEASURED]
    all_but = f"every guardrail but {_and(unseen)}, which nothing measures," if unseen else "every guardrail"
    wanted = f"a gain of {plan.minimum_effect * 100:.3g} points"
    return {
        "worse": f"Keep {control}: {treatment} is worse.",
        "guardrail_broken": f"Keep {control}: {treatment} breaks the guardrail on {_and(worst)}.",
        "no_worthwhile_gain": f"Keep {control}: {treatment} has no clear gain, and {wanted} would have shown by now.",
        "not_settled": f"Keep running: about {more or 'some'} more {people} would show {wanted}.",
        "guardrail_open": f"Keep running: {treatment} is better, but {_and(unsure)} is not settled.",
        "better": f"Ship {treatment}: it is better and {all_but} holds.",
    }[rule.name]


def effect_words(primary: Comparison, treatment: str, people: str = "users", level: float = 0.95) -> str:
    """The effect, its interval, p and users in words; empty where they cannot be said."""
    if primary.effect is None or primary.ci_low is None or primary.ci_high is None or primary.p_value is None:
        return ""
    p = "p < 0.001" if primary.p_value < 0.001 else f"p = {primary.p_value:.3f}"
    return (
        f"Of what {treatment} wrote, {primary.mean_treatment:.1%} was kept against {primary.mean_control:.1%}: "
        f"{primary.effect * 100:+.1f} points ({level:.0%} interval {primary.ci_low * 100:+.1f} to "
        f"{primary.ci_high * 100:+.1f}, {p}), by {primary.n_treatment} and {primary.n_control} {people}."
    )


def request_words(request: RequestLevel, primary: Comparison) -> str:
    """Why the test over single requests is not the one to read, with its figures."""
    if request.p_value is None or request.design_effect is None or primary.p_value is None:
        return ""
    said = f"A test over single drafts would say p = {request.p_value:.2g} instead of {primary.p_value:.2g}."
    if request.design_effect <= 1.05:
        return f"{said} Here the two nearly agree; users stay the units, since users were split and not drafts."
    worth = request.n_requests / request.design_effect
    return (
        f"{said} Drafts of one user resemble each other: {request.n_requests:,} drafts tell as much as {worth:,.0f} "
        f"independent ones (design effect {request.design_effect:.1f}), so users are the units."
    )


def _and(names: list[str]) -> str:
    return " and ".join(names)
