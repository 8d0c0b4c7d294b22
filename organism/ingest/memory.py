"""What one process remembers of the events it took in, so that the next batch needs no query for them."""

import hashlib
from collections.abc import Iterable, Sequence
from threading import Lock
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from organism.records import EventKind
from organism.store.database import Cursor, Store
from organism.store.events import Event, fingerprints
from organism.store.interactions import Draft, DraftRef
from organism.store.loops import loop_ids

MAX_DRAFT_CHARS = 64_000_000
MAX_LOOSE = 500_000


class Seen:
    """Fingerprints of every event of a kind: 8 bytes each, so that a new event is known to be new at once.

    A fingerprint that is here may still be of another event (one in 10^13 at ten million): ask the
    table then. One that is not here is new for sure. Only the writer thread touches it.
    """

    def __init__(self, known: npt.NDArray[np.uint64]) -> None:
        self._sorted = np.sort(known)
        self._loose: set[int] = set()

    def maybe(self, prints: Sequence[int]) -> list[bool]:
        """Whether each event may be known."""
        asked = np.fromiter(prints, np.uint64, len(prints))
        at = np.searchsorted(self._sorted, asked)
        held = np.zeros(len(asked), bool)
        inside = at < len(self._sorted)
        held[inside] = self._sorted[at[inside]] == asked[inside]
        return [old or one in self._loose for old, one in zip(held.tolist(), prints, strict=True)]

    def add(self, prints: Iterable[int]) -> None:
        """Remember these; one whose transaction fails later costs a question, never an event."""
        self._loose.update(prints)
        if len(self._loose) > MAX_LOOSE:
            loose = np.fromiter(self._loose, np.uint64, len(self._loose))
            self._sorted = np.sort(np.concatenate([self._sorted, loose]))
            self._loose = set()


class Memory:
    """Loops by name, fingerprints by kind, and the latest drafts, for one store."""

    def __init__(self) -> None:
        self.loops: dict[str, str] = {}
        self._seen: dict[EventKind, Seen] = {}
        self._young: dict[DraftRef, Draft] = {}
        self._old: dict[DraftRef, Draft] = {}
        self._young_chars = 0

    def seen(self, cursor: Cursor, kind: EventKind) -> Seen:
        """The fingerprints of a kind, read from its table the first time."""
        if kind not in self._seen:
            self._seen[kind] = Seen(fingerprints(cursor, kind))
        return self._seen[kind]

    def draft(self, ref: DraftRef) -> Draft | None:
        """A draft that this process committed lately; None says nothing."""
        exact = ref._replace(anywhere=False)
        return self._young.get(exact) or self._old.get(exact)

    def keep_draft(self, source: str, external_id: str, draft: Draft) -> None:
        """Remember a committed draft; the oldest half goes when 64 million characters are held."""
        self._young[DraftRef(draft.interaction_id, None, None)] = draft
        self._young[DraftRef(None, source, external_id)] = draft
        self._young_chars += len(draft.output or "") + 200
        if self._young_chars > MAX_DRAFT_CHARS // 2:
            self._old, self._young, self._young_chars = self._young, {}, 0


_MEMORIES: WeakKeyDictionary[Store, Memory] = WeakKeyDictionary()
_LOCK = Lock()


def memory_of(store: Store) -> Memory:
    """The memory that goes with this open store, and ends with it."""
    with _LOCK:
        if store not in _MEMORIES:
            _MEMORIES[store] = Memory()
            _MEMORIES[store].loops.update(loop_ids(store))
        return _MEMORIES[store]


def fingerprint(event: Event) -> int:
    """64 bits of the source and external id: the same as `fingerprints` reads from the table."""
    text = f"{event['source']}\x1f{event['external_id']}"
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:8], "little")
