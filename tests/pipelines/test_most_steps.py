"""Schedulers find a step by its timestep, so no two steps may share one."""

import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, UniPCMultistepScheduler
from diffusers.schedulers import CogVideoXDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from vap.pipelines.denoise import set_flow_timesteps
from vap.shapes import check_steps, most_steps


def distinct(scheduler) -> bool:
    times = scheduler.timesteps.tolist()
    return len(set(times)) == len(times)


@given(
    shift=st.floats(1 / 16, 16),
    strength=st.floats(0, 1),
    even=st.booleans(),
    share=st.floats(0.01, 1),
)
def test_flow_timesteps_are_distinct(shift, strength, even, share):
    scheduler = UniPCMultistepScheduler(
        use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=shift
    )
    steps = max(1, int(share * most_steps(scheduler.config)))
    set_flow_timesteps(scheduler, steps, strength, torch.device("cpu"), even=even)
    assert distinct(scheduler)


@pytest.mark.parametrize("kind", [CogVideoXDDIMScheduler, CogVideoXDPMScheduler])
@pytest.mark.parametrize("spacing", ["trailing", "linspace", "leading"])
def test_timesteps_of_diffusion_are_distinct(kind, spacing):
    scheduler = kind(timestep_spacing=spacing)
    scheduler.set_timesteps(most_steps(scheduler.config))
    assert distinct(scheduler)


def test_one_step_more_than_the_bundled_model_has_timesteps_for_is_refused():
    config = {"num_train_timesteps": 1000, "use_flow_sigmas": True, "flow_shift": 5.0}
    check_steps(200, config)
    with pytest.raises(ValueError, match="num_inference_steps=201"):
        check_steps(201, config)
    scheduler = UniPCMultistepScheduler(**config, prediction_type="flow_prediction")
    set_flow_timesteps(scheduler, 201, 0.0, torch.device("cpu"))
    assert not distinct(scheduler)
