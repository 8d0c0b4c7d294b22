import random

import pytest

from organism.measures.near_duplicates import band_size, jaccard, near_pairs, nearest, shingles

WORDS = [f"word{n}" for n in range(400)]
VISIT = "The patient has had a dry cough for three weeks and no fever at any time since then"


def text(rng: random.Random, length: int = 60) -> list[str]:
    return [rng.choice(WORDS) for _ in range(length)]


def test_the_same_words_in_other_case_and_punctuation_are_one_text():
    assert jaccard(shingles("A dry cough, no fever today"), shingles("a DRY cough no\nfever: today!")) == 1.0


def test_similarity_is_the_share_of_runs_of_five_words():
    longer = f"{VISIT} indeed"
    n_runs = len(VISIT.split()) - 4
    assert jaccard(shingles(VISIT), shingles(longer)) == pytest.approx(n_runs / (n_runs + 1))


def test_short_and_empty_texts_are_near_only_to_themselves():
    assert near_pairs(["prompt 1", "", "?!"], ["prompt 2", "", "?!"]) == []
    assert [pair[:2] for pair in near_pairs(["prompt 1", "Prompt 2."], ["prompt 2"])] == [(1, 0)]


def test_scripts_without_spaces_are_compared_by_sign():
    told = "患者は三週間前から続く乾いた咳を訴えており熱や息切れはないと述べている"
    near = near_pairs([told], ["別の患者は足が痛い", told.replace("三", "四")], threshold=0.5)
    assert [pair[:2] for pair in near] == [(0, 1)]
    assert 0.5 < near[0].similarity < 1


@pytest.mark.parametrize("threshold", [0.8, 0.65, 0.3])
def test_minhash_finds_what_comparing_every_pair_finds(threshold):
    rng = random.Random(5)
    heldout = [text(rng) for _ in range(60)]
    train = [text(rng) for _ in range(60)]
    for number, source in enumerate(heldout[:40]):
        copied = list(source)
        for _ in range(number % 8):
            copied[rng.randrange(len(copied))] = rng.choice(WORDS)
        train.append(copied)
    lines = [[" ".join(words) for words in side] for side in (train, heldout)]
    brute = {
        (left, right): shared
        for left, one in enumerate(lines[0])
        for right, other in enumerate(lines[1])
        if (shared := jaccard(shingles(one), shingles(other))) >= threshold
    }
    found = near_pairs(*lines, threshold=threshold)
    assert {(pair.train, pair.heldout): pair.similarity for pair in found} == brute
    assert 5 < len(brute) <= 40


def test_a_lower_threshold_takes_smaller_bands():
    assert [band_size(threshold) for threshold in (1.0, 0.8, 0.7, 0.5, 0.3, 0.1, 0.01)] == [6, 6, 4, 3, 2, 1, 1]


def test_of_several_near_texts_the_nearest_is_named_and_a_text_counts_once():
    heldout = [f"{VISIT} as told by his mother", VISIT, f"{VISIT} indeed"]
    [pair] = near_pairs([VISIT], heldout, threshold=0.5)
    assert (pair.train, pair.heldout, pair.similarity) == (0, 1, 1.0)


def test_the_nearest_training_text_is_found_exactly():
    train = ["nothing in common with it whatsoever today", VISIT, f"{VISIT} indeed"]
    n_runs = len(VISIT.split()) - 4
    found = nearest(train, [f"{VISIT} indeed now", "quite another matter altogether my friend", ""])
    assert found[0] == (2, pytest.approx((n_runs + 1) / (n_runs + 2)))
    assert found[1:] == [(None, 0.0), (None, 0.0)]
    assert nearest([], [VISIT]) == [(None, 0.0)]


def test_nearest_agrees_with_the_similarity_of_each_pair():
    rng = random.Random(3)
    words = WORDS[:12]
    train, others = ([" ".join(rng.choices(words, k=30)) for _ in range(20)] for _ in range(2))
    for text_, found in zip(others, nearest(train, others), strict=True):
        best = max(jaccard(shingles(known), shingles(text_)) for known in train)
        assert found.similarity == pytest.approx(best)
