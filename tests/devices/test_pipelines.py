"""Whole generations on a GPU that is not there, and plans that hold weights in main memory."""

from dataclasses import replace

import pytest
import torch
from diffusers.hooks import apply_group_offloading

from tests.devices.fake import CUDA, fake_cuda
from tests.devices.making import FAMILIES, call_of, parts_on_the_cpu, pipeline
from vap.acceleration import offload
from vap.acceleration.padding import skip_padding
from vap.acceleration.plan import ACCELERATOR_PLANS
from vap.acceleration.quantize import quantize
from vap.acceleration.tiling import enable_tiling
from vap.acceleration.whole_clips import use_whole_clips
from vap.loading.memory import place
from vap.pipelines import base
from vap.pipelines.denoise import NOTHING, Reuse

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
PLANS = [plan for plan in ACCELERATOR_PLANS if plan.offload == "group"]
CALLS = {
    "no reference": {"references": 0},
    "two videos": {"num_videos_per_prompt": 2, "references": 2, "strength": 0.5},
    "guidance by the reference": {"reference_guidance_scale": 2.0},
}


@pytest.fixture(autouse=True)
def fingerprints_of_no_weights(monkeypatch):
    monkeypatch.setattr(base, "sampled_weights", lambda _: b"")


@pytest.mark.parametrize("family", FAMILIES)
def test_generations_stay_on_the_device(family):
    parts = parts_on_the_cpu(family)
    with fake_cuda():
        made = pipeline(family, parts)
        for name, changes in CALLS.items():
            frames = made(**call_of(made, output_type="latent", **changes)).frames
            assert frames.device == CUDA, name
        for reuse in (NOTHING, Reuse(model=2, guidance=2, references=2, warm_up=1)):
            made.keep_constants, made.reuse = reuse is not NOTHING, reuse
            call = call_of(made, num_inference_steps=6 if made.keep_constants else 2)
            assert made(**call).frames.device == CUDA


@pytest.mark.parametrize("family", FAMILIES)
def test_a_video_prompt_of_a_file_comes_to_the_device(family):
    parts = parts_on_the_cpu(family)
    with fake_cuda():
        made = pipeline(family, parts)
        call = call_of(made)
        shown = [call.pop(name) for name in ("reference_videos", "reference_prompts")]
        size = {name: call[name] for name in ("height", "width", "num_frames")}
        prompt = made.encode_video_prompt(*shown, **size)
        stored = {
            name: torch.empty(tensor.shape, dtype=tensor.dtype)
            for name, tensor in prompt.tensors.items()
        }
        assert made(**call, video_prompt=replace(prompt, tensors=stored)).frames.device == CUDA


@pytest.mark.parametrize("family", FAMILIES)
def test_what_profiles_and_plans_change_stays_on_the_device(family):
    parts = parts_on_the_cpu(family)
    with fake_cuda():
        made = pipeline(family, parts)
        skip_padding(made.text_encoder)
        use_whole_clips(made.vae)
        enable_tiling(made.vae)
        quantize(made.transformer.expert_blocks, "fp8")
        assert made(**call_of(made)).frames.device == CUDA


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_weights_that_wait_come_before_they_are_used(family, plan, monkeypatch):
    """Streams, events and pinning left out."""
    for name in ("_pin", "_side_stream", "_event", "_computing_stream"):
        monkeypatch.setattr(offload, name, lambda _: None)
    monkeypatch.setattr(offload._Packed, "take_back", lambda _: None)

    def in_order(module: torch.nn.Module, device: torch.device) -> None:
        apply_group_offloading(module, onload_device=device, offload_type="leaf_level")

    monkeypatch.setattr(offload, "offload_layers", in_order)
    parts = parts_on_the_cpu(family)
    with fake_cuda():
        made = pipeline(family, parts, CPU)
        enable_tiling(made.vae)
        if plan.quantize:
            quantize(made.transformer.expert_blocks, plan.quantize)
        place(made, plan, CUDA)
        made.keep_constants = plan.keep_constants
        assert made._execution_device == CUDA
        for output in ("latent", "pt"):
            assert made(**call_of(made, output_type=output)).frames.device == CUDA
        waiting = {
            tensor.device for b in made.transformer.expert_blocks for tensor in b.parameters()
        }
    assert waiting == {CPU}
