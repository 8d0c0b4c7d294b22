"""A judge behind an endpoint that speaks OpenAI's chat completions: a server of your own, or a provider's.

Language models favor what they read first (Zheng et al. 2023, 3.3), so each pair is asked in both orders, and only a
judge that names the same text twice has a preference.
"""

import os
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx

from organism.errors import ModelError
from organism.lm.judge import OnJudged, Preference, endpoint_of

KEY, KNOWN = "ORGANISM_JUDGE_KEY", "ORGANISM_JUDGE"
TIMEOUT = 60.0
AT_ONCE = 4
ATTEMPTS = 3
AGAIN = frozenset({429, 500, 502, 503, 504})
ANSWER_TOKENS = 16
READABLE_SHARE = 0.5

_ASK_WHICH = (
    "Two drafts answer the same task. Say which one an expert in the field would rather keep: it is right, complete, "
    "and needs fewer changes. Length alone is no merit. Answer with one word: A, B, or tie.\n\n"
    "Task:\n{prompt}\n\nDraft A:\n{first}\n\nDraft B:\n{second}\n\nAnswer:"
)
_ASK_GRADE = (
    "A draft answers a task. Grade from 0 (useless) to 10 (an expert would keep every word) how much of it an expert "
    "in the field would keep. Answer with one number.\n\nTask:\n{prompt}\n\nDraft:\n{text}\n\nGrade:"
)
_WORD = re.compile(r"\b(tie|[ab])\b", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


class EndpointJudge:
    """One model at one endpoint, asked at temperature 0. It sends the prompts and drafts to that endpoint."""

    def __init__(self, url: str, model: str, *, key: str | None = None, timeout: float = TIMEOUT) -> None:
        self.url, self.model = url.rstrip("/"), model
        self.n_unreadable = 0
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(headers=headers, timeout=timeout, trust_env=False)

    @classmethod
    def at(cls, address: str) -> "EndpointJudge":
        """The judge at `http://host:port/v1#MODEL`; ORGANISM_JUDGE_KEY goes to the host of ORGANISM_JUDGE and no other,
        since whoever may start a run may name any address.
        """
        url, model = endpoint_of(address)
        is_known = urlsplit(url)[:2] == urlsplit(os.environ.get(KNOWN, ""))[:2]
        return cls(url, model, key=(os.environ.get(KEY) or None) if is_known else None)

    @property
    def name(self) -> str:
        return f"{self.model} at {urlsplit(self.url).netloc}"

    def score(self, prompt: str, text: str) -> float:
        """The model's grade from 0 to 1; raises ModelError when its answer holds no number."""
        answer = self._ask(_ASK_GRADE.format(prompt=prompt, text=text))
        if not (found := _NUMBER.search(answer)):
            raise ModelError(f"the judge {self.name} was asked for a grade and said {answer[:80]!r}; wanted a number")
        return min(float(found[0]), 10.0) / 10

    def prefer(self, prompt: str, first: str, second: str) -> Preference:
        """What the model says in both orders; a tie where it contradicts itself, or cannot be read."""
        if first.strip() == second.strip():
            return Preference.TIE
        straight = self._which(prompt, first, second)
        if straight is Preference.TIE:
            return straight
        swapped = self._which(prompt, second, first)
        agrees = swapped is not Preference.TIE and swapped is not straight
        return straight if agrees else Preference.TIE

    def prefer_all(
        self,
        prompts: Sequence[str],
        firsts: Sequence[str],
        seconds: Sequence[str],
        on_judged: OnJudged | None = None,
    ) -> list[Preference]:
        """A preference a row, a few asked at once; raises ModelError when most answers could not be read."""
        said: list[Preference] = []
        self.n_unreadable = 0
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for preference in pool.map(self.prefer, prompts, firsts, seconds):
                said.append(preference)
                if on_judged is not None:
                    on_judged(len(said), len(prompts))
        if self.n_unreadable > READABLE_SHARE * len(prompts):
            raise ModelError(
                f"the judge {self.name} gave {self.n_unreadable} answers that are none of A, B and tie; "
                "choose a model that follows instructions"
            )
        return said

    def _which(self, prompt: str, first: str, second: str) -> Preference:
        answer = _WORD.search(self._ask(_ASK_WHICH.format(prompt=prompt, first=first, second=second)))
        if answer is None:
            self.n_unreadable += 1
            return Preference.TIE
        return {"a": Preference.FIRST, "b": Preference.SECOND, "tie": Preference.TIE}[answer[0].lower()]

    def _ask(self, question: str) -> str:
        """The model's answer; asks again where the endpoint is busy."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0.0,
            "max_tokens": ANSWER_TOKENS,
        }
        for attempt in range(ATTEMPTS):
            try:
                answer = self._client.post(f"{self.url}/chat/completions", json=body)
            except httpx.HTTPError as error:
                raise ModelError(
                    f"the judge {self.name} cannot be reached ({error or type(error).__name__}); "
                    "start it, or name another judge"
                ) from error
            if answer.status_code not in AGAIN or attempt == ATTEMPTS - 1:
                break
            time.sleep(0.5 * 2**attempt)
        return self._read(answer)

    def _read(self, answer: httpx.Response) -> str:
        if answer.is_error:
            hint = f"; set {KEY}, and {KNOWN} to this address" if answer.status_code in (401, 403) else ""
            raise ModelError(f"the judge {self.name} answered {answer.status_code}: {answer.text[:160]}{hint}")
        try:
            found: Any = answer.json()["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError) as error:
            raise ModelError(
                f"what answers at {self.url} is no chat completion ({answer.text[:80]!r}); "
                "give the address that ends before /chat/completions"
            ) from error
        return str(found or "")
