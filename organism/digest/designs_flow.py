"""Read, decide: the designs that a loop has, by any name that people use for them."""

from typing import Any, NamedTuple

from organism.digest.design_files import Form, document, from_document, from_weights, has_weights_only, parse
from organism.digest.designs import group_weights
from organism.digest.flow import live_design
from organism.digest.presets import CANDIDATES, HIGH, LOW, MEDIAN, PRESETS, presets_from
from organism.errors import InputError
from organism.records import RewardDesign
from organism.store.database import Store
from organism.store.reward_designs import Saved, read_saved
from organism.store.signals import read_quantiles

LIVE = "live"
SHORTEST_PREFIX = 4


class Listing(NamedTuple):
    """All designs of a loop as plain data: `saved` the newest first, `presets` by name."""

    live: dict[str, Any]
    saved: list[dict[str, Any]]
    presets: dict[str, dict[str, Any]]


def presets(store: Store, loop_id: str) -> dict[str, RewardDesign]:
    """Price, performance, quality and balanced, between anchors from the loop's own data; all on the same signals."""
    found = read_quantiles(store, loop_id, CANDIDATES, (LOW, MEDIAN, HIGH))
    values = {(row.signal, row.probability): row.value for row in found.itertuples()}
    ends = {name: (values.get((name, LOW)), values.get((name, HIGH))) for name in CANDIDATES}
    return presets_from(ends, values.get(("written_share", MEDIAN)))


def find_design(store: Store, loop_id: str, ref: str) -> RewardDesign:
    """The design that a person means by `ref`.

    In this order: "live", a preset's name, a version ("3" or "v3"), the newest version saved under that name, an
    id or the beginning of one. Raises InputError that lists what there is.
    """
    word = ref.strip().lower()
    if word == LIVE:
        return live_design(store, loop_id)
    if word in PRESETS:
        return presets(store, loop_id)[word]
    saved = read_saved(store, loop_id)
    found = _by_version(saved, word) or _by_name(saved, ref.strip()) or _by_id(saved, word)
    if found is None:
        there = ", ".join([LIVE, *PRESETS, *(f"v{kept.version} ({kept.design.name})" for kept in saved[:20])])
        raise InputError(f"no reward design is called {ref[:80]!r}; there are: {there}")
    return found.design


def list_designs(store: Store, loop_id: str) -> Listing:
    """The live design, every saved version and the presets."""
    live, saved = live_design(store, loop_id), read_saved(store, loop_id)
    return Listing(
        {"version": saved[0].version if saved else None, **_with_weights(live)},
        [
            {
                "version": kept.version,
                **_with_weights(kept.design),
                "parent_id": kept.parent_id,
                "created_at": kept.created_at,
            }
            for kept in saved
        ],
        {name: _with_weights(design) for name, design in presets(store, loop_id).items()},
    )


def read_text(store: Store, loop_id: str, text: str, form: Form, source: str) -> RewardDesign:
    """The design that a file or a request spells out, or the live one with the group weights that it gives.

    Raises InputError or DesignError with the field that is wrong; whether the recipe can give a reward is
    checked where it is used.
    """
    found = parse(text, form, source)
    if has_weights_only(found):
        return from_weights(found, live_design(store, loop_id), source)
    return from_document(found, source)


def _with_weights(design: RewardDesign) -> dict[str, Any]:
    return {**document(design), "weights": group_weights(design)}


def _by_version(saved: list[Saved], word: str) -> Saved | None:
    number = word.removeprefix("v")
    return next((kept for kept in saved if str(kept.version) == number), None)


def _by_name(saved: list[Saved], name: str) -> Saved | None:
    return next((kept for kept in saved if kept.design.name == name), None)


def _by_id(saved: list[Saved], word: str) -> Saved | None:
    found = [kept for kept in saved if len(word) >= SHORTEST_PREFIX and kept.design.id.startswith(word)]
    if several := sorted({kept.design.id for kept in found})[1:]:
        raise InputError(
            f"{word!r} begins {len(several) + 1} ids, such as {found[0].design.id} and {several[0]}; give more of it"
        )
    return found[0] if found else None
