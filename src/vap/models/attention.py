"""Joint self-attention of the target and reference streams (paper section 3.2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn

Coupling: TypeAlias = Literal["joint", "one-way", "addition"]
"""How the streams meet: both in one attention, as in the paper; the target attends to a reference
that does not see it; or the reference stream is added without attention."""


@dataclass(frozen=True, slots=True)
class Projections:
    """Query, key and value of one stream, each ``[B, N, heads, d]``, normalized and rotated."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor

    def without_queries(self) -> Projections:
        """The same keys and values, for no token to ask: ``query`` is ``[B, 0, heads, d]``."""
        return Projections(self.query[:, :0].clone(), self.key, self.value)


class SharedAttention(ABC):
    """Attention over tokens that are spread over processes; given in place of a parallel_config."""

    @abstractmethod
    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, backend: Any
    ) -> torch.Tensor:
        """Attention of this process's queries to the tokens of all: each ``[B, N, heads, d]``."""


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    backend: Any = None,
    parallel_config: Any = None,
) -> torch.Tensor:
    """Full, unmasked attention.

    Args:
        query: ``[B, N, heads, d]``.
        key: ``[B, M, heads, d]``.
        value: Likewise.
        backend: Attention backend name, as in diffusers' dispatcher, or a function of query, key
            and value that takes its place wherever one process has all tokens.
        parallel_config: Context-parallel configuration as in diffusers' dispatcher, or a
            :class:`SharedAttention`.

    Returns:
        ``[B, N, heads, d]``.
    """
    # CUDA's autocast normalizes queries and keys in float32, and leaves values in half precision.
    query, key = query.to(value.dtype), key.to(value.dtype)
    if isinstance(parallel_config, SharedAttention):
        return parallel_config.attend(query, key, value, backend)
    if callable(backend):
        if parallel_config is None:
            return backend(query, key, value)
        backend = None  # what is spread over processes needs one that knows of them
    return dispatch_attention_fn(
        query, key, value, backend=backend, parallel_config=parallel_config
    )


def joint_attention(
    streams: list[Projections],
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
        streams: The target, N tokens, and the reference, M tokens. The list is emptied: joined
            tensors take the place of the streams' own one by one, so that, where nobody else
            holds these, memory need not have room for all of both.
        strength: How much the target reads the reference, 0 … 1.
        reference_output: False where nothing reads the reference stream any more; its queries
            are then left out.
        backend: As for :func:`attend`.
        parallel_config: Likewise.

    Returns:
        Target output ``[B, N, heads, d]`` and reference output ``[B, M, heads, d]`` or None.
    """
    target, reference = streams
    streams.clear()
    how: dict[str, Any] = {"backend": backend, "parallel_config": parallel_config}
    alone = attend(target.query, target.key, target.value, **how) if strength < 1.0 else None
    tokens = target.query.shape[1]
    # Diffusers' Ulysses exchanges heads for tokens assuming as many queries as keys.
    all_queries = reference_output or not (
        parallel_config is None or isinstance(parallel_config, SharedAttention)
    )
    queries = [target.query, reference.query] if all_queries else [target.query]
    keys, values = [target.key, reference.key], [target.value, reference.value]
    del target, reference
    heads_first = getattr(backend, "heads_first", False)
    whole = (_joined(parts, heads_first=heads_first) for parts in (queries, keys, values))
    output = attend(*whole, **how)
    target_output = output[:, :tokens]
    if alone is not None:
        target_output = torch.lerp(alone, target_output, strength)
    return target_output, output[:, tokens:] if reference_output else None


def _joined(parts: list[torch.Tensor], *, heads_first: bool) -> torch.Tensor:
    """Parts ``[B, …, heads, d]`` one after the other; the list is emptied, to let go of them.

    With ``heads_first`` they lie in memory head by head, which spares a kernel its own copy.
    """
    if heads_first:
        whole = torch.cat([part.transpose(1, 2) for part in parts], dim=2).transpose(1, 2)
    else:
        whole = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
    parts.clear()
    return whole


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
