import numpy as np
import pandas as pd
import pytest

from organism.digest.off_policy import (
    MIN_EFFECTIVE_USERS,
    expected_rewards,
    in_learning_half,
    judged_on,
    learn_router,
    preview,
    usable_log,
)
from organism.digest.policies import in_words, parse_policy, target_shares
from organism.errors import InputError

VARIANTS = ["base", "scribe-1"]


def log_of(n_users: int = 60, per_user: int = 5, seed: int = 0, gain: float = 0.2) -> pd.DataFrame:
    """A fair experiment: in the north scribe-1 earns `gain` more than base, in the south it earns `gain` less."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        assigned = VARIANTS[int(rng.integers(2))]
        region = ("north", "south")[user % 2]
        effect = gain * (assigned == "scribe-1") * (1 if region == "north" else -1)
        habit = rng.normal(0, 0.03)
        rows += [
            {
                "user_key": f"user-{user}",
                "variant": assigned,
                "assigned": assigned,
                "tried": tuple(VARIANTS),
                "probability": 0.5,
                "experiment_id": "e1",
                "segment": region,
                "reward": 0.5 + effect + habit + rng.normal(0, 0.05),
            }
            for _ in range(per_user)
        ]
    return pd.DataFrame(rows)


def asked(policy: str, log: pd.DataFrame, everything: pd.DataFrame | None = None):
    rng = np.random.default_rng(0)
    return preview(parse_policy(policy), log, log if everything is None else everything, {}, rng=rng, n=400)


def test_policies_are_read_from_their_words():
    assert parse_policy("always:scribe-1").rules == {"*": {"scribe-1": 1.0}}
    routed = parse_policy(" region: north=scribe-1 , *=base ")
    assert (routed.segment_by, routed.rules) == ("region", {"north": {"scribe-1": 1.0}, "*": {"base": 1.0}})
    assert parse_policy("mix:base=1,scribe-1=3").rules == {"*": {"base": 0.25, "scribe-1": 0.75}}
    assert parse_policy("mix:base=1e308,scribe-1=1e308").rules == {"*": {"base": 0.5, "scribe-1": 0.5}}
    assert parse_policy("best:length").learn
    assert in_words(parse_policy("always:base")) == "always base"
    assert in_words(routed) == "scribe-1 for north, base for the rest"
    assert in_words(parse_policy("mix:base=1,scribe-1=3")) == "25% base and 75% scribe-1"
    assert in_words(parse_policy("mix:base=0,scribe-1=1,scribe-brief=0")) == "always scribe-1"
    assert in_words(parse_policy("mix:a=1,b=1,c=2,d=0")) == "25% a, 25% b and 50% c"


@pytest.mark.parametrize(
    "text",
    "|scribe-1|always:|mix:base|mix:base=x|mix:base=-1|mix:base=0|mix:base=inf|region:north|best:mood".split("|"),
)
def test_a_policy_that_cannot_be_read_says_what_is_wanted(text: str):
    with pytest.raises(InputError) as error:
        parse_policy(text)
    assert len(str(error.value)) < 320


def test_a_variant_nobody_has_and_a_segment_without_a_rule_are_named():
    with pytest.raises(InputError, match=r"no variant is called 'ghost'; there are: base, scribe-1"):
        target_shares(parse_policy("always:ghost"), ["north"], VARIANTS)
    with pytest.raises(InputError, match="says nothing for region south"):
        target_shares(parse_policy("region:north=base"), ["north", "south"], VARIANTS)


def test_the_estimates_find_what_the_router_would_have_earned():
    found = asked("region:north=scribe-1,south=base", log_of())
    truth = 0.5 + 0.2 / 2
    by_method = {estimate.method: estimate for estimate in found.estimates}
    for method in ("dr", "snips"):
        assert by_method[method].low < truth < by_method[method].high
    assert by_method["dm"].is_model_based
    assert by_method["dm"].low is None
    assert found.refusal is None
    assert found.logged.estimate == pytest.approx(0.5, abs=0.05)
    assert by_method["dr"].low > found.logged.estimate
    assert found.n_users == 60
    assert found.check.effective < 60
    assert "would have earned about" in found.sentence
    assert found.gain.estimate == pytest.approx(by_method["dr"].estimate - found.logged.estimate)
    assert 0 < found.gain.low < found.gain.high
    assert "more than the drafts as they were written" in found.sentence


def test_a_router_that_gains_nothing_says_so():
    found = asked("always:scribe-1", log_of(gain=0.0))
    assert found.gain.low < 0 < found.gain.high
    assert "not to be told from no difference" in found.sentence


def test_what_was_never_tried_anywhere_is_refused_and_only_the_model_speaks():
    log = log_of()
    elsewhere = log.assign(variant="scribe-9", reward=0.9, experiment_id=None, probability=np.nan)
    found = asked("always:scribe-9", log, pd.concat([log, elsewhere]))
    assert found.refusal.startswith("No overlap")
    assert "scribe-9" in found.refusal
    assert [estimate.method for estimate in found.estimates] == ["dm"]
    assert found.estimates[0].estimate == pytest.approx(0.9)
    assert "model guesses" in found.sentence
    assert found.gain.estimate is None


def test_a_segment_where_the_pick_was_never_logged_is_refused_by_name():
    log = log_of()
    log = log[~((log["segment"] == "south") & (log["variant"] == "scribe-1"))]
    found = asked("always:scribe-1", log)
    assert "picks scribe-1 for south" in found.refusal
    assert [estimate.method for estimate in found.estimates] == ["dm"]
    assert asked("region:north=scribe-1,*=base", log).refusal is None


def test_too_few_users_and_one_heavy_user_are_refused():
    few = asked("always:scribe-1", log_of(n_users=12))
    assert f"{MIN_EFFECTIVE_USERS} are wanted" in few.refusal
    log = log_of(n_users=60)
    heavy = log[log["variant"] == "scribe-1"].head(1)
    found = asked("always:scribe-1", pd.concat([log, *[heavy] * 100]))
    assert found.refusal is not None


def test_an_empty_log_is_refused_and_not_a_zero():
    found = asked("always:base", log_of().head(0), log_of())
    assert found.refusal is not None
    assert found.estimates == []
    assert found.logged.estimate is None


def test_rows_without_a_known_probability_are_left_out_and_counted():
    rows = pd.DataFrame(
        {
            "user_key": ["a", "b", "c", "d", "e"],
            "variant": ["base", "base", "scribe-1", "base", "base"],
            "experiment_id": [None, "e1", "e1", "e1", "e1"],
            "reward": [0.5, 0.5, 0.5, np.nan, 0.5],
            "segment": ["north", "north", "north", "north", None],
        }
    )
    known = pd.DataFrame({"experiment_id": "e1", "user_key": list("bcde"), "assigned": "base", "probability": 0.5})
    log, left_out = usable_log(rows, known.assign(tried=[("base", "scribe-1")] * 4, experiment="first"))
    assert log["user_key"].tolist() == ["b"]
    assert list(left_out.values()) == [1, 1, 1, 1]
    assert "outside of any experiment" in next(iter(left_out))


def test_only_experiments_that_tried_what_the_policy_picks_are_judged_on():
    log = log_of()
    second = log.assign(experiment_id="e2", tried=[("base", "scribe-2")] * len(log), assigned="base", variant="base")
    kept, n_dropped = judged_on(pd.concat([log, second], ignore_index=True), parse_policy("always:scribe-1"))
    assert set(kept["experiment_id"]) == {"e1"}
    assert n_dropped == len(second)


def test_no_users_own_reward_predicts_it():
    log = log_of(n_users=30, per_user=1, gain=0.0)
    before = expected_rewards(log, log, VARIANTS)
    shocked = log.copy()
    shocked.loc[0, "reward"] = 100.0
    after = expected_rewards(shocked, shocked, VARIANTS)
    assert after[0] == pytest.approx(before[0])
    assert after.max() > before.max()


def test_a_router_is_learned_on_one_half_and_finds_each_regions_best():
    log = log_of(n_users=80)
    half = in_learning_half(log["user_key"])
    assert 0.3 < half.mean() < 0.7
    assert not set(log["user_key"][half]) & set(log["user_key"][~half])
    router = learn_router(log[half], parse_policy("best:region"))
    assert router.rules["north"] == {"scribe-1": 1.0}
    assert router.rules["south"] == {"base": 1.0}
    with pytest.raises(InputError, match="run an experiment"):
        learn_router(log.head(0), parse_policy("best:region"))


def test_one_user_gives_no_guess_of_a_model_that_never_saw_another():
    log = log_of(n_users=1)
    found = asked("always:" + log["assigned"].iloc[0], log)
    assert found.refusal is not None
    assert found.refusal.startswith("Too few users: the estimate would rest on 1.0 effective users")
    assert [method.estimate for method in found.estimates] == [None]
    assert found.sentence.startswith("Nobody can tell from this log")
