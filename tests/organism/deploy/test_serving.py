"""Drafts from a real child: equal to the decoder's own, shared by threads, and alive again after a kill."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import psutil
import pytest
import torch
from transformers import LlamaForCausalLM

from organism.config import Workspace
from organism.deploy.serving import DraftServer
from organism.errors import ModelError, RunError
from organism.lm.decoder import Decoder
from organism.measures.prices import cost_usd
from organism.records import ModelVersion

PROMPTS = [f"Patient {n} takes drug {n} mg." for n in range(6)]


def _version(base: Path | str, adapter: str | None = None) -> ModelVersion:
    return ModelVersion(
        model_version_id="v",
        loop_id="loop",
        name="v",
        base_path=str(base),
        adapter_path=adapter,
        run_id=None,
        dataset_id=None,
        reward_design_id=None,
        created_at=datetime(2026, 9, 7),
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DraftServer]:
    with DraftServer(Workspace(tmp_path_factory.mktemp("workspace"))) as server:
        yield server


@pytest.fixture(scope="module")
def other_base(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model with the same tokenizer."""
    folder = shutil.copytree(tiny_base, tmp_path_factory.mktemp("other") / "base")
    model = LlamaForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.neg_()
    model.save_pretrained(folder)
    return folder


def test_drafts_are_those_of_the_decoder_in_the_order_asked(server: DraftServer, tiny_base: Path) -> None:
    drafts = server.drafts(_version(tiny_base), PROMPTS, max_new_tokens=9)
    wanted = Decoder.from_folder(tiny_base).generate(PROMPTS, max_new_tokens=9)
    assert [draft.text for draft in drafts] == [generation.text for generation in wanted]
    assert [draft.input_tokens for draft in drafts] == [generation.prompt_tokens for generation in wanted]
    assert all(draft.output_tokens == 9 and draft.finish_reason == "length" for draft in drafts)
    assert all(draft.cost_usd == cost_usd(draft.input_tokens, 9) > 0 for draft in drafts)


def test_latency_is_measured_and_fits_into_the_time_that_passed(server: DraftServer, tiny_base: Path) -> None:
    server.drafts(_version(tiny_base), PROMPTS[:1], max_new_tokens=2)
    started = time.perf_counter()
    (draft,) = server.drafts(_version(tiny_base), PROMPTS[:1], max_new_tokens=60)
    assert 1 < draft.latency_ms < 1000 * (time.perf_counter() - started)


def test_a_draft_comes_in_pieces_too(server: DraftServer, tiny_base: Path) -> None:
    (draft,) = server.drafts(_version(tiny_base), PROMPTS[:1], max_new_tokens=9)
    pieces = list(server.stream(_version(tiny_base), PROMPTS[0], max_new_tokens=9))
    assert len(pieces) > 1
    assert "".join(pieces) == draft.text


def test_two_models_write_at_once_piece_by_piece_and_tell_what_each_draft_took(
    server: DraftServer, tiny_base: Path, other_base: Path
) -> None:
    both = [_version(tiny_base), _version(other_base)]
    server.warm(both)
    steps = list(server.stream_together(both, PROMPTS[0], max_new_tokens=12))
    wanted = [server.drafts(version, PROMPTS[:1], max_new_tokens=12)[0] for version in both]
    for place, draft in enumerate(wanted):
        told = [step for step in steps if step.place == place]
        assert "".join(step.piece for step in told[:-1] if step.piece is not None) == draft.text
        assert told[-1].draft is not None
        assert told[-1].draft._replace(latency_ms=0.0) == draft._replace(latency_ms=0.0)
        assert told[-1].draft.latency_ms > 1
    first_halves = [step.place for step in steps[:12]]
    assert 4 <= sum(first_halves) <= 8, "neither waits for the other"


def test_who_leaves_off_early_ends_the_writing(server: DraftServer, tiny_base: Path) -> None:
    stream = server.stream(_version(tiny_base), PROMPTS[0], max_new_tokens=100)
    assert next(stream)
    stream.close()  # type: ignore[attr-defined]
    began = time.perf_counter()
    assert len(server.drafts(_version(tiny_base), PROMPTS[:2], max_new_tokens=2)) == 2
    assert time.perf_counter() - began < 5


def test_one_broken_model_of_two_is_a_sentence_and_ends_both(
    server: DraftServer, tiny_base: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be loaded"):
        list(server.stream_together([_version(tiny_base), _version(tmp_path)], PROMPTS[0]))
    assert list(server.stream(_version(tiny_base), PROMPTS[0], max_new_tokens=3))


def test_a_batch_asked_while_streams_run_is_answered_too(server: DraftServer, tiny_base: Path) -> None:
    def crowd(n: int) -> str:
        return "".join(server.stream(_version(tiny_base), PROMPTS[n % 3], max_new_tokens=20))

    alone = [crowd(n) for n in range(3)]
    with ThreadPoolExecutor(7) as pool:
        streams = [pool.submit(crowd, n) for n in range(6)]
        batch = pool.submit(server.drafts, _version(tiny_base), PROMPTS[:3], max_new_tokens=20)
        assert [stream.result() for stream in streams] == alone * 2
        assert len(batch.result()) == 3


def test_threads_ask_together_and_each_gets_its_own(server: DraftServer, tiny_base: Path) -> None:
    def ask(n: int) -> str:
        return server.drafts(_version(tiny_base), [PROMPTS[n % 6]], max_new_tokens=6)[0].text

    alone = [ask(n) for n in range(6)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(24))) == alone * 4


def test_a_killed_child_is_started_again_for_the_next_draft(server: DraftServer, tiny_base: Path) -> None:
    before = server.drafts(_version(tiny_base), PROMPTS[:1], max_new_tokens=3)[0].text
    killed = server.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    assert server.drafts(_version(tiny_base), PROMPTS[:1], max_new_tokens=3)[0].text == before
    assert server.pid != killed


def test_a_missing_or_broken_model_is_one_sentence_and_the_server_goes_on(
    server: DraftServer, tiny_base: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="no model folder at"):
        server.drafts(_version(tmp_path / "nowhere"), PROMPTS[:1])
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be loaded"):
        server.drafts(_version(tmp_path), PROMPTS[:1])
    with pytest.raises(ModelError, match=r"has no adapter_config\.json"):
        server.drafts(_version(tiny_base, str(tmp_path)), PROMPTS[:1])
    with pytest.raises(ModelError, match="shorten the prompt"):
        server.drafts(_version(tiny_base), ["word " * 300])
    assert len(server.drafts(_version(tiny_base), PROMPTS[:2], max_new_tokens=2)) == 2


def test_closing_ends_the_child_and_a_late_question_is_refused(server: DraftServer, tiny_base: Path) -> None:
    child = psutil.Process(server.pid)
    server.close()
    assert not child.is_running()
    with pytest.raises(RunError, match="closed"):
        server.drafts(_version(tiny_base), PROMPTS[:1])
    server.close()
