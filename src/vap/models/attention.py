"""Joint self-attention of the target and reference streams (paper section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn


@dataclass(frozen=True, slots=True)
class Projections:
    """Query, key and value of one stream, each ``[B, N, heads, d]``, normalised and rotated."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor


def joint_attention(
    target: Projections,
    reference: Projections,
    *,
    strength: float = 1.0,
    reference_output: bool = True,
    backend: Any = None,
    parallel_config: Any = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """One full, unmasked attention over both streams' tokens, target first, then split again.

    With ``strength`` s below one the target's output is s times this joint attention plus
    (1 − s) times the attention over its own tokens alone, which is what the backbone computes;
    so s = 0 is the backbone and s = 1 the released model, with no mask that would rule out
    fast attention kernels.

    Args:
        target: The target stream, N tokens.
        reference: The reference stream, M tokens.
        strength: How much the target reads the reference, 0 … 1.
        reference_output: False where nothing reads the reference stream any more; its queries
            are then left out.
        backend: Attention backend name, as in diffusers' dispatcher.
        parallel_config: Context-parallel configuration, as in diffusers' dispatcher.

    Returns:
        Target output ``[B, N, heads, d]`` and reference output ``[B, M, heads, d]`` or None.
    """
    tokens = target.query.shape[1]
    # Ulysses exchanges heads for tokens assuming as many queries as keys.
    all_queries = reference_output or parallel_config is not None
    query = torch.cat([target.query, reference.query], dim=1) if all_queries else target.query
    output = dispatch_attention_fn(
        query,
        torch.cat([target.key, reference.key], dim=1),
        torch.cat([target.value, reference.value], dim=1),
        backend=backend,
        parallel_config=parallel_config,
    )
    target_output = output[:, :tokens]
    if strength < 1.0:
        alone = dispatch_attention_fn(
            target.query,
            target.key,
            target.value,
            backend=backend,
            parallel_config=parallel_config,
        )
        target_output = torch.lerp(alone, target_output, strength)
    return target_output, output[:, tokens:] if reference_output else None


def check_strength(strength: float) -> None:
    """Refuse a reference strength outside 0 … 1.

    Raises:
        ValueError: Saying what was given.
    """
    if not 0.0 <= strength <= 1.0:
        message = (
            f"The reference strength is {strength}; it must lie between 0 (no reference) and "
            "1 (the trained model)."
        )
        raise ValueError(message)


def require_for_each_reference(
    name: str, tokens: torch.Tensor | None, references: torch.Size, what: str
) -> torch.Tensor:
    """See that there is one set of tokens for each reference.

    Args:
        name: Of the argument.
        tokens: What was given for it; ``[B, R, …]`` is wanted.
        references: B and R.
        what: What each reference needs, with its axes, as in ``"text, [B, R, L, D]"``.

    Raises:
        ValueError: If tokens are missing or of another B or R.
    """
    if tokens is None or tokens.shape[:2] != references:
        given = "missing" if tokens is None else f"of shape {list(tokens.shape)}"
        message = (
            f"{name} is {given}: each reference needs its {what} with B, R = {list(references)}."
        )
        raise ValueError(message)
    return tokens
