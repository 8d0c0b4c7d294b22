"""How much work a run is, counted before it starts: tokens, steps, arithmetic, memory that grows. No torch.

Arithmetic is counted as in Kaplan et al. 2020 (Scaling laws, 2.1): 2 operations a parameter a token forward, as many
again backward for what flows through frozen weights (LoRA needs no gradients of them), and attention by the length.
"""

import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from organism.errors import ModelError
from organism.optimize.configs import BestOfNConfig, GrpoConfig, TrainingConfig
from organism.records import Recipe

GIGA, MIB = 1e9, 2**20
BYTES = 4
FORWARD, BACKWARD = 2, 2
SAMPLED = 50


class Shape(NamedTuple):
    """The size of a model: parameters without and with embeddings, and the widths that activations depend on."""

    n_body: int
    n_all: int
    vocabulary: int
    hidden: int
    layers: int
    positions: int

    @property
    def weights_mb(self) -> float:
        """In float32, as it is trained on a processor."""
        return self.n_all * BYTES / MIB


class Texts(NamedTuple):
    """The rows of one side: how many, and their tokens: of the prompt and of the text, on average; of both at most."""

    n_rows: int
    prompt: float
    text: float
    longest: int


class Workload(NamedTuple):
    """What a run has to do, in the units that its time and memory grow with.

    `gigaflops` of all training steps together, and `rolled` thousands of tokens that the model writes to learn from in
    them; `prepared` gigaflops of one look at every row, and `sampled` thousands of tokens written, before the first
    step; `written` thousands of tokens that both models write in the evaluation, and `judged` its gigaflops.
    """

    steps: float
    gigaflops: float
    rolled: float
    prepared: float
    sampled: float
    written: float
    judged: float
    weights_mb: float
    activations_mb: float

    def units(self) -> dict[str, tuple[float, ...]]:
        """The units of each phase, in the order in which their rates are kept."""
        return {
            "before": (1.0, self.prepared, self.sampled),
            "training": (self.steps, self.gigaflops, self.rolled),
            "evaluation": (1.0, self.written, self.judged),
        }


def shape_of(folder: Path) -> Shape:
    """The size of the model in this folder, from config.json and the headers of its weights.

    Raises ModelError when they cannot be read.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        sizes = [size for file in sorted(folder.glob("*.safetensors")) for size in _parameters(file)]
    except (OSError, ValueError, struct.error) as error:
        raise ModelError(
            f"model folder {folder} cannot be read ({error}); restore it, or choose another base"
        ) from error
    config = config.get("text_config") or config
    hidden, vocabulary = int(config.get("hidden_size") or 0), int(config.get("vocab_size") or 0)
    tables = 1 if config.get("tie_word_embeddings", True) else 2
    return Shape(
        max(sum(sizes) - tables * vocabulary * hidden, 1),
        sum(sizes),
        vocabulary,
        hidden,
        int(config.get("num_hidden_layers") or 0),
        int(config.get("max_position_embeddings") or 0) or 2**31,
    )


def _parameters(file: Path) -> list[int]:
    """The sizes of all tensors of a safetensors file: 8 bytes of length, then a JSON header (its format's README)."""
    with file.open("rb") as weights:
        (length,) = struct.unpack("<Q", weights.read(8))
        header = json.loads(weights.read(length))
    return [math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__"]


def texts_of(folder: Path, rows: Sequence[tuple[str, str]], n_rows: int) -> Texts:
    """Tokens of (prompt, text) rows by the tokenizer of this model; `rows` may be a sample of the `n_rows`.

    Raises ModelError when the folder has no tokenizer that can be read.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the reader raises bare Exception on a broken file
        raise ModelError(
            f"model folder {folder} has no tokenizer.json that can be read ({error}); restore it"
        ) from error
    if not rows:
        return Texts(n_rows, 0.0, 0.0, 0)
    sample = rows[:: max(len(rows) // SAMPLED, 1)]
    prompts, texts = ([len(tokenizer.encode(row[side]).ids) for row in sample] for side in (0, 1))
    longest = max(prompt + text for prompt, text in zip(prompts, texts, strict=True))
    return Texts(n_rows, sum(prompts) / len(sample), sum(texts) / len(sample), longest)


def workload(shape: Shape, learned: Texts, heldout: Texts, config: TrainingConfig, recipe: Recipe) -> Workload:
    """The work of training on `learned` and measuring on `heldout` by this recipe with these settings."""
    longest = min(learned.longest, config.max_length, shape.positions)
    length = min(learned.prompt + learned.text, longest)
    texts_a_row = config.group_size if isinstance(config, GrpoConfig) else TEXTS_A_ROW.get(recipe, 1)
    rows_a_step = config.batch_size / texts_a_row if isinstance(config, GrpoConfig) else config.batch_size
    texts_a_step = config.batch_size if isinstance(config, GrpoConfig) else config.batch_size * texts_a_row
    tokens = learned.n_rows * texts_a_row * length
    n_measured = min(heldout.n_rows, config.eval_rows or heldout.n_rows)
    written = 2 * n_measured * min(heldout.text, config.max_new_tokens)
    share = learned.text / max(length, 1)
    per_token = _flops_a_token(shape, length, share) / GIGA
    drafts = config.n_drafts if isinstance(config, BestOfNConfig) else DRAFTS_BEFORE.get(recipe, 0)
    rolled = tokens * share * config.epochs if isinstance(config, GrpoConfig) else 0.0
    return Workload(
        steps=math.ceil(learned.n_rows * config.epochs / rows_a_step),
        gigaflops=config.epochs * tokens * per_token,
        rolled=rolled / 1000,
        prepared=tokens * per_token * FORWARD / (FORWARD + BACKWARD),
        sampled=learned.n_rows * drafts * learned.text / 1000,
        written=written / 1000,
        judged=(written + 2 * n_measured * heldout.prompt) * 2 * shape.n_body / GIGA,
        weights_mb=shape.weights_mb,
        activations_mb=_activations_mb(shape, texts_a_step * longest, share),
    )


TEXTS_A_ROW = {Recipe.DPO: 2, Recipe.RLAIF: 2, Recipe.REWARD_MODEL: 2}
"""Two texts where a row is a comparison."""
DRAFTS_BEFORE = {Recipe.RLAIF: 2, Recipe.GRPO: 1}
"""The drafts a prompt that the model writes before the first step."""


def _flops_a_token(shape: Shape, length: float, learned_share: float) -> float:
    """Of one token trained once: body and attention for every token, the head for those that are learned."""
    attention = 2 * shape.layers * shape.hidden * length
    head = 2 * shape.vocabulary * shape.hidden * learned_share
    return (FORWARD + BACKWARD) / FORWARD * (2 * shape.n_body + attention + head)


def _activations_mb(shape: Shape, tokens: float, learned_share: float) -> float:
    """What a batch leaves in memory for the way back: some widths a layer a token, and the logits of learned tokens."""
    return tokens * BYTES * (shape.layers * shape.hidden * WIDTHS_A_LAYER + shape.vocabulary * learned_share) / MIB


WIDTHS_A_LAYER = 16
"""Of inputs to norms, projections and the MLP; only the proportion matters, its factor is measured."""
