"""The written rules that turn figures into a verdict. Pure: the same evidence always gives the same scorecard."""

from typing import Any, NamedTuple

from organism.experiment import sentences
from organism.experiment.analysis import (
    Reading,
    Settings,
    cuped,
    estimates,
    gain_sign,
    lead,
    metric_rows,
    own_interval,
    read_metrics,
    request_level,
    settings_of,
    without_claim,
)
from organism.experiment.evidence import Evidence
from organism.experiment.guardrails import read_guardrails
from organism.experiment.horizon import Horizon, read_horizon, users_to_settle
from organism.experiment.novelty import read_novelty
from organism.experiment.plan import differences, plan_of
from organism.experiment.readout import srm_of
from organism.experiment.results import MAX_IN_BOTH, SRM_ALPHA
from organism.experiment.reward_flips import read_flips
from organism.experiment.scorecard import (
    Guardrail,
    GuardrailState,
    IntervalKind,
    PlanChange,
    Rule,
    Scorecard,
    SplitCheck,
    VariantRow,
)
from organism.experiment.segments import adjustment_words, read_segments
from organism.records import Verdict

FUTILE = 0.1
"""A conditional power below this, at half of the planned users or more, ends an experiment as futile."""
FUTILE_FROM = 0.5

RULES = (
    Rule(
        "sample_ratio_mismatch",
        Verdict.BLOCKED,
        f"the split of users, tested at every day so far, has a p below {SRM_ALPHA} for the shares that were planned "
        "(sequential test; where only one look is on record, chi-square)",
    ),
    Rule(
        "users_in_both",
        Verdict.BLOCKED,
        f"more than {MAX_IN_BOTH:.1%} of the users were served by two variants, or by one they were not assigned",
    ),
    Rule(
        "unknown_probabilities",
        Verdict.BLOCKED,
        f"the shares followed the results, and for more than {MAX_IN_BOTH:.1%} of the users no probability is on "
        "record",
    ),
    Rule("too_few_users", Verdict.KEEP_RUNNING, "a variant has fewer users with a known answer than the plan asks for"),
    Rule(
        "worse",
        Verdict.ROLL_BACK,
        "the interval that counts lies wholly on the wrong side of 0 for a primary metric (several: by Holm)",
    ),
    Rule("guardrail_broken", Verdict.ROLL_BACK, "a guardrail is surely worse than its margin"),
    Rule(
        "no_worthwhile_gain",
        Verdict.STOP,
        "no primary metric is surely better, and the interval ends below the smallest gain worth shipping for, or the "
        "planned users are in",
    ),
    Rule(
        "futile",
        Verdict.STOP,
        f"{FUTILE_FROM:.0%} of the planned users or more are in, and even if the smallest worthwhile gain is real, the "
        f"chance to see it with the others is below {FUTILE:.0%} (conditional power)",
    ),
    Rule(
        "not_settled", Verdict.KEEP_RUNNING, "no primary metric is surely better yet, and the planned users are not in"
    ),
    Rule(
        "guardrail_open", Verdict.KEEP_RUNNING, "a primary metric is surely better, but a guardrail is not settled yet"
    ),
    Rule(
        "better",
        Verdict.SHIP,
        "the interval that counts lies wholly on the right side of 0 for a primary metric (several: by Holm), and "
        "every measured guardrail holds",
    ),
)


class Found(NamedTuple):
    """What the rules look at."""

    settings: Settings
    readings: dict[tuple[str, str], Reading]
    headline: Reading
    guardrails: tuple[Guardrail, ...]
    split: SplitCheck
    horizon: Horizon


def judge(evidence: Evidence) -> Scorecard:
    """The whole scorecard, with the verdict of the first rule that fits."""
    settings = settings_of(evidence)
    readings, notes = read_metrics(evidence, settings)
    treatment = lead(evidence, settings, readings)
    headline = readings[settings.plan.primary[0], treatment]
    found = Found(
        settings,
        readings,
        headline,
        read_guardrails(evidence, settings),
        split_check(evidence, settings),
        read_horizon(evidence, settings, headline),
    )
    rule = fired(evidence, found)
    return _scorecard(evidence, found, rule, notes)


def fired(evidence: Evidence, found: Found) -> Rule:
    """The first rule whose condition holds."""
    conditions = _conditions(evidence, found)
    return next(rule for rule in RULES if conditions[rule.name])


def _conditions(evidence: Evidence, found: Found) -> dict[str, bool]:
    settings, headline = found.settings, found.headline
    plan, primary, sums = settings.plan, headline.comparison, evidence.sums
    states = {guardrail.state for guardrail in found.guardrails if guardrail.variant == headline.variant}
    sides = [_side(evidence, settings, found.readings[name, headline.variant]) for name in plan.primary]
    is_better = any(side > 0 for side in sides)
    strayed = sums.n_strayed / max(settings.n_exposed + sums.n_strayed, 1)
    planned_in = settings.n_planned is not None and settings.n_exposed >= settings.n_planned
    best = _best_case(evidence, found)
    chance, fraction = found.horizon.conditional_power, found.horizon.fraction
    return {
        "sample_ratio_mismatch": found.split.blocked,
        "users_in_both": strayed > MAX_IN_BOTH,
        "unknown_probabilities": settings.kind is IntervalKind.WITHHELD,
        "too_few_users": min(primary.n_control, primary.n_treatment) < plan.min_users_per_arm or headline.low is None,
        "worse": any(side < 0 for side in sides),
        "guardrail_broken": GuardrailState.BROKEN in states,
        "no_worthwhile_gain": not is_better and (planned_in or (best is not None and best < plan.minimum_effect)),
        "futile": not is_better and chance is not None and chance < FUTILE and (fraction or 0.0) >= FUTILE_FROM,
        "not_settled": not is_better,
        "guardrail_open": GuardrailState.OPEN in states,
        "better": True,
    }


def _side(evidence: Evidence, settings: Settings, reading: Reading) -> int:
    """+1 where a primary metric is surely better, −1 where surely worse, 0 where the interval that counts holds 0."""
    if reading.low is None or reading.high is None or not (reading.low > 0 or reading.high < 0):
        return 0
    return gain_sign(evidence, reading.metric) * (1 if reading.low > 0 else -1)


def _best_case(evidence: Evidence, found: Found) -> float | None:
    """The largest gain in the first primary metric that the interval still holds."""
    reading = found.headline
    if reading.low is None or reading.high is None:
        return None
    return reading.high if gain_sign(evidence, reading.metric) > 0 else -reading.low


def split_check(evidence: Evidence, settings: Settings) -> SplitCheck:
    """The split of the users against the planned shares: sequentially over the days, which decides, and at this look.

    Read at 30 looks, a chi-square at 0.001 blocks 0.9% of fair splits; the sequential p keeps its promise at any.
    """
    names = [variant.name for variant in evidence.variants]
    shares = {variant.name: variant.share for variant in evidence.variants}
    counts = {name: evidence.sums.n_users.get(name, 0) for name in names}
    if settings.is_adaptive:
        words = "Not tested: the shares followed the results (Thompson sampling), so no fixed split was planned."
        return SplitCheck(None, None, False, counts, shares, words)
    if not sum(counts.values()):
        return SplitCheck(None, None, False, counts, shares, "No user was served yet, so there is no split to test.")
    tested = srm_of(counts, shares, [look.n_users for look in evidence.sums.looks])
    found = SplitCheck(tested.p_value, tested.sequential_p, tested.blocked, counts, shares, "")
    return found._replace(sentence=sentences.split(found))


def _scorecard(evidence: Evidence, found: Found, rule: Rule, notes: tuple[str, ...]) -> Scorecard:
    settings, headline, horizon = found.settings, found.headline, found.horizon
    more = _more_users(found, rule)
    request = request_level(evidence, settings, headline.variant)
    rows, heterogeneity = read_segments(evidence, settings)
    words = sentences.Words(evidence, settings, headline, found.guardrails, found.split, horizon, more)
    return Scorecard(
        **_headline(evidence, found),
        more_users=more,
        verdict=rule.verdict,
        rule=rule.name,
        sentence=sentences.verdict(words, rule),
        metrics=metric_rows(evidence, settings, found.readings),
        guardrails=found.guardrails,
        request_level=request,
        request_sentence=sentences.request(request, headline.comparison.p_value),
        is_synthetic=evidence.is_synthetic,
        variants=_variants(evidence, settings),
        n_planned=settings.n_planned,
        days_left=more / horizon.users_per_day if more and horizon.users_per_day else None,
        users_per_day=horizon.users_per_day,
        srm=found.split,
        segments=rows,
        segment_adjustment=adjustment_words(rows, settings),
        heterogeneity=heterogeneity,
        novelty=read_novelty(evidence.sums.periods, settings.control, headline.variant, settings.plan.alpha),
        weights_flip=read_flips(evidence, settings, headline.variant),
        cuped=cuped(evidence, settings, headline.variant),
        power_now=horizon.power_now,
        conditional_power=horizon.conditional_power,
        adjustment=sentences.adjustment(settings),
        interval_sentence=sentences.interval(settings),
        sql=evidence.sums.sql,
        warnings=sentences.warnings(evidence, settings, headline) + _worse_rivals(evidence, found) + notes,
        plan=settings.plan.plain(),
        plan_version=evidence.plans[-1].version,
        plan_changes=_plan_changes(evidence),
        data_version=evidence.data_version,
    )


def _headline(evidence: Evidence, found: Found) -> dict[str, Any]:
    """The fields of the scorecard that say which effect it is about, and how large it is."""
    settings, headline, comparison = found.settings, found.headline, found.headline.comparison
    fixed = without_claim(comparison) if settings.is_adaptive else comparison
    return {
        "experiment_id": evidence.experiment_id,
        "name": evidence.name,
        "control": settings.control,
        "treatment": headline.variant,
        "effect": comparison.effect,
        "ci_low": headline.low,
        "ci_high": headline.high,
        "p_value": headline.p_value,
        "relative": comparison.relative,
        "relative_low": headline.relative_low,
        "relative_high": headline.relative_high,
        "n_control": comparison.n_control,
        "n_treatment": comparison.n_treatment,
        "mean_control": comparison.mean_control,
        "mean_treatment": comparison.mean_treatment,
        "srm_p_value": found.split.deciding_p,
        "n_users": found.split.counts,
        "n_interactions": evidence.sums.n_interactions,
        "n_in_both": evidence.sums.n_strayed,
        "primary": headline.metric,
        "primary_label": evidence.measure[headline.metric].label,
        "interval_kind": settings.kind,
        "fixed": (fixed.ci_low, fixed.ci_high, fixed.p_value),
        "always": (headline.band.low, headline.band.high, headline.band.p_value),
    }


def _more_users(found: Found, rule: Rule) -> int | None:
    """How many more users are needed; for a guardrail that is open at the planned size, until it settles."""
    more = found.horizon.more_users if rule.verdict is Verdict.KEEP_RUNNING else None
    if more is None and rule.name == "guardrail_open":
        variant = found.headline.variant
        still_open = [one for one in found.guardrails if (one.variant, one.state) == (variant, GuardrailState.OPEN)]
        return users_to_settle(still_open, found.settings)
    return more


def _worse_rivals(evidence: Evidence, found: Found) -> tuple[str, ...]:
    """The treatments beside the best one that are surely worse than the control."""
    settings = found.settings
    worse = [
        treatment
        for treatment in settings.treatments
        if treatment != found.headline.variant
        and any(_side(evidence, settings, found.readings[name, treatment]) < 0 for name in settings.plan.primary)
    ]
    return tuple(f"{name} is surely worse than {settings.control}: take it out of the experiment." for name in worse)


def _variants(evidence: Evidence, settings: Settings) -> tuple[VariantRow, ...]:
    arms, _ = estimates(evidence, settings.plan.primary[0], with_covariates=bool(settings.plan.covariates))
    rows = []
    for variant in evidence.variants:
        arm = arms[variant.name]
        low, high = own_interval(arm, settings.plan.alpha)
        rows.append(
            VariantRow(
                name=variant.name,
                share=variant.share,
                n_users=evidence.sums.n_users.get(variant.name, 0),
                n_known=arm.n if arm else 0,
                mean=arm.value if arm else None,
                low=low,
                high=high,
                is_control=variant.name == settings.control,
                model_version_id=variant.model_version_id,
                prompt=variant.prompt,
            )
        )
    return tuple(rows)


def _plan_changes(evidence: Evidence) -> tuple[PlanChange, ...]:
    """Every version of the plan; the first changes nothing."""
    found = []
    for before, after in zip((None, *evidence.plans), evidence.plans, strict=False):
        changes = differences(plan_of(before.plan), plan_of(after.plan)) if before else []
        said = tuple(
            one.words + (" (after a look, this can bend a verdict)" if one.is_telling else "") for one in changes
        )
        found.append(PlanChange(after.version, after.actor, after.why, f"{after.created_at.isoformat()}Z", said))
    return tuple(found)
