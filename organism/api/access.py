"""Who may act, and on what: the key, the store, and the body's limits."""

import hmac
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from organism.store.database import Store

MAX_BODY = 16 * 2**20
MAX_FILE = 200 * 2**20
JSON, TOML = "application/json", "application/toml"
# A whole file as the body, and the ending that its reader knows it by. A foreign page may send none of them unasked.
FILE_KINDS = {
    "text/csv": "csv",
    "application/vnd.apache.parquet": "parquet",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
    JSON: "json",
}
_TAKES_FILE = ("/analyze", "/v1/analyze")
# Where a design comes in, it may be the file that people wrote; no foreign page may send either type unasked.
_TAKES_TOML = (
    "/reward-designs",
    *(f"/rewards/{asked}" for asked in ("what-if", "validity", "audit", "map", "growth")),
)
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"frame-ancestors 'none'",
}
_bearer = HTTPBearer(auto_error=False, description="The admin key: ORGANISM_API_KEY, or the workspace's api_key file.")


async def require_key(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Let the request through only with the workspace's key; 401 with how to get it otherwise."""
    given = credentials.credentials if credentials else ""
    if not hmac.compare_digest(given.encode(), request.app.state.key.encode()):
        raise HTTPException(
            401,
            "the key is missing or wrong; send `Authorization: Bearer KEY` with ORGANISM_API_KEY, "
            "or with the content of api_key in the workspace.",
            {"WWW-Authenticate": "Bearer"},
        )


def store_of(request: Request) -> Store:
    """The process's one store."""
    return request.app.state.get_store()


KeyRequired = Depends(require_key)
StoreOf = Annotated[Store, Depends(store_of)]


class Door:
    """What every request passes: bodies are JSON (or a design's TOML) and not endless, answers carry safe headers.

    Plain ASGI.
    """

    def __init__(self, app: ASGIApp, max_body: int = MAX_BODY) -> None:
        self._app = app
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413 or 415 at the door, or pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        reply = _with_headers(send)
        headers = dict(scope["headers"])
        kinds: Sequence[str] = (JSON, TOML) if scope["path"].endswith(_TAKES_TOML) else (JSON,)
        max_body = self._max_body
        if scope["path"] in _TAKES_FILE:
            kinds, max_body = tuple(FILE_KINDS), max(max_body, MAX_FILE)
        refusal = _refused(headers, max_body, kinds)
        if refusal:
            await refusal(scope, receive, reply)
        else:
            await self._app(scope, _counted(receive, max_body), reply)


def _counted(receive: Receive, max_body: int) -> Receive:
    """The same stream, ended with 413 when a body without a stated length grows too large."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > max_body:
            raise HTTPException(413, too_large(max_body))
        return message

    return counted


def too_large(limit: int) -> str:
    """The sentence for a body over the limit."""
    return f"the body is larger than {limit // 2**20} MB; send the rows in smaller batches."


def _refused(headers: dict[bytes, bytes], max_body: int, kinds: Sequence[str]) -> JSONResponse | None:
    stated = headers.get(b"content-length", b"0")
    length = int(stated) if stated.isdigit() else 0
    if length > max_body:
        return JSONResponse({"error": too_large(max_body)}, 413)
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower().decode("latin-1")
    has_body = length > 0 or b"transfer-encoding" in headers
    if has_body and kind not in kinds:
        wanted = " or ".join(kinds)
        return JSONResponse({"error": f"the content type is {kind[:80] or 'not given'}; send {wanted}."}, 415)
    return None


def _with_headers(send: Send) -> Send:
    async def reply(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = _merged(message.get("headers", []))
        await send(message)

    return reply


def _merged(headers: Iterable[Any]) -> list[tuple[bytes, bytes]]:
    kept = list(headers)
    present = {name.lower() for name, _ in kept}
    return [*kept, *((name, value) for name, value in _HEADERS.items() if name not in present)]
