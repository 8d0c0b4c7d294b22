"""Draft texts with a model folder on this machine, many at a time or streamed one by one."""

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from organism.errors import ModelError
from organism.lm.framing import framed
from organism.lm.llama import Llama, supports
from organism.lm.writing import Task, Written, write_by_llama, write_by_transformers

OnBatch = Callable[[int, int], None]


class Generation(NamedTuple):
    """One drafted text. seconds runs from when its prompt was taken up to its own last token.

    token_ids are those that were written, the end token included.
    """

    text: str
    prompt_tokens: int
    output_tokens: int
    finish_reason: str
    seconds: float
    token_ids: tuple[int, ...] = ()


class Decoder:
    """A causal language model with its chat template, ready to draft."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype) -> None:
        self._model = model = model.to(dtype).eval()
        self.tokenizer = tokenizer
        self.end_id: int = tokenizer.eos_token_id
        self.pad_id: int = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.end_id
        self.n_positions: int = model.config.max_position_embeddings
        self._more_ends = _ends(model)
        self._writer: Callable[[Task, int], Iterator[Written]]
        if supports(model):
            self._writer = partial(write_by_llama, Llama(model))
        else:
            self._writer = partial(write_by_transformers, model)

    @classmethod
    def from_folder(
        cls,
        model_dir: Path,
        adapter_dir: Path | None = None,
        dtype: torch.dtype = torch.float32,
        threads: int | None = None,
    ) -> "Decoder":
        """Load a transformers folder, merge the peft adapter if one is given; raises ModelError on anything broken.

        threads sets torch's thread count for the whole process; None leaves it alone.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        _require_file(Path(model_dir), "config.json", "a model folder in transformers' format")
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(model_dir), local_files_only=True)
            model = AutoModelForCausalLM.from_pretrained(str(model_dir), dtype=torch.float32, local_files_only=True)
        except Exception as error:  # transformers raises whatever the broken file leads to
            raise ModelError(_broken("model folder", Path(model_dir), error)) from error
        if tokenizer.chat_template is None:
            raise ModelError(
                f"model folder '{model_dir}' has a tokenizer without a chat template, so a prompt cannot be framed; "
                "add chat_template.jinja beside tokenizer.json"
            )
        if adapter_dir is not None:
            model = _merged(model, Path(adapter_dir))
        return cls(model, tokenizer, dtype)

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        seed: int | None = None,
        batch_size: int = 16,
        on_batch: OnBatch | None = None,
    ) -> list[Generation]:
        """Draft one text a prompt, in the order of the prompts; temperature 0 takes the likeliest token each time.

        With a seed each prompt has its own stream of random numbers, drawn from the seed and its place in the list,
        so the batch size does not change what is sampled. on_batch is told (prompts done, prompts in all).
        """
        encoded = [self._encode(prompt) for prompt in prompts]
        by_length = sorted(range(len(encoded)), key=lambda place: len(encoded[place]))
        noise = _noise(by_length, seed, max_new_tokens) if temperature > 0 else None
        task = self._task([encoded[place] for place in by_length], max_new_tokens, temperature, noise)
        tokens: list[list[int]] = [[] for _ in encoded]
        drafted: dict[int, Generation] = {}
        for written in self._writer(task, batch_size):
            place = by_length[written.prompt]
            tokens[place].append(written.token)
            if written.seconds is None:
                continue
            drafted[place] = self._generation(tokens[place], len(encoded[place]), written.seconds)
            if on_batch is not None and (len(drafted) % batch_size == 0 or len(drafted) == len(encoded)):
                on_batch(len(drafted), len(encoded))
        return [drafted[place] for place in range(len(encoded))]

    def stream(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> Generator[str, None, Generation]:
        """Yield the draft of one prompt in pieces as they are written; joined, they are the text `generate` gives.

        What `generate` would have said of it is the generator's return value, without a byte that never became a
        character.
        """
        started = time.perf_counter()
        ids = self._encode(prompt)
        noise = _noise([0], seed, max_new_tokens) if temperature > 0 else None
        tokens: list[int] = []
        shown = ""
        for written in self._writer(self._task([ids], max_new_tokens, temperature, noise), 1):
            tokens.append(written.token)
            text = self._text(tokens)
            if len(text) > len(shown) and not text.endswith("\ufffd"):  # a character whose bytes are not all here yet
                yield text[len(shown) :]
                shown = text
        return self._generation(tokens, len(ids), time.perf_counter() - started)._replace(text=shown, token_ids=())

    def _encode(self, prompt: str) -> list[int]:
        ids: list[int] = self.tokenizer(framed([prompt], self.tokenizer)[0], add_special_tokens=False).input_ids
        if len(ids) >= self.n_positions:
            raise ModelError(
                f"a prompt has {len(ids)} tokens, and the model reads at most {self.n_positions - 1}; "
                "shorten the prompt or take a model with a longer context"
            )
        return ids

    def _task(
        self, prompts: Sequence[Sequence[int]], max_new_tokens: int, temperature: float, noise: torch.Tensor | None
    ) -> Task:
        def choose(logits: torch.Tensor, places: Sequence[int], steps: Sequence[int]) -> list[int]:
            drawn = None if noise is None else noise[list(places), list(steps)].to(logits.device)
            return _chosen(logits, temperature, drawn)

        budgets = [min(max_new_tokens, self.n_positions - len(ids)) for ids in prompts]
        return Task(prompts, budgets, self._more_ends | {self.end_id}, choose)

    def _text(self, tokens: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return text

    def _generation(self, tokens: Sequence[int], prompt_tokens: int, seconds: float) -> Generation:
        has_ended = tokens[-1] == self.end_id or tokens[-1] in self._more_ends
        return Generation(
            text=self._text(tokens[:-1] if has_ended else tokens),
            prompt_tokens=prompt_tokens,
            output_tokens=len(tokens),
            finish_reason="stop" if has_ended else "length",
            seconds=seconds,
            token_ids=tuple(tokens),
        )


def _ends(model: PreTrainedModel) -> frozenset[int]:
    """The tokens that end a text by the model's own word; some end in another one than their tokenizer says."""
    said = model.generation_config.eos_token_id if model.generation_config is not None else None
    return frozenset(said if isinstance(said, list) else () if said is None else (said,))


def _chosen(logits: torch.Tensor, temperature: float, noise: torch.Tensor | None) -> list[int]:
    """The likeliest token a row, or, with uniform noise in [0, 1), the one the inverse distribution puts there."""
    if noise is None:
        likeliest: list[int] = (logits.numpy() if logits.device.type == "cpu" else logits).argmax(-1).tolist()
        return likeliest
    cumulative = (logits.double() / temperature).softmax(-1).cumsum(-1)
    tokens = torch.searchsorted(cumulative, noise[:, None] * cumulative[:, -1:], right=True)[:, 0]
    return tokens.clamp(max=logits.shape[-1] - 1).tolist()


def _noise(places: Sequence[int], seed: int | None, n_steps: int) -> torch.Tensor:
    """A row of uniform numbers a prompt, from the seed and the prompt's place; without a seed, from the system."""
    root = int.from_bytes(os.urandom(6), "big") if seed is None else seed
    rows = []
    for place in places:
        generator = torch.Generator().manual_seed((root * 1_000_003 + place) % 2**63)
        rows.append(torch.rand(n_steps, generator=generator, dtype=torch.float64))
    return torch.stack(rows)


def _merged(model: PreTrainedModel, adapter_dir: Path) -> PreTrainedModel:
    """The model with the adapter's weights added in, which costs nothing at decoding."""
    _require_file(adapter_dir, "adapter_config.json", "an adapter folder in peft's format")
    from peft import PeftModel  # a second of imports that only adapters need

    try:
        return PeftModel.from_pretrained(model, str(adapter_dir)).merge_and_unload()
    except Exception as error:  # peft raises whatever the mismatch leads to
        raise ModelError(_broken("adapter folder", adapter_dir, error)) from error


def _require_file(folder: Path, name: str, wanted: str) -> None:
    if not folder.is_dir():
        raise ModelError(f"no folder at '{folder}'; give the path of {wanted}")
    if not (folder / name).is_file():
        raise ModelError(f"'{folder}' has no {name}; give the path of {wanted}")


def _broken(kind: str, folder: Path, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    return f"{kind} '{folder}' cannot be loaded ({reason}); restore it from a backup or train it again"
