"""Cross-attention to a short caption that equals attention to 512 tokens, for training.

See :class:`vap.models.wan_attention.WanContextAttnProcessor`. A saved model computes the stock
function on 512 tokens.
"""

from __future__ import annotations

from diffusers.models.transformers.transformer_wan import WanAttention
from torch import nn

from vap.models.wan_attention import WanContextAttnProcessor


def use_compact_text(transformer: nn.Module, text_tokens: int) -> None:
    """Let every cross-attention of a Wan transformer expect so many tokens of text."""
    for module in transformer.modules():
        if isinstance(module, WanAttention) and module.is_cross_attention:
            processor = WanContextAttnProcessor()
            processor.text_tokens = text_tokens
            module.set_processor(processor)
