"""Embedding of what a Wan transformer is given: what no step changes, and the time that does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vap.models.rope import (
    Grid,
    ReferencePositions,
    RotaryTable,
    reference_grid,
    rotary_table,
)
from vap.shapes import TEXT_TOKENS


@dataclass(frozen=True, slots=True)
class ReferenceConditions:
    """The references, embedded; context, modulation and rotary are None where there are none."""

    tokens: torch.Tensor
    context: torch.Tensor | None
    modulation: torch.Tensor | None
    rotary: RotaryTable | None
    text_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Conditions:
    """All that no step changes; context is image and text tokens ``[B, L, D]``."""

    context: torch.Tensor
    rotary: RotaryTable
    text_tokens: int
    reference: ReferenceConditions | None


class WanReferenceRotaryEmbedding(nn.Module):
    """Rotary tables of the reference videos, placed by the temporal bias."""

    def __init__(self, head_dim: int, patch_size: tuple[int, int, int]) -> None:
        super().__init__()
        space = 2 * (head_dim // 6)
        self.dims = (head_dim - 2 * space, space, space)
        self.patch_size = patch_size

    def forward(self, reference: torch.Tensor, mode: ReferencePositions) -> RotaryTable:
        """Tables for latents ``[B, R, C, F, H, W]``: cosines and sines ``[R, N, 1, d]``."""
        count = reference.shape[1]
        # As stock, angles are float64, which not every accelerator has.
        axes = [
            torch.arange(size // patch, device="cpu")
            for size, patch in zip(reference.shape[3:], self.patch_size, strict=True)
        ]
        target = Grid(*axes)
        tables = [
            rotary_table(reference_grid(target, i, count, mode), self.dims, torch.float64)
            for i in range(count)
        ]
        cosines, sines = zip(*tables, strict=True)
        cosine, sine = (
            torch.stack(table).unsqueeze(2).to(reference.device) for table in (cosines, sines)
        )
        return cosine, sine


def without_padding(text: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Texts ``[B, 512, D]`` with one token of padding, which is zero, behind the longest."""
    whole = TEXT_TOKENS["wan"]
    if text.shape[1] != whole:
        return text, whole
    used = text.any(dim=-1).any(dim=0).nonzero()
    length = int(used.max()) + 1 if len(used) else 0
    text = text[:, : length + 1]
    return text, text.shape[1]


def embed_context(
    embedder: Any, text: torch.Tensor, image: torch.Tensor | None, pair: int | None
) -> torch.Tensor:
    """Image and text tokens of a stream, ``[B, L, D]``.

    ``pair`` is the number of image tokens of a first and a last frame, for models that take both.
    """
    text = embedder.text_embedder(text)
    if image is None:
        return text
    if pair is not None:
        # The stock embedder takes first and last image as neighbors in the batch.
        image = image.reshape(-1, pair // 2, image.shape[-1])
    return torch.cat([embedder.image_embedder(image), text], dim=1)


def embed_time(
    embedder: Any, timestep: torch.Tensor, like: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Time embedding ``[B, D]`` in the precision of the text, and modulation ``[B, 6, D]``."""
    frequencies = embedder.timesteps_proj(timestep)
    precision = next(embedder.time_embedder.parameters()).dtype
    if precision.is_floating_point:
        frequencies = frequencies.to(precision)
    temb = embedder.time_embedder(frequencies).type_as(like)
    return temb, embedder.time_proj(embedder.act_fn(temb)).unflatten(1, (6, -1))


def patch_tokens(patch_embedding: Any, latents: torch.Tensor) -> torch.Tensor:
    """Patch latents ``[B, C, F, H, W]`` into tokens ``[B, N, D]``."""
    return patch_embedding(latents).flatten(2).transpose(1, 2).contiguous()
