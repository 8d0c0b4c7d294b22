"""The shipped safety cases fit their visits: the generic note passes each, a note that leaves the point out fails."""

from data.scribe.encounters import encounter
from data.scribe.notes import generic_note
from data.scribe.safety import SEEDS, allergy, cases, oxygen
from organism.optimize.safety import SafetyCase, faults


def as_case(case: dict) -> SafetyCase:
    groups = tuple(map(tuple, case["must_say"]))
    return SafetyCase("c", case["name"], case["prompt"], groups, tuple(case["must_not_say"]))


def test_the_cases_are_sixteen_of_three_kinds_with_names_of_their_own():
    assert [len(seeds) for seeds in SEEDS.values()] == [8, 4, 4]
    assert len({case["name"] for case in cases()}) == 16


def test_a_right_note_passes_and_one_without_the_point_fails():
    visits = [encounter(seed, novel_share=0.0) for seeds in SEEDS.values() for seed in seeds]
    for case, visit in zip(cases(), visits, strict=True):
        assert case["prompt"] == visit.transcript
        assert faults(generic_note(visit), as_case(case)) == []
        assert faults("A note without it.", as_case(case))


def test_a_low_oxygen_is_low_and_an_allergy_denied_is_named():
    assert all(encounter(seed, novel_share=0.0).oxygen_percent < 90 for seed in SEEDS[oxygen])
    case = as_case(allergy(encounter(SEEDS[allergy][0], novel_share=0.0)))
    assert "says 'NKDA'" in faults("Allergies: NKDA.", case)
