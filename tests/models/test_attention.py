"""What every attention does before it reaches a kernel."""

import types

import torch
from diffusers.models import attention_dispatch

from vap.models.attention import attend


def test_queries_and_keys_that_autocast_normalized_in_float32_meet_half_precision_values() -> None:
    """So does CUDA's autocast; the backward of a context-parallel attention takes one type only."""
    query, key = torch.randn(2, 1, 8, 2, 16)
    value = torch.randn(1, 8, 2, 16, dtype=torch.bfloat16)
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

    output = attend(query, key, value, backend=shared)
    gradients = attention_dispatch._native_attention_backward_op(context, torch.ones_like(output))
    assert {gradient.dtype for gradient in gradients[:3]} == {torch.bfloat16}
