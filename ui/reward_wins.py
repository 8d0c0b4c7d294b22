"""Who wins: mean rewards of live design and draft, the map of winners over all mixes, and the nearest flip."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import streamlit as st

from organism.deploy.flow import live_version
from organism.digest.flow import reward_moments, signal_moments
from organism.digest.guardrails import ConstraintCheck, Status, barred, constraint_checks
from organism.digest.rewards import (
    RewardMoments,
    VariantReward,
    effective_signals,
    reward_difference,
    rewards_by_variant,
)
from organism.digest.weight_space import Flip, flips, ternary
from organism.errors import OrganismError
from organism.records import RewardDesign
from ui import cards, reward_charts, runtime
from ui.reward_doubts import doubts
from ui.reward_draft import LABELS, anchors, shares
from ui.words import between, literal, sentence

MARKS = {
    Status.HOLDS: ("green", "check"),
    Status.BROKEN: ("red", "block"),
    Status.UNSURE: ("orange", "question_mark"),
}


class Desk(NamedTuple):
    """What every view of the designer looks at."""

    loop: runtime.Loop
    live: RewardDesign
    draft: RewardDesign


class Scored(NamedTuple):
    """A design's verdict: the rewards by variant, who breaks a guardrail, and who wins of the others."""

    moments: RewardMoments
    rewards: list[VariantReward]
    checks: list[ConstraintCheck]

    @property
    def barred(self) -> list[str]:
        """The variants that break a guardrail, and may not win."""
        return barred(self.checks)

    @property
    def ranking(self) -> list[VariantReward]:
        """Who may win, the best first."""
        free = [reward for reward in self.rewards if reward.mean is not None and reward.variant not in self.barred]
        return sorted(free, key=lambda reward: -(reward.mean or 0.0))

    @property
    def winner(self) -> str | None:
        """Who wins; None when nobody may."""
        return self.ranking[0].variant if self.ranking else None


def score(loop_id: str, design: RewardDesign) -> Scored:
    """Score a design on the history: arithmetic on moments that are read once for its signals and anchors."""
    moments = runtime.read(reward_moments, loop_id, anchors(design))
    guarded = tuple(sorted({guardrail.signal for guardrail in design.constraints}))
    found = runtime.read(signal_moments, loop_id, guarded) if guarded else {}
    return Scored(
        moments, rewards_by_variant(moments, design), constraint_checks(found, design, variants=tuple(moments.variants))
    )


def live_name(loop_id: str) -> str | None:
    """The version that serves now: the one that is teal in every chart."""
    version = runtime.read(live_version, loop_id)
    return version.name if version else None


def wins(desk: Desk) -> None:
    """The view: three figures, the means, then the map beside what it says."""
    live, draft = _scored_live(desk), score(desk.loop.loop_id, desk.draft)
    if not any(reward.mean is not None for reward in draft.rewards):
        cards.empty(
            "No drafts carry every signal yet",
            "A reward needs all its signals on the same draft. See under Signals which are rare; say there what a "
            "missing one counts as, or take it out.",
            "rule",
        )
        return
    _figures(live, draft, desk)
    _means(live, draft, desk)
    doubted = st.container()
    left, right = st.columns([1.15, 1], gap="medium")
    with left:
        if len(draft.ranking) < 2:
            st.info(_alone(draft), icon=":material/group_work:")
        else:
            _map(draft, desk)
    with right:
        _words(draft, desk)
    if draft.ranking:
        with doubted:  # Last, since the first audit after a change of the data takes longer than all the rest.
            doubts(desk.loop.loop_id, desk.live, desk.draft, [found.variant for found in draft.ranking])


def _scored_live(desk: Desk) -> Scored:
    """The live design's verdict; where a signal of it was removed since, a sentence and an empty one."""
    try:
        return score(desk.loop.loop_id, desk.live)
    except OrganismError as error:
        if desk.draft.id != desk.live.id:
            st.warning(literal(sentence(str(error))), title="The live design cannot be scored any more")
        return Scored(RewardMoments((), {}, {}), [], [])


def _figures(live: Scored, draft: Scored, desk: Desk) -> None:
    effective = effective_signals(draft.moments, desk.draft)
    n_signals = sum(spec.weight > 0 for spec in desk.draft.signals)
    with st.grid(3, min_column_width=176):
        cards.vital("Wins today", live.winner, "Highest mean reward under the live design, guardrails held.")
        st.metric(
            "Would win",
            draft.winner,
            "another winner" if live.winner not in (None, draft.winner) else None,
            delta_color="violet",
            delta_arrow="off",
            help="Highest mean reward under your draft, guardrails held.",
            border=True,
            height="stretch",
        )
        cards.vital(
            "Effective signals",
            None if effective is None else f"{effective:.1f} of {n_signals}",
            "How many signals really drive the reward: 1 means that one decides alone, whatever the weights say.",
        )


def _means(live: Scored, draft: Scored, desk: Desk) -> None:
    frame = _table(live, draft)
    winner = draft.ranking[0] if draft.ranking else None
    said = "No variant may win: each breaks a guardrail."
    if winner:
        said = (
            f"Under your draft {winner.variant} earns {winner.mean:.3f}" + _lead(draft, desk.draft) + _outranked(draft)
        )
    about = (desk.loop.loop_id, desk.live.id, desk.draft.id)
    figure = runtime.figure(reward_charts.mean_rewards, frame, live_name(desk.loop.loop_id), draft.winner, about=about)
    cards.chart(figure, said, frame, "rewards")


def _table(live: Scored, draft: Scored) -> pd.DataFrame:
    """Means and intervals by variant under both designs; variants without one are missing, not 0."""
    columns = ["mean", "low", "high"]
    sides = [
        pd.DataFrame(found.rewards, columns=VariantReward._fields)
        .set_index("variant")[columns]
        .set_axis([name, f"{name}_low", f"{name}_high"], axis=1)
        for name, found in (("live", live), ("draft", draft))
    ]
    frame = sides[0].join(sides[1], how="outer").astype(float).reset_index()
    frame["note"] = ["breaks a guardrail" if name in draft.barred else "" for name in frame["variant"]]
    return frame


def _lead(draft: Scored, design: RewardDesign) -> str:
    """How sure the lead is, in words."""
    if len(draft.ranking) < 2:
        return "."
    first, second = draft.ranking[:2]
    found = reward_difference(draft.moments, design, control=second.variant, treatment=first.variant)
    if found.effect is None or found.ci_low is None:
        return f", ahead of {second.variant}; too few users to say by how much."
    sure = "a clear lead" if found.ci_low > 0 else "no clear lead"
    return (
        f", {found.effect:.3f} more than {second.variant} "
        f"({between(found.ci_low, found.ci_high, lambda x: f'{x:.3f}')}): {sure}."
    )


def _outranked(draft: Scored) -> str:
    """Who would earn more and may not win."""
    best = draft.ranking[0].mean or 0.0
    more = [found.variant for found in draft.rewards if found.variant in draft.barred and (found.mean or 0.0) > best]
    return f" {' and '.join(more)} would earn more, and may not win." if more else ""


def _alone(draft: Scored) -> str:
    if len(draft.rewards) < 2:
        return (
            "Only one version has drafted so far. Who wins needs a second one: fine-tune a model, "
            "or send drafts of another variant."
        )
    return "Only one variant may win: the others break a guardrail or lack a signal, so that no weight can change it."


def _map(draft: Scored, desk: Desk) -> None:
    here, there = shares(desk.draft), shares(desk.live)
    frame = ternary(draft.moments, desk.draft, excluded=draft.barred)
    figure = runtime.figure(
        reward_charts.ternary,
        frame,
        tuple((here or {}).values()),
        tuple((there or {}).values()),
        live_name(desk.loop.loop_id),
        tuple(draft.moments.variants),
        about=(desk.loop.loop_id, desk.draft.id, desk.live.id),
    )
    cards.chart(figure, _regions(frame), frame, "who_wins")


def _words(draft: Scored, desk: Desk) -> None:
    """Beside the map: the nearest flip, and the guardrails."""
    if len(draft.ranking) > 1:
        found = flips(draft.moments, desk.draft, excluded=draft.barred)
        st.markdown(f"**Nearest flip**  \n{literal(flip_in_words(found, draft.winner))}")
    _guardrails(draft)


def _regions(frame: pd.DataFrame) -> str:
    """Who wins how much of the map, in words."""
    won = frame.loc[frame["is_clear"].fillna(False).astype(bool), "winner"].value_counts() / len(frame)
    said = [f"{name} clearly wins {share:.0%} of all mixes" for name, share in won.items()]
    return ", ".join(said) + "." if said else "At no mix is anybody a clear winner."


def flip_in_words(found: Sequence[Flip], winner: str | None) -> str:
    """Which one weight, moved how far, would make another variant win; a group is named where its signal is alone."""
    if not found:
        return f"No single weight flips it: {winner} wins however one of them is moved."
    near = found[0]
    same = [flip for flip in found if flip[2:] == near[2:] and flip.is_group]
    name = LABELS[same[0].name][0].lower() if same else LABELS[near.name][0].lower() if near.is_group else near.name
    way = "rose" if near.share_then > near.share_now else "fell"
    shares = f"from {near.share_now:.0%} to {near.share_then:.0%}"
    return f"{near.winner_then} would win if the weight of {name} {way} {shares}."


def _guardrails(draft: Scored) -> None:
    if not draft.checks:
        st.markdown("**Guardrails**  \nNone. A heavy weight can be gamed; a guardrail cannot be outweighed.")
        return
    lines = ["**Guardrails**"]
    for check in draft.checks:
        if (said := f"{literal(check.signal)} {literal(check.bound)}") not in lines:
            lines.append(said)
        color, icon = MARKS.get(check.status, ("gray", "remove"))
        estimate = "unknown" if check.estimate is None else f"{check.estimate:.3g}"
        lines.append(f":{color}[:material/{icon}:] {literal(f'{check.variant} {estimate}')}")
    st.markdown("  \n".join(lines))
    if draft.barred:
        st.caption(f"{', '.join(draft.barred)} may not win, whatever the reward.")
