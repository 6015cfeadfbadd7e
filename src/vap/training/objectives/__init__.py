"""Objectives: what a network is given and what its output costs."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Objective(Protocol):
    """Noise levels, inputs and loss of a denoiser; latents have five axes, ``B`` first."""

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw a noise level for each of ``count`` samples, ``[B]``."""

    def add_noise(self, clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """Clean latents at their noise levels."""

    def loss(self, prediction: Tensor, clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """Loss of the network's output, a mean per sample ``[B]``."""

    def step(self, noisy: Tensor, prediction: Tensor, level: Tensor, to: Tensor) -> Tensor:
        """Noisy latents after one first-order, deterministic step to another level."""
