"""Off-policy previews from the store: assignment probabilities in, estimates or a refusal out."""

import numpy as np
import pytest

from organism.digest.off_policy_flow import off_policy
from organism.errors import DesignError, InputError
from organism.records import RewardDesign, SignalSpec
from organism.store.assignments import Draw, keep_assignments
from organism.store.interactions import read_regions
from organism.store.propensities import read_propensities
from tests.organism.digest.routed import serve_experiment
from tests.organism.experiment.running import NOW, run

DESIGN = RewardDesign(name="kept", signals=(SignalSpec("retained_char_rate", 1.0, 0.0, 1.0),))


@pytest.fixture
def experiment(store, events) -> str:
    return serve_experiment(store, events)


def by_method(found) -> dict:
    return {estimate.method: estimate for estimate in found.estimates}


def test_propensities_are_of_the_version_that_the_user_was_assigned_to(store, events, experiment):
    found = read_propensities(store, events.loop_id).set_index("user_key")
    both = ("base", "scribe-1")
    assert found.loc["user-00", ["assigned", "tried", "probability"]].tolist() == ["scribe-1", both, 0.25]
    assert found.loc["user-02", ["assigned", "tried", "probability"]].tolist() == ["base", both, 0.75]
    assert read_regions(store, events.loop_id) == ["north", "south"]


def test_a_router_by_region_gets_what_it_would_have_earned(store, events, experiment):
    found = off_policy(store, events.loop_id, DESIGN, "region:north=scribe-1,*=base")
    assert found.refusal is None
    for method in ("dr", "snips"):
        estimate = by_method(found)[method]
        assert estimate.estimate == pytest.approx(0.65, abs=0.04)
        assert estimate.low < 0.65 < estimate.high
    assert found.logged.estimate == pytest.approx(0.5125, abs=0.02)
    assert (found.n_rows, found.n_users) == (320, 80)
    assert found.left_out == {"outside of any experiment: nobody logged how probable the variant was": 20}
    assert found.check.max_weight == pytest.approx(4)


def test_the_best_of_each_region_is_learned_on_users_that_do_not_judge_it(store, events, experiment):
    found = off_policy(store, events.loop_id, DESIGN, "best:region")
    assert "scribe-1 for north" in found.policy
    assert "base for south" in found.policy
    assert found.n_users < 80
    learned = found.left_out["kept for learning the router: half of the users"]
    assert learned + found.n_rows == 320


def test_a_version_that_was_never_randomized_is_refused_with_the_models_guess(store, events, experiment):
    found = off_policy(store, events.loop_id, DESIGN, "always:scribe-2")
    assert "No overlap" in found.refusal
    (only,) = found.estimates
    assert only.is_model_based
    assert only.estimate == pytest.approx(0.95, abs=0.01)


def test_prompts_can_be_routed_by_their_length(store, events, experiment):
    found = off_policy(store, events.loop_id, DESIGN, "length:short=scribe-1,medium=base,long=base")
    assert found.refusal is None
    assert {row.segment for row in found.segments} == {"short", "medium", "long"}


def test_equal_seeds_give_equal_previews(store, events, experiment):
    first, second = (off_policy(store, events.loop_id, DESIGN, "mix:base=1,scribe-1=1", seed=4) for _ in range(2))
    assert first == second


def test_an_experiment_of_three_variants_is_weighed_by_the_probabilities_that_were_logged(store, events):
    """60 users, dealt with probabilities that moved as under Thompson sampling; kept 0.4, 0.6 and 0.8."""
    kept = {"a": 0.4, "b": 0.6, "c": 0.8}
    one = run(store, events.loop_id, versions=tuple(kept), shares=(0.4, 0.3, 0.3), policy="thompson")
    rng = np.random.default_rng(5)
    draws = []
    for number in range(240):
        probabilities = (1 / 3,) * 3 if number < 120 else (0.1, 0.2, 0.7)
        place = int(rng.choice(3, p=probabilities))
        variant, user = "abc"[place], f"user-{number}"
        draws.append(Draw(one, user, variant, probabilities[place], NOW))
        retained = int(np.clip(100 * kept[variant] + rng.normal(0, 5), 0, 100))
        events.answered(user, retained, variant_id=variant, experiment_id=one)
    keep_assignments(store, draws).result()
    events.write()
    assert read_propensities(store, events.loop_id)["tried"].tolist() == [("a", "b", "c")] * 240
    for variant, wanted in kept.items():
        found = off_policy(store, events.loop_id, DESIGN, f"always:{variant}")
        assert found.refusal is None
        assert by_method(found)["snips"].estimate == pytest.approx(wanted, abs=0.02)
    even = off_policy(store, events.loop_id, DESIGN, "mix:a=1,b=1,c=1")
    assert by_method(even)["dr"].estimate == pytest.approx(0.6, abs=0.03)
    assert even.logged.estimate > 0.62


def test_bad_policies_and_designs_are_sentences(store, events, experiment):
    with pytest.raises(InputError, match="is no policy; write one of"):
        off_policy(store, events.loop_id, DESIGN, "sometimes")
    with pytest.raises(InputError, match="no variant is called 'ghost'"):
        off_policy(store, events.loop_id, DESIGN, "always:ghost")
    with pytest.raises(InputError, match="says nothing for region south"):
        off_policy(store, events.loop_id, DESIGN, "region:north=base")
    with pytest.raises(InputError, match="no interaction is of the region 'nroth'; there are: north, south"):
        off_policy(store, events.loop_id, DESIGN, "region:nroth=scribe-1,*=base")
    with pytest.raises(InputError, match="of the length 'huge'; there are: long, medium, short"):
        off_policy(store, events.loop_id, DESIGN, "length:huge=scribe-1,*=base")
    none = RewardDesign(name="nothing", signals=(SignalSpec("retained_char_rate", 0.0, 0.0, 1.0),))
    with pytest.raises(DesignError, match="positive weight"):
        off_policy(store, events.loop_id, none, "always:base")


def test_a_loop_without_an_experiment_is_refused(store, events):
    for number in range(30):
        events.answered(f"user-{number}", variant_id="base", region="north")
    events.write()
    found = off_policy(store, events.loop_id, DESIGN, "always:base")
    assert "without logged probabilities" in found.refusal
    assert found.estimates == []
    with pytest.raises(InputError, match="run an experiment first"):
        off_policy(store, events.loop_id, DESIGN, "best:region")
