"""Flow matching as the Wan variant is trained: noise levels, inputs and loss.

x_σ = (1 - σ)·x₀ + σ·ε, and the network learns the velocity ε - x₀. σ is drawn logit-normal over the
scheduler's sigmas, and the reference stays clean at the schedule's last timestep.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vap.training.sections import FlowConfig

_TRAIN_STEPS = 1000
_MASK_CHANNELS = 4


class FlowMatching:
    """The objective; levels are σ ``[B]`` in (0, 1], latents ``[B, C, F, H, W]``."""

    def __init__(self, config: FlowConfig) -> None:
        self.config = config

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Logit-normal noise levels: a place in the schedule for each sample."""
        normal = torch.randn(count, generator=generator, device=generator.device)
        place = torch.sigmoid(self.config.logit_mean + self.config.logit_std * normal)
        index = (place * _TRAIN_STEPS).long().clamp_max(_TRAIN_STEPS - 1)
        return training_sigmas(self.config.shift).to(index.device)[index]

    def add_noise(self, clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """x_σ, on the straight path from the clean latents to the noise."""
        sigma = _over_latents(level)
        return (1 - sigma) * clean + sigma * noise

    def loss(self, prediction: Tensor, clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """Mean squared error of the velocity.

        A clean-latent prediction x̂₀ has the velocity (x_σ - x̂₀)/σ, whose error is the error of x̂₀
        over σ; the floor keeps that weight finite.
        """
        if self.config.prediction == "sample":
            error = (prediction - clean) / _over_latents(level.clamp_min(self.config.sigma_floor))
        else:
            error = prediction - (noise - clean)
        return error.square().mean(dim=(1, 2, 3, 4))

    def step(self, noisy: Tensor, prediction: Tensor, level: Tensor, to: Tensor) -> Tensor:
        """x_σ moved in a straight line along the velocity."""
        start, end = _over_latents(level), _over_latents(to)
        if self.config.prediction == "sample":
            prediction = (noisy - prediction) / start.clamp_min(1 / _TRAIN_STEPS)
        return noisy + (end - start) * prediction


def training_sigmas(shift: float = 1.0) -> Tensor:
    """The 1000 sigmas of the training schedule, from 1 down to 1/1000 (before the shift)."""
    return _shifted(torch.linspace(1, 1 / _TRAIN_STEPS, _TRAIN_STEPS), shift)


def sampling_sigmas(steps: int, shift: float = 1.0) -> Tensor:
    """Sigmas ``[steps + 1]`` as diffusers' flow samplers space them, the last one 0."""
    sigma = _shifted(torch.linspace(1, 1 / _TRAIN_STEPS, steps + 1), shift)
    sigma[-1] = 0
    return sigma


def timestep_of(sigma: Tensor) -> Tensor:
    """The timestep ⌊1000·σ⌋ that a network is given, ``[B]``."""
    # A float32 product such as 1000 × 0.001 may fall just below the whole number it stands for.
    # Metal and Intel's accelerators have no doubles.
    wide = (sigma.cpu() if sigma.device.type in {"mps", "xpu"} else sigma).double()
    return (wide * _TRAIN_STEPS + 1e-4).floor().long().to(sigma.device)


def with_mask(condition: Tensor) -> Tensor:
    """The image conditioning ``[B, 4 + C, F, H, W]``: a mask of the first frame, then latents.

    Args:
        condition: Latents of the first frame followed by zeros, ``[B, C, F, H, W]``.
    """
    mask = condition.new_zeros(len(condition), _MASK_CHANNELS, *condition.shape[2:])
    mask[:, :, 0] = 1
    return torch.cat([mask, condition], dim=1)


def _shifted(sigma: Tensor, shift: float) -> Tensor:
    return shift * sigma / (1 + (shift - 1) * sigma)


def _over_latents(level: Tensor) -> Tensor:
    return level.view(-1, 1, 1, 1, 1)
