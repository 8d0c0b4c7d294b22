"""Read, decide: logged interactions and their probabilities to an off-policy preview. Writes nothing."""

import numpy as np
import pandas as pd

from organism.digest.designs import check_design
from organism.digest.off_policy import Preview, in_learning_half, learn_router, preview, usable_log
from organism.digest.policies import Policy, check_segments, in_words, parse_policy
from organism.digest.prompt_kinds import prompt_kinds
from organism.digest.row_rewards import rewards
from organism.errors import InputError
from organism.records import RewardDesign
from organism.store.database import Store
from organism.store.interactions import count_interactions, read_prompt_lengths
from organism.store.propensities import read_propensities
from organism.store.signals import known_signals, read_signal_rows

MAX_ROWS = 200_000
ALL = "all drafts"
HALF = "kept for learning the router: half of the users"


def off_policy(store: Store, loop_id: str, design: RewardDesign, policy: str, *, seed: int = 0) -> Preview:
    """What this policy (in words, see FORMS) would have earned under the design, estimated from the loop's log.

    Raises InputError for a policy or a seed that cannot be read, DesignError for a design that cannot give a reward.
    """
    if seed < 0:
        raise InputError(f"the seed is {seed}; give 0 or a whole number above it")
    asked = wanted = parse_policy(policy)
    rows = logged_rows(store, loop_id, design, asked.segment_by)
    check_segments(asked, {str(segment) for segment in rows["segment"].dropna()})
    log, left_out = usable_log(rows, read_propensities(store, loop_id))
    if n_beyond := count_interactions(store, loop_id) - len(rows):
        left_out = left_out | {f"beyond {MAX_ROWS:,}, the users that a hash of their key leaves out": n_beyond}
    if asked.learn:
        wanted, log, n_learned = _learned(asked, log)
        left_out = left_out | {HALF: n_learned}
    everything = rows.dropna(subset=["reward", "segment"])
    found = preview(wanted, log, everything, left_out, rng=np.random.default_rng(seed))
    return found._replace(policy=f"{in_words(asked)}: {found.policy}") if asked.learn else found


def logged_rows(store: Store, loop_id: str, design: RewardDesign, segment_by: str | None) -> pd.DataFrame:
    """One row an interaction: interaction_id, variant, user_key, experiment_id, segment, reward (NaN unknown).

    Whole users, at most MAX_ROWS rows. The segment is the region, how long the prompt is, or ALL.
    """
    check_design(design, known_signals(store, loop_id))
    rows = read_signal_rows(store, loop_id, [spec.signal for spec in design.signals], limit=MAX_ROWS)
    kept = rows[["interaction_id", "variant", "user_key", "experiment_id"]].copy()
    kept["reward"] = rewards(rows, design)
    if segment_by == "length":
        lengths = read_prompt_lengths(store, loop_id, kept["interaction_id"].astype(str).tolist())
        by_id = lengths.set_index("interaction_id")["prompt_chars"]
        kept["segment"] = prompt_kinds(by_id.reindex(kept["interaction_id"].astype(str))).to_numpy()
    else:
        kept["segment"] = rows["region"] if segment_by == "region" else ALL
    return kept


def _learned(policy: Policy, log: pd.DataFrame) -> tuple[Policy, pd.DataFrame, int]:
    """The router learned on one half of the users, and the rows of the other half to judge it on."""
    first = in_learning_half(log["user_key"])
    return learn_router(log[first], policy), log[~first].reset_index(drop=True), int(first.sum())
