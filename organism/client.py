"""A small client for the HTTP API: batches, retries that are safe because sending twice is sending once."""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx

from organism.errors import InputError, OrganismError, RunError, StoreError
from organism.records import EventKind

BATCH = 500
ATTEMPTS = 5


class Sent(NamedTuple):
    """What became of the rows: ids stand in their order, None for a quarantined one; reasons say why."""

    accepted: int
    duplicates: int
    quarantined: int
    ids: list[str | None]
    reasons: list[str]


class Client:
    """Sends events to an Organism server and waits until they are durable.

    Give each row an `external_id` of your own: a lost answer is then retried without making a double.
    """

    def __init__(self, url: str, key: str, *, source: str | None = None, loop: str | None = None, timeout: float = 30):
        """`url` is the server's address without /v1; `source` and `loop` stand in for rows that name none."""
        self._defaults = {name: value for name, value in (("source", source), ("loop", loop)) if value}
        self._http = httpx.Client(
            base_url=url.rstrip("/") + "/v1", headers={"Authorization": f"Bearer {key}"}, timeout=timeout
        )

    def send_interactions(self, rows: Sequence[Mapping[str, Any]]) -> Sent:
        """Send what was asked and what a model wrote."""
        return self._send(EventKind.INTERACTIONS, rows)

    def send_feedback(self, rows: Sequence[Mapping[str, Any]]) -> Sent:
        """Send how drafts were answered; name each interaction by id or by its external id."""
        return self._send(EventKind.FEEDBACK, rows)

    def send_outcomes(self, rows: Sequence[Mapping[str, Any]]) -> Sent:
        """Send what came of it later."""
        return self._send(EventKind.OUTCOMES, rows)

    def assign(
        self, user_key: str, *, experiment_id: str | None = None, attributes: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """The user's variant in each running experiment of the loop, or in one; fields as `/v1/assign` answers them.

        Asking again is safe: the first answer stands.
        """
        asked: dict[str, Any] = {"user_key": user_key, "attributes": dict(attributes or {})}
        asked |= {"experiment_id": experiment_id} if experiment_id else self._loop()
        found: list[dict[str, Any]] = _read(self._reach("POST", "/assign", json=asked))["assignments"]
        return found

    def expose(self, experiment_id: str, user_key: str) -> bool:
        """Say that the user really met the assigned variant; False when that was known already."""
        sent = {"experiment_id": experiment_id, "user_key": user_key}
        return bool(_read(self._reach("POST", "/exposures", json=sent))["recorded"])

    def health(self) -> dict[str, Any]:
        """The server's version, rows and data versions; raises StoreError when it does not answer."""
        return _read(self._reach("GET", "/health"))

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _loop(self) -> dict[str, str]:
        return {"loop": self._defaults["loop"]} if "loop" in self._defaults else {}

    def _send(self, kind: EventKind, rows: Sequence[Mapping[str, Any]]) -> Sent:
        """Send in batches. Rows that are refused are named in the reasons; raises InputError when all were."""
        sent = Sent(0, 0, 0, [], [])
        for first in range(0, len(rows), BATCH):
            batch = [dict(row) for row in rows[first : first + BATCH]]
            response = self._reach("POST", f"/{kind}", json=batch, params=self._defaults)
            answer = _read(response, rows_may_fail=True)
            where = f"from row {first + 1}: " if first else ""
            sent = Sent(
                sent.accepted + answer["accepted"],
                sent.duplicates + answer["duplicates"],
                sent.quarantined + answer["quarantined"],
                sent.ids + answer["ids"],
                sent.reasons + [where + reason for reason in answer["reasons"]],
            )
        if sent.quarantined and not sent.accepted + sent.duplicates:
            raise InputError("; ".join(sent.reasons[:3]))
        return sent

    def _reach(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Try again for some seconds while the server cannot be reached."""
        for attempt in range(ATTEMPTS):
            try:
                return self._http.request(method, path, **request)
            except httpx.TransportError as error:
                if attempt == ATTEMPTS - 1:
                    raise StoreError(
                        f"{self._http.base_url} cannot be reached ({error}); start it with `organism serve`, "
                        "or check the address."
                    ) from error
                time.sleep(0.1 * 2**attempt)
        raise AssertionError("the last attempt returns or raises")


def _read(response: httpx.Response, *, rows_may_fail: bool = False) -> dict[str, Any]:
    """The answer's JSON object; raises the error that its status stands for, with the server's sentence."""
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise StoreError(f"{response.url} answered {response.status_code} without JSON; is this an Organism server?")
    if response.is_success or (rows_may_fail and "quarantined" in answer):
        return answer
    said = str(answer.get("error", f"the server answered {response.status_code}"))
    match response.status_code:
        case 409:
            raise RunError(said)
        case 503:
            raise StoreError(said)
        case code if code < 500:
            raise InputError(said)
        case _:
            raise OrganismError(said)
