"""The child that writes drafts: JSON lines in on stdin, JSON lines out on stdout, until stdin ends.

Asked:    {"id", "model", "adapter", "prompts", "max_new_tokens", "temperature", "seed", "batch_size", "stream"},
          {"cancel": id} when nobody listens to a stream any more.
Answered: {"id", "last": true, "drafts": [{text, input_tokens, output_tokens, latency_ms, finish_reason}]},
          {"id", "last": false, "piece"} and at the end {"id", "last": true, "drafts": [one]} for a stream,
          {"id", "last": true, "error", "kind"} when it cannot.
Streams are written side by side, a token each in turn, so that two models write before one's eyes at once.
"""

import json
import os
import queue
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from organism.errors import OrganismError
from organism.lm.decoder import Decoder, Generation

MAX_VERSIONS = 3
MAX_TOGETHER = 32


class Request(NamedTuple):
    """What was asked, and when it was read."""

    asked: dict[str, Any]
    at: float

    @property
    def model(self) -> tuple[str, str | None]:
        return self.asked["model"], self.asked["adapter"]

    def goes_with(self, other: "Request") -> bool:
        """Whether both can be written in one batch without changing either's text: the same model, no randomness."""
        settings = ("model", "adapter", "max_new_tokens", "batch_size")
        plain = all(not one.asked["stream"] and one.asked["temperature"] == 0 for one in (self, other))
        return plain and all(self.asked[name] == other.asked[name] for name in settings)


class Writing:
    """One stream on its way: each turn gives the next piece. `seconds` is the time that its own model worked."""

    def __init__(self, request: Request, decoder: Decoder) -> None:
        asked = request.asked
        self.request = request
        self.seconds = 0.0
        self.told: Generation | None = None
        self._pieces = decoder.stream(
            asked["prompts"][0],
            max_new_tokens=asked["max_new_tokens"],
            temperature=asked["temperature"],
            seed=asked["seed"],
        )

    def turn(self) -> str | None:
        """The next piece; None at the end, when `told` says what the draft took."""
        began = time.perf_counter()
        try:
            return next(self._pieces)
        except StopIteration as end:
            self.told = end.value
            return None
        finally:
            self.seconds += time.perf_counter() - began

    def draft(self) -> dict[str, Any]:
        """The finished draft as an answer; its latency is what it would have taken alone."""
        assert self.told is not None
        return _as_answer(self.told, self.seconds)


class DraftChild:
    """Keeps the latest few models loaded, and answers requests one batch after another."""

    def __init__(self, out: IO[str]) -> None:
        self.out = out
        self.decoders: OrderedDict[tuple[str, str | None], Decoder] = OrderedDict()
        self.requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self.set_aside: list[Request] = []
        self.streams: list[Writing] = []
        self.canceled: set[int] = set()

    def read(self, lines: IO[str]) -> None:
        """Take requests up as they come, so that those that wait can share a batch."""
        for line in lines:
            asked = json.loads(line)
            if "cancel" in asked:
                self.canceled.add(asked["cancel"])
            else:
                self.requests.put(Request(asked, time.perf_counter()))
        self.requests.put(None)

    def serve(self) -> None:
        """Answer until the requests end."""
        while (first := self._next()) is not None:
            if first.asked["stream"]:
                self._stream(first)
                continue
            together = [first, *self._companions(first)]
            with self._refusing(*together):
                self._draft(together)

    @contextmanager
    def _refusing(self, *requests: Request) -> Iterator[None]:
        """Whatever the model does, the next request deserves an answer."""
        try:
            yield
        except OrganismError as error:
            self._refuse(requests, error)
        except Exception as error:
            self._refuse(requests, RuntimeError(f"drafting failed: {type(error).__name__}: {error}"))

    def _next(self) -> Request | None:
        return self.set_aside.pop(0) if self.set_aside else self.requests.get()

    def _companions(self, first: Request) -> list[Request]:
        """Requests that wait and can be written together with the first, up to MAX_TOGETHER prompts."""
        companions: list[Request] = []
        room = MAX_TOGETHER - len(first.asked["prompts"])
        while room > 0 and not self.requests.empty():
            request = self.requests.get()
            if request is None:
                self.requests.put(None)
                break
            if not first.goes_with(request) or len(request.asked["prompts"]) > room:
                self.set_aside.append(request)
                break
            companions.append(request)
            room -= len(request.asked["prompts"])
        return companions

    def _draft(self, requests: Sequence[Request]) -> None:
        taken_up = time.perf_counter()
        decoder, asked = self._decoder(requests[0]), requests[0].asked
        written = iter(
            decoder.generate(
                [prompt for request in requests for prompt in request.asked["prompts"]],
                max_new_tokens=asked["max_new_tokens"],
                temperature=asked["temperature"],
                seed=asked["seed"],
                batch_size=asked["batch_size"],
            )
        )
        for request in requests:
            waited = taken_up - request.at
            drafts = []
            for _ in request.asked["prompts"]:
                draft = next(written)
                drafts.append(_as_answer(draft, waited + draft.seconds))
            self._answer(request, last=True, drafts=drafts)

    def _stream(self, first: Request) -> None:
        """Write this stream and all that are asked meanwhile, a piece each in turn, until none is left."""
        self._begin(first)
        while self.streams:
            for writing in list(self.streams):
                self._turn(writing)
            self._take_up_streams()

    def _begin(self, request: Request) -> None:
        with self._refusing(request):
            self.streams.append(Writing(request, self._decoder(request)))

    def _turn(self, writing: Writing) -> None:
        """One piece of one stream; at its end, or when nobody listens any more, it leaves."""
        number = writing.request.asked["id"]
        if number in self.canceled:
            self.canceled.discard(number)
            self.streams.remove(writing)
            return
        piece = None
        with self._refusing(writing.request):
            if (piece := writing.turn()) is None:
                self._answer(writing.request, last=True, drafts=[writing.draft()])
            else:
                self._answer(writing.request, last=False, piece=piece)
        if piece is None:
            self.streams.remove(writing)

    def _take_up_streams(self) -> None:
        """Streams that were asked while others are being written join them, until something else waits for its turn."""
        while not self.set_aside and not self.requests.empty():
            request = self.requests.get()
            if request is None:
                self.requests.put(None)
                return
            self._begin(request) if request.asked["stream"] else self.set_aside.append(request)

    def _decoder(self, request: Request) -> Decoder:
        """The model of this request, loaded at its first use; the one unused for longest makes room."""
        model, adapter = request.model
        if request.model not in self.decoders:
            # One thread beats two on a single prompt, and leaves the other core to the pages.
            loaded = Decoder.from_folder(Path(model), Path(adapter) if adapter else None, threads=1)
            self.decoders[request.model] = loaded
            if len(self.decoders) > MAX_VERSIONS:
                self.decoders.popitem(last=False)
        self.decoders.move_to_end(request.model)
        return self.decoders[request.model]

    def _refuse(self, requests: Sequence[Request], error: Exception) -> None:
        for request in requests:
            self._answer(request, last=True, error=str(error), kind=type(error).__name__)

    def _answer(self, request: Request, **answer: Any) -> None:
        self.out.write(json.dumps({"id": request.asked["id"], **answer}) + "\n")
        self.out.flush()


def _as_answer(draft: Generation, seconds: float) -> dict[str, Any]:
    return {
        "text": draft.text,
        "input_tokens": draft.prompt_tokens,
        "output_tokens": draft.output_tokens,
        "latency_ms": round(1000 * seconds, 1),
        "finish_reason": draft.finish_reason,
    }


def main() -> None:
    """Serve until stdin ends, which it does when the parent closes it or dies."""
    # Libraries that print must not garble the answers: they get stderr instead.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    child = DraftChild(out)
    threading.Thread(target=child.read, args=(sys.stdin,), daemon=True).start()
    child.serve()


if __name__ == "__main__":
    main()
