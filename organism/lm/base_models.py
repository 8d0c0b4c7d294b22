"""Base models that a workspace may grow from: the shipped one, any local folder, any id of a model hub. No torch.

A base is named by its address: `bundled:…`, `workspace:…`, `hub:ORGANISATION/NAME`, or a path. Whether one can be
trained and can draft is read from its files alone, in milliseconds, so that a run fails before it starts and not after.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from organism.config import BUNDLED_BASE, Workspace
from organism.errors import InputError, ModelError

REGISTRY = "bases.json"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")
_CAUSAL = ("CausalLM", "LMHeadModel", "ConditionalGeneration")
Shape = tuple[int, ...]


class Base(NamedTuple):
    """A base that the workspace knows by a name."""

    name: str
    uri: str


class BaseCheck(NamedTuple):
    """What a model folder's files say. `problems` keep it from being trained; `warnings` do not.

    n_parameters and context are None where the files do not tell; card is the first sentence of README.md.
    """

    uri: str
    folder: str
    architecture: str | None
    n_parameters: int | None
    context: int | None
    n_vocabulary: int | None
    license: str | None
    card: str | None
    problems: list[str]
    warnings: list[str]

    @property
    def is_usable(self) -> bool:
        return not self.problems


def read_bases(workspace: Workspace) -> list[Base]:
    """The shipped base, then those that were added, by name."""
    file = workspace.path / REGISTRY
    added: dict[str, str] = _read_json(file) if file.is_file() else {}
    return [Base("shipped", BUNDLED_BASE), *(Base(name, uri) for name, uri in sorted(added.items()))]


def add_base(workspace: Workspace, uri: str, name: str | None = None, *, download: bool = False) -> BaseCheck:
    """Keep a base under a name, by default the last part of its address; the same address twice changes nothing.

    Raises InputError for a name that is taken or no name, ModelError when it is not there or cannot be used.
    """
    chosen = name or re.sub(r"[^\w.-]+", "-", uri.rstrip("/").rpartition("/")[2].rpartition(":")[2])
    if not _NAME.fullmatch(chosen):
        raise InputError(f"'{chosen}' is no name for a base; give --name with letters, digits, dots and dashes")
    known = {base.name: base.uri for base in read_bases(workspace)}
    kept = uri if ":" in uri.partition("/")[0] else str(Path(uri).resolve())
    if known.get(chosen, kept) != kept:
        raise InputError(f"this workspace knows a base named '{chosen}' already ({known[chosen]}); give another --name")
    if download:
        download_base(kept)
    found = check_base(workspace, kept)
    if found.problems:
        raise ModelError(f"{uri} cannot be a base: {'; '.join(found.problems)}")
    added = {base_name: base_uri for base_name, base_uri in known.items() if base_name != "shipped"}
    workspace.path.mkdir(parents=True, exist_ok=True)
    draft = workspace.path / f"{REGISTRY}.tmp"
    draft.write_text(json.dumps({**added, chosen: kept}, indent=1) + "\n", encoding="utf-8")
    draft.replace(workspace.path / REGISTRY)
    return found


def uri_of(workspace: Workspace, name_or_uri: str) -> str:
    """The address behind a base's name; an address is its own."""
    return next((base.uri for base in read_bases(workspace) if base.name == name_or_uri), name_or_uri)


def download_base(uri: str) -> None:
    """Fetch a hub's model into this machine's cache.

    Raises InputError for another kind of address, ModelError when it cannot be fetched.
    """
    scheme, _, name = uri.partition(":")
    if scheme != "hub":
        raise InputError(f"only a hub's model can be fetched, and '{uri}' is none; write hub:ORGANISATION/NAME")
    from huggingface_hub import constants, snapshot_download  # a third of a second that only this needs

    patterns = ["*.json", "*.safetensors", "*.jinja", "*.model", "README.md"]
    repository, _, revision = name.partition("@")
    was = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = False  # asked for by name, here and now
    try:
        snapshot_download(repository, revision=revision or None, allow_patterns=patterns)
    except Exception as error:  # the hub's client raises whatever the network leads to
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(f"{uri} could not be fetched ({reason}); check the name and the network") from error
    finally:
        constants.HF_HUB_OFFLINE = was


def check_base(workspace: Workspace, uri: str) -> BaseCheck:
    """Read a base's files; raises ModelError when there is no such folder. What is wrong with it is in the answer."""
    return check_folder(workspace.locate(uri), uri)


def check_folder(folder: Path, uri: str = "") -> BaseCheck:
    """The same of a folder that was found already."""
    problems: list[str] = []
    config = _config(folder, problems)
    shapes = _shapes(folder, problems)
    tokens = _tokenizer(folder, problems)
    nested = config.get("text_config")
    text = nested if isinstance(nested, dict) and nested else config
    n_vocabulary = text.get("vocab_size")
    if tokens and isinstance(n_vocabulary, int) and max(tokens.values()) >= n_vocabulary:
        problems.append(
            f"the tokenizer knows token {max(tokens.values())} and the model only {n_vocabulary} tokens: they belong "
            "to different models; take both from the same place"
        )
    if tokens:
        problems += _template_problems(folder, tokens)
    card = _text(folder / "README.md")
    return BaseCheck(
        uri=uri or str(folder),
        folder=str(folder),
        architecture=next(iter(config.get("architectures") or []), None),
        n_parameters=sum(_size(shape) for shape in shapes.values()) or None,
        context=text.get("max_position_embeddings"),
        n_vocabulary=n_vocabulary,
        license=card_value(card, "license"),
        card=_first_sentence(card),
        problems=problems,
        warnings=_warnings(folder, card, text),
    )


def adapter_problem(base: Path, adapter: Path) -> str | None:
    """Why the adapter's matrices do not fit the base's, in a sentence; None when they do. Reads headers alone."""
    file = adapter / "adapter_model.safetensors"
    if not (adapter / "adapter_config.json").is_file() or not file.is_file():
        return f"{adapter} is no adapter in peft's format: it needs adapter_config.json and adapter_model.safetensors"
    problems: list[str] = []
    weights, learned = _shapes(base, problems), _header(file)
    if problems:
        return problems[0]
    for name, shape in learned.items():
        found = re.fullmatch(r"base_model\.model\.(.+)\.lora_([AB])\.weight", name)
        if found is None:
            continue
        whole = weights.get(f"{found[1]}.weight")
        if whole is None:
            return f"adapter {adapter} was trained for another base: {base} has no '{found[1]}'"
        mine, own = (shape[-1], whole[-1]) if found[2] == "A" else (shape[0], whole[0])
        if mine != own:
            return (
                f"adapter {adapter} was trained for another base: its '{found[1]}' is {mine} wide, and {base} has {own}"
            )
    return None


def card_value(card: str | None, name: str) -> str | None:
    """A value of the YAML head of a model card, as far as it is one line; None without."""
    if card is None or not card.startswith("---"):
        return None
    lines = card.split("---", 2)[1].splitlines()
    return next((line.partition(":")[2].strip() or None for line in lines if line.startswith(f"{name}:")), None)


def _config(folder: Path, problems: list[str]) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        problems.append(f"{folder} has no config.json, so it is no transformers model; give the folder that has one")
        return {}
    try:
        config = _read_json(folder / "config.json")
    except ModelError as error:
        problems.append(str(error))
        return {}
    names = config.get("architectures") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        problems.append(f"architectures in {folder / 'config.json'} is {names!r:.40} and no list of names; restore it")
        return {}
    if names and not any(name.endswith(_CAUSAL) for name in names):
        problems.append(f"{names[0]} does not write texts; take a model for causal language modeling")
    if config.get("auto_map"):
        problems.append("it brings Python code of its own, which is never run here; take one that transformers knows")
    return config


def _tokenizer(folder: Path, problems: list[str]) -> dict[str, int]:
    """Token to number; empty, with a problem, where there is none."""
    if not (folder / "tokenizer.json").is_file():
        problems.append(f"{folder} has no tokenizer.json; save the model's fast tokenizer beside its weights")
        return {}
    try:
        found = _read_json(folder / "tokenizer.json")
        vocabulary = found["model"]["vocab"]
        tokens = dict(vocabulary) if isinstance(vocabulary, dict) else {item[0]: n for n, item in enumerate(vocabulary)}
        return tokens | {token["content"]: token["id"] for token in found.get("added_tokens") or []}
    except (ModelError, KeyError, TypeError, IndexError) as error:
        problems.append(f"{folder / 'tokenizer.json'} cannot be read ({error}); restore it")
        return {}


def _template_problems(folder: Path, tokens: Mapping[str, int]) -> Iterator[str]:
    """Whether the chat template frames a prompt, opens the answer, and a text can end."""
    try:
        about = _read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    except ModelError as error:
        yield str(error)
        return
    end = about.get("eos_token")
    end = end.get("content") if isinstance(end, dict) else end
    if not end:
        yield "its tokenizer has no end token, so a draft could never end; name an eos_token in tokenizer_config.json"
    elif end not in tokens:
        yield f"its end token {end!r} is not in the tokenizer; take both from the same place"
    template = _text(folder / "chat_template.jinja") or about.get("chat_template")
    if isinstance(template, list):
        template = next((one["template"] for one in template if one.get("name") == "default"), None)
    if not template:
        yield "it has no chat template, so no prompt can be framed; add chat_template.jinja (an instruct model has it)"
        return
    try:
        plain, opened = (_framed(template, about, with_answer) for with_answer in (False, True))
    except Exception as error:  # a template is a program, and raises whatever it likes
        yield f"its chat template fails on a plain prompt ({type(error).__name__}: {error}); mend the template"
        return
    if _PROBE not in opened:
        yield "its chat template leaves the prompt out; mend the template"
    elif plain == opened:
        yield "its chat template opens no answer (add_generation_prompt changes nothing); mend the template"


_PROBE = "What was said, word for word"


def _framed(template: str, about: Mapping[str, Any], with_answer: bool) -> str:
    """The template's text for one prompt, in transformers' own kind of sandbox."""
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise ValueError(message)

    house = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    house.globals |= {"raise_exception": refuse, "strftime_now": lambda form: form}
    special = {name: value for name, value in about.items() if name.endswith("_token") and isinstance(value, str)}
    messages = [{"role": "user", "content": _PROBE}]
    return house.from_string(template).render(messages=messages, add_generation_prompt=with_answer, **special)


def _warnings(folder: Path, card: str | None, text: Mapping[str, Any]) -> list[str]:
    said = []
    if card is None:
        said.append("it has no README.md, so nobody knows what it was made of, nor its license")
    elif card_value(card, "license") is None and "license" not in card.casefold():
        said.append("its card names no license")
    context = text.get("max_position_embeddings")
    if isinstance(context, int) and context < 512:
        said.append(f"it reads only {context} tokens, prompt and draft together")
    if not (folder / "replay.jsonl").is_file():
        said.append("it brings no replay.jsonl: replay_share must stay 0")
    return said


def _shapes(folder: Path, problems: list[str]) -> dict[str, Shape]:
    """The shape of every weight, from the heads of all safetensors files."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        problems.append(f"{folder} has no weights (*.safetensors); convert them, since other formats can hold code")
    shapes: dict[str, Shape] = {}
    for file in files:
        try:
            shapes |= _header(file)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            problems.append(f"{file} is cut off or no safetensors file; restore it")
    return shapes


def _header(file: Path) -> dict[str, Shape]:
    """Every tensor's shape: eight bytes of length, then JSON (the safetensors format)."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > os.path.getsize(file):
            raise ValueError("cut off")
        head = json.loads(stream.read(length))
    return {name: tuple(tensor["shape"]) for name, tensor in head.items() if name != "__metadata__"}


def _size(shape: Shape) -> int:
    size = 1
    for extent in shape:
        size *= extent
    return size


def _first_sentence(card: str | None) -> str | None:
    """The first sentence of a card's prose."""
    body = (card or "").split("---", 2)[-1] if (card or "").startswith("---") else card or ""
    prose = [part for part in re.split(r"\n\s*\n", body) if part.strip() and part.lstrip()[0] not in "#|<![`-"]
    first = " ".join(prose[0].split()) if prose else ""
    return re.split(r"(?<=[.!?])\s", first)[0][:300] or None


def _text(file: Path) -> str | None:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None


def _read_json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file} cannot be read ({error}); restore it") from error
    if not isinstance(value, dict):
        raise ModelError(f"{file} holds no JSON object; restore it")
    return value
