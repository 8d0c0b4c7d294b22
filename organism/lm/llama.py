"""The forward pass of a plain Llama in torch tensors, with a static key-value cache: quick on one CPU core.

transformers' own forward spends some 6 ms a token in Python at batch size 1; this one spends under 2 and gives the
same greedy text. It knows exactly one architecture; `supports` says whether a model is of it.
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
    """Keys and values of every layer, laid out (layer, batch, head, position, channel)."""

    keys: torch.Tensor
    values: torch.Tensor


def supports(config: PretrainedConfig) -> bool:
    """Whether the model is a Llama with plain rotary positions, no biases, and as many key heads as query heads."""
    rope = getattr(config, "rope_parameters", None) or {}
    return (
        config.model_type == "llama"
        and config.num_key_value_heads == config.num_attention_heads
        and not (config.attention_bias or config.mlp_bias)
        and config.hidden_act == "silu"
        and rope.get("rope_type", "default") == "default"
    )


class Llama:
    """The weights of one model, transposed and fused for decoding."""

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        config = model.config
        weights = {name: tensor.detach().to(dtype) for name, tensor in model.state_dict().items()}
        self.dtype = dtype
        self.n_heads: int = config.num_attention_heads
        self.head_size: int = config.hidden_size // config.num_attention_heads
        self.epsilon: float = config.rms_norm_eps
        self.n_positions: int = config.max_position_embeddings
        self.embedding = weights["model.embed_tokens.weight"]
        self.final_norm = weights["model.norm.weight"]
        self.head = weights.get("lm_head.weight", self.embedding).t().contiguous()
        self.layers = [_layer(weights, f"model.layers.{i}.") for i in range(config.num_hidden_layers)]
        self.cos, self.sin = _rotations(config, self.head_size, dtype)

    def new_cache(self, n_rows: int, n_positions: int) -> Cache:
        shape = (len(self.layers), n_rows, self.n_heads, n_positions, self.head_size)
        return Cache(torch.zeros(shape, dtype=self.dtype), torch.zeros(shape, dtype=self.dtype))

    def next_logits(
        self, ids: torch.Tensor, positions: torch.Tensor, cache: Cache, start: int, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Logits (batch, vocabulary) after the last of these tokens, which go into the cache from `start` on.

        mask is boolean, (batch, 1, queries, keys), true where a query may look; None lets it look everywhere.
        """
        x = self.embedding[ids]
        width = (x.shape[-1],)
        cos, sin = self.cos[positions].unsqueeze(1), self.sin[positions].unsqueeze(1)
        for layer, keys, values in zip(self.layers, cache.keys, cache.values, strict=True):
            normed = F.rms_norm(x, width, layer.attention_norm, self.epsilon)
            x = x + self._attend(normed @ layer.qkv, cos, sin, keys, values, start, mask) @ layer.attention_out
            gate, up = (F.rms_norm(x, width, layer.mlp_norm, self.epsilon) @ layer.gate_up).chunk(2, -1)
            x = x + (F.silu(gate) * up) @ layer.down
        return F.rms_norm(x[:, -1], width, self.final_norm, self.epsilon) @ self.head

    def _attend(
        self,
        qkv: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        start: int,
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        n_rows, n_new, _ = qkv.shape
        query, key, value = qkv.view(n_rows, n_new, 3, self.n_heads, self.head_size).permute(2, 0, 3, 1, 4)
        end = start + n_new
        keys[:, :, start:end] = _rotate(key, cos, sin)
        values[:, :, start:end] = value
        seen = F.scaled_dot_product_attention(
            _rotate(query, cos, sin), keys[:, :, :end], values[:, :, :end], attn_mask=mask
        )
        return seen.transpose(1, 2).reshape(n_rows, n_new, self.n_heads * self.head_size)


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


def _rotations(config: PretrainedConfig, head_size: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    theta = (getattr(config, "rope_parameters", None) or {}).get("rope_theta", 10_000.0)
    frequency = 1 / theta ** (torch.arange(0, head_size, 2).float() / head_size)
    angle = torch.outer(torch.arange(config.max_position_embeddings).float(), frequency)
    angle = torch.cat([angle, angle], dim=1)
    return angle.cos().to(dtype), angle.sin().to(dtype)


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], dim=-1) * sin
