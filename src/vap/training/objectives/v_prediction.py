"""v-prediction as the CogVideoX variant is trained: noise levels, inputs and loss.

x_t = √ᾱ_t·x₀ + √(1-ᾱ_t)·ε, and the network learns the velocity v = √ᾱ_t·ε - √(1-ᾱ_t)·x₀. The loss
compares clean latents, weighted by 1/(1-ᾱ_t). The reference gets the target's timestep.
"""

from __future__ import annotations

import torch
from torch import Tensor


class VPrediction:
    """The objective; levels are timesteps ``[B]``, -1 for clean, latents ``[B, F, C, H, W]``.

    Args:
        alphas_bar: ᾱ of every timestep, the scheduler's ``alphas_cumprod``.
    """

    def __init__(self, alphas_bar: Tensor) -> None:
        self._train_steps = len(alphas_bar)
        # One more entry at the end, so that -1 is clean.
        self._alphas_bar = torch.cat([alphas_bar, alphas_bar.new_ones(1)])

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Uniform timesteps."""
        device = generator.device
        return torch.randint(self._train_steps, (count,), generator=generator, device=device)

    def add_noise(self, clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """x_t."""
        signal, spread = self._factors(level)
        return signal * clean + spread * noise

    def loss(self, prediction: Tensor, clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """Mean squared error of x̂₀ = √ᾱ_t·x_t - √(1-ᾱ_t)·v, over 1-ᾱ_t."""
        signal, spread = self._factors(level)
        estimate = signal * self.add_noise(clean, noise, level) - spread * prediction
        error = (estimate - clean).square().mean(dim=(1, 2, 3, 4))
        return error / (1 - self._alpha_bar(level))

    def step(self, noisy: Tensor, prediction: Tensor, level: Tensor, to: Tensor) -> Tensor:
        """x_s = √ᾱ_s·x̂₀ + √(1-ᾱ_s)·ε̂ (DDIM: Song et al. 2021, eq. 12 with σ = 0)."""
        signal, spread = self._factors(level)
        clean, noise = signal * noisy - spread * prediction, spread * noisy + signal * prediction
        return self.add_noise(clean, noise, to)

    def _alpha_bar(self, level: Tensor) -> Tensor:
        return self._alphas_bar.to(level.device)[level].float()

    def _factors(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """√ᾱ and √(1-ᾱ), broadcast over latents."""
        alpha_bar = self._alpha_bar(level).view(-1, 1, 1, 1, 1)
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
