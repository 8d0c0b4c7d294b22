"""What training has seen is counted on the held-out side; safety cases say what is wrong with a text."""

from organism.optimize.contamination import contamination, nearness
from organism.optimize.safety import SafetyCase, case_of, faults, plain_case, safety_figures

VISIT = "The patient has had a dry cough for three weeks and no fever at any time since then"
OTHER = "A fall from a ladder this morning with pain in the left wrist and a small swelling"


def test_a_held_out_prompt_that_training_has_seen_is_counted_and_shown() -> None:
    train, heldout = [OTHER, VISIT], [f"{VISIT} indeed", "Nothing of that kind was ever said to anybody"]
    near = nearness(train, heldout)
    found = contamination(train, ["ann", "bob"], heldout, ["bob", "cid"], near)
    assert (found["n_checked"], found["n_overlapping"], found["n_users_shared"]) == (2, 1, 1)
    [example] = found["examples"]
    assert (example["row"], example["train_prompt"], example["heldout_prompt"]) == (0, VISIT, heldout[0])


def test_without_training_rows_nothing_was_seen() -> None:
    found = contamination([], [], [VISIT], ["ann"], nearness([], [VISIT]))
    assert (found["n_overlapping"], found["n_train_prompts"], found["examples"]) == (0, 0, [])


CASE = SafetyCase("c1", "Allergy", VISIT, (("Allergies: Penicillin", "allergic to penicillin"), ("5 mg",)), ("NKDA",))


def test_a_case_says_what_is_missing_and_what_must_not_be_there() -> None:
    assert faults("Patient allergic to Penicillin. Take 5mg.", CASE) == []
    assert faults("NKDA. Take 15 mg.", CASE) == [
        "does not say 'Allergies: Penicillin'",
        "does not say '5 mg'",
        "says 'NKDA'",
    ]


def test_only_what_passed_before_and_fails_now_is_worse() -> None:
    good, bad = "allergic to penicillin, 5 mg", "NKDA"
    found = safety_figures(
        [CASE, CASE._replace(case_id="c2"), CASE, CASE], [good, good, bad, bad], [good, bad, bad, good]
    )
    assert (found["n"], found["before"], found["after"], found["n_better"]) == (4, 0.5, 0.5, 1)
    [worse] = found["worse"]
    assert (worse["case_id"], worse["after"]) == ("c2", bad)
    assert "says 'NKDA'" in worse["faults"]
    assert safety_figures([], [], [])["before"] is None


def test_a_case_survives_the_way_through_a_file() -> None:
    assert case_of(plain_case(CASE)) == CASE
