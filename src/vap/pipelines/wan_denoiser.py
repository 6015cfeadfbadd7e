"""Guided predictions of the Wan variant: conditional, then unconditional."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vap.pipelines.denoiser import GuidedDenoiser


@dataclass(frozen=True, slots=True)
class WanConditions:
    """What the target stream is given at every step, for B videos.

    Attributes:
        text: ``[B, 512, D]``.
        negative_text: Likewise, None without guidance.
        image: Image tokens ``[B, I, D]``, or None.
        latents: Mask and condition latents ``[B, 4+C, F, H, W]``.
    """

    text: torch.Tensor
    negative_text: torch.Tensor | None
    image: torch.Tensor | None
    latents: torch.Tensor


@dataclass(frozen=True, slots=True)
class WanReference:
    """What the reference stream is given at every step.

    Attributes:
        latents: Clean latents, mask and condition ``[B, R, C, F, H, W]``.
        text: ``[B, R, 512, D]``.
        image: ``[B, R, I, D]``, or None.
    """

    latents: torch.Tensor
    text: torch.Tensor
    image: torch.Tensor | None


class WanDenoiser(GuidedDenoiser[WanConditions, WanReference]):
    """Predicts the velocity; the reference video is present in both guidance passes."""

    def predict(self, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """Velocity for noisy latents ``[B, C, F, H, W]``, guidance applied."""
        conditions = self.conditions
        noisy = torch.cat([latents, conditions.latents], dim=1).to(self.transformer.dtype)
        timesteps = timestep.expand(len(latents))
        reference_text = None if self.reference is None else self.reference.text
        conditional = self._forward("cond", noisy, timesteps, conditions.text, reference_text)
        if not self.guidance.enabled:
            return conditional
        negative = conditions.negative_text
        assert negative is not None
        if reference_text is not None:
            # The negative prompt stands in for target and reference text alike.
            reference_text = negative.unsqueeze(1).expand_as(reference_text)
        unconditional = self._forward("uncond", noisy, timesteps, negative, reference_text)
        return self.guidance.combine(conditional, unconditional, timestep)

    def _forward(
        self,
        context: str,
        noisy: torch.Tensor,
        timesteps: torch.Tensor,
        text: torch.Tensor,
        reference_text: torch.Tensor | None,
    ) -> torch.Tensor:
        reference = self.reference
        with self.transformer.cache_context(context):
            return self.transformer(
                hidden_states=noisy,
                timestep=timesteps,
                encoder_hidden_states=text,
                encoder_hidden_states_image=self.conditions.image,
                reference_hidden_states=None if reference is None else reference.latents,
                reference_encoder_hidden_states=reference_text,
                reference_encoder_hidden_states_image=None
                if reference is None
                else reference.image,
                reference_strength=self.strength,
                attention_kwargs=self.attention_kwargs,
                return_dict=False,
            )[0]
