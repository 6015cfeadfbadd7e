"""Cross-attention to a short caption that equals attention to 512 tokens.

Wan pads captions to 512 tokens with zeros, so all padding keys and values are equal. One of them
stands for all when its logit gets the logarithm of their number: the same softmax, at a tenth of
the cost. For training only; a saved model computes the stock function on 512 tokens.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from diffusers.models.transformers.transformer_wan import WanAttention
from torch import Tensor, nn

from vap.models.wan_attention import WanContextAttnProcessor
from vap.shapes import TEXT_TOKENS


class CompactTextProcessor(WanContextAttnProcessor):
    """Stock cross-attention whose last text token stands for all further padding.

    Args:
        text_tokens: Text tokens given, the last of them padding in every caption.
    """

    def __init__(self, text_tokens: int) -> None:
        super().__init__()
        self.text_tokens = text_tokens
        bias = torch.zeros(text_tokens)
        bias[-1] = math.log(TEXT_TOKENS["wan"] - text_tokens + 1)
        self.bias = bias

    def attend_text(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of ``[B, N, heads, d]`` to ``text_tokens`` text tokens."""
        bias = self.bias.to(query).expand(query.shape[1], -1)
        query, key, value = (tokens.transpose(1, 2) for tokens in (query, key, value))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return attended.transpose(1, 2)


def use_compact_text(transformer: nn.Module, text_tokens: int) -> None:
    """Give every cross-attention of a Wan transformer the compact processor."""
    for module in transformer.modules():
        if isinstance(module, WanAttention) and module.is_cross_attention:
            module.set_processor(CompactTextProcessor(text_tokens))
