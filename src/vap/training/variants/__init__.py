"""What differs between the two variants when they train: inputs, noise and loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

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


class Variant(Protocol):
    """How a variant trains."""

    def stream(self, encodings: Mapping[str, Tensor], generator: torch.Generator) -> Stream:
        """Make a stream of encodings ``[B, …]`` or ``[B, R, …]``."""

    def noise_levels(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw a noise level for each of ``count`` samples."""

    def loss(
        self,
        model: nn.Module,
        target: Stream,
        reference: Stream | None,
        level: Tensor,
        generator: torch.Generator,
    ) -> Tensor:
        """Loss of each target ``[B]`` at its noise level, the references clean."""

    def schedule(self, steps: int) -> Tensor:
        """Noise levels ``[steps + 1]`` of a sampler of so many steps, the last one clean."""

    def check_sampler(self, scheduler: Any) -> None:
        """Refuse a pipeline's scheduler whose levels are not those of ``schedule``."""

    def set_sampler(self, scheduler: Any, steps: int) -> Tensor:
        """Make a pipeline's scheduler ready for so many steps; its levels, as of ``schedule``."""

    def noised(self, target: Stream, level: Tensor, generator: torch.Generator) -> Tensor:
        """Latents of each target at its noise level."""

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
        """What the network says of noisy latents, in its own terms and float32.

        Args:
            model: Transformer, or what wraps it.
            noisy: Latents of each target at its noise level.
            target: Their conditions.
            reference: Clean references, or None.
            level: ``[B]``.
            memory: What is kept from one step of a sampler to the next, gradients included.
            step: What this step does with the references, given with a memory.
        """

    def moved(self, noisy: Tensor, prediction: Tensor, level: Tensor, to: Tensor) -> Tensor:
        """Noisy latents carried to another level by one step of the sampler (first order)."""


def variant_of(transformer: Any, folder: Path, flow: FlowConfig) -> Variant:
    """The variant of a transformer.

    Args:
        transformer: Of either variant.
        folder: Pipeline folder that it came from; its scheduler and VAE say how to train.
        flow: Objective of the Wan variant.

    Raises:
        ValueError: If the folder's scheduler reads other predictions than ``flow`` trains.
    """
    from vap.models.wan import WanVideoAsPromptTransformer3DModel

    if isinstance(transformer, WanVideoAsPromptTransformer3DModel):
        from vap.training.variants.wan_variant import WanVariant

        return WanVariant.of(folder, flow)
    from vap.training.variants.cogvideox_variant import CogVideoXVariant

    return CogVideoXVariant.of(transformer, folder)
