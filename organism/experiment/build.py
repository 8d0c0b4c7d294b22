"""Which build of organism computes: a hash of the source that turns evidence into a scorecard."""

import hashlib
from functools import cache
from pathlib import Path

PARTS = ("experiment", "stats")
"""The packages whose source makes the build: what comes after the store, and where rounding may change."""


@cache
def build() -> str | None:
    """12 hex digits of the SHA-256 of the source of PARTS, read once when first asked for; None without source."""
    root = Path(__file__).parents[1]
    files = sorted(file for part in PARTS for file in (root / part).glob("*.py"))
    if not files:
        return None
    digest = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:12]
