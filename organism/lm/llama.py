"""The forward pass of a plain Llama in numpy, with a static key-value cache: quick on one CPU core.

For a model of a few million parameters a token costs transformers some 4 ms of Python, and torch's own calls half of
that; numpy's cost least, and the greedy text is the same. Rows are read one by one, without padding, and then written
together, each at its own length, so that a row can end and another take its place. It knows exactly one architecture in
float32 on a processor; `supports` says whether a model is of it.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController
from transformers import PreTrainedModel

# Matrices this small want one thread: two of OpenBLAS take ten times as long, spinning while they wait for each other.
ONE_THREAD = ThreadpoolController().select(internal_api="openblas")
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
QUERY_BLOCK = 128


class _Layer(NamedTuple):
    attention_norm: Floats
    qkv: Floats
    attention_out: Floats
    mlp_norm: Floats
    gate_up: Floats
    down: Floats


class Cache(NamedTuple):
    """Keys and values of every layer, laid out (layer, row, head, position, channel)."""

    keys: Floats
    values: Floats

    def move(self, source: int, target: int, length: int) -> None:
        """Put the first `length` positions of one row in the place of another's."""
        for kept in self:
            kept[:, target, :, :length] = kept[:, source, :, :length]


def supports(model: PreTrainedModel) -> bool:
    """Whether the model is a Llama with plain rotary positions and no biases, in float32 on a processor."""
    config = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    return (
        config.model_type == "llama"
        and not (config.attention_bias or config.mlp_bias)
        and config.hidden_act == "silu"
        and rope.get("rope_type", "default") == "default"
        and (model.dtype, model.device.type) == (torch.float32, "cpu")
    )


class Llama:
    """The weights of one model, transposed and fused for decoding."""

    def __init__(self, model: PreTrainedModel) -> None:
        config = model.config
        weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
        self.n_heads: int = config.num_attention_heads
        self.n_kept: int = config.num_key_value_heads
        self.head_size: int = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.epsilon = np.float32(config.rms_norm_eps)
        self.embedding = weights["model.embed_tokens.weight"]
        self.final_norm = weights["model.norm.weight"]
        self.head = np.ascontiguousarray(weights.get("lm_head.weight", self.embedding).T)
        self.layers = [_layer(weights, f"model.layers.{i}.") for i in range(config.num_hidden_layers)]
        self.cos, self.sin = _rotations(config, self.head_size)

    def new_cache(self, n_rows: int, n_positions: int) -> Cache:
        shape = (len(self.layers), n_rows, self.n_kept, n_positions, self.head_size)
        return Cache(np.zeros(shape, np.float32), np.zeros(shape, np.float32))

    @ONE_THREAD.wrap(limits=1, user_api="blas")
    def read_prompt(self, ids: Ints, cache: Cache, row: int) -> Floats:
        """Logits (vocabulary,) after these tokens (n,), whose keys and values fill one row of the cache from 0 on."""
        n = len(ids)
        x, cos, sin = self.embedding[ids], self.cos[:n, None], self.sin[:n, None]
        for number, layer in enumerate(self.layers):
            query, key, value = self._projected(x, layer, cos, sin)
            keys, values = cache.keys[number, row, :, :n], cache.values[number, row, :, :n]
            keys[:], values[:] = key.swapaxes(0, 1), value.swapaxes(0, 1)
            if number + 1 == len(self.layers):  # nobody reads the other positions of the last layer
                x, query = x[-1:], query[-1:]
            x = self._onward(x, self._look_back(query, keys, values), layer)
        return self._logits(x)[0]

    @ONE_THREAD.wrap(limits=1, user_api="blas")
    def read_tokens(self, tokens: Ints, lengths: Ints, cache: Cache) -> Floats:
        """Logits (rows, vocabulary) after one more token (rows,) in each of the cache's first rows.

        lengths (rows,) says how many positions of each row are filled.
        """
        n_rows, end = len(tokens), int(lengths.max()) + 1
        x, cos, sin = self.embedding[tokens], self.cos[lengths][:, None], self.sin[lengths][:, None]
        rows, unseen = np.arange(n_rows), None
        if (lengths + 1 != end).any():
            unseen = (np.arange(end) > lengths[:, None])[:, None, None]
        for number, layer in enumerate(self.layers):
            query, key, value = self._projected(x, layer, cos, sin)
            keys, values = cache.keys[number], cache.values[number]
            keys[rows, :, lengths], values[rows, :, lengths] = key, value
            grouped = query.reshape(n_rows, self.n_kept, -1, self.head_size)
            seen = self._attend(grouped, keys[:n_rows, :, :end], values[:n_rows, :, :end], unseen)
            x = self._onward(x, seen.reshape(n_rows, -1), layer)
        return self._logits(x)

    def _projected(self, x: Floats, layer: _Layer, cos: Floats, sin: Floats) -> tuple[Floats, Floats, Floats]:
        """Query, key and value of every position, (positions, heads, channels), the first two rotated to it."""
        joint = (self._normed(x, layer.attention_norm) @ layer.qkv).reshape(len(x), -1, self.head_size)
        n_turned, half = self.n_heads + self.n_kept, self.head_size // 2
        plain = joint[:, :n_turned]
        turned = np.concatenate((plain[..., half:], plain[..., :half]), -1)
        turned *= sin
        turned += plain * cos
        return turned[:, : self.n_heads], turned[:, self.n_heads :], joint[:, n_turned:]

    def _look_back(self, query: Floats, keys: Floats, values: Floats) -> Floats:
        """What the last positions see of those up to themselves, (positions, width), a block of queries at a time."""
        n, seen = keys.shape[1], []
        offset = n - len(query)
        for first in range(0, len(query), QUERY_BLOCK):
            block = query[first : first + QUERY_BLOCK]
            end = offset + first + len(block)
            unseen = np.arange(end) > np.arange(offset + first, end)[:, None] if len(block) > 1 else None
            grouped = block.reshape(len(block), self.n_kept, -1, self.head_size).transpose(1, 2, 0, 3)
            found = self._attend(grouped, keys[:, None, :end], values[:, None, :end], unseen)
            seen.append(found.transpose(2, 0, 1, 3).reshape(len(block), -1))
        return np.concatenate(seen)

    def _attend(self, query: Floats, keys: Floats, values: Floats, unseen: Any) -> Floats:
        """Softmax of the scaled products times the values; `unseen` marks the keys that a query may not look at."""
        scores = np.matmul(query * np.float32(self.head_size**-0.5), keys.swapaxes(-1, -2))
        if unseen is not None:
            np.copyto(scores, -np.inf, where=unseen)
        scores -= scores.max(-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(-1, keepdims=True)
        return np.matmul(scores, values)

    def _onward(self, x: Floats, seen: Floats, layer: _Layer) -> Floats:
        """What leaves the layer, (positions, width)."""
        x = x + seen @ layer.attention_out
        both = self._normed(x, layer.mlp_norm) @ layer.gate_up
        gate, up = np.split(both, 2, -1)
        x += (_silu(gate) * up) @ layer.down
        return x

    def _logits(self, x: Floats) -> Floats:
        return self._normed(x, self.final_norm) @ self.head

    def _normed(self, x: Floats, weight: Floats) -> Floats:
        square = np.einsum("ij,ij->i", x, x)[:, None] / np.float32(x.shape[-1])
        return x * (weight / np.sqrt(square + self.epsilon))


def _silu(x: Floats) -> Floats:
    with np.errstate(over="ignore"):  # far below 0 the exponential is infinite, and the quotient 0, as it should be
        return x / (1 + np.exp(-x))


def _layer(weights: dict[str, Floats], prefix: str) -> _Layer:
    def fused(*names: str) -> Floats:
        return np.ascontiguousarray(np.concatenate([weights[f"{prefix}{name}.weight"] for name in names]).T)

    return _Layer(
        attention_norm=weights[f"{prefix}input_layernorm.weight"],
        qkv=fused("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        attention_out=fused("self_attn.o_proj"),
        mlp_norm=weights[f"{prefix}post_attention_layernorm.weight"],
        gate_up=fused("mlp.gate_proj", "mlp.up_proj"),
        down=fused("mlp.down_proj"),
    )


def _rotations(config: Any, head_size: int) -> tuple[Floats, Floats]:
    """Cosine and signed sine of every position, (positions, channels): x turned is x * cos + its swapped halves * sin.

    In torch's arithmetic, since that is what the model was trained in.
    """
    theta = (getattr(config, "rope_parameters", None) or {}).get("rope_theta", 10_000.0)
    frequency = 1 / theta ** (torch.arange(0, head_size, 2).float() / head_size)
    angle = torch.outer(torch.arange(config.max_position_embeddings).float(), frequency)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([cos, cos], 1).numpy(), torch.cat([-sin, sin], 1).numpy()
