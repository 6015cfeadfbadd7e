"""Flow matching as the Wan variant is trained: noise levels, inputs and loss.

x_σ = (1 - σ)·x₀ + σ·ε, and the network learns the velocity ε - x₀. σ is drawn logit-normal over the
scheduler's sigmas, and the reference stays clean at the schedule's last timestep.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vap.training.sections import FlowConfig

_TRAIN_STEPS = 1000
# The timestep of the smallest training sigma, floor(1000·(1/1000)): constant, as at inference.
REFERENCE_TIMESTEP = 1
_MASK_CHANNELS = 4


@dataclass(frozen=True)
class NoisyBatch:
    """Targets at their noise levels.

    Attributes:
        noisy: x_σ ``[B, C, F, H, W]``.
        noise: ε of the same shape.
        sigma: ``[B]`` in (0, 1].
        timestep: ``[B]``, ⌊1000·σ⌋.
    """

    noisy: Tensor
    noise: Tensor
    sigma: Tensor
    timestep: Tensor


def training_sigmas(shift: float = 1.0) -> Tensor:
    """The 1000 sigmas of the training schedule, from 1 down to 1/1000 (before the shift)."""
    return _shifted(torch.linspace(1, 1 / _TRAIN_STEPS, _TRAIN_STEPS), shift)


def sampling_sigmas(steps: int, shift: float = 1.0) -> Tensor:
    """Sigmas ``[steps + 1]`` as diffusers' flow samplers space them, the last one 0."""
    sigma = _shifted(torch.linspace(1, 1 / _TRAIN_STEPS, steps + 1), shift)
    sigma[-1] = 0
    return sigma


def flow_step(
    noisy: Tensor, prediction: Tensor, sigma: Tensor, to: Tensor, config: FlowConfig
) -> Tensor:
    """x_σ carried straight along the velocity to another level.

    Args:
        noisy: x_σ ``[B, C, F, H, W]``.
        prediction: The network's output.
        sigma: ``[B]``.
        to: ``[B]``.
        config: Which of velocity and sample the network predicts.
    """
    start, end = (each.view(-1, 1, 1, 1, 1) for each in (sigma, to))
    if config.prediction == "sample":
        prediction = (noisy - prediction) / start.clamp_min(1 / _TRAIN_STEPS)
    return noisy + (end - start) * prediction


def draw_sigmas(count: int, config: FlowConfig, generator: torch.Generator) -> Tensor:
    """Logit-normal noise levels ``[B]``: a place in the schedule for each sample."""
    normal = torch.randn(count, generator=generator, device=generator.device)
    place = torch.sigmoid(config.logit_mean + config.logit_std * normal)
    index = (place * _TRAIN_STEPS).long().clamp_max(_TRAIN_STEPS - 1)
    return training_sigmas(config.shift).to(index.device)[index]


def add_noise(clean: Tensor, sigma: Tensor, noise: Tensor) -> NoisyBatch:
    """Move clean latents ``[B, C, F, H, W]`` along the straight path to the noise."""
    level = sigma.view(-1, 1, 1, 1, 1)
    return NoisyBatch((1 - level) * clean + level * noise, noise, sigma, timestep_of(sigma))


def timestep_of(sigma: Tensor) -> Tensor:
    """The timestep ⌊1000·σ⌋ that a network is given, ``[B]``."""
    # A float32 product such as 1000 × 0.001 may fall just below the whole number it stands for.
    # Metal and Intel's accelerators have no doubles.
    wide = (sigma.cpu() if sigma.device.type in {"mps", "xpu"} else sigma).double()
    return (wide * _TRAIN_STEPS + 1e-4).floor().long().to(sigma.device)


def flow_loss(prediction: Tensor, clean: Tensor, batch: NoisyBatch, config: FlowConfig) -> Tensor:
    """Mean squared error of the velocity ``[B]``, a mean per sample.

    A clean-latent prediction x̂₀ has the velocity (x_σ - x̂₀)/σ, whose error is the error of x̂₀
    over σ; the floor keeps that weight finite.

    Args:
        prediction: The network's output ``[B, C, F, H, W]``.
        clean: x₀.
        batch: What the network was given.
        config: Which of the two it predicts.
    """
    if config.prediction == "sample":
        floor = batch.sigma.clamp_min(config.sigma_floor)
        error = (prediction - clean) / floor.view(-1, 1, 1, 1, 1)
    else:
        error = prediction - (batch.noise - clean)
    return error.square().mean(dim=(1, 2, 3, 4))


def with_condition(latents: Tensor, condition: Tensor) -> Tensor:
    """The transformer's input: latents, first-frame mask and condition along the channels.

    Args:
        latents: ``[B, C, F, H, W]``.
        condition: Latents of the first frame followed by zeros, of the same shape.

    Returns:
        ``[B, C + 4 + C, F, H, W]``.
    """
    batch, _, frames, height, width = latents.shape
    mask = latents.new_zeros(batch, _MASK_CHANNELS, frames, height, width)
    mask[:, :, 0] = 1
    return torch.cat([latents, mask, condition], dim=1)


def _shifted(sigma: Tensor, shift: float) -> Tensor:
    return shift * sigma / (1 + (shift - 1) * sigma)
