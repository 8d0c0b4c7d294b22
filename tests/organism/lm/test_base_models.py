"""A base is known by its files before anything is trained: what fits is kept, what does not is said in a sentence."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from organism.cli.main import main
from organism.config import BUNDLED_BASE, Workspace, cached_model
from organism.errors import InputError, ModelError
from organism.lm.base_models import adapter_problem, add_base, check_base, check_folder, read_bases, uri_of

SHIPPED_ADAPTER = Path("data/scribe/versions/scribe-1")


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path) -> Path:
    """A folder that a test may harm."""
    return Path(shutil.copytree(tiny_base, tmp_path / "tiny"))


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "w")


def _change(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_the_shipped_base_can_be_used_and_its_card_is_read(place: Workspace) -> None:
    found = check_base(place, BUNDLED_BASE)
    assert found.problems == []
    assert (found.architecture, found.context, found.n_vocabulary) == ("LlamaForCausalLM", 640, 2048)
    assert found.n_parameters == 3_737_856
    assert (found.card or "").startswith("A language model of 3.74 million parameters")


def test_a_card_with_a_head_tells_its_license(base: Path) -> None:
    (base / "README.md").write_text("---\nlicense: apache-2.0\ntags: [x]\n---\n# Tiny\n\nIt is small. It is ours.\n")
    found = check_folder(base)
    assert (found.license, found.card) == ("apache-2.0", "It is small.")
    assert not any("license" in warning for warning in found.warnings)


def _without_tokenizer(base: Path) -> str:
    (base / "tokenizer.json").unlink()
    return "has no tokenizer.json"


def _without_weights(base: Path) -> str:
    (base / "model.safetensors").unlink()
    return "has no weights"


def _with_cut_weights(base: Path) -> str:
    (base / "model.safetensors").write_bytes((base / "model.safetensors").read_bytes()[:100])
    return "is cut off"


def _with_garbled_config(base: Path) -> str:
    (base / "config.json").write_text("{")
    return "config.json cannot be read"


def _with_a_list_for_a_config(base: Path) -> str:
    (base / "config.json").write_text("[]")
    return "config.json holds no JSON object"


def _with_a_word_for_architectures(base: Path) -> str:
    _change(base / "config.json", architectures={"a": 1})
    return "no list of names"


def _with_a_list_for_its_weights(base: Path) -> str:
    (base / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"[]")
    return "no safetensors file"


def _with_garbled_words_about_its_tokenizer(base: Path) -> str:
    (base / "tokenizer_config.json").write_text("[")
    return "tokenizer_config.json cannot be read"


def _that_classifies(base: Path) -> str:
    _change(base / "config.json", architectures=["BertForSequenceClassification"])
    return "BertForSequenceClassification does not write texts"


def _with_code_of_its_own(base: Path) -> str:
    _change(base / "config.json", auto_map={"AutoModel": "mine.Model"})
    return "never run here"


def _with_a_larger_tokenizer(base: Path) -> str:
    _change(base / "config.json", vocab_size=100)
    return "belong to different models"


def _without_template(base: Path) -> str:
    (base / "chat_template.jinja").unlink()
    return "has no chat template"


def _with_a_broken_template(base: Path) -> str:
    (base / "chat_template.jinja").write_text("{% for message in messages %}")
    return "chat template fails on a plain prompt"


def _with_a_template_that_refuses(base: Path) -> str:
    (base / "chat_template.jinja").write_text("{{ raise_exception('system first') }}")
    return "system first"


def _with_a_template_that_forgets(base: Path) -> str:
    (base / "chat_template.jinja").write_text("{% if add_generation_prompt %}>{% endif %}")
    return "leaves the prompt out"


def _with_a_template_that_opens_nothing(base: Path) -> str:
    (base / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    return "opens no answer"


def _without_end(base: Path) -> str:
    _change(base / "tokenizer_config.json", eos_token=None)
    return "has no end token"


def _with_an_unknown_end(base: Path) -> str:
    _change(base / "tokenizer_config.json", eos_token="<|never|>")
    return "is not in the tokenizer"


HARMS = [value for name, value in globals().items() if name.startswith(("_with", "_that"))]


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__.strip("_"))
def test_what_does_not_fit_is_said_in_a_sentence(base: Path, place: Workspace, harm) -> None:
    assert check_folder(base).problems == []
    said = harm(base)
    found = check_folder(base)
    assert any(said in problem for problem in found.problems), found.problems
    with pytest.raises(ModelError, match="cannot be a base"):
        add_base(place, str(base))
    assert [known.name for known in read_bases(place)] == ["shipped"]


def test_a_kept_base_is_known_by_its_name_which_is_given_once(base: Path, place: Workspace, tmp_path: Path) -> None:
    add_base(place, str(base), "small")
    add_base(place, str(base), "small")
    assert uri_of(place, "small") == str(base)
    assert [known.name for known in read_bases(place)] == ["shipped", "small"]
    other = shutil.copytree(base, tmp_path / "other")
    with pytest.raises(InputError, match="knows a base named 'small' already"):
        add_base(place, str(other), "small")
    with pytest.raises(InputError, match="is no name for a base"):
        add_base(place, str(base), "../x")


def test_a_model_of_the_hub_is_found_in_this_machines_cache_and_never_fetched(
    base: Path, place: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    with pytest.raises(ModelError, match=r"not in this machine's cache .* nothing is fetched unasked"):
        place.locate("hub:acme/tiny")
    folder = tmp_path / "hf/hub/models--acme--tiny"
    shutil.copytree(base, folder / "snapshots/c0ffee")
    (folder / "refs").mkdir()
    (folder / "refs/main").write_text("c0ffee")
    assert place.locate("hub:acme/tiny") == folder / "snapshots/c0ffee"
    assert cached_model("acme/tiny@c0ffee") == folder / "snapshots/c0ffee"
    assert add_base(place, "hub:acme/tiny").uri == "hub:acme/tiny"
    assert uri_of(place, "tiny") == "hub:acme/tiny"
    with pytest.raises(ModelError, match="not in this machine's cache"):
        place.locate("hub:../../etc")


@pytest.mark.parametrize("uri", ["z" * 5000, "hub:a/" + "z" * 5000, "hub:a/b@" + "z" * 5000, "workspace:\0"])
def test_an_address_that_no_file_system_takes_is_that_of_no_model(place: Workspace, uri: str) -> None:
    with pytest.raises(ModelError, match=r"no model folder at|is not in this machine's cache") as caught:
        place.locate(uri)
    assert len(str(caught.value)) < 1000


def test_an_adapter_fits_the_base_that_it_was_trained_on_and_no_other(base: Path, tmp_path: Path) -> None:
    shipped = Path("data/scribe/base")
    assert adapter_problem(shipped, SHIPPED_ADAPTER) is None
    assert "was trained for another base" in (adapter_problem(base, SHIPPED_ADAPTER) or "")
    assert "is no adapter" in (adapter_problem(shipped, base) or "")
    renamed = shutil.copytree(SHIPPED_ADAPTER, tmp_path / "renamed")
    weights = load_file(renamed / "adapter_model.safetensors")
    save_file(
        {name.replace("q_proj", "query"): one for name, one in weights.items()}, renamed / "adapter_model.safetensors"
    )
    assert "has no 'model.layers.0.self_attn.query'" in (adapter_problem(shipped, renamed) or "")


def test_bases_on_the_command_line(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--workspace", str(tmp_path / "w"), "--no-demo", "--json"]
    assert main(["base", "add", str(base), "--name", "small", *words]) == 0
    assert json.loads(capsys.readouterr().out)["is_usable"] is True
    assert main(["base", "list", *words]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["bases"]] == ["shipped", "small"]
    (base / "chat_template.jinja").unlink()
    assert main(["base", "check", "small", *words]) == 1
    assert "no chat template" in json.loads(capsys.readouterr().out)["problems"][0]
    assert main(["base", "check", str(tmp_path / "nowhere"), *words]) == 1
    assert "no model folder at" in capsys.readouterr().err
