"""Guided predictions of the CogVideoX variant: both guidance passes in one batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from vap.models.cogvideox import CogVideoXVideoAsPromptTransformer3DModel
from vap.models.rope import RotaryTable
from vap.pipelines.denoise import Guidance


@dataclass(frozen=True, slots=True)
class CogVideoXConditions:
    """What the target stream is given at every step, for B videos.

    Attributes:
        text: ``[B, L, D]``.
        negative_text: Likewise, None without guidance.
        latents: Image latents, zeros after the first frame, ``[B, F, C, H, W]``.
        rotary: Tables ``[N, d]``, None for a model without rotary embedding.
        ofs: Offset condition of 1.5 checkpoints.
    """

    text: torch.Tensor
    negative_text: torch.Tensor | None
    latents: torch.Tensor
    rotary: RotaryTable | None
    ofs: torch.Tensor | None


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


class CogVideoXDenoiser:
    """Predicts v; the reference video is present in both guidance passes.

    Args:
        transformer: Backbone and expert.
        scheduler: Scales the latents where its parametrisation asks for it.
        conditions: Of the target.
        reference: Of the references; None for the backbone alone.
        guidance: Classifier-free guidance.
        strength: Reference strength, 0 … 1.
        attention_kwargs: Passed to the transformer.
    """

    def __init__(
        self,
        transformer: CogVideoXVideoAsPromptTransformer3DModel,
        scheduler: Any,
        conditions: CogVideoXConditions,
        reference: CogVideoXReference | None,
        guidance: Guidance,
        strength: float = 1.0,
        attention_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.transformer = transformer
        self.scheduler = scheduler
        self.conditions = conditions
        self.reference = reference
        self.guidance = guidance
        self.strength = strength
        self.attention_kwargs = attention_kwargs

    @property
    def tensors(self) -> dict[str, torch.Tensor | None]:
        """Conditions that a step callback may read and replace."""
        return {
            "prompt_embeds": self.conditions.text,
            "negative_prompt_embeds": self.conditions.negative_text,
        }

    def replace(self, name: str, tensor: torch.Tensor) -> None:
        """Take a condition that a step callback gave back."""
        field = {"prompt_embeds": "text", "negative_prompt_embeds": "negative_text"}[name]
        change: dict[str, Any] = {field: tensor}
        self.conditions = replace(self.conditions, **change)

    def predict(self, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """Prediction in float32 for noisy latents ``[B, F, C, H, W]``, guidance applied."""
        conditions, passes = self.conditions, 2 if self.guidance.enabled else 1
        noisy = self.scheduler.scale_model_input(torch.cat([latents] * passes), timestep)
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
