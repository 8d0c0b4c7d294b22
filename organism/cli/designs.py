"""A design that a command names: one of the loop's, a file, or standard input."""

import sys
from pathlib import Path

from organism.cli.commands import Place
from organism.digest.design_files import MAX_TEXT, Form, form_of
from organism.digest.designs_flow import find_design, read_text
from organism.errors import InputError
from organism.records import RewardDesign

STDIN = "-"
REF = "live, a preset, a version (v3), a name, an id, a .toml or .json file, or - for standard input (default: live)"


def text_of(ref: str) -> str | None:
    """The text of the file of this name, or of standard input; None where a design of the loop is meant."""
    is_file = ref == STDIN or Path(ref).suffix.lower() in (".toml", ".json") or _is_file(ref)
    return read_design(ref) if is_file else None


def chosen_design(ref: str, text: str | None, place: Place, loop_id: str) -> RewardDesign:
    """The design that the text spells out, or without a text the loop's one of this name."""
    return find_design(place.store, loop_id, ref) if text is None else design_of(text, ref, place, loop_id)


def design_of(text: str, file: str, place: Place, loop_id: str) -> RewardDesign:
    """The design that this text spells out; `file` says in what form, and names it in messages."""
    form = {".toml": Form.TOML, ".json": Form.JSON}.get(Path(file).suffix.lower()) or form_of(text)
    return read_text(place.store, loop_id, text, form, "standard input" if file == STDIN else file)


def read_design(file: str) -> str:
    """The text of a file or of standard input; InputError when there is none to read.

    Read before the workspace is opened: `reward show … | reward what-if -` has another owner of it until then.
    """
    try:
        content = sys.stdin.buffer.read(MAX_TEXT + 1) if file == STDIN else _head_of(Path(file))
        return content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text; give a design as TOML or JSON") from error
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error.strerror}); write a design there first: "
            f"organism reward show live --toml > design.toml"
        ) from error


def _head_of(path: Path) -> bytes:
    """No more than one byte over the limit, which is then refused as too long."""
    with path.open("rb") as opened_file:
        return opened_file.read(MAX_TEXT + 1)


def _is_file(ref: str) -> bool:
    try:
        return Path(ref).is_file()
    except OSError:  # longer than any file's name may be
        return False
