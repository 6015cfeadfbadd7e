import math

import pytest
import torch
from diffusers import CogVideoXDDIMScheduler

from vap.training.objectives.v_prediction import VPrediction

SCHEDULER = CogVideoXDDIMScheduler(
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    prediction_type="v_prediction",
    rescale_betas_zero_snr=True,
    snr_shift_scale=1.0,
)
SHAPE = (3, 2, 4, 2, 2)


def latents(seed):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


OBJECTIVE = VPrediction(SCHEDULER.alphas_cumprod)


def noisy_at(timesteps):
    return OBJECTIVE.add_noise(latents(0), latents(1), timesteps)


def loss_at(timesteps, velocity):
    return OBJECTIVE.loss(velocity, latents(0), latents(1), timesteps)


def test_loss_is_the_weighted_distance_of_clean_latents_written_out_by_hand() -> None:
    timesteps, velocity = [10, 500, 900], latents(2)
    loss = loss_at(torch.tensor(timesteps), velocity)
    for i, t in enumerate(timesteps):
        alpha_bar = float(SCHEDULER.alphas_cumprod[t])
        x0, noise, v = latents(0)[i].double(), latents(1)[i].double(), velocity[i].double()
        noisy = math.sqrt(alpha_bar) * x0 + math.sqrt(1 - alpha_bar) * noise
        estimate = math.sqrt(alpha_bar) * noisy - math.sqrt(1 - alpha_bar) * v
        expected = ((estimate - x0) ** 2).mean() / (1 - alpha_bar)
        assert float(loss[i]) == pytest.approx(float(expected), rel=1e-3)


def test_weighted_clean_distance_equals_the_plain_distance_of_velocities() -> None:
    timesteps, velocity = torch.tensor([100, 400, 999]), latents(2)
    true = SCHEDULER.get_velocity(latents(0), latents(1), timesteps)
    expected = (velocity - true).square().mean(dim=(1, 2, 3, 4))
    torch.testing.assert_close(loss_at(timesteps, velocity), expected, rtol=1e-4, atol=1e-5)


def test_noise_is_added_as_the_scheduler_of_the_pipeline_does() -> None:
    timesteps = torch.tensor([0, 321, 999])
    expected = SCHEDULER.add_noise(latents(0), latents(1), timesteps)
    torch.testing.assert_close(noisy_at(timesteps), expected)


def test_the_true_velocity_gives_the_clean_latents_back() -> None:
    timesteps = torch.tensor([3, 321, 998])
    true = SCHEDULER.get_velocity(latents(0), latents(1), timesteps)
    clean = OBJECTIVE.step(noisy_at(timesteps), true, timesteps, torch.tensor([-1, -1, -1]))
    torch.testing.assert_close(clean, latents(0), rtol=1e-4, atol=1e-5)


def test_loss_is_finite_at_both_ends_of_the_schedule() -> None:
    assert torch.isfinite(loss_at(torch.tensor([0, 0, 999]), latents(2))).all()


def test_timesteps_are_uniform_over_the_whole_schedule() -> None:
    drawn = OBJECTIVE.draw(20_000, torch.Generator().manual_seed(0))
    assert int(drawn.min()) == 0
    assert int(drawn.max()) == 999
    counts = torch.histc(drawn.float(), bins=10, min=0, max=1000)
    assert counts.min() > 1850
    assert counts.max() < 2150
