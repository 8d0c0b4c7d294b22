"""Rows as the model sees them: token by token, what is learned of them, and why some are left out."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from organism.errors import ModelError
from organism.optimize.configs import DpoConfig, KtoConfig, SftConfig
from organism.optimize.runs import Example, Labeled, Pair
from organism.optimize.seen import SeenRow, preview_rows
from organism.optimize.tokens import pieces
from organism.records import Recipe

ROW = Example("Patient 1", "Note 1", "u", "i1")


def _learned(row: SeenRow) -> str:
    return "".join(token for token, learned in zip(row.tokens, row.is_learned, strict=True) if learned)


def test_a_row_is_shown_whole_and_only_its_completion_is_learned(tiny_base: Path) -> None:
    found = preview_rows(tiny_base, [ROW], Recipe.SFT, SftConfig())
    (row,) = found.rows
    assert "".join(row.tokens) == "<|visit|>\nPatient 1\n<|note|>\nNote 1<|end|>"
    assert _learned(row) == "Note 1<|end|>"
    assert (row.part, row.interaction_id, row.reason) == ("completion", "i1", None)
    assert (row.n_tokens, row.n_learned) == (len(row.tokens), sum(row.is_learned))


def test_rows_left_out_are_counted_and_one_of_each_reason_is_shown(tiny_base: Path) -> None:
    rows = [ROW] * 4 + [ROW._replace(completion=" ")] * 3 + [ROW._replace(prompt="word " * 200)] * 2
    found = preview_rows(tiny_base, rows, Recipe.SFT, SftConfig(), n=2)
    assert (found.n_rows, found.n_usable) == (9, 4)
    assert found.dropped == {"without a text": 3, "longer than the model may read": 2}
    assert [(row.row, row.reason) for row in found.rows] == [
        (0, None),
        (1, None),
        (4, "without a text"),
        (7, "longer than the model may read"),
    ]


def test_a_pair_is_two_texts_a_thumb_is_one_and_a_judge_is_asked_at_the_end(tiny_base: Path) -> None:
    pairs = [Pair("Patient", "Note a.", "Note b.", "u", "i"), Pair("Patient", "same", "same ", "u", "i")]
    found = preview_rows(tiny_base, pairs, Recipe.DPO, DpoConfig())
    assert [(row.part, _learned(row)) for row in found.rows[:2]] == [
        ("chosen", "Note a.<|end|>"),
        ("rejected", "Note b.<|end|>"),
    ]
    assert found.dropped == {"with two equal texts": 1}
    judged = preview_rows(tiny_base, pairs[:1], Recipe.REWARD_MODEL, SftConfig())
    assert [_learned(row) for row in judged.rows] == ["<|end|>", "<|end|>"]
    thumbs = [Labeled("Patient", "Note", label, "u", "i") for label in (True, False)]
    shown = preview_rows(tiny_base, thumbs, Recipe.KTO, KtoConfig()).rows
    assert [row.part for row in shown] == ["desirable", "undesirable"]


def test_a_recipe_that_samples_sees_the_prompt_alone(tiny_base: Path) -> None:
    (row,) = preview_rows(tiny_base, [ROW], Recipe.BEST_OF_N, SftConfig()).rows
    assert ("".join(row.tokens), row.n_learned) == ("<|visit|>\nPatient 1\n<|note|>\n", 0)


def test_a_character_of_several_tokens_is_shown_whole(tiny_base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    text = "dose \U0001f48a 5 µg"
    ids = tokenizer(text, add_special_tokens=False).input_ids
    shown = pieces(ids, tokenizer)
    assert len(shown) == len(ids)
    assert "".join(shown) == text
    assert "" in shown


def test_a_folder_without_a_tokenizer_is_a_sentence(tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((tiny_base / "config.json").read_bytes())
    with pytest.raises(ModelError, match=r"tokenizer in .* cannot be loaded .*; restore it"):
        preview_rows(tmp_path, [ROW], Recipe.SFT, SftConfig())
