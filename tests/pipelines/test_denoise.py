"""The parts that the denoising loop is made of."""

import math

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from vap.pipelines.denoise import StepEnd, released_sigmas
from vap.pipelines.denoiser import Guidance


@pytest.mark.parametrize(("scale", "enabled"), [(0.0, False), (1.0, False), (1.1, True)])
def test_guidance_of_one_or_less_is_off(scale: float, enabled: bool) -> None:
    assert Guidance(scale).enabled is enabled


def test_guidance_moves_through_the_conditional_prediction() -> None:
    conditional, unconditional = torch.tensor([2.0]), torch.tensor([1.0])
    for scale, expected in ((0.0, 1.0), (1.0, 2.0), (5.0, 6.0)):
        moved = Guidance(scale).combine(conditional, unconditional, torch.tensor(500))
        assert moved.item() == expected


@pytest.mark.parametrize("timestep", [999, 500, 50, 25, 0])
def test_dynamic_guidance_is_the_released_formula(timestep: int) -> None:
    steps, scale = 50, 6.0
    expected = 1 + scale * (1 - math.cos(math.pi * ((steps - timestep) / steps) ** 5)) / 2
    dynamic = Guidance(scale, dynamic=True, steps=steps)
    assert dynamic.at(torch.tensor(timestep)) == pytest.approx(expected)
    assert Guidance(scale).at(torch.tensor(timestep)) == scale


def test_dynamic_guidance_rises_from_one_to_its_full_scale() -> None:
    dynamic = Guidance(6.0, dynamic=True, steps=50)
    scales = [dynamic.at(torch.tensor(timestep)) for timestep in range(50, -1, -1)]
    assert scales[0] == 1.0
    assert scales[-1] == pytest.approx(7.0)
    assert scales == sorted(scales)


def test_a_callback_may_only_ask_for_what_is_offered() -> None:
    offered = ["latents", "prompt_embeds"]
    assert StepEnd.of(None, ["latents"], offered).tensor_names == ("latents",)
    with pytest.raises(ValueError, match=r"names \['noise'\].*offers \['latents'"):
        StepEnd.of(None, ["latents", "noise"], offered)


def flow_unipc(**options) -> UniPCMultistepScheduler:
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, **options
    )


def test_the_released_schedule_starts_one_level_below_diffusers_own() -> None:
    released = released_sigmas(flow_unipc(), 4, 1.0)
    assert released is not None
    # Diffusers 0.34: 1 − linspace(1, 1/1000, N + 1), from the noisy end, without the last.
    expected = (1 - np.linspace(1, 1 / 1000, 5))[::-1][:-1]
    np.testing.assert_allclose(released, expected, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 4, 50])
def test_the_schedule_follows_the_strength_from_stock_to_released(steps: int) -> None:
    scheduler = flow_unipc()
    assert released_sigmas(scheduler, steps, 0.0) is None
    scheduler.set_timesteps(steps)
    stock = scheduler.sigmas.clone()
    distances = []
    for strength in (1e-6, 0.5, 1.0):
        scheduler.set_timesteps(sigmas=released_sigmas(scheduler, steps, strength))
        distances.append((scheduler.sigmas - stock).abs().max().item())
    assert distances == sorted(distances)
    assert distances[0] < 1e-5
    assert distances[-1] > 1e-4


@pytest.mark.parametrize(
    "scheduler",
    [
        FlowMatchEulerDiscreteScheduler(shift=3.0),
        UniPCMultistepScheduler(),
        flow_unipc(use_karras_sigmas=True),
        flow_unipc(use_dynamic_shifting=True, time_shift_type="exponential"),
    ],
    ids=["euler", "no flow", "karras", "dynamic shift"],
)
def test_other_schedules_are_left_alone(scheduler) -> None:
    assert released_sigmas(scheduler, 4, 1.0) is None
