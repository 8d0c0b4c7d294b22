"""Drafts from the live version, in our own shape and in OpenAI's; each one is logged as an interaction."""

import time
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from organism.api.access import KeyRequired, StoreOf
from organism.api.parts import PartsOf
from organism.config import DEMO_LOOP
from organism.errors import InputError
from organism.traffic import Served, serve_draft
from organism.wire import plain

router = APIRouter(tags=["deploy"], dependencies=[KeyRequired])


class Ask(BaseModel):
    """A prompt for the loop's live version, for a named one, or for the variant that an experiment gives the user."""

    prompt: str = Field(min_length=1, max_length=100_000)
    loop: str = DEMO_LOOP
    version: str | None = None
    user_key: str | None = None
    experiment_id: str | None = None
    attributes: dict[str, Any] | None = None
    max_new_tokens: int = Field(default=256, ge=1, le=4096)


class ChatMessage(BaseModel):
    """One message of a chat."""

    role: str
    content: str = Field(max_length=100_000)


class Chat(BaseModel):
    """OpenAI's chat completion request, as far as it is served: the last user message is the prompt.

    `experiment_id` and `attributes` are ours (`extra_body` in OpenAI's client): the variant that `user` is assigned.
    """

    messages: list[ChatMessage] = Field(min_length=1)
    model: str = "live"
    max_tokens: int = Field(default=256, ge=1, le=4096)
    user: str | None = None
    stream: bool = False
    experiment_id: str | None = None
    attributes: dict[str, Any] | None = None


@router.post("/drafts", summary="Write a draft with the live version")
def draft(store: StoreOf, parts: PartsOf, ask: Ask) -> JSONResponse:
    """The text, what it took, and the interaction's id for the feedback on it."""
    served = serve_draft(
        store,
        parts.get_drafts(),
        loop=ask.loop,
        prompt=ask.prompt,
        version_name=ask.version,
        user_key=ask.user_key,
        experiment_id=ask.experiment_id,
        attributes=ask.attributes,
        max_new_tokens=ask.max_new_tokens,
    )
    return JSONResponse(_own_shape(served))


@router.post("/chat/completions", summary="The same in OpenAI's shape")
def chat(store: StoreOf, parts: PartsOf, ask: Chat, loop: str = DEMO_LOOP) -> JSONResponse:
    """`model` is a version's name, or "live". Streaming is not served: ask with stream=false."""
    if ask.stream:
        raise InputError("stream=true is not served here; ask with stream=false.")
    prompts = [message.content for message in ask.messages if message.role == "user"]
    if not prompts or not prompts[-1].strip():
        raise InputError("no message has the role 'user' and a text; the last such message is the prompt.")
    served = serve_draft(
        store,
        parts.get_drafts(),
        loop=loop,
        prompt=prompts[-1],
        version_name=None if ask.model == "live" else ask.model,
        user_key=ask.user,
        experiment_id=ask.experiment_id,
        attributes=ask.attributes,
        max_new_tokens=ask.max_tokens,
    )
    return JSONResponse(_openai_shape(served))


def _own_shape(served: Served) -> dict[str, Any]:
    own = {"interaction_id": served.interaction_id, "version": served.version, **served.draft._asdict()}
    return own | _experiment(served)


def _openai_shape(served: Served) -> dict[str, Any]:
    draft = served.draft
    return {
        "id": served.interaction_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": served.version,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": draft.text},
                "finish_reason": draft.finish_reason,
            }
        ],
        "usage": {
            "prompt_tokens": draft.input_tokens,
            "completion_tokens": draft.output_tokens,
            "total_tokens": draft.input_tokens + draft.output_tokens,
        },
    } | _experiment(served)


def _experiment(served: Served) -> dict[str, Any]:
    """What the experiment said, where one was asked."""
    return {} if served.assigned is None else {"experiment": plain(served.assigned)}
