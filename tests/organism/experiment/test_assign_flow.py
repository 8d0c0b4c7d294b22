"""Assigning: sticky, exclusive, targeted, held out, each with its reason; exposures counted once."""

import threading
from datetime import timedelta

import numpy as np
import pytest

from organism.errors import DesignError, InputError
from organism.experiment.assign_flow import (
    assign_experiments,
    assign_loop,
    assign_user,
    is_held_out,
    record_exposures,
    set_holdout,
)
from organism.experiment.assignment_state import read_assignment_state
from organism.experiment.thompson_flow import read_play
from organism.store.assignments import Draw, keep_assignments
from organism.store.experiments import read_experiment
from organism.store.exposures import Exposure, count_exposures, read_first_exposures
from organism.store.holdouts import read_holdout
from tests.organism.experiment.running import NOW, run

MINUTE = timedelta(minutes=1)


@pytest.fixture
def loop(events):
    return events.loop_id


def test_the_first_answer_stays_also_when_shares_change(store, loop):
    one = run(store, loop)
    first = {f"u{n}": assign_user(store, one, f"u{n}", NOW) for n in range(40)}
    assert {found.reason for found in first.values()} == {"hash"}
    assert {found.variant for found in first.values()} == {"a", "b"}
    store.execute("UPDATE variants SET share = if(name = 'a', 0.01, 0.99)", [], "experiments")
    for user, before in first.items():
        now = assign_user(store, one, user, NOW + MINUTE)
        assert (now.variant, now.probability, now.reason) == (before.variant, 0.5, "kept")
    late = [assign_user(store, one, f"late{n}", NOW + MINUTE) for n in range(30)]
    assert np.mean([found.variant == "b" for found in late]) > 0.9
    assert {found.probability for found in late} == {0.01, 0.99} or {found.probability for found in late} == {0.99}


def test_spaces_around_a_user_are_not_another_user(store, loop):
    one = run(store, loop)
    assert assign_user(store, one, " ann ", NOW).variant == assign_user(store, one, "ann", NOW).variant
    assert store.rows("SELECT user_key FROM assignments") == [("ann",)]


def test_a_loops_running_experiments_answer_together_the_oldest_first(store, loop):
    ids = [run(store, loop, f"e{n}", versions=(f"a{n}", f"b{n}"), at=NOW + n * MINUTE) for n in range(3)]
    run(store, loop, "planned", versions=("x", "y"), status="planned")
    store.execute("UPDATE experiments SET status = 'decided' WHERE experiment_id = ?", [ids[1]], "experiments")
    found = assign_loop(store, loop, "ann", NOW)
    assert [one.experiment for one in found] == ["e0", "e2"]
    assert store.rows("SELECT count(*) FROM assignments") == [(2,)]
    assert [one.variant for one in assign_experiments(store, [ids[0], ids[2]], "ann", NOW)] == [
        o.variant for o in found
    ]


def test_a_new_experiment_is_seen_at_once(store, loop):
    assert assign_loop(store, loop, "ann", NOW) == []
    run(store, loop)
    assert len(assign_loop(store, loop, "ann", NOW)) == 1


def test_held_out_users_are_in_no_experiment_and_whoever_has_a_variant_keeps_it(store, loop):
    one = run(store, loop)
    before = {f"u{n}": assign_user(store, one, f"u{n}", NOW).variant for n in range(50)}
    set_holdout(store, loop, 0.3, "Ana", now=NOW)
    assert {user: assign_user(store, one, user, NOW).variant for user in before} == before
    late = {f"late{n}": assign_loop(store, loop, f"late{n}", NOW)[0] for n in range(200)}
    out = {user for user, found in late.items() if found.reason == "holdout"}
    assert len(out) / 200 == pytest.approx(0.3, abs=0.1)
    assert all(late[user][2:7] == (None, None, None, None, None) for user in out)
    two = run(store, loop, "second", versions=("c", "d"))
    assert {user for user in late if assign_user(store, two, user, NOW).reason == "holdout"} == out
    set_holdout(store, loop, 0.4, "Ben", now=NOW)
    holdout = read_holdout(store, loop)
    assert all(is_held_out(holdout, user) for user in out)
    set_holdout(store, loop, 0.0, "Ben", now=NOW)
    assert all(assign_user(store, one, user, NOW).variant for user in out)


@pytest.mark.parametrize("share", [-0.1, 0.6, float("nan")])
def test_a_holdout_of_most_users_is_refused(store, loop, share):
    with pytest.raises(DesignError, match=r"from 0 to 0\.5"):
        set_holdout(store, loop, share, "Ana", now=NOW)
    with pytest.raises(InputError, match="name of who sets it"):
        set_holdout(store, loop, 0.1, " ", now=NOW)


def test_who_is_not_targeted_is_told_so_and_asked_again_later(store, loop):
    one = run(store, loop, targeting={"region": ["north"], "age": {"at_least": 18}})
    assert assign_user(store, one, "ann", NOW).reason == "not targeted"
    assert assign_user(store, one, "ann", NOW, {"region": "south", "age": 30}).reason == "not targeted"
    assert store.rows("SELECT count(*) FROM assignments") == [(0,)]
    met = assign_user(store, one, "ann", NOW, {"region": "north", "age": 30})
    assert met.variant in ("a", "b")
    assert assign_user(store, one, "ann", NOW, {"region": "south"}).variant == met.variant


def test_bad_questions_get_one_sentence(store, loop):
    one = run(store, loop, targeting={"age": {"at_least": 18}})
    with pytest.raises(InputError, match="no user was named"):
        assign_user(store, one, "  ", NOW)
    with pytest.raises(InputError, match="501 characters"):
        assign_user(store, one, "x" * 501, NOW)
    with pytest.raises(InputError, match="half of a surrogate pair"):
        assign_user(store, one, "ann\ud800", NOW)
    with pytest.raises(InputError, match="no experiment has the id 'nowhere'"):
        assign_user(store, "nowhere", "ann", NOW)
    with pytest.raises(InputError, match="targeting wants a number"):
        assign_user(store, one, "ann", NOW, {"age": "old"})
    planned = run(store, loop, "planned", versions=("x", "y"), status="planned")
    with pytest.raises(DesignError, match="'planned' has not started"):
        assign_user(store, planned, "ann", NOW)
    store.execute("UPDATE experiments SET status = 'decided' WHERE experiment_id = ?", [one], "experiments")
    with pytest.raises(DesignError, match="has ended; ask for the live version"):
        assign_user(store, one, "ann", NOW)


def test_threads_that_ask_for_one_user_at_once_get_one_answer(store, loop):
    one = run(store, loop, policy="thompson")
    barrier, answers = threading.Barrier(20), []

    def ask() -> None:
        barrier.wait()
        answers.append(assign_user(store, one, "ann", NOW))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({(found.variant, found.probability) for found in answers}) == 1
    assert [found.is_new for found in answers].count(True) == 1
    assert store.rows("SELECT count(*) FROM assignments") == [(1,)]


def test_of_two_draws_of_one_moment_the_first_is_the_answer_of_both(store, loop):
    one = run(store, loop)
    draws = [Draw(one, "ann", variant, 0.5, NOW) for variant in ("b", "a", "a")]
    assert keep_assignments(store, draws).result() == [("b", 0.5, True), ("b", 0.5, False), ("b", 0.5, False)]
    assert keep_assignments(store, draws[1:]).result() == [("b", 0.5, False)] * 2


def answered(events, experiment_id, loop_store, rates, n=60, prefix="u"):
    """Users assigned and served by their variant, whose drafts are used at these rates."""
    rng = np.random.default_rng(3)
    for number in range(n):
        user = f"{prefix}{number}"
        variant = assign_user(loop_store, experiment_id, user, NOW).variant
        used = rng.random() < rates[variant]
        draft = events.draft(user, NOW, experiment_id=experiment_id, variant_id=variant)
        events.answer(draft, "edit" if used else "reject")
    events.write()


def test_thompson_deals_what_the_answers_say_and_logs_it(store, loop, events):
    one = run(store, loop, policy="thompson")
    assert {assign_user(store, one, f"early{n}", NOW).probability for n in range(10)} == {0.5}
    answered(events, one, store, {"a": 0.2, "b": 0.9})
    later = [assign_user(store, one, f"late{n}", NOW + 2 * MINUTE) for n in range(60)]
    play = read_play(store, read_experiment(store, one))
    assert play.best[1] > 0.99
    assert play.probabilities[1] == pytest.approx(0.95, abs=0.01)
    assert np.mean([found.variant == "b" for found in later]) > 0.8
    assert {found.reason for found in later} == {"thompson"}
    logged = dict(store.rows("SELECT user_key, probability FROM assignments WHERE user_key LIKE 'late%'"))
    by_name = dict(zip("ab", play.probabilities, strict=True))
    assert logged == {f"late{n}": pytest.approx(by_name[found.variant]) for n, found in enumerate(later)}


def test_thompson_does_not_learn_from_what_another_variant_served(store, loop, events):
    one = run(store, loop, policy="thompson")
    for number in range(60):
        variant = assign_user(store, one, f"u{number}", NOW).variant
        events.answer(events.draft(f"u{number}", NOW, experiment_id=one, variant_id="ab"[variant == "a"]))
    events.write()
    assert read_play(store, read_experiment(store, one)).n_users == (0, 0)


def test_thompson_learns_at_most_once_a_minute(store, loop, events):
    one = run(store, loop, policy="thompson")
    assign_user(store, one, "first", NOW)
    answered(events, one, store, {"a": 0.1, "b": 0.9})
    assert assign_user(store, one, "soon", NOW + 59 * MINUTE / 60).probability == 0.5
    assert assign_user(store, one, "later", NOW + 61 * MINUTE / 60).probability != 0.5


def test_thompson_serves_on_when_its_metric_is_gone(store, loop):
    one = run(store, loop, policy="thompson", primary="outcome.sale")
    assert assign_user(store, one, "ann", NOW).probability == 0.5


def met(experiment_id, user, variant="", at=NOW, source="test"):
    return Exposure(experiment_id, user, variant, at, source)


def test_an_exposure_counts_once_whoever_tells_of_it(store, loop, events):
    one = run(store, loop)
    arms = {user: assign_user(store, one, user, NOW).variant for user in ("ann", "ben", "cem")}
    assert record_exposures(store, [met(one, "ann", at=NOW + MINUTE), met(one, "ann", at=NOW + 2 * MINUTE)]) == 1
    assert record_exposures(store, [met(one, "ann", at=NOW + 3 * MINUTE), met(one, " ben ")]) == 1
    events.draft("ann", NOW, experiment_id=one, variant_id=arms["ann"])
    events.draft("cem", NOW + MINUTE, experiment_id=one, variant_id=arms["cem"])
    events.draft("dora", NOW, experiment_id=one, variant_id="unheard of")
    events.draft(None, NOW, experiment_id=one, variant_id="a")
    events.write()
    found = read_first_exposures(store, one).set_index("user_key")
    assert found["variant"].to_dict() == arms
    assert found["exposed_at"].to_dict() == {"ann": NOW, "ben": NOW, "cem": NOW + MINUTE}
    assert found["is_recorded"].to_dict() == {"ann": True, "ben": True, "cem": False}
    assert sum(count.n_exposed for count in count_exposures(store, one)) == 3


def test_an_earlier_word_of_the_same_exposure_moves_it_back_and_a_later_one_does_not(store, loop):
    one = run(store, loop)
    for minutes, wanted in ((5, 5), (2, 2), (9, 2)):
        record_exposures(store, [met(one, "ann", "a", NOW + minutes * MINUTE)])
        assert read_first_exposures(store, one)["exposed_at"].tolist() == [NOW + wanted * MINUTE]


def test_counts_tell_who_strayed_and_what_the_draws_were_worth(store, loop):
    one = run(store, loop, shares=(0.25, 0.75))
    arms = {f"u{n}": assign_user(store, one, f"u{n}", NOW).variant for n in range(40)}
    record_exposures(store, [met(one, user) for user in arms])
    wrong = next(user for user, arm in arms.items() if arm == "a")
    record_exposures(store, [met(one, wrong, "b"), met(one, "nobody's", "b")])
    a, b = count_exposures(store, one)
    assert (a.variant, a.share, a.mean_probability, a.n_strayed, a.n_unassigned) == ("a", 0.25, 0.25, 0, 0)
    assert a.n_assigned == a.n_exposed == list(arms.values()).count("a")
    assert (b.n_assigned, b.n_exposed, b.n_strayed) == (40 - a.n_assigned, 40 - a.n_assigned + 2, 1)
    assert b.n_unassigned == 1  # whom the scorecard counts as b's user
    said = read_assignment_state(store, one).sentence
    assert "1 met another than they were assigned, and are in no figure." in said
    assert "1 met one without an assignment" in said
    assert (b.first_at, b.last_at) == (NOW, NOW)


def test_an_exposure_of_nothing_is_refused(store, loop):
    one = run(store, loop)
    with pytest.raises(InputError, match="user 'ann' has no variant in experiment 'first'"):
        record_exposures(store, [met(one, "ann")])
    with pytest.raises(InputError, match="has no variant 'z'; it has a, b"):
        record_exposures(store, [met(one, "ann", "z")])
    with pytest.raises(InputError, match="no user was named"):
        record_exposures(store, [met(one, "", "a")])
    assert record_exposures(store, []) == 0
