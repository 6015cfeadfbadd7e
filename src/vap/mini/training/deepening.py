"""A deeper backbone that at first computes what it did: a small model's training is not lost.

New blocks are copies of their neighbors whose outputs are closed, so they add nothing until
training opens them (function-preserving growth: Chen, Goodfellow and Shlens, "Net2Net", 2016).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from torch import nn


def deepened(transformer: WanTransformer3DModel, after: Sequence[int]) -> WanTransformer3DModel:
    """Add a closed copy after some blocks."""
    count = len(transformer.blocks)
    if sorted(set(after)) != sorted(after) or not set(after) <= set(range(count)):
        raise ValueError(
            f"deepen_after={list(after)} is not usable with {count} blocks: give distinct indices "
            f"from 0 to {count - 1}."
        )
    blocks: list[WanTransformerBlock] = []
    for index, block in enumerate(transformer.blocks):
        blocks.append(block)
        if index in after:
            blocks.append(_closed(copy.deepcopy(block)))
    transformer.blocks = nn.ModuleList(blocks)
    transformer.register_to_config(num_layers=len(blocks))
    return transformer


def _closed(block: WanTransformerBlock) -> WanTransformerBlock:
    """The block with every output projection at zero, so that its residual branches are silent."""
    for projection in (block.attn1.to_out[0], block.attn2.to_out[0], block.ffn.net[2]):
        for parameter in projection.parameters():
            nn.init.zeros_(parameter)
    return block
