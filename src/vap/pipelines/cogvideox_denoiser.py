"""What the CogVideoX transformer is given at every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch

from vap.models.rope import RotaryTable
from vap.pipelines.denoiser import (
    CONDITIONAL,
    UNCONDITIONAL,
    UNREFERENCED,
    BatchedPasses,
    Conditions,
    GuidedDenoiser,
    Pass,
)


@dataclass(frozen=True)
class CogVideoXConditions(Conditions):
    """What the target stream of CogVideoX is given at every step."""

    latents: torch.Tensor  # Image latents, zeros after the first frame, [B, F, C, H, W]
    rotary: RotaryTable | None  # Tables [N, d], None for a model without rotary embedding
    ofs: torch.Tensor | None  # Offset condition of 1.5 checkpoints
    # Scales noisy latents where the scheduler's parametrization asks for it
    scale_input: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class CogVideoXReference:
    """What the reference stream is given at every step."""

    latents: torch.Tensor  # Clean latents and image latents [B, R, F, 2C, H, W]
    text: torch.Tensor  # [B, R, L, D]
    rotary: RotaryTable | None  # Tables [R·N, d]

    @classmethod
    def of(cls, latents: torch.Tensor, text: torch.Tensor, rotary: RotaryTable | None) -> Self:
        """The same texts ``[R, L, D]`` for every video of the latents."""
        return cls(latents, text.unsqueeze(0).expand(len(latents), *text.shape), rotary)


class CogVideoXDenoiser(GuidedDenoiser):
    """Predicts v; the reference video is present in both passes of the text."""

    stock_passes: ClassVar = BatchedPasses()
    _guided_in: ClassVar = torch.float32
    _contexts: ClassVar = (UNCONDITIONAL, CONDITIONAL, UNREFERENCED)

    def _input(self, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """Scaled noisy latents and image latents, ``[B, F, 2C, H, W]``."""
        noisy = self.conditions.scale_input(latents, timestep)
        return torch.cat([noisy, self.conditions.latents], dim=2)

    def _pass(self, context: str) -> Pass:
        conditions = {"encoder_hidden_states": self._text(context)}
        shared: dict[str, Any] = {
            "ofs": self.conditions.ofs,
            "image_rotary_emb": self.conditions.rotary,
        }
        if self.reference is not None and context != UNREFERENCED:
            conditions |= {
                "reference_hidden_states": self.reference.latents,
                "reference_encoder_hidden_states": self._reference_text(
                    context, self.reference.text
                ),
            }
            shared |= {
                "reference_rotary_emb": self.reference.rotary,
                "reference_strength": self.strength,
            }
        return Pass(context, conditions, shared)
