"""Settings, read once: where the workspace is, who may write, which door to listen at."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from organism.errors import ModelError

ROOT = Path(__file__).resolve().parent.parent
DEMO_LOOP = "clinical-scribe"
BUNDLED_BASE = "bundled:data/scribe/base"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder that holds one team's loop: the database, the runs, the key."""

    path: Path

    @property
    def database(self) -> Path:
        return self.path / "organism.duckdb"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    def api_key(self) -> str:
        """The admin key: ORGANISM_API_KEY, or one made on first use and kept in `api_key` (mode 600)."""
        if key := os.environ.get("ORGANISM_API_KEY", "").strip():
            return key
        file = self.path / "api_key"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text("org_" + secrets.token_urlsafe(24))
        return file.read_text().strip()

    def locate(self, uri: str) -> Path:
        """The folder behind a model's address: `bundled:…` in the project, `workspace:…` here, `hub:ORG/NAME` in this
        machine's cache of the hub (nothing is fetched), else a path.

        Raises ModelError when no such folder exists.
        """
        scheme, _, rest = uri.partition(":")
        if scheme == "hub":
            return cached_model(rest)
        folder = {"bundled": ROOT / rest, "workspace": self.path / rest}.get(scheme, Path(uri))
        if not _is_folder(folder):
            raise ModelError(
                f"no model folder at {str(folder)[:200]}; wanted a folder with config.json and model.safetensors. "
                "Restore it, or register the model again with its new place."
            )
        return folder


def workspace(path: str | Path | None = None) -> Workspace:
    """The workspace named by the argument, else by ORGANISM_WORKSPACE, else ./workspace."""
    return Workspace(Path(path or os.environ.get("ORGANISM_WORKSPACE") or "workspace").resolve())


def cached_model(name: str, environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of a hub's model (`ORG/NAME`, or `ORG/NAME@REVISION`) in this machine's cache, where HF_HUB_CACHE or
    HF_HOME say it is; raises ModelError when it was never fetched. The layout is huggingface_hub's.
    """
    home = environment.get("HF_HOME") or str(Path.home() / ".cache" / "huggingface")
    cache = Path(environment.get("HF_HUB_CACHE") or Path(home) / "hub")
    repository, _, revision = name.partition("@")
    folder = cache / f"models--{repository.replace('/', '--')}"
    named = folder / "refs" / (revision or "main")
    commit = named.read_text().strip() if _is_folder(folder) and named.is_file() else revision
    if repository.count("/") != 1 or ".." in name or not commit or not _is_folder(folder / "snapshots" / commit):
        short = f"hub:{name[:200]}"
        raise ModelError(
            f"{short} is not in this machine's cache ({cache}), and nothing is fetched unasked; where there is a "
            f"network, `organism base add {short} --download`, or copy the model's folder here and give its path"
        )
    return folder / "snapshots" / commit


def _is_folder(path: Path) -> bool:
    """Whether there is such a folder; a name that no file system would take is that of none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def utcnow() -> datetime:
    """Now as naive UTC with microseconds: the form in which every time is stored. Only flows call it."""
    return datetime.now(UTC).replace(tzinfo=None)
