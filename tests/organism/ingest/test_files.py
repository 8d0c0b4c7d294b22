"""Files of strangers: columns matched by name, every line in the store or in quarantine."""

from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

from organism.errors import InputError
from organism.ingest.columns import guess_mapping
from organism.ingest.files import import_file, preview_file
from organism.ingest.flow import ingest
from organism.records import EventKind
from organism.store.database import Store
from organism.store.quarantine import read_quarantine

NOW = datetime(2026, 3, 1, 12)
INTERACTIONS, FEEDBACK, OUTCOMES = EventKind

DRAFTS = """ID,Response,User ID,Latency,When,Ward
1,hello,dr-5,12.5,2026-01-01 10:00,north
2,bye,dr-6,quick,,south
3,one cell,too few
4,"quoted, with comma",dr-7,3,2026-01-02T10:00:00Z,
"""


def written(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


@pytest.mark.parametrize(
    ("kind", "columns", "mapping"),
    [
        (INTERACTIONS, ["external_id", "output"], {"external_id": "external_id", "output": "output"}),
        (INTERACTIONS, ["Completion", "Prompt Tokens"], {"output": "Completion", "input_tokens": "Prompt Tokens"}),
        (INTERACTIONS, ["userId", "text"], {"user_key": "userId", "output": "text"}),
        (INTERACTIONS, ["text", "response"], {"output": "response"}),
        (INTERACTIONS, ["model_version", "variant_id"], {"variant_id": "variant_id"}),
        (
            FEEDBACK,
            ["id", "request-id", "Action"],
            {"external_id": "id", "interaction_external_id": "request-id", "kind": "Action"},
        ),
        (OUTCOMES, ["Order ID", "metric", "value"], {"business_key": "Order ID", "name": "metric", "value": "value"}),
        (OUTCOMES, ["apples"], {}),
    ],
)
def test_columns_are_matched_by_what_they_are_called(
    kind: EventKind, columns: list[str], mapping: dict[str, str]
) -> None:
    assert guess_mapping(kind, columns) == mapping


def test_every_line_of_a_csv_is_in_the_store_or_in_quarantine(store: Store, tmp_path: Path) -> None:
    done = import_file(store, written(tmp_path, "drafts.csv", DRAFTS), INTERACTIONS, loop="scribe", now=NOW)
    assert (done.accepted, done.duplicates, done.quarantined) == (2, 0, 2)
    assert "row 2: latency_ms is 'quick'" in done.reasons[0]
    assert "row 3: line 4 has 3 cells where the header has 6" in done.reasons[1]
    assert len(read_quarantine(store)) == 2
    rows = store.rows(
        "SELECT external_id, output, user_key, latency_ms, source, attributes FROM interactions ORDER BY 1"
    )
    assert rows == [
        ("1", "hello", "dr-5", 12.5, "drafts.csv", '{"Ward": "north"}'),
        ("4", "quoted, with comma", "dr-7", 3.0, "drafts.csv", None),
    ]


def test_importing_a_file_twice_is_importing_it_once_even_without_ids(store: Store, tmp_path: Path) -> None:
    file = written(tmp_path, "d.csv", "response,user\nhello,a\nbye,b\n")
    first = import_file(store, file, INTERACTIONS, loop="l", now=NOW)
    again = import_file(store, file, INTERACTIONS, loop="l", now=NOW)
    assert (first.accepted, again.accepted, again.duplicates) == (2, 0, 2)


def test_progress_runs_to_the_end_and_rows_are_counted_through_the_chunks(store: Store, tmp_path: Path) -> None:
    lines = [f"{n},text {n},{'x' if n == 4999 else 1}" for n in range(5000)]
    shares: list[float] = []
    done = import_file(
        store,
        written(tmp_path, "d.csv", "\n".join(["id,output,latency_ms", *lines])),
        INTERACTIONS,
        loop="l",
        now=NOW,
        on_progress=shares.append,
    )
    assert (done.accepted, done.quarantined) == (4999, 1)
    assert done.reasons[0].startswith("row 5000: ")
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (INTERACTIONS, "need output, loop"),
        (FEEDBACK, "need kind, interaction_external_id"),
        (OUTCOMES, "need business_key, name, value, loop"),
    ],
)
def test_a_csv_without_the_needed_columns_is_one_sentence(
    store: Store, tmp_path: Path, kind: EventKind, found: str
) -> None:
    file = written(tmp_path, "fruit.csv", "apples,pears\n1,2\n")
    with pytest.raises(InputError, match=f"fruit.csv has the columns apples, pears; {kind} {found}"):
        import_file(store, file, kind, now=NOW)
    preview = preview_file(file, kind)
    assert preview.missing
    assert len(preview.problems) == 1


def test_a_mapping_says_what_no_name_can(store: Store, tmp_path: Path) -> None:
    file = written(tmp_path, "d.csv", "nr;brief\n1;hello\n")
    done = import_file(store, file, INTERACTIONS, {"external_id": "nr", "output": "brief"}, loop="l", now=NOW)
    assert done.accepted == 1
    with pytest.raises(InputError, match="no column 'letter' for output; it has nr, brief"):
        preview_file(file, INTERACTIONS, {"output": "letter"})
    with pytest.raises(InputError, match="interactions have no field 'taste'"):
        preview_file(file, INTERACTIONS, {"taste": "nr"})


def test_what_is_given_goes_before_the_guess_and_none_takes_a_field_out(tmp_path: Path) -> None:
    file = written(tmp_path, "d.csv", "id,response,brief,user\n1,long,short,u\n")
    preview = preview_file(file, INTERACTIONS, {"output": "brief", "user_key": None})
    assert preview.mapping == {"external_id": "id", "output": "brief"}


def test_the_preview_shows_first_rows_and_what_would_keep_rows_out(tmp_path: Path) -> None:
    preview = preview_file(written(tmp_path, "drafts.csv", DRAFTS), INTERACTIONS)
    assert preview.mapping["output"] == "Response"
    assert preview.sample["output"].tolist() == ["hello", "bye", "quoted, with comma"]
    assert preview.missing == ()
    assert [problem.split(":")[0] for problem in preview.problems] == ["row 2", "row 3"]


def test_parquet_keeps_its_types_and_words_for_kinds_are_understood(store: Store, tmp_path: Path) -> None:
    ingest(
        store, INTERACTIONS, [{"external_id": "m1", "output": "hello world"}], now=NOW, loop="l", source="app"
    ).result()
    file = tmp_path / "f.parquet"
    at = pd.to_datetime(["2026-01-01", "2026-01-02"]).tz_localize("America/New_York")
    pd.DataFrame(
        {"message_id": ["m1", "m1"], "action": ["Accepted", "thumbs down"], "id": ["k1", "k2"], "at": at}
    ).to_parquet(file)
    assert import_file(store, file, FEEDBACK, now=NOW).accepted == 2
    assert store.rows("SELECT kind, occurred_at FROM feedback_events ORDER BY 1") == [
        ("accept", datetime(2026, 1, 1, 5)),
        ("reject", datetime(2026, 1, 2, 5)),
    ]


def test_broken_json_lines_are_kept_and_the_others_go_in(store: Store, tmp_path: Path) -> None:
    good = '{"external_id": "%s", "business_key": "v1", "name": "signed", "value": 1}'
    file = written(tmp_path, "o.jsonl", f"{good % 1}\nnot json\n[1]\n\n{good % 2}")
    done = import_file(store, file, OUTCOMES, loop="l", now=NOW)
    assert (done.accepted, done.quarantined) == (2, 2)
    assert "line 2 is not JSON" in done.reasons[0]


def test_an_array_in_a_json_file_is_read_as_rows(store: Store, tmp_path: Path) -> None:
    file = written(tmp_path, "d.json", '[{"id": 1, "answer": "hello", "metadata": {"facts": []}}]')
    assert import_file(store, file, INTERACTIONS, loop="l", now=NOW).accepted == 1


def test_a_file_from_excel_on_windows_keeps_its_accents(store: Store, tmp_path: Path) -> None:
    for name, encoding in (("a.csv", "cp1252"), ("b.csv", "utf-8-sig"), ("c.csv", "utf-16")):
        file = written(tmp_path, name, "id;output\r\n1;café\r\n".encode(encoding))
        assert import_file(store, file, INTERACTIONS, loop="l", now=NOW).accepted == 1
    assert store.rows("SELECT DISTINCT output FROM interactions") == [("café",)]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("d.csv", b"", "d.csv is empty"),
        ("d.csv", b"\x00\x01\x02", "not a CSV file"),
        ("d.csv", b"a,a\n1,2\n", "column 'a' more than once"),
        ("d.parquet", b"PAR1 and then nothing", "not a readable Parquet file"),
        ("d.json", b"[1, 2", "d.json is not JSON"),
        ("d.jsonl", b"nothing here\n", "no JSON object in its first lines"),
        ("d.xlsx", b"PK", "ends in .xlsx; wanted .csv"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        preview_file(written(tmp_path, name, content), INTERACTIONS)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file .*none\.csv"):
        preview_file(tmp_path / "none.csv", INTERACTIONS)
