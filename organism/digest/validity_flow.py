"""Read, decide: is this the right reward, and did a version earn its own by anything but being better?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from organism.digest.audit import Audit, audit
from organism.digest.audit_checks import NEEDED
from organism.digest.designs import check_design
from organism.digest.flow import check_guardrails
from organism.digest.guardrails import broken
from organism.digest.scored_rows import judges
from organism.digest.validity import Trial, Validity, validity
from organism.errors import InputError
from organism.records import RewardDesign
from organism.store.database import Store
from organism.store.experiments import read_experiments
from organism.store.interactions import count_interactions
from organism.store.model_versions import alias_target, read_base_names, read_version
from organism.store.signal_definitions import SignalInfo, SignalKind
from organism.store.signals import known_signals, read_signal_rows

LIMIT = 20_000
LIVE = "live"


def check_validity(store: Store, loop_id: str, design: RewardDesign, *, limit: int = LIMIT, seed: int = 0) -> Validity:
    """Is this the right reward? Judged on up to `limit` interactions of whole users; the same answer each time.

    The team's own SQL signals that are no part of the design are judged beside its own; versions that break one of
    its guardrails over the whole history may not win. Raises DesignError when the design cannot give a reward.
    """
    known = _alive(store, loop_id, design)
    rows = _rows(store, loop_id, design, known, limit=limit)
    own = {spec.signal for spec in design.signals}
    candidates = [name for name, info in known.items() if info.kind is SignalKind.SQL and name not in own]
    rng = np.random.default_rng(seed)
    out = broken(check_guardrails(store, loop_id, design))
    found = validity(rows, design, trials=_trials(store, loop_id), candidates=candidates, barred=out, rng=rng)
    total = count_interactions(store, loop_id)
    if len(rows) == total:
        return found
    sampled = f"Judged on {len(rows):,} of {total:,} interactions: a sample of whole users, the same each time."
    return found._replace(notes=[sampled, *found.notes])


def audit_versions(
    store: Store,
    loop_id: str,
    design: RewardDesign,
    *,
    variant: str | None = None,
    reference: str | None = None,
    limit: int = LIMIT,
    seed: int = 0,
) -> list[Audit]:
    """Audit one variant, or each one that took the place of another: the live one first, then by name.

    The reference of a variant is the live one, and of the live one the base; where nothing was ever promoted it is
    the variant that served first. Raises InputError that names the variants when one of the two is none of them.
    """
    known = _alive(store, loop_id, design)
    rows = _rows(store, loop_id, design, known, limit=limit)
    there = list(dict.fromkeys(rows["variant"]))
    _check_named(there, variant, reference)
    live, first = _live_and_first(store, loop_id, there)
    asked = [variant] if variant else sorted((name for name in there if name != first), key=lambda v: (v != live, v))
    pairs = [(name, reference or (live if live and name != live else first)) for name in asked]
    if variant and pairs[0][1] == variant:
        raise InputError(f"{variant!r} took the place of no other variant; name a reference to audit it against")
    return [
        audit(rows, design, variant=name, reference=other, rng=np.random.default_rng(seed))
        for name, other in pairs
        if other and name != other
    ]


def _alive(store: Store, loop_id: str, design: RewardDesign) -> dict[str, SignalInfo]:
    """The signals that are measured now; the design is checked against all that ever were."""
    known = known_signals(store, loop_id)
    check_design(design, known)
    return {name: info for name, info in known.items() if info.removed_at is None}


def _rows(
    store: Store, loop_id: str, design: RewardDesign, known: dict[str, SignalInfo], *, limit: int
) -> pd.DataFrame:
    """Everything that either question needs, a column each, once."""
    sql = [name for name, info in known.items() if info.kind is SignalKind.SQL]
    wanted = [*(spec.signal for spec in design.signals), *judges(known), *NEEDED, *sql]
    return read_signal_rows(store, loop_id, sorted(set(wanted)), limit=limit)


def _trials(store: Store, loop_id: str) -> list[Trial]:
    columns = ["experiment_id", "name", "control", "treatment"]
    found = read_experiments(store, loop_id)[columns]
    return [Trial(*(str(word) for word in row)) for row in found.itertuples(index=False, name=None)]


def _check_named(there: Sequence[str], variant: str | None, reference: str | None) -> None:
    for name in (variant, reference):
        if name is not None and name not in there:
            listed = ", ".join(sorted(there)) or "none yet; send interactions with a variant_id"
            raise InputError(f"no interaction here is of a variant {name!r}; there are: {listed}")
    if variant is not None and variant == reference:
        raise InputError(f"{variant!r} cannot be audited against itself; name another reference, or none")


def _live_and_first(store: Store, loop_id: str, there: Sequence[str]) -> tuple[str | None, str | None]:
    """The live version's variant, and what came before it: the base, else the variant that served first."""
    with store.cursor() as cursor:
        live_id = alias_target(cursor, loop_id, LIVE)
    name = read_version(store, live_id).name if live_id else None
    bases = [base for base in read_base_names(store, loop_id) if base in there]
    first = bases[0] if bases else there[0] if there else None
    return (name if name in there and name != first else None), first
