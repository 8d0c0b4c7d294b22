"""Draft texts with a model folder on this machine, many at a time or streamed one by one."""

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from organism.errors import ModelError
from organism.lm.llama import Llama, supports

OnBatch = Callable[[int, int], None]


class Generation(NamedTuple):
    """One drafted text. seconds runs from the start of its batch to its own last token."""

    text: str
    prompt_tokens: int
    output_tokens: int
    finish_reason: str
    seconds: float


class _Batch(NamedTuple):
    """Left-padded prompts: token ids and a mask that is true on real tokens, both (rows, longest prompt)."""

    ids: torch.Tensor
    real: torch.Tensor


class Decoder:
    """A causal language model with its chat template, ready to draft."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype) -> None:
        self.tokenizer = tokenizer
        self.end_id: int = tokenizer.eos_token_id
        self.pad_id: int = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.end_id
        self.n_positions: int = model.config.max_position_embeddings
        self._llama = Llama(model, dtype) if supports(model.config) else None
        self._model = model.to(dtype).eval()

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
        drafted: dict[int, Generation] = {}
        for first in range(0, len(by_length), batch_size):
            places = by_length[first : first + batch_size]
            noise = _noise(places, seed, max_new_tokens) if temperature > 0 else None
            rows = self._draft([encoded[place] for place in places], max_new_tokens, temperature, noise)
            drafted.update(zip(places, rows, strict=True))
            if on_batch is not None:
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
        written: list[int] = []
        shown, has_ended = "", False
        for token in self._steps(self._batch([ids]), max_new_tokens, temperature, noise):
            if has_ended := int(token) == self.end_id:
                break
            written.append(int(token))
            text = self.tokenizer.decode(written, skip_special_tokens=True)
            if not text.endswith("\ufffd"):  # a character whose bytes are not all here yet
                yield text[len(shown) :]
                shown = text
        return Generation(
            text=shown,
            prompt_tokens=len(ids),
            output_tokens=len(written) + has_ended,
            finish_reason="stop" if has_ended else "length",
            seconds=time.perf_counter() - started,
        )

    def _encode(self, prompt: str) -> list[int]:
        framed = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
        )
        ids: list[int] = self.tokenizer(framed, add_special_tokens=False).input_ids
        if len(ids) >= self.n_positions:
            raise ModelError(
                f"a prompt has {len(ids)} tokens, and the model reads at most {self.n_positions - 1}; "
                "shorten the prompt or take a model with a longer context"
            )
        return ids

    def _batch(self, rows: Sequence[Sequence[int]]) -> _Batch:
        width = max(len(row) for row in rows)
        ids = torch.full((len(rows), width), self.pad_id)
        real = torch.zeros((len(rows), width), dtype=torch.bool)
        for place, row in enumerate(rows):
            ids[place, width - len(row) :] = torch.tensor(row)
            real[place, width - len(row) :] = True
        return _Batch(ids, real)

    def _draft(
        self,
        rows: Sequence[Sequence[int]],
        max_new_tokens: int,
        temperature: float,
        noise: torch.Tensor | None,
    ) -> list[Generation]:
        started = time.perf_counter()
        written: list[list[int]] = [[] for _ in rows]
        ended: dict[int, float] = {}
        for tokens in self._steps(self._batch(rows), max_new_tokens, temperature, noise):
            for place, token in enumerate(tokens.tolist()):
                if place in ended:
                    continue
                if token == self.end_id:
                    ended[place] = time.perf_counter() - started
                else:
                    written[place].append(token)
            if len(ended) == len(rows):
                break
        elapsed = time.perf_counter() - started
        return [
            Generation(
                text=self.tokenizer.decode(written[place], skip_special_tokens=True),
                prompt_tokens=len(row),
                output_tokens=len(written[place]) + (place in ended),
                finish_reason="stop" if place in ended else "length",
                seconds=ended.get(place, elapsed),
            )
            for place, row in enumerate(rows)
        ]

    @torch.inference_mode()
    def _steps(
        self, batch: _Batch, max_new_tokens: int, temperature: float, noise: torch.Tensor | None
    ) -> Iterator[torch.Tensor]:
        """Yield the next token of every row, shape (rows,), until the budget is used up; the caller sees the end."""
        n_steps = min(max_new_tokens, self.n_positions - batch.ids.shape[1])
        reader = self._reader(batch, n_steps)
        logits = reader.read_prompts()
        for step in range(n_steps):
            tokens = _choose(logits, temperature, None if noise is None else noise[:, step])
            yield tokens
            if step + 1 < n_steps:
                logits = reader.read_tokens(tokens)

    def _reader(self, batch: _Batch, n_steps: int) -> "_LlamaReader | _TransformersReader":
        if self._llama is not None:
            return _LlamaReader(self._llama, batch, n_steps)
        return _TransformersReader(self._model, batch)


class _LlamaReader:
    """One batch being read by the plain Llama: the prompts first, then a token a row at a time."""

    def __init__(self, llama: Llama, batch: _Batch, n_steps: int) -> None:
        n_rows, self.end = batch.ids.shape
        self.llama, self.batch = llama, batch
        self.cache = llama.new_cache(n_rows, self.end + n_steps)
        self.positions = batch.real.sum(1, keepdim=True)
        self.padded = not bool(batch.real.all())
        self.seen = torch.ones((n_rows, self.end + n_steps), dtype=torch.bool)
        self.seen[:, : self.end] = batch.real

    def read_prompts(self) -> torch.Tensor:
        width = self.end
        positions = (self.batch.real.long().cumsum(1) - 1).clamp(min=0)
        causal = torch.ones((width, width), dtype=torch.bool).tril()
        # A padding row must look at something, or its softmax is 0/0: it looks at itself.
        mask = (causal & self.seen[:, None, None, :width]) | torch.eye(width, dtype=torch.bool)
        return self.llama.next_logits(self.batch.ids, positions, self.cache, 0, mask)

    def read_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        mask = self.seen[:, None, None, : self.end + 1] if self.padded else None
        logits = self.llama.next_logits(tokens[:, None], self.positions, self.cache, self.end, mask)
        self.positions, self.end = self.positions + 1, self.end + 1
        return logits


class _TransformersReader:
    """The same for any other causal model, through transformers' own forward: slower, but knows every architecture."""

    def __init__(self, model: PreTrainedModel, batch: _Batch) -> None:
        self.model, self.batch = model, batch
        self.real = batch.real.long()
        self.past: Any = None

    def read_prompts(self) -> torch.Tensor:
        return self._read(self.batch.ids, (self.real.cumsum(1) - 1).clamp(min=0))

    def read_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        positions = self.real.sum(1, keepdim=True)
        self.real = torch.cat([self.real, torch.ones_like(self.real[:, :1])], dim=1)
        return self._read(tokens[:, None], positions)

    def _read(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        out = self.model(
            input_ids=ids,
            attention_mask=self.real,
            position_ids=positions,
            past_key_values=self.past,
            use_cache=True,
        )
        self.past = out.past_key_values
        logits: torch.Tensor = out.logits[:, -1]
        return logits


def _choose(logits: torch.Tensor, temperature: float, noise: torch.Tensor | None) -> torch.Tensor:
    """The likeliest token a row, or, with uniform noise in [0, 1), the one the inverse distribution puts there."""
    if noise is None:
        return logits.argmax(-1)
    cumulative = (logits.double() / temperature).softmax(-1).cumsum(-1)
    tokens = torch.searchsorted(cumulative, noise[:, None] * cumulative[:, -1:], right=True)[:, 0]
    return tokens.clamp(max=logits.shape[-1] - 1)


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
