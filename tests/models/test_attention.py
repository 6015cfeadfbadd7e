"""What every attention does before it reaches a kernel."""

import types

import torch
from diffusers.models import attention_dispatch
from diffusers.models.transformers.transformer_wan import WanAttention

from vap.models.wan_block import WanJointAttnProcessor


class _Float32(torch.nn.Module):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens.float()


def test_queries_and_keys_that_autocast_normalized_in_float32_meet_half_precision_values() -> None:
    """So does CUDA's autocast; the backward of a context-parallel attention takes one type only."""
    attn = WanAttention(dim=32, heads=2, dim_head=16).bfloat16()
    attn.norm_q = attn.norm_k = _Float32()
    tokens, rotary = torch.randn(1, 8, 32).bfloat16(), (torch.ones(1, 8, 1, 16),) * 2
    context = types.SimpleNamespace(
        attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
    )

    def save(*tensors: torch.Tensor) -> None:
        context.saved_tensors = tuple(tensor.detach().clone() for tensor in tensors)

    context.save_for_backward = save

    def shared(*streams: torch.Tensor) -> torch.Tensor:
        return attention_dispatch._native_attention_forward_op(
            context, *streams, None, 0.0, False, None, False, False, _save_ctx=True
        )

    processor = WanJointAttnProcessor()
    processor._attention_backend = shared
    processor(attn, tokens, rotary_emb=rotary)
    gradients = attention_dispatch._native_attention_backward_op(
        context, torch.ones_like(context.saved_tensors[0])
    )
    assert {gradient.dtype for gradient in gradients[:3]} == {torch.bfloat16}
