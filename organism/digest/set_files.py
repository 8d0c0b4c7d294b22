"""A training set as a file that trainers take: TRL's column names first, then where each row came from. Pure."""

import io
import json
from enum import StrEnum
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from organism.digest.training_settings import Basis
from organism.records import DatasetKind


class FileForm(StrEnum):
    """The forms a set can be handed out in."""

    JSONL = "jsonl"
    PARQUET = "parquet"


TRL_COLUMNS = {
    DatasetKind.SFT: ("prompt", "completion"),
    DatasetKind.PREFERENCE: ("prompt", "chosen", "rejected"),
    DatasetKind.UNPAIRED: ("prompt", "completion", "label"),
}
"""What SFTTrainer, DPOTrainer and KTOTrainer read: docs of TRL, "Dataset formats and types"."""

_TYPES = {"label": pa.bool_(), **dict.fromkeys(("reward", "draft_reward", "rejected_reward"), pa.float64())}
_LINEAGE = ("interaction_id", "feedback_id")
_REJECTED = ("rejected_reward", "rejected_interaction_id", "rejected_feedback_id")


def reward_name(basis: Basis) -> str:
    """What a row's reward is called: by experts the text may be a person's, which earned nothing; its draft did."""
    return "reward" if basis is Basis.REWARD else "draft_reward"


def columns_of(kind: DatasetKind, basis: Basis = Basis.EXPERT) -> tuple[str, ...]:
    """The columns of a file of this kind and basis, in order."""
    whose = ("split", "user_key", reward_name(basis))
    rejected = _REJECTED if kind is DatasetKind.PREFERENCE else ()
    return TRL_COLUMNS[kind] + whose + _LINEAGE + rejected + (("origin",) if basis is Basis.VOTE else ())


def written(rows: pd.DataFrame, kind: DatasetKind, form: FileForm, basis: Basis = Basis.EXPERT) -> bytes:
    """The rows (as of `read_dataset_rows`) as the bytes of one file, in their order."""
    table = _table(rows.rename(columns={"reward": reward_name(basis)}), columns_of(kind, basis))
    if form is FileForm.PARQUET:
        sink = io.BytesIO()
        pq.write_table(table, sink)
        return sink.getvalue()
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist()).encode()


def _table(rows: pd.DataFrame, names: tuple[str, ...]) -> pa.Table:
    schema = pa.schema([(name, _TYPES.get(name, pa.string())) for name in names])
    columns = [[_known(value) for value in rows[name]] for name in schema.names]
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema)


def _known(value: Any) -> Any:
    return None if value is None or value is pd.NaT or value != value else value
