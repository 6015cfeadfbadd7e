"""Guided predictions of the CogVideoX variant: both guidance passes in one batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from vap.models.rope import RotaryTable
from vap.pipelines.denoiser import GuidedDenoiser


@dataclass(frozen=True, slots=True)
class CogVideoXConditions:
    """What the target stream is given at every step, for B videos.

    Attributes:
        text: ``[B, L, D]``.
        negative_text: Likewise, None without guidance.
        latents: Image latents, zeros after the first frame, ``[B, F, C, H, W]``.
        rotary: Tables ``[N, d]``, None for a model without rotary embedding.
        ofs: Offset condition of 1.5 checkpoints.
        scale_input: Scales noisy latents where the scheduler's parametrisation asks for it.
    """

    text: torch.Tensor
    negative_text: torch.Tensor | None
    latents: torch.Tensor
    rotary: RotaryTable | None
    ofs: torch.Tensor | None
    scale_input: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class CogVideoXReference:
    """What the reference stream is given at every step.

    Attributes:
        latents: Clean latents and image latents ``[B, R, F, 2C, H, W]``.
        text: ``[B, R, L, D]``.
        rotary: Tables ``[R·N, d]``.
    """

    latents: torch.Tensor
    text: torch.Tensor
    rotary: RotaryTable | None


class CogVideoXDenoiser(GuidedDenoiser[CogVideoXConditions, CogVideoXReference]):
    """Predicts v; the reference video is present in both guidance passes."""

    def predict(self, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """Prediction in float32 for noisy latents ``[B, F, C, H, W]``, guidance applied."""
        conditions, passes = self.conditions, 2 if self.guidance.enabled else 1
        noisy = conditions.scale_input(torch.cat([latents] * passes), timestep)
        noisy = torch.cat([noisy, torch.cat([conditions.latents] * passes)], dim=2)
        with self.transformer.cache_context("cond_uncond"):
            prediction = self.transformer(
                hidden_states=noisy,
                encoder_hidden_states=self._text(),
                timestep=timestep.expand(len(noisy)),
                ofs=conditions.ofs,
                image_rotary_emb=conditions.rotary,
                **self._reference_arguments(passes),
                attention_kwargs=self.attention_kwargs,
                return_dict=False,
            )[0].float()
        if passes == 1:
            return prediction
        unconditional, conditional = prediction.chunk(2)
        return self.guidance.combine(conditional, unconditional, timestep)

    def _text(self) -> torch.Tensor:
        """Text of both passes, the unconditional first."""
        if not self.guidance.enabled:
            return self.conditions.text
        assert self.conditions.negative_text is not None
        return torch.cat([self.conditions.negative_text, self.conditions.text])

    def _reference_arguments(self, passes: int) -> dict[str, Any]:
        """The reference stream of both passes."""
        reference = self.reference
        if reference is None:
            return {}
        text = reference.text
        if passes > 1:
            # The negative prompt stands in for target and reference text alike.
            assert self.conditions.negative_text is not None
            negative = self.conditions.negative_text.unsqueeze(1).expand_as(text)
            text = torch.cat([negative, text])
        return {
            "reference_hidden_states": torch.cat([reference.latents] * passes),
            "reference_encoder_hidden_states": text,
            "reference_rotary_emb": reference.rotary,
            "reference_strength": self.strength,
        }
