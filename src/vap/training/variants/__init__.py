"""What differs between the two variants when they train: inputs, noise and loss."""

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
from vap.training.sections import FlowConfig


@dataclass(frozen=True)
class Stream:
    """Clips as a transformer takes them; with R references every tensor is ``[B, R, …]``.

    Attributes:
        latents: Clean latents, ``[B, C, F, H, W]`` (Wan) or ``[B, F, C, H, W]`` (CogVideoX).
        condition: What stands beside them along the channels.
        text: ``[B, L, D]``.
        image: Image tokens ``[B, I, D]`` (Wan), or None.
        channels: Axis of the channels, counted from the end.
    """

    latents: Tensor
    condition: Tensor
    text: Tensor
    image: Tensor | None = None
    channels: int = -4

    @cached_property
    def clean(self) -> Tensor:
        """Latents and condition side by side: the same tensor whenever it is asked for."""
        return self.beside_condition(self.latents)

    def beside_condition(self, latents: Tensor) -> Tensor:
        """Latents of this stream, noisy ones say, and its condition."""
        return torch.cat([latents, self.condition], dim=self.channels)


class Variant(ABC):
    """How a variant trains."""

    @abstractmethod
    def stream(self, encodings: Mapping[str, Tensor], generator: torch.Generator) -> Stream:
        """Make a stream of encodings ``[B, …]`` or ``[B, R, …]``."""

    @abstractmethod
    def noise_levels(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw a noise level for each of ``count`` samples."""

    @abstractmethod
    def add_noise(self, clean: Tensor, level: Tensor, noise: Tensor) -> Any:
        """Clean latents at their noise levels, as the objective has them."""

    @abstractmethod
    def error(self, prediction: Tensor, clean: Tensor, noised: Any) -> Tensor:
        """Loss of each prediction ``[B]``."""

    @abstractmethod
    def schedule(self, steps: int) -> Tensor:
        """Noise levels ``[steps + 1]`` of a sampler of so many steps, the last one clean."""

    @abstractmethod
    def check_sampler(self, scheduler: Any) -> None:
        """Refuse a pipeline's scheduler whose levels are not those of ``schedule``."""

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

    @abstractmethod
    def moved(self, noisy: Tensor, prediction: Tensor, level: Tensor, to: Tensor) -> Tensor:
        """Noisy latents after one first-order step of the sampler to another level."""

    def loss(
        self,
        model: nn.Module,
        target: Stream,
        reference: Stream | None,
        level: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """Loss of each target ``[B]`` at its noise level, the references clean."""
        noised = self._with_noise(target, level, generator)
        prediction = self.predict(model, noised.noisy, target, reference, level)
        return self.error(prediction, target.latents, noised)

    def noised(self, target: Stream, level: Tensor, generator: torch.Generator) -> Tensor:
        """Latents of each target at its noise level."""
        noisy: Tensor = self._with_noise(target, level, generator).noisy
        return noisy

    def _with_noise(self, target: Stream, level: Tensor, generator: torch.Generator) -> Any:
        clean = target.latents
        noise = torch.randn(clean.shape, generator=generator, device=clean.device)
        return self.add_noise(clean, level, noise)


def variant_of(transformer: Any, folder: Path, flow: FlowConfig) -> Variant:
    """The variant of a transformer."""
    from vap.models.wan import WanVideoAsPromptTransformer3DModel

    if isinstance(transformer, WanVideoAsPromptTransformer3DModel):
        from vap.training.variants.wan_variant import WanVariant

        return WanVariant.of(folder, flow)
    from vap.training.variants.cogvideox_variant import CogVideoXVariant

    return CogVideoXVariant.of(transformer, folder)
