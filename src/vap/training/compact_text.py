"""Cross-attention to a short caption that equals attention to 512 tokens.

Wan pads captions to 512 tokens with zeros, so all padding keys and values are equal. One of them
stands for all when its logit gets the logarithm of their number: the same softmax, at a tenth of
the cost. For training only; a saved model computes the stock function on 512 tokens.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from diffusers.models.transformers.transformer_wan import (
    WanAttention,
    _get_added_kv_projections,
    _get_qkv_projections,
)
from torch import Tensor, nn

_TEXT_TOKENS = 512


class CompactTextProcessor:
    """Stock cross-attention whose last text token stands for all further padding.

    Args:
        text_tokens: Text tokens given, the last of them padding in every caption.
    """

    _attention_backend = None
    _parallel_config = None

    def __init__(self, text_tokens: int) -> None:
        self.text_tokens = text_tokens
        bias = torch.zeros(text_tokens)
        bias[-1] = math.log(_TEXT_TOKENS - text_tokens + 1)
        self.bias = bias

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Attend from ``[B, N, D]`` to image tokens followed by ``text_tokens`` text tokens."""
        assert attention_mask is None
        assert rotary_emb is None
        text = encoder_hidden_states[:, -self.text_tokens :]
        image = encoder_hidden_states[:, : -self.text_tokens]
        query, key, value = _get_qkv_projections(attn, hidden_states, text)
        query = _heads(attn.norm_q(query), attn)
        key, value = _heads(attn.norm_k(key), attn), _heads(value, attn)
        bias = self.bias.to(query).expand(query.shape[-2], -1)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        if attn.add_k_proj is not None:
            key, value = _get_added_kv_projections(attn, image)
            key, value = _heads(attn.norm_added_k(key), attn), _heads(value, attn)
            attended = attended + F.scaled_dot_product_attention(query, key, value)
        output = attended.transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](output))


def use_compact_text(transformer: nn.Module, text_tokens: int) -> None:
    """Give every cross-attention of a Wan transformer the compact processor."""
    for module in transformer.modules():
        if isinstance(module, WanAttention) and module.is_cross_attention:
            module.set_processor(CompactTextProcessor(text_tokens))


def _heads(tokens: Tensor, attn: WanAttention) -> Tensor:
    """``[B, N, D]`` as ``[B, heads, N, d]``."""
    return tokens.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
