"""The house keeps its floors: arrows between rooms only point down, and the core stays light to import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

STAGES = ("ingest", "digest", "optimize", "deploy", "experiment", "observe")
FLOORS = [
    ("records", "errors", "config", "wire"),
    ("store", "stats", "measures", "lm"),
    STAGES,
    ("traffic", "loop", "launch", "tracks", "demo"),
    ("api", "client", "doctor"),
    ("cli",),
    ("ui", "data"),
    ("pages", "app"),
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def _files() -> list[Path]:
    roots = [ROOT / "organism", ROOT / "ui", ROOT / "pages"]
    return sorted(file for root in roots for file in root.rglob("*.py"))


def _room(parts: tuple[str, ...]) -> str | None:
    """The room of a dotted name: organism.store.database -> store, ui.charts -> ui."""
    head, *rest = parts
    if head == "organism":
        return rest[0] if rest else None
    return head if head in ("ui", "pages", "data", "app") else None


def _imports(file: Path) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            base = tuple(node.module.split("."))
            found += [(*base, alias.name) for alias in node.names]
    return found


def _home(file: Path) -> str | None:
    return _room(file.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("file", _files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_arrows_between_rooms_only_point_down(file: Path) -> None:
    home = _home(file)
    if home in (None, "__init__", "__main__"):
        return
    for name in _imports(file):
        room = _room(name)
        if room is None or room == home or room not in FLOOR_OF:
            continue
        demo_door = home == "demo" and room == "data"
        assert FLOOR_OF[room] <= FLOOR_OF[home] or demo_door, (
            f"{file}: {home} imports {'.'.join(name)}, a floor above it"
        )


@pytest.mark.parametrize("stage", STAGES)
def test_stages_never_import_each_other(stage: str) -> None:
    for file in (ROOT / "organism" / stage).rglob("*.py"):
        others = {_room(name) for name in _imports(file)} & (set(STAGES) - {stage})
        assert not others, f"{file} imports {others}: stages meet only in the store"


def test_every_room_of_the_core_has_a_floor() -> None:
    rooms = {
        path.stem for path in (ROOT / "organism").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms - {"__init__", "__main__"} <= set(FLOOR_OF)


def test_sql_is_spoken_in_the_store_only() -> None:
    """Other rooms may read files of strangers through DuckDB, but never import the driver for the workspace."""
    allowed = {"store", "ingest"}
    for file in _files():
        if _home(file) not in allowed:
            assert not any(name[0] == "duckdb" for name in _imports(file)), f"{file} imports duckdb"


@pytest.mark.parametrize(
    "module",
    ["organism", "organism.loop", "organism.cli", "organism.client", "organism.api.app", "organism.optimize.flow"],
)
def test_importing_the_core_loads_neither_streamlit_nor_torch(module: str) -> None:
    heavy = ("streamlit", "torch", "transformers", "statsmodels")
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]", f"importing {module} also loads {out.stdout.strip()}"


def test_pages_and_ui_never_import_the_database_or_the_trainer() -> None:
    for file in [*(ROOT / "pages").rglob("*.py"), *(ROOT / "ui").rglob("*.py"), ROOT / "app.py"]:
        heavy = {name[0] for name in _imports(file)} & {"duckdb", "torch", "transformers", "peft", "trl"}
        assert not heavy, f"{file} imports {heavy}"
