"""Drafts from the models of this workspace, written by a child process, so that no page ever loads torch."""

import contextlib
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from organism.config import ROOT, Workspace
from organism.errors import ModelError, RunError
from organism.measures.prices import cost_usd
from organism.records import ModelVersion

ANSWER_SECONDS = 300.0
CLOSE_SECONDS = 5.0
LOG_FILE = "drafts.log"
OFFLINE = {
    "OPENBLAS_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "DO_NOT_TRACK": "1",
}

Message = dict[str, Any]


class Draft(NamedTuple):
    """One text that a model wrote. latency_ms is measured: waiting in the child, plus the start of the batch to this
    text's last token; loading a model for the first time is left out. cost_usd is tokens times the stated price.
    """

    text: str
    input_tokens: int
    output_tokens: int
    latency_ms: float
    finish_reason: str
    cost_usd: float


class Step(NamedTuple):
    """What one of several models that write at once just did: another piece, or at its end the whole draft."""

    place: int
    piece: str | None
    draft: Draft | None


class _ChildDied(Exception):
    """The child ended before it had answered."""


class DraftServer:
    """Starts its child at the first draft and again whenever it died. Any number of threads may ask at once."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._closed = False

    def drafts(
        self,
        version: ModelVersion,
        prompts: Sequence[str],
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        seed: int | None = None,
        batch_size: int = 16,
    ) -> list[Draft]:
        """One draft a prompt, in their order. The same prompts asked at temperature 0 get the same texts.

        Raises ModelError when the version's folders are missing or broken, RunError when the child dies twice.
        """
        asked = {
            **self._model(version),
            "prompts": list(prompts),
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "seed": seed,
            "batch_size": batch_size,
            "stream": False,
        }
        try:
            _, answer = next(self._answers(asked))
        except _ChildDied:
            answer = self._second_try(asked)
        return [_draft(row) for row in answer["drafts"]]

    def stream(
        self,
        version: ModelVersion,
        prompt: str,
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> Iterator[str]:
        """The draft of one prompt in pieces as they are written; errors as in `drafts`, but never a second try."""
        for step in self.stream_together([version], prompt, max_new_tokens, temperature, seed):
            if step.piece is not None:
                yield step.piece

    def stream_together(
        self,
        versions: Sequence[ModelVersion],
        prompt: str,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> Iterator[Step]:
        """The drafts that several versions write of one prompt at once, in pieces as they come.

        Each version's last step carries its draft instead of a piece, with the time that its own model worked. Leaving
        off early ends the writing. Errors as in `drafts`, but never a second try.
        """
        settings = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed, "batch_size": 1}
        asked = [{**self._model(version), "prompts": [prompt], **settings, "stream": True} for version in versions]
        try:
            for place, answer in self._answers(*asked):
                drafts = answer.get("drafts")
                yield Step(place, answer.get("piece"), _draft(drafts[0]) if drafts else None)
        except _ChildDied as died:
            raise RunError(self._death()) from died

    def warm(self, versions: Sequence[ModelVersion]) -> None:
        """Load these versions now, so that the next draft of each need not wait for it; errors as in `drafts`."""
        for version in versions:
            self.drafts(version, ["."], max_new_tokens=1)

    def close(self) -> None:
        """End the child. Safe to call twice; a child whose parent is killed ends by itself."""
        with self._lock:
            self._closed = True
            if self._child is not None:
                self._child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The child's process number; None before the first draft."""
        return None if self._child is None else self._child.process.pid

    def _model(self, version: ModelVersion) -> Message:
        adapter = version.adapter_path
        return {
            "model": str(self.workspace.locate(version.base_path)),
            "adapter": None if adapter is None else str(self.workspace.locate(adapter)),
        }

    def _answers(self, *asked: Message) -> Iterator[tuple[int, Message]]:
        """The answers to requests that are sent together, each with its request's place."""
        for place, answer in self._living_child().ask(asked):
            if "error" in answer:
                raise {"ModelError": ModelError}.get(answer["kind"], RunError)(answer["error"])
            yield place, answer

    def _second_try(self, asked: Message) -> Message:
        try:
            return next(self._answers(asked))[1]
        except _ChildDied as died:
            raise RunError(self._death()) from died

    def _death(self) -> str:
        return (
            "the process that writes drafts died while it was writing (killed, or out of memory); ask again. "
            f"Its last words are in {self.workspace.path / LOG_FILE}"
        )

    def _living_child(self) -> "_Child":
        with self._lock:
            if self._closed:
                raise RunError("the draft server is closed; open the workspace again before asking for drafts")
            if self._child is not None and not self._child.is_alive:
                self._child.close()
                self._child = None
            if self._child is None:
                self._child = _Child(self.workspace)
            return self._child


class _Child:
    """One child process: lines of JSON go down its stdin, and answers come back by number on its stdout."""

    def __init__(self, workspace: Workspace) -> None:
        workspace.path.mkdir(parents=True, exist_ok=True)
        with (workspace.path / LOG_FILE).open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "organism.deploy.draft_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, **OFFLINE},
                start_new_session=True,
                text=True,
                encoding="utf-8",
                bufsize=1,
            )
        self._numbers = itertools.count()
        self._waiting: dict[int, queue.SimpleQueue[Message | None]] = {}
        self._lock = threading.Lock()
        self._ended = False
        self._reader = threading.Thread(target=self._read, name="draft-answers", daemon=True)
        self._reader.start()

    @property
    def is_alive(self) -> bool:
        return not self._ended and self.process.poll() is None

    def ask(self, requests: Sequence[Message]) -> Iterator[tuple[int, Message]]:
        """Send requests together; yield (place of the request, answer) until each has had its last.

        Whoever leaves off before takes the rest back. Raises _ChildDied, or RunError on silence.
        """
        inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        with self._lock:
            if self._ended:
                raise _ChildDied
            places = {next(self._numbers): place for place in range(len(requests))}
            self._waiting.update(dict.fromkeys(places, inbox))
            self._send(*({**requests[place], "id": number} for number, place in places.items()))
        open_numbers = set(places)
        try:
            while open_numbers:
                answer = self._next(inbox)
                if answer["last"]:
                    open_numbers.discard(answer["id"])
                yield places[answer["id"]], answer
        finally:
            for number in places:
                self._waiting.pop(number, None)
            self._cancel(open_numbers)

    def close(self) -> None:
        """Close its stdin, which ends it; kill it when it does not listen."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            self.process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(CLOSE_SECONDS)

    def _next(self, inbox: "queue.SimpleQueue[Message | None]") -> Message:
        try:
            answer = inbox.get(timeout=ANSWER_SECONDS)
        except queue.Empty:
            raise RunError(
                f"no draft came within {ANSWER_SECONDS:.0f} s; the machine is overloaded or the request too large. "
                "Ask for fewer prompts at a time."
            ) from None
        if answer is None:
            raise _ChildDied
        return answer

    def _cancel(self, numbers: Iterable[int]) -> None:
        """Tell the child that nobody listens any more."""
        with self._lock, contextlib.suppress(_ChildDied):
            self._send(*({"cancel": number} for number in numbers))

    def _send(self, *messages: Message) -> None:
        try:
            self._stdin.write("".join(json.dumps(message) + "\n" for message in messages))
            self._stdin.flush()
        except (OSError, ValueError) as error:
            raise _ChildDied from error

    @property
    def _stdin(self) -> Any:
        return self.process.stdin

    def _read(self) -> None:
        lines = self.process.stdout
        assert lines is not None
        with lines, contextlib.suppress(ValueError):
            for line in lines:
                answer = json.loads(line)
                if inbox := self._waiting.get(answer["id"]):
                    inbox.put(answer)
        with self._lock:
            self._ended = True
            for inbox in self._waiting.values():
                inbox.put(None)


def _draft(row: Message) -> Draft:
    return Draft(**row, cost_usd=cost_usd(row["input_tokens"], row["output_tokens"]))
