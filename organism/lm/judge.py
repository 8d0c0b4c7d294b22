"""Who says which of two drafts is better: a reward model of this workspace, or any endpoint that speaks OpenAI's chat.

A reward model's address is the folder of its adapter (`workspace:runs/RUN/adapter`, or a path); an endpoint's is
`http://host:port/v1#MODEL`, with the key in ORGANISM_JUDGE_KEY where it wants one.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol

from organism.config import Workspace
from organism.errors import InputError

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
