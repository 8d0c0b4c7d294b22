"""A stranger's file is read as what it is, by a connection that can read nothing else."""

import gzip
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from organism.errors import InputError
from organism.store.analysis_files import AnalysisFile, count_rejected, open_analysis_file
from organism.store.analysis_units import Value, Wanted, cap_at, load_rows, load_units

TEXT = "user,x\nünal €,1\nann,2\n"


def rows(file: AnalysisFile) -> list[list[str | None]]:
    return file.sample().to_numpy().tolist()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_csv_comes_in_many_dresses(tmp_path: Path, encoding: str, delimiter: str, ending: str) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(TEXT.replace(",", delimiter).replace("\n", ending).encode(encoding))
    with open_analysis_file(path) as file:
        assert [column.name for column in file.columns] == ["user", "x"]
        assert rows(file) == [["ünal €", "1"], ["ann", "2"]]


def test_packed_text_is_unpacked_and_quotes_hold_separators(tmp_path: Path) -> None:
    path = tmp_path / "file.csv.gz"
    path.write_bytes(gzip.compress(b'"us""er",x\n"a,b\nc",1\n2\n3,4,5\n6,7\n'))
    with open_analysis_file(path) as file:
        assert file.columns[0].name == 'us"er'
        assert rows(file) == [["a,b\nc", "1"], ["6", "7"]]
        assert count_rejected(file) == 2


def test_two_kinds_of_line_end_in_one_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(b"user,x\r\nann,1\nben,2\r\n")
    with open_analysis_file(path) as file:
        assert rows(file) == [["ann", "1"], ["ben", "2"]]


def test_json_lines_keep_every_key_whatever_the_first_line_has(tmp_path: Path) -> None:
    path = tmp_path / "file.jsonl"
    path.write_text('{"x":1}\nno json\n\n{"o\'d\\"d":"2","x":true}\n')
    with open_analysis_file(path) as file:
        assert [column.name for column in file.columns] == ["x", "o'd\"d"]
        assert [row for row in rows(file) if any(row)] == [["1", None], ["true", "2"]]
    path = tmp_path / "file.json"
    path.write_text('[{"x":1},\n {"x":2}]')
    with open_analysis_file(path) as file:
        assert rows(file) == [["1"], ["2"]]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\n \n", "has no rows"),
        ("a.csv", b"PAR1....", "is a Parquet file by its content"),
        ("a.csv", b'{"a": 1}\n', "is JSON by its content"),
        ("a.csv", b"PK\x03\x04....", "a spreadsheet or a zip archive"),
        ("a.csv", b"<!DOCTYPE html><p>", "a web page or XML"),
        ("a.csv", b"\x00\x01\x02", "binary"),
        ("a.csv", b"a,b,a\n1,2,3\n", "the column 'a' more than once"),
        ("a.csv", b"a," * 3_000_000, "3,000,001 columns; give a file with at most 10,000"),
        ("a.jsonl", b"{%s}" % b",".join(b'"k%d":1' % n for n in range(10_001)), "10,001 columns"),
        ("a.parquet", b"a,b\n1,2\n", "not a Parquet file"),
        ("a.parquet", b"PAR1 and no more", "cannot be read"),
        ("a.jsonl", b"a,b\n", "not JSON"),
        ("a.jsonl", b'{\n"a":\n1}', "no JSON object"),
        ("a.json", b'[{"a": 1}, {"a"', "cannot be read"),
        ("a.csv.gz", b"a,b\n1,2\n", "cannot be opened"),
        ("a.csv.gz", gzip.compress(b"a,b\n1,2\n")[:12], "cannot be opened"),
        ("a.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 100_000)[:150], "cannot be opened"),
        ("a.jsonl", b'{"": 1, "a\\u0000b": 2}\n', "no JSON object"),
        ("a.xlsx", b"x", "ends in .xlsx; wanted .csv"),
        ("a", b"x", "ends in nothing"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_one_sentence(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as caught, open_analysis_file(path):
        pass
    assert words in str(caught.value)
    assert "organism-analyze" not in str(caught.value), "the name of our link is nobody's business"
    assert "\n" not in str(caught.value)


def test_there_is_no_such_file_is_said_before_all(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.csv", tmp_path, tmp_path / f"{'x' * 300}.csv"):
        with pytest.raises(InputError, match="there is no file"), open_analysis_file(path):
            pass


def test_the_connection_reads_that_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_text(TEXT)
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with open_analysis_file(tmp_path / "file.csv") as file:
        for statement in (
            f"SELECT * FROM read_csv('{tmp_path / 'secret.csv'}')",
            f"SELECT * FROM read_text('{tmp_path / 'secret.csv'}')",
            f"COPY (SELECT 1) TO '{tmp_path / 'out.csv'}'",
            f"ATTACH '{tmp_path / 'other.duckdb'}'",
            "INSTALL httpfs",
            "SET enable_external_access = true",
            "SET allowed_paths = ['/']",
        ):
            with pytest.raises(duckdb.Error):
                file.cursor.execute(statement)
        assert len(rows(file)) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.csv", "secret.csv"]


def test_columns_are_read_by_place_so_that_a_name_is_never_a_statement(tmp_path: Path) -> None:
    name = '"; DROP TABLE file_rows; --'
    pd.DataFrame({name: [1, 2], "v": ["A", "B"]}).to_parquet(tmp_path / "file.parquet")
    with open_analysis_file(tmp_path / "file.parquet") as file:
        assert file.place(name) == 0
        assert load_rows(file, Wanted(None, 1, (0,), ())).n_rows == 2
        with pytest.raises(InputError, match="has no column 'w'"):
            file.place("w")


def test_rows_become_units_by_sums_and_rare_segments_become_one(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "user": [f"u{n // 2}" for n in range(200)],
            "v": ["AB"[n // 2 % 2] for n in range(200)],
            "x": [float(n) for n in range(200)],
            "land": [f"land {n // 2}" for n in range(200)],
        }
    )
    table.to_parquet(tmp_path / "file.parquet")
    with open_analysis_file(tmp_path / "file.parquet") as file:
        counts = load_rows(file, Wanted(0, 1, (2,), (3,)))
        assert (counts.n_rows, counts.n_duplicates, counts.numbers[0].n_values) == (200, 0, 200)
        assert cap_at(file, Value(0), 0.5) == 99.5
        units = load_units(file, [Value(0, cap=150.0)], [0], 1, by_unit=True)
        assert (units.n_units, units.max_rows, units.variants) == (100, 2, {"A": 50, "B": 50})
        found = file.cursor.execute("SELECT y0, d0, c0 FROM file_units ORDER BY y0 DESC, c0 DESC").fetchall()
        assert found[0] == (300.0, 2.0, 198.5)
        lands = dict(file.cursor.execute("SELECT s0, count(*) FROM file_units GROUP BY s0").fetchall())
        assert (len(lands), lands["(other)"]) == (31, 70)
