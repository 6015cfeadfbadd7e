"""From untouched released-layout folders to the released model's outputs."""

from typing import Any

import torch
from diffusers import CogVideoXDPMScheduler, FlowMatchEulerDiscreteScheduler

from tests.pipelines.golden import Golden, load, relative_error

CLOSE = 1e-5


def released(case: Golden, **changes: Any) -> dict[str, Any]:
    steps = case.settings["num_inference_steps"]
    return case.prompted(**{"num_inference_steps": steps, **changes})


def test_latents(case: Golden) -> None:
    output = case.run(released(case))
    assert relative_error(output, case.expected["pipeline.out.latents"]) < CLOSE


def test_frames(case: Golden) -> None:
    frames = torch.from_numpy(case.run(released(case, output_type="np")))
    expected = case.expected["pipeline.out.frames"]
    assert frames.shape == expected.shape
    assert relative_error(frames, expected) < CLOSE


def test_wan_with_the_euler_scheduler(wan: Golden) -> None:
    pipeline = load("wan")
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    output = wan.run(released(wan), pipeline)
    assert relative_error(output, wan.expected["pipeline.out.latents_euler"]) < CLOSE


def test_cogvideox_with_the_dpm_scheduler(cogvideox: Golden) -> None:
    pipeline = load("cogvideox")
    pipeline.scheduler = CogVideoXDPMScheduler.from_config(pipeline.scheduler.config)
    output = cogvideox.run(released(cogvideox), pipeline)
    assert relative_error(output, cogvideox.expected["pipeline.out.latents_dpm"]) < CLOSE


def test_cogvideox_with_dynamic_guidance(cogvideox: Golden) -> None:
    output = cogvideox.run(released(cogvideox, use_dynamic_cfg=True))
    assert relative_error(output, cogvideox.expected["pipeline.out.latents_dynamic_cfg"]) < CLOSE


def test_cogvideox_with_two_references(cogvideox: Golden) -> None:
    output = cogvideox.run(
        released(
            cogvideox,
            reference_videos=[cogvideox.inputs["reference"], cogvideox.inputs["second_reference"]],
            reference_prompts=[
                *cogvideox.settings["reference_prompts"],
                cogvideox.settings["second_reference_prompt"],
            ],
        )
    )
    assert relative_error(output, cogvideox.expected["pipeline.out.latents_2refs"]) < CLOSE


def test_half_precision_stays_close(case: Golden) -> None:
    output = case.run(released(case), load(case.family, dtype="bf16")).float()
    assert relative_error(output, case.expected["pipeline.out.latents"]) < 0.05
