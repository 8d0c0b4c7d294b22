"""What pages, API and command line ask of frozen training sets: which, what is in one, and one as a file."""

import json
from typing import Any, NamedTuple

import pandas as pd

from organism.digest.composition import Composition, compose
from organism.digest.set_files import FileForm, reward_name, written
from organism.digest.training_settings import Basis
from organism.errors import DesignError, InputError
from organism.records import DatasetKind
from organism.store.database import Store
from organism.store.datasets import read_dataset_origins, read_dataset_rows, read_datasets

SHORTEST_PREFIX = 4
SPLITS = ("train", "heldout")


class FrozenSet(NamedTuple):
    """A set's header: the columns of `datasets`; settings and leakage are None for sets older than they."""

    dataset_id: str
    name: str
    kind: DatasetKind
    content_hash: str
    reward_design_id: str | None
    n_train: int
    n_heldout: int
    n_users_train: int
    n_users_heldout: int
    dropped: dict[str, int]
    settings: dict[str, Any] | None
    leakage: dict[str, Any] | None
    latest_signal_at: Any
    created_at: Any

    @property
    def basis(self) -> Basis:
        """Whose word decided; sets older than the choice are of experts."""
        return Basis((self.settings or {}).get("basis", Basis.EXPERT))

    @property
    def least_reward(self) -> float | None:
        """What a draft had to earn, asked for or the median of the drafts scored; None where any reward did."""
        kept = self.settings or {}
        return kept.get("least_reward", kept.get("min_reward"))


class Description(NamedTuple):
    """A set, what it is made of, and some of its rows.

    Their columns are those of `read_dataset_rows`, with draft_reward for reward where experts' word decided.
    """

    header: FrozenSet
    composition: Composition
    examples: pd.DataFrame


def list_sets(store: Store, loop_id: str) -> list[FrozenSet]:
    """The loop's sets, the newest first."""
    return [_header(row) for row in read_datasets(store, loop_id).to_dict("records")]


def find_set(store: Store, loop_id: str, ref: str) -> FrozenSet:
    """The set with this id or hash, or the beginning of one; InputError with those there are otherwise."""
    known, word = list_sets(store, loop_id), ref.strip().lower()
    exact = [one for one in known if word in (one.dataset_id, one.content_hash)]
    begun = [one for one in known if one.dataset_id.startswith(word) or one.content_hash.startswith(word)]
    found = exact or (begun if len(word) >= SHORTEST_PREFIX else [])
    if len(found) == 1 or exact:
        return found[0]
    there = ", ".join(f"{one.dataset_id} ({one.name})" for one in known[:10]) or "none yet; build one first"
    what = "several training sets begin" if found else "no training set begins"
    raise InputError(f"{what} with the id {ref[:80]!r}; there are: {there}")


def describe(store: Store, loop_id: str, ref: str, *, n_examples: int = 5) -> Description:
    """One set in figures, with the first rows of each side."""
    header = find_set(store, loop_id, ref)
    rows = read_dataset_rows(store, header.dataset_id)
    examples = rows.groupby("split", sort=False).head(n_examples).rename(columns={"reward": reward_name(header.basis)})
    return Description(header, compose(read_dataset_origins(store, header.dataset_id)), examples)


def export(store: Store, loop_id: str, ref: str, *, form: str = FileForm.JSONL, split: str | None = None) -> bytes:
    """One set, or one side of it, as the bytes of a file; InputError for an unknown form or split."""
    if form not in list(FileForm):
        raise InputError(f"a training set is no {form[:40]!r} file; the form is one of: {', '.join(FileForm)}")
    if split is not None and split not in SPLITS:
        raise InputError(f"a training set has no side {split[:40]!r}; the split is one of: {', '.join(SPLITS)}")
    header = find_set(store, loop_id, ref)
    rows = read_dataset_rows(store, header.dataset_id, split)
    if rows.empty:
        raise DesignError(f"training set '{header.name}' has no {split or ''} rows, so there is nothing to write")
    return written(rows, header.kind, FileForm(form), header.basis)


def _header(row: dict[Any, Any]) -> FrozenSet:
    read = {name: json.loads(row[name]) if isinstance(row[name], str) else None for name in ("settings", "leakage")}
    words = {name: row[name] if isinstance(row[name], str) else None for name in ("reward_design_id", "kind")}
    given = row | read | words | {"dropped": json.loads(row["dropped"])}
    given["kind"] = DatasetKind(given["kind"] or DatasetKind.SFT)
    return FrozenSet(**{name: given[name] for name in FrozenSet._fields})
