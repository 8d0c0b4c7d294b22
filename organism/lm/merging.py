"""The child process that adds an adapter's weights into its base: `python -m organism.lm.merging < REQUEST`.

Asked on stdin, as JSON: base, adapter (null for a base alone), to (the folder to write), judge (whether the base gets
a head of one number), prompts. Answered on stdout: n_parameters, dtype, n_prompts, n_equal. Files in, files out: no
web process ever holds the weights.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from organism.errors import ModelError, OrganismError

MAX_NEW_TOKENS = 64


class Merged(NamedTuple):
    """What was written; of n_prompts greedy drafts by transformers alone, n_equal are those of base and adapter."""

    n_parameters: int
    dtype: str
    n_prompts: int
    n_equal: int


def merge(base: Path, adapter: Path | None, to: Path, *, judge: bool = False, prompts: Sequence[str] = ()) -> Merged:
    """Write a plain transformers folder of base and adapter, then read it again and compare what both would write.

    The weights stay in float32, in which they were added: rounding them would be another model. Raises ModelError when
    one of the two cannot be loaded, or when the adapter was trained for another base.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from organism.lm.decoder import Decoder

    model, tokenizer = _loaded(base, judge)
    if adapter is not None:
        model = _with_adapter(model, adapter)
    to.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(str(to))
    tokenizer.save_pretrained(str(to))
    equal = 0
    if prompts and not judge:
        expected = Decoder.from_folder(base, adapter).generate(prompts, max_new_tokens=MAX_NEW_TOKENS)
        written = AutoModelForCausalLM.from_pretrained(str(to), local_files_only=True).eval()
        again = AutoTokenizer.from_pretrained(str(to), local_files_only=True)
        with torch.inference_mode():
            equal = sum(
                _drafted(written, again, prompt) == draft.text for prompt, draft in zip(prompts, expected, strict=True)
            )
    n_parameters = sum(weight.numel() for weight in model.parameters())
    return Merged(n_parameters, str(model.dtype).removeprefix("torch."), 0 if judge else len(prompts), equal)


def _loaded(base: Path, judge: bool) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if judge:
        from organism.lm.reward_judge import load_classifier

        return load_classifier(base)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(base), local_files_only=True)
        return AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32, local_files_only=True), tokenizer
    except Exception as error:  # transformers raises whatever the broken file leads to
        raise ModelError(f"model folder {base} cannot be loaded ({_first_line(error)}); restore it") from error


def _with_adapter(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    except Exception as error:  # peft raises whatever the mismatch leads to
        raise ModelError(
            f"adapter {adapter} does not fit its base ({_first_line(error)}); it was trained for another one, or is "
            "broken: restore it, or train again"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _drafted(model: Any, tokenizer: Any, prompt: str) -> str:
    """transformers' own greedy text."""
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    ids.pop("token_type_ids", None)
    written = model.generate(**ids, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)[0, ids["input_ids"].shape[1] :]
    text: str = tokenizer.decode(written, skip_special_tokens=True)
    return text


def main() -> int:
    """Answer one request; 0 when the folder is written, 1 with {"error"} when not."""
    # Libraries that print must not garble the answer: they get stderr instead.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    asked = json.load(sys.stdin)
    adapter = None if asked["adapter"] is None else Path(asked["adapter"])
    try:
        done = merge(
            Path(asked["base"]), adapter, Path(asked["to"]), judge=asked["judge"], prompts=asked["prompts"]
        )._asdict()
    except (OrganismError, OSError) as error:
        done = {"error": str(error)}
    out.write(json.dumps(done))
    out.flush()
    return 1 if "error" in done else 0


if __name__ == "__main__":
    sys.exit(main())
