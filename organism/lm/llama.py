"""The forward pass of a plain Llama in torch tensors, with a static key-value cache: quick on one CPU core.

transformers' own forward spends some 4 ms a token in Python at batch size 1; this one under 1, and gives the same
greedy text. Rows are read one by one, without padding, and then written together, each at its own length, so that a
row can end and another take its place. It knows exactly one architecture; `supports` says whether a model is of it.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from transformers import PretrainedConfig, PreTrainedModel


class _Layer(NamedTuple):
    attention_norm: torch.Tensor
    qkv: torch.Tensor
    attention_out: torch.Tensor
    mlp_norm: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


class Cache(NamedTuple):
    """Keys and values of every layer, laid out (layer, row, head, position, channel)."""

    keys: torch.Tensor
    values: torch.Tensor

    def move(self, source: int, target: int, length: int) -> None:
        """Put the first `length` positions of one row in the place of another's."""
        for kept in self:
            kept[:, target, :, :length] = kept[:, source, :, :length]


def supports(config: PretrainedConfig) -> bool:
    """Whether the model is a Llama with plain rotary positions and no biases."""
    rope = getattr(config, "rope_parameters", None) or {}
    return (
        config.model_type == "llama"
        and not (config.attention_bias or config.mlp_bias)
        and config.hidden_act == "silu"
        and rope.get("rope_type", "default") == "default"
    )


class Llama:
    """The weights of one model, transposed and fused for decoding."""

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        config = model.config
        weights = {name: tensor.detach().to(dtype) for name, tensor in model.state_dict().items()}
        self.dtype, self.device = dtype, model.device
        self.n_heads: int = config.num_attention_heads
        self.n_kept: int = config.num_key_value_heads
        self.head_size: int = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.epsilon: float = config.rms_norm_eps
        self.n_positions: int = config.max_position_embeddings
        self.embedding = weights["model.embed_tokens.weight"]
        self.final_norm = weights["model.norm.weight"]
        self.head = weights.get("lm_head.weight", self.embedding).t().contiguous()
        self.layers = [_layer(weights, f"model.layers.{i}.") for i in range(config.num_hidden_layers)]
        self.cos, self.sin = (turn.to(self.device, dtype) for turn in _rotations(config, self.head_size))

    def new_cache(self, n_rows: int, n_positions: int) -> Cache:
        shape = (len(self.layers), n_rows, self.n_kept, n_positions, self.head_size)
        return Cache(*(torch.zeros(shape, dtype=self.dtype, device=self.device) for _ in range(2)))

    def read_prompt(self, ids: torch.Tensor, cache: Cache, row: int) -> torch.Tensor:
        """Logits (vocabulary,) after these tokens (n,), whose keys and values fill one row of the cache from 0 on."""
        n = len(ids)
        x, cos, sin = self.embedding[ids], self.cos[:n, None], self.sin[:n, None]
        for number, layer in enumerate(self.layers):
            query, key, value = self._projected(x, layer, cos, sin)
            key, value = key.transpose(0, 1), value.transpose(0, 1)
            cache.keys[number, row, :, :n], cache.values[number, row, :, :n] = key, value
            is_last = number + 1 == len(self.layers)
            if is_last:  # nobody reads the other positions of the last layer
                x, query = x[-1:], query[-1:]
            seen = self._attend(query.transpose(0, 1)[None], key[None], value[None], is_causal=not is_last)
            x = self._onward(x, seen.transpose(1, 2).reshape(len(x), -1), layer)
        return self._logits(x)[0]

    def read_tokens(self, tokens: torch.Tensor, lengths: torch.Tensor, longest: int, cache: Cache) -> torch.Tensor:
        """Logits (rows, vocabulary) after one more token (rows,) in each of the cache's first rows.

        lengths (rows,) says how many positions of each row are filled, longest is their maximum.
        """
        n_rows, n_positions = len(tokens), cache.keys.shape[3]
        x, cos, sin = self.embedding[tokens], self.cos[lengths][:, None], self.sin[lengths][:, None]
        heads = torch.arange(n_rows * self.n_kept, device=self.device) * n_positions
        places = heads + lengths.repeat_interleave(self.n_kept)
        mask = self._mask(lengths, longest)
        for layer, keys, values in zip(self.layers, cache.keys, cache.values, strict=True):
            query, key, value = self._projected(x, layer, cos, sin)
            for kept, new in ((keys, key), (values, value)):
                kept.view(-1, self.head_size).index_copy_(0, places, new.reshape(-1, self.head_size))
            seen = self._attend(
                query[:, :, None], keys[:n_rows, :, : longest + 1], values[:n_rows, :, : longest + 1], mask=mask
            )
            x = self._onward(x, seen.view(n_rows, -1), layer)
        return self._logits(x)

    def _mask(self, lengths: torch.Tensor, longest: int) -> torch.Tensor | None:
        """What each row may look at, (rows, 1, 1, longest + 1) and 0 or -inf; None when all rows are equally long."""
        if bool((lengths == longest).all()):
            return None
        unseen = torch.arange(longest + 1, device=self.device) > lengths[:, None]
        return torch.zeros(unseen.shape, dtype=self.dtype, device=self.device).masked_fill_(unseen, -torch.inf)[
            :, None, None
        ]

    def _projected(
        self, x: torch.Tensor, layer: _Layer, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Query, key and value of every position, (positions, heads, channels), the first two rotated to it."""
        normed = F.rms_norm(x, (x.shape[-1],), layer.attention_norm, self.epsilon)
        joint = (normed @ layer.qkv).view(len(x), -1, self.head_size)
        turned, value = joint.split([self.n_heads + self.n_kept, self.n_kept], 1)
        turned = torch.addcmul(turned * cos, turned.roll(self.head_size // 2, -1), sin)
        query, key = turned.split([self.n_heads, self.n_kept], 1)
        return query, key, value

    def _attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        mask: torch.Tensor | None = None,
        is_causal: bool = False,
    ) -> torch.Tensor:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=is_causal, enable_gqa=self.n_kept != self.n_heads
        )

    def _onward(self, x: torch.Tensor, seen: torch.Tensor, layer: _Layer) -> torch.Tensor:
        """What leaves the layer, (positions, width)."""
        x = torch.addmm(x, seen, layer.attention_out)
        normed = F.rms_norm(x, (x.shape[-1],), layer.mlp_norm, self.epsilon)
        gate, up = (normed @ layer.gate_up).chunk(2, -1)
        return x.addmm_(F.silu(gate).mul_(up), layer.down)

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.final_norm, self.epsilon) @ self.head


def _layer(weights: dict[str, torch.Tensor], prefix: str) -> _Layer:
    def fused(*names: str) -> torch.Tensor:
        return torch.cat([weights[f"{prefix}{name}.weight"] for name in names]).t().contiguous()

    return _Layer(
        attention_norm=weights[f"{prefix}input_layernorm.weight"],
        qkv=fused("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        attention_out=fused("self_attn.o_proj"),
        mlp_norm=weights[f"{prefix}post_attention_layernorm.weight"],
        gate_up=fused("mlp.gate_proj", "mlp.up_proj"),
        down=fused("mlp.down_proj"),
    )


def _rotations(config: PretrainedConfig, head_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and signed sine of every position, (positions, channels): x turned is x * cos + x rolled by half * sin."""
    theta = (getattr(config, "rope_parameters", None) or {}).get("rope_theta", 10_000.0)
    frequency = 1 / theta ** (torch.arange(0, head_size, 2).float() / head_size)
    angle = torch.outer(torch.arange(config.max_position_embeddings).float(), frequency)
    return torch.cat([angle.cos(), angle.cos()], 1), torch.cat([-angle.sin(), angle.sin()], 1)
