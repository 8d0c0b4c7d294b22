"""What the makers of the pilot and of the pool share: their arguments, a manifest, and the check byte for byte."""

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data.scribe.history import differences, sha256, write_json

MANIFEST = "manifest.json"
Build = Callable[[Path, str], None]


def build_parser(module: str, doc: str, *, base: Path, adapter: Path, n_physicians: int) -> argparse.ArgumentParser:
    """The arguments that both commands take; tests make less with them."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=doc.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the files")
    parser.add_argument("--check", action="store_true", help="make it again in a temporary folder and compare bytes")
    parser.add_argument("--base", type=Path, default=base, help="the base model (default: the shipped one)")
    parser.add_argument("--adapter", type=Path, default=adapter, help="scribe-1's adapter (default: the shipped one)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--physicians", type=int, default=n_physicians)
    parser.add_argument("--jobs", type=int, default=1, help="processes that draft side by side; changes nothing")
    return parser


def run_build(args: argparse.Namespace, module: str, build: Build) -> int:
    """Build into `args.out`, or make it again and say what differs; the command's exit code."""
    command = f"python -m {module} --out {module.replace('.', '/')} --seed {args.seed}"
    if not args.check:
        build(args.out, command)
        return 0
    found = check(args.out, lambda out: build(out, command))
    print("\n".join(found) or f"{args.out} is what its command makes, byte for byte")
    return 1 if found else 0


def check(out: Path, build: Callable[[Path], None]) -> list[str]:
    """Make it again elsewhere; returns what differs, from its own manifest and from the files themselves."""
    kept = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    stale = differences(kept, {**kept, "files": digests(out)})
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        made = json.loads((Path(folder) / MANIFEST).read_text(encoding="utf-8"))
    return [f"changed by hand: {line}" for line in stale] + differences(kept, made)


def write_manifest(out: Path, about: Mapping[str, Any], *, command: str, base: Path, adapter: Path) -> None:
    """Write manifest.json: what it is, how it was made, from which weights, and the hash of every file."""
    record = {
        **about,
        "command": command,
        "base_sha256": sha256(base / "model.safetensors"),
        "adapter_sha256": sha256(adapter / "adapter_model.safetensors"),
        "files": digests(out),
    }
    write_json(out / MANIFEST, record)


def digests(out: Path) -> dict[str, str]:
    """SHA-256 of every Parquet file of the folder, by name."""
    return {file.name: sha256(file) for file in sorted(out.glob("*.parquet"))}
