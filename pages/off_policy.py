"""Off-policy preview: what a router that never ran would have earned, and how little that may be known."""

import pandas as pd
import streamlit as st

from organism.digest.off_policy import MAX_LARGEST_SHARE, MIN_EFFECTIVE_USERS, Preview
from organism.digest.off_policy_flow import off_policy
from organism.digest.policies import EVERYWHERE, Policy, parse_policy
from organism.digest.prompt_kinds import KINDS_OF_PROMPT
from organism.errors import InputError
from organism.store.experiments import read_experiments
from organism.store.interactions import read_regions, read_variants
from ui import cards, choice_charts, designs, runtime
from ui.words import literal, percent, sentence

MOST_REGIONS = 30
FORMS = {
    "always": "Always one version",
    "region": "A version for each region",
    "length": "A version for each length of prompt",
    "mix": "A mixture",
    "best:region": "The best of each region, learned",
    "best:length": "The best of each length of prompt, learned",
}

cards.head(
    "Off-policy preview",
    "What would a router have earned that never ran? An estimate from the log, or the reason why nobody can tell.",
    "alt_route",
)
loop = runtime.chosen_loop()
if loop is None or not loop.n_interactions:
    cards.empty(
        "Nothing logged yet",
        "An estimate needs drafts of an experiment, where the probability of each version is on record.",
        "alt_route",
        page="sources",
        action="Open Sources",
    )
    st.stop()

with st.container(border=True, key="not_exact"):
    st.markdown(
        "**An estimate about choices that were not made.** Moving a weight re-weights the same drafts: that is exact, "
        "and lives in the Reward designer. Here other versions would have written the drafts, and only the logged "
        "probabilities of experiments let us guess what those would have earned."
    )
    if not cards.presenting():
        st.page_link(cards.page_file("reward"), label="Open the Reward designer", icon=":material/balance:")

loop_id = loop.loop_id
variants = runtime.read(read_variants, loop_id)
regions = runtime.read(read_regions, loop_id, MOST_REGIONS)
tried = runtime.read(read_experiments, loop_id)["treatment"].tolist()
first_choice = next((name for name in tried if name in variants), variants[-1])


def asked_in_link() -> Policy | None:
    """The policy that the address carries; a broken one is one sentence."""
    text = st.query_params.get("policy")
    try:
        return parse_policy(text) if text else None
    except InputError as error:
        st.warning(literal(sentence(str(error))), title="Unknown link", icon=":material/link_off:")
        return None


def form_of(policy: Policy | None) -> str:
    """Which form of the editor makes this policy."""
    if policy is None:
        return "always"
    if policy.learn:
        return f"best:{policy.segment_by}"
    return policy.segment_by or ("mix" if len(policy.rules[EVERYWHERE]) > 1 else "always")


def rule(policy: Policy | None, segment: str) -> dict[str, float]:
    """What the link says for a segment; without one, the version that was tested last."""
    rules = policy.rules if policy else {}
    return rules.get(segment, rules.get(EVERYWHERE, {first_choice: 1.0}))


def pick(label: str, shares: dict[str, float], key: str) -> str:
    """One version by name."""
    named = max(shares, key=shares.__getitem__)
    place = variants.index(named) if named in variants else 0
    return st.selectbox(label, variants, index=place, key=key, width=360)


def edited(form: str, policy: Policy | None) -> str:
    """The editor of one form; returns the policy in its written form."""
    if form.startswith("best:"):
        st.caption(
            "Learned on one half of the users and judged on the other: on the same half it would flatter itself."
        )
        return form
    if form == "always":
        return f"always:{pick('Version', rule(policy, EVERYWHERE), 'always')}"
    if form == "mix":
        wanted = rule(policy, EVERYWHERE)
        with st.grid(3, min_column_width=160):
            shares = {
                name: st.number_input(f"Share of {name}", 0.0, 100.0, wanted.get(name, 0.0), 0.1, key=f"mix_{name}")
                for name in variants
            }
        return "mix:" + ",".join(f"{name}={share:g}" for name, share in shares.items())
    segments = list(KINDS_OF_PROMPT) if form == "length" else regions
    with st.grid(3, min_column_width=160):
        picked = {
            segment: pick(segment.capitalize(), rule(policy, segment), f"{form}_{segment}") for segment in segments
        }
        picked[EVERYWHERE] = pick("All the rest", rule(policy, EVERYWHERE), f"{form}_rest")
    return f"{form}:" + ",".join(f"{segment}={name}" for segment, name in picked.items())


link = asked_in_link()
if cards.presenting():
    policy = link.text if link else f"always:{first_choice}"
    design = designs.choose(loop_id)
else:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        design = designs.choose(loop_id)
        form = st.selectbox(
            "Policy",
            list(FORMS),
            index=list(FORMS).index(form_of(link)),
            format_func=FORMS.__getitem__,
            key="policy_form",
            width=360,
            help="Who would have written which drafts.",
        )
    policy = edited(form, link)
    st.query_params["policy"] = policy
if design is None:
    cards.present_button()
    st.stop()


def findings(found: Preview) -> None:
    """The sentence first, then how much stands behind it."""
    with st.container(border=True, key="finding", gap="xsmall"):
        if found.refusal:
            st.header(":orange[Not identified]", icon=":material/block:", anchor=False)
            st.markdown(f"**{literal(found.refusal)}**")
            st.caption(literal(found.sentence))
        else:
            st.header(":green[An estimate]", icon=":material/query_stats:", anchor=False)
            st.markdown(f"**{literal(sentence(found.sentence))}**")
            if form_of(parse_policy(policy)).startswith("best:"):
                st.caption(literal(f"Policy: {found.policy.partition(': ')[0]}."))
    check = found.check
    with st.grid(4, min_column_width=165):
        cards.vital(
            "Effective users",
            None if check.effective is None else f"{check.effective:.1f}",
            f"(Σw)² ÷ Σw² of the users' summed weights, of {found.n_users} users. Users were assigned, not drafts, so "
            f"users count. Under {MIN_EFFECTIVE_USERS} there is no estimate; up to 50, intervals are a little short.",
        )
        cards.vital(
            "Largest weight's share",
            percent(check.largest_share, 0),
            f"How much of all weight one user carries. Over {MAX_LARGEST_SHARE:.0%} there is no estimate.",
        )
        cards.vital("Largest weight", f"{check.max_weight:.2f}", "π(version) ÷ logged probability, of one draft.")
        cards.vital("Drafts used", f"{found.n_rows:,}", "Drafts of experiments, with every signal of the design.")


def methods(found: Preview) -> None:
    """The forest plot of the estimators against what was logged."""
    frame = pd.DataFrame([estimate._asdict() for estimate in found.estimates])
    if frame.empty or frame["estimate"].isna().all():
        st.caption("No method has an estimate.")
        return
    own = found.logged
    shown = (own.estimate, own.low, own.high) if None not in own else None
    first = found.estimates[0]
    takeaway = f"{first.label}: {first.estimate:.3f} a draft" + (
        f", as logged {own.estimate:.3f}." if own.estimate is not None else "."
    )
    figure = runtime.figure(choice_charts.policy_estimates, frame, shown, about=(loop_id, policy, design.id))
    cards.chart(figure, takeaway, frame, "off_policy")
    st.caption(
        "DR corrects a model of the mean reward by segment and version, cross-fitted by user, with the weights; SNIPS "
        "and IPS use the weights alone. DM is the model alone: hollow, without an interval, since resampling says "
        "nothing about how wrong the model is. Where DR and SNIPS disagree, trust neither."
    )


with cards.polite("No estimate"):
    found = runtime.read(off_policy, loop_id, design, policy)
    findings(found)
    methods(found)
    if loop.is_synthetic:
        st.caption("The drafts and what people did with them are simulated.")
    if not cards.presenting():
        st.header("What the log has", anchor=False)
        st.dataframe(
            [row._asdict() for row in found.segments],
            hide_index=True,
            column_config={
                "segment": "Segment",
                "variant": "Version",
                "n_rows": "Drafts",
                "n_users": "Users",
                "mean_reward": st.column_config.NumberColumn("Mean reward", format="%.3f"),
                "policy_share": st.column_config.NumberColumn("The policy's share", format="percent"),
            },
            alt="Logged drafts by segment and version, with the share that the policy gives each",
        )
        for reason, count in found.left_out.items():
            st.caption(literal(f"Left out: {count:,} drafts, {reason}."))
        if (ref := designs.asked_for()) != designs.DRAFT:
            with st.expander("Ask for this over HTTP or on the command line", icon=":material/terminal:"):
                st.code(f'organism reward off-policy --policy "{policy}" --design {ref}', language="bash")
                st.code(f'POST /v1/rewards/off-policy {{"policy": "{policy}", "design": "{ref}"}}', language="http")
cards.present_button()
