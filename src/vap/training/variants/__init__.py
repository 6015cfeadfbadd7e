"""What differs between the two variants when they train: inputs, objective and sampler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vap.models.reference_cache import GenerationMemory, StepMemory
from vap.training.objectives import Objective
from vap.training.sections import FlowConfig


@dataclass(frozen=True)
class Stream:
    """Clips as a transformer takes them; with R references every tensor is ``[B, R, …]``."""

    latents: Tensor  # clean latents, ``[B, C, F, H, W]`` (Wan) or ``[B, F, C, H, W]`` (CogVideoX)
    condition: Tensor  # conditioning latents, joined to them along the channels
    text: Tensor  # ``[B, L, D]``
    image: Tensor | None = None  # image tokens ``[B, I, D]`` (Wan), or None
    channels: int = -4  # axis of the channels, counted from the end

    @cached_property
    def clean(self) -> Tensor:
        """Latents and condition side by side: always the same tensor."""
        return self.beside_condition(self.latents)

    def beside_condition(self, latents: Tensor) -> Tensor:
        """Latents of this stream, such as noisy ones, and its condition."""
        return torch.cat([latents, self.condition], dim=self.channels)


class Variant(ABC):
    """How a variant trains."""

    objective: Objective

    @abstractmethod
    def stream(self, encodings: Mapping[str, Tensor], generator: torch.Generator) -> Stream:
        """Make a stream of encodings ``[B, …]`` or ``[B, R, …]``."""

    @abstractmethod
    def schedule(self, scheduler: Any, steps: int) -> Tensor:
        """Levels ``[steps + 1]`` of a first-order sampler, the last one clean.

        Those of the pipeline's scheduler, which is refused where the recipe asks for others.
        """

    @abstractmethod
    def set_sampler(self, scheduler: Any, steps: int) -> Tensor:
        """Set a pipeline's scheduler to so many steps; return its levels, as ``schedule`` does."""

    @abstractmethod
    def predict(
        self,
        model: nn.Module,
        noisy: Tensor,
        target: Stream,
        reference: Stream | None,
        level: Tensor,
        memory: GenerationMemory | None = None,
        step: StepMemory | None = None,
    ) -> Tensor:
        """The network's output for noisy latents, in float32.

        Args:
            model: Transformer, or what wraps it.
            noisy: Latents of each target at its noise level.
            target: Their text, image and conditioning latents.
            reference: Clean references, or None.
            level: ``[B]``.
            memory: What is kept from one step of a sampler to the next, gradients included.
            step: What this step does with the references, given with a memory.
        """

    def loss(
        self,
        model: nn.Module,
        target: Stream,
        reference: Stream | None,
        level: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """Loss of each target ``[B]`` at its noise level, the references clean."""
        clean, noise = target.latents, noise_like(target.latents, generator)
        noisy = self.objective.add_noise(clean, noise, level)
        prediction = self.predict(model, noisy, target, reference, level)
        return self.objective.loss(prediction, clean, noise, level)


def noise_like(latents: Tensor, generator: torch.Generator) -> Tensor:
    """Noise of the shape of some latents, on their device."""
    return torch.randn(latents.shape, generator=generator, device=latents.device)


def variant_of(transformer: Any, folder: Path, flow: FlowConfig) -> Variant:
    """The variant of a transformer."""
    from vap.models.wan import WanVideoAsPromptTransformer3DModel

    if isinstance(transformer, WanVideoAsPromptTransformer3DModel):
        from vap.training.predictions import flow_for
        from vap.training.variants.wan_variant import WanVariant

        return WanVariant(flow_for(flow, folder))
    from vap.training.variants.cogvideox_variant import CogVideoXVariant

    return CogVideoXVariant.of(transformer, folder)
