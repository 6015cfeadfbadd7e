"""What the Wan transformer is given at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch

from vap.pipelines.denoiser import UNREFERENCED, Conditions, GuidedDenoiser, Pass, SequentialPasses
from vap.pipelines.video_prompt import VideoPrompt


@dataclass(frozen=True)
class WanConditions(Conditions):
    """What the target stream of Wan is given at every step; texts have 512 tokens."""

    image: torch.Tensor | None  # Image tokens [B, I, D], or None
    latents: torch.Tensor  # Mask and condition latents [B, 4+C, F, H, W]


@dataclass(frozen=True, slots=True)
class WanReference:
    """What the reference stream is given at every step."""

    latents: torch.Tensor  # Clean latents, mask and condition [B, R, C, F, H, W]
    text: torch.Tensor  # [B, R, 512, D]
    image: torch.Tensor | None  # [B, R, I, D], or None

    @classmethod
    def of(cls, prompt: VideoPrompt, videos: int, device: torch.device, dtype: torch.dtype) -> Self:
        """All references of a prompt for each of so many videos."""

        def for_all(tensor: torch.Tensor) -> torch.Tensor:
            placed = tensor.to(device, dtype)
            return placed.unsqueeze(0).expand(videos, *placed.shape)

        tensors = prompt.tensors
        return cls(
            latents=for_all(torch.cat([tensors["latents"], tensors["condition"]], dim=1)),
            text=for_all(tensors["text"]),
            image=for_all(tensors["image"]) if "image" in tensors else None,
        )


class WanDenoiser(GuidedDenoiser):
    """Predicts the velocity; the reference video is present in both passes of the text."""

    stock_passes: ClassVar = SequentialPasses()

    def _input(self, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 - Wan's input is not scaled
        """Noisy latents, mask and condition, ``[B, 4+2C, F, H, W]``."""
        return torch.cat([latents, self.conditions.latents], dim=1).to(self.transformer.dtype)

    def _pass(self, context: str) -> Pass:
        conditions: dict[str, Any] = {
            "encoder_hidden_states": self._text(context),
            "encoder_hidden_states_image": self.conditions.image,
        }
        if self.reference is not None and context != UNREFERENCED:
            text = self._reference_text(context, self.reference.text)
            conditions |= {
                "reference_hidden_states": self.reference.latents,
                "reference_encoder_hidden_states": text,
                "reference_encoder_hidden_states_image": self.reference.image,
            }
        return Pass(context, conditions, {"reference_strength": self.strength})
