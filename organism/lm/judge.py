"""Who says which of two drafts is better: a reward model of this workspace, or any endpoint that speaks OpenAI's chat.

A reward model's address is the folder of its adapter (`workspace:runs/RUN/adapter`, or a path); an endpoint's is
`http://host:port/v1#MODEL`, with the key in ORGANISM_JUDGE_KEY where it wants one and ORGANISM_JUDGE names it.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from organism.config import Workspace
from organism.errors import InputError, ModelError

JUDGE_FILE = "judge.json"
OnJudged = Callable[[int, int], None]


class Preference(StrEnum):
    """Which of two drafts a judge would rather keep."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"


class Judge(Protocol):
    """Anybody who can grade drafts. `name` goes into the records."""

    @property
    def name(self) -> str: ...

    def score(self, prompt: str, text: str) -> float:
        """How good the text is for the prompt; higher is better, the scale is the judge's own."""

    def prefer(self, prompt: str, first: str, second: str) -> Preference:
        """The better of two texts for the prompt."""

    def prefer_all(
        self,
        prompts: Sequence[str],
        firsts: Sequence[str],
        seconds: Sequence[str],
        on_judged: OnJudged | None = None,
    ) -> list[Preference]:
        """The better text of every row, in their order; on_judged is told (rows judged, rows in all)."""


def endpoint_of(address: str) -> tuple[str, str]:
    """The URL and the model of `http://HOST:PORT/v1#MODEL`; raises InputError when the address names no such."""
    url, _, model = address.partition("#")
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname and model.strip() and (parts.port or 0) >= 0)
    except ValueError:  # a port that is no number, an open bracket
        is_whole = False
    if not is_whole or any(letter.isspace() or not letter.isprintable() for letter in url):
        raise InputError(
            f"the judge's address {address!r:.200} names no model; write http://HOST:PORT/v1#MODEL, with the model's "
            "name as the endpoint knows it"
        )
    return url, model.strip()


def require_judge_folder(folder: Path) -> None:
    """Raise ModelError unless a run of the recipe reward_model left this folder."""
    if not (folder / JUDGE_FILE).is_file():
        raise ModelError(
            f"{folder} is no judge: it has no {JUDGE_FILE}. Name the adapter of a run of the recipe reward_model."
        )


def judge_of(address: str, workspace: Workspace) -> Judge:
    """The judge at this address; raises InputError for none, ModelError when there is no reward model in the folder."""
    # Only now: a reward model needs torch, an endpoint does not.
    if address.startswith(("http://", "https://")):
        from organism.lm.endpoint_judge import EndpointJudge

        return EndpointJudge.at(address)
    if not address.strip():
        raise InputError(
            "no judge is named; train one with the recipe reward_model, or give an endpoint as http://HOST/v1#MODEL"
        )
    from organism.lm.reward_judge import RewardModelJudge

    return RewardModelJudge.from_folder(workspace.locate(address), workspace)
