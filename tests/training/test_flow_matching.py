from __future__ import annotations

import pytest
import torch

from vap.training.objectives.flow_matching import (
    FlowMatching,
    timestep_of,
    training_sigmas,
    with_mask,
)
from vap.training.sections import FlowConfig


@pytest.fixture
def latents():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 4, 2, 6, 8, generator=generator)


@pytest.fixture
def noise():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, 4, 2, 6, 8, generator=generator)


def test_loss_equals_the_formula_written_by_hand(latents, noise):
    sigma = torch.tensor([0.25, 0.5, 1.0])
    prediction = torch.zeros_like(latents)

    loss = FlowMatching(FlowConfig()).loss(prediction, latents, noise, sigma)

    for i in range(3):
        assert loss[i].item() == pytest.approx(((noise[i] - latents[i]) ** 2).mean().item())


def test_noisy_latents_lie_on_the_straight_path(latents, noise):
    sigma = torch.tensor([0.25, 0.5, 1.0])
    noisy = FlowMatching(FlowConfig()).add_noise(latents, noise, sigma)

    assert torch.allclose(noisy[0], 0.75 * latents[0] + 0.25 * noise[0])
    assert torch.equal(noisy[2], noise[2])
    assert timestep_of(sigma).tolist() == [250, 500, 1000]


def test_a_sample_prediction_costs_what_its_velocity_costs(latents, noise):
    sigma, clean = torch.tensor([0.3, 0.6, 0.9]), latents + 0.1
    of_samples, of_velocities = (
        FlowMatching(FlowConfig(prediction=name)) for name in ("sample", "velocity")
    )
    noisy = of_samples.add_noise(latents, noise, sigma)
    velocity = (noisy - clean) / sigma.view(-1, 1, 1, 1, 1)

    as_sample = of_samples.loss(clean, latents, noise, sigma)
    as_velocity = of_velocities.loss(velocity, latents, noise, sigma)

    assert torch.allclose(as_sample, as_velocity, rtol=1e-4)


def test_the_sigma_floor_bounds_the_weight_of_a_sample_prediction(latents, noise):
    objective = FlowMatching(FlowConfig(prediction="sample", sigma_floor=0.5))

    loss = objective.loss(latents + 1, latents, noise, torch.full((3,), 0.001))

    assert torch.allclose(loss, torch.full((3,), 4.0))


def test_every_training_sigma_has_the_timestep_of_its_place():
    timesteps = timestep_of(training_sigmas())

    assert timesteps.tolist() == list(range(1000, 0, -1))
    assert timesteps[-1].item() == 1


def test_shift_moves_levels_towards_noise():
    plain, shifted = training_sigmas(), training_sigmas(3.0)

    assert shifted[500].item() == pytest.approx(3 * plain[500] / (1 + 2 * plain[500]))
    assert (shifted[1:] > plain[1:]).all()


def test_sigmas_are_logit_normal():
    config = FlowConfig(logit_mean=0.5, logit_std=1.5)

    sigma = FlowMatching(config).draw(20_000, torch.Generator().manual_seed(0))

    # A place p in the schedule, which runs from noise to clean, is the level 1 - p.
    logits = torch.logit((1 - sigma).clamp(1e-4, 1 - 1e-4))
    assert logits.mean().item() == pytest.approx(0.5, abs=0.05)
    assert logits.std().item() == pytest.approx(1.5, abs=0.05)


def test_the_condition_follows_a_mask_of_the_first_frame(noise):
    joined = with_mask(noise)

    assert torch.equal(joined[:, 4:], noise)
    assert (joined[:, :4, 0] == 1).all()
    assert (joined[:, :4, 1:] == 0).all()


def test_timesteps_are_the_same_where_there_are_no_doubles(monkeypatch):
    class OnMps(torch.Tensor):
        device = torch.device("mps")

        def double(self):
            pytest.fail("a Mac's accelerator has no doubles")

        def cpu(self):
            return self.as_subclass(torch.Tensor)

    sigmas = training_sigmas(3.0)
    expected, moved = timestep_of(sigmas), []
    monkeypatch.setattr(torch.Tensor, "to", lambda here, place: moved.append(place) or here)
    assert torch.equal(timestep_of(sigmas.as_subclass(OnMps)), expected)
    assert moved == [torch.device("mps")]
