from datetime import datetime

import pytest

from organism.digest.training_settings import Basis, SetSettings, settings_from
from organism.errors import DesignError, InputError
from organism.records import DatasetKind


def test_words_of_strangers_become_settings():
    found = settings_from(
        {
            "kind": "unpaired",
            "basis": "reward",
            "since": "2026-10-01T02:00:00+02:00",
            "until": "2026-11-01",
            "variants": ["b", "a", "b"],
            "answers": "edit",
            "threshold": 0.6,
            "max_rows": 50,
            "min_reward": None,
        }
    )
    assert (found.kind, found.basis) == (DatasetKind.UNPAIRED, Basis.REWARD)
    assert (found.since, found.until) == (datetime(2026, 10, 1), datetime(2026, 11, 1))
    assert (found.variants, found.answers) == (("a", "b"), ("edit",))
    assert (found.threshold, found.max_rows, found.min_reward) == (0.6, 50, None)
    assert settings_from({}) == SetSettings()


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"colour": "red"}, "'colour' is no setting of a training set; there are: kind, basis"),
        ({"kind": "rlhf"}, "kind is 'rlhf'; give one of: sft, preference, unpaired"),
        ({"basis": ["expert"]}, "give one of: expert, reward"),
        ({"since": "yesterday"}, "since is 'yesterday'; give a date such as 2026-10-01"),
        ({"variants": [1]}, "give a word or a list of words"),
        ({"margin": "wide"}, "margin is 'wide'; give a number"),
        ({"max_rows": 2.5}, "max_rows is 2.5; give a whole number"),
        ({"seed": True}, "seed is True; give a whole number"),
        ({"margin": 10**400}, "margin is 10+…, which is too large for a number"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "since is '0001-01-01T00:00:00.14:00'; give a date"),
    ],
)
def test_what_cannot_be_read_is_named(asked, match):
    with pytest.raises(InputError, match=match):
        settings_from(asked)


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"answers": ["rating"]}, "'rating' is no kind of answer; use any of: accept, edit, reject"),
        ({"since": "2026-10-02", "until": "2026-10-02"}, "give an end after the start"),
        ({"max_rows_per_user": 0}, "give 1 or more, or leave it out"),
        ({"near": 0.1}, "give 0.3 to 1, for example 0.8"),
        ({"heldout_share": 1.0}, "wanted a share between 0 and 1"),
    ],
)
def test_settings_that_cannot_work_say_what_would(asked, match):
    with pytest.raises(DesignError, match=match):
        settings_from(asked)
