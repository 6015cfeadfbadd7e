"""v-prediction as the CogVideoX variant is trained: noise levels, inputs and loss.

x_t = √ᾱ_t·x₀ + √(1-ᾱ_t)·ε, and the network learns the velocity v = √ᾱ_t·ε - √(1-ᾱ_t)·x₀. The loss
compares clean latents, weighted by 1/(1-ᾱ_t). The reference gets the target's timestep.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DiffusedBatch:
    """Targets at their noise levels.

    Attributes:
        noisy: x_t ``[B, F, C, H, W]``.
        noise: ε of the same shape.
        timestep: ``[B]``, 0 … 999.
        alpha_bar: ᾱ_t ``[B]`` in [0, 1).
    """

    noisy: Tensor
    noise: Tensor
    timestep: Tensor
    alpha_bar: Tensor


def draw_timesteps(count: int, train_steps: int, generator: torch.Generator) -> Tensor:
    """Uniform timesteps ``[B]`` in 0 … ``train_steps`` - 1."""
    return torch.randint(train_steps, (count,), generator=generator, device=generator.device)


def diffuse(clean: Tensor, timestep: Tensor, alphas_bar: Tensor, noise: Tensor) -> DiffusedBatch:
    """Add noise to clean latents.

    Args:
        clean: x₀ ``[B, F, C, H, W]``.
        timestep: ``[B]``.
        alphas_bar: ᾱ of every timestep, the scheduler's ``alphas_cumprod``.
        noise: ε of the shape of ``clean``.
    """
    alpha_bar = alphas_bar.to(clean.device)[timestep].float()
    signal, spread = _factors(alpha_bar)
    return DiffusedBatch(signal * clean + spread * noise, noise, timestep, alpha_bar)


def clean_estimate(velocity: Tensor, batch: DiffusedBatch) -> Tensor:
    """x̂₀ = √ᾱ_t·x_t - √(1-ᾱ_t)·v, of the shape of ``velocity``."""
    return _estimates(batch.noisy, velocity, batch.alpha_bar)[0]


def ddim_step(noisy: Tensor, velocity: Tensor, alpha_bar: Tensor, to: Tensor) -> Tensor:
    """x_s = √ᾱ_s·x̂₀ + √(1-ᾱ_s)·ε̂, the deterministic step (Song et al. 2021, eq. 12 with σ = 0).

    Args:
        noisy: x_t ``[B, F, C, H, W]``.
        velocity: The network's output.
        alpha_bar: ᾱ_t ``[B]``.
        to: ᾱ_s ``[B]``.
    """
    clean, noise = _estimates(noisy, velocity, alpha_bar)
    signal, spread = _factors(to)
    return signal * clean + spread * noise


def v_prediction_loss(velocity: Tensor, clean: Tensor, batch: DiffusedBatch) -> Tensor:
    """Mean squared error of the clean estimate over 1-ᾱ_t, a mean per sample ``[B]``.

    Args:
        velocity: The network's output ``[B, F, C, H, W]``.
        clean: x₀.
        batch: What the network was given.
    """
    error = (clean_estimate(velocity, batch) - clean).square().mean(dim=(1, 2, 3, 4))
    return error / (1 - batch.alpha_bar)


def _estimates(noisy: Tensor, velocity: Tensor, alpha_bar: Tensor) -> tuple[Tensor, Tensor]:
    """x̂₀ and ε̂ of a velocity."""
    signal, spread = _factors(alpha_bar)
    return signal * noisy - spread * velocity, spread * noisy + signal * velocity


def _factors(alpha_bar: Tensor) -> tuple[Tensor, Tensor]:
    """√ᾱ and √(1-ᾱ), broadcast over latents."""
    level = alpha_bar.view(-1, 1, 1, 1, 1)
    return level.sqrt(), (1 - level).sqrt()
