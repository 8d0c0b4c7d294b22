"""The HTTP API as one ASGI app, to be mounted at /v1."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import HTMLResponse, JSONResponse
from starlette.staticfiles import StaticFiles

from organism import __version__
from organism.api import events
from organism.api.access import Door
from organism.errors import ModelError, OrganismError, RunError, StoreError
from organism.store.database import DatabaseError, Store

STATIC = Path(__file__).parent / "static"
_NO_JSON = "the body is no JSON in UTF-8, or is nested too deeply; send one JSON object."
_DOCS = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Organism API</title>
<link rel="stylesheet" href="static/swagger-ui.css"></head>
<body><div id="docs"></div>
<script src="static/swagger-ui-bundle.js"></script><script src="static/docs.js"></script></body></html>
"""


def create_api(
    get_store: Callable[[], Store],
    key: str,
    *,
    routers: Sequence[APIRouter] = (),
    hosts: Sequence[str] = ("*",),
) -> FastAPI:
    """The API over one store, open to holders of `key`.

    `routers` are further stages' routes; they take `StoreOf` and `KeyRequired` from organism.api.access.
    `hosts` are the names under which it answers ("*" for any).
    """
    api = FastAPI(
        title="Organism",
        version=__version__,
        description="Send what users did, ask what it means. Every write is durable before it is answered.",
        docs_url=None,
        redoc_url=None,
    )
    api.state.get_store = get_store
    api.state.key = key
    for router in (events.router, *routers):
        api.include_router(router)
    api.add_route("/docs", _docs, include_in_schema=False)
    api.mount("/static", StaticFiles(directory=STATIC))
    api.add_middleware(Door)
    api.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    for kind, handler in _HANDLERS.items():
        api.add_exception_handler(kind, handler)
    return api


def _docs(_request: Request) -> HTMLResponse:
    return HTMLResponse(_DOCS)


def _organism_error(_request: Request, error: Any) -> JSONResponse:
    status = 503 if isinstance(error, StoreError) else 409 if isinstance(error, ModelError | RunError) else 422
    # A sentence may quote half of a surrogate pair, which no answer can hold.
    said = str(error).encode("utf-8", "backslashreplace").decode()
    return JSONResponse({"error": said}, status)


def _http_error(request: Request, error: Any) -> JSONResponse:
    said = str(error.detail)
    if error.status_code == 404 and said == "Not Found":
        said = f"there is nothing at {request.url.path}; /v1/docs lists what there is."
    if error.status_code == 400 and said == "There was an error parsing the body":
        return JSONResponse({"error": _NO_JSON}, 422)
    if error.status_code == 405:
        said = f"{request.url.path} does not answer {request.method}; /v1/docs lists what it does."
    return JSONResponse({"error": said}, error.status_code, headers=error.headers)


def _invalid(_request: Request, error: Any) -> JSONResponse:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return JSONResponse({"error": _NO_JSON}, 422)
    field = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    return JSONResponse({"error": f"{field}: {first['msg'][:1].lower()}{first['msg'][1:]}."}, 422)


def _database_error(_request: Request, error: Any) -> JSONResponse:
    """JSON can escape half of a surrogate pair, which no database keeps; anything else is a bug."""
    if "cannot encode str as UTF-8" not in str(error):
        raise error
    return JSONResponse({"error": "a text of the body holds half of a surrogate pair; send whole characters."}, 422)


def _bug(_request: Request, _error: Exception) -> JSONResponse:
    return JSONResponse({"error": "this is a bug; the server's log has the details."}, 500)


_HANDLERS: dict[Any, Callable[[Request, Any], JSONResponse]] = {
    OrganismError: _organism_error,
    HTTPException: _http_error,
    StarletteHTTPException: _http_error,
    RequestValidationError: _invalid,
    DatabaseError: _database_error,
    Exception: _bug,
}
