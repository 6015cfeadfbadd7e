"""Step callbacks see and change what diffusers' own pipelines let them."""

from typing import Any

import pytest
import torch
from diffusers.callbacks import PipelineCallback
from peft import LoraConfig

from tests.pipelines.golden import Golden, load
from vap.pipelines.denoise import Reuse


def test_a_callback_sees_every_step_and_the_tensors_it_asked_for(case: Golden) -> None:
    seen = []

    def watch(pipeline: Any, step: int, timestep: torch.Tensor, tensors: dict) -> dict:
        assert pipeline.current_timestep is timestep
        seen.append((step, int(timestep), sorted(tensors), tensors["latents"].clone()))
        return {}

    names = ["latents", "prompt_embeds"]
    output = case.run(
        case.encoded(callback_on_step_end=watch, callback_on_step_end_tensor_inputs=names)
    )
    assert torch.equal(output, case.run(case.encoded()))
    assert [step for step, *_ in seen] == [0, 1]
    assert seen[0][1] > seen[1][1]
    assert all(given == names for *_, given, _ in seen)
    assert torch.equal(seen[-1][-1], output)
    assert case.pipeline.num_timesteps == 2


def test_a_callback_that_returns_nothing_changes_nothing(case: Golden) -> None:
    output = case.run(case.encoded(callback_on_step_end=lambda *_: None))
    assert torch.equal(output, case.run(case.encoded()))


def test_a_callback_replaces_latents(case: Golden) -> None:
    output = case.run(
        case.encoded(
            callback_on_step_end=lambda _p, _s, _t, tensors: {"latents": tensors["latents"] * 0}
        )
    )
    assert not output.any()


@pytest.mark.parametrize("name", ["prompt_embeds", "negative_prompt_embeds"])
def test_a_callback_replaces_texts_from_the_next_step_on(case: Golden, name: str) -> None:
    latents = []

    def replace(_p: Any, _s: int, _t: torch.Tensor, tensors: dict) -> dict:
        latents.append(tensors["latents"].clone())
        return {name: -tensors[name]}

    output = case.run(
        case.encoded(
            callback_on_step_end=replace, callback_on_step_end_tensor_inputs=["latents", name]
        )
    )
    expected = []
    plain = case.run(
        case.encoded(
            callback_on_step_end=lambda _p, _s, _t, tensors: expected.append(tensors["latents"])
        )
    )
    assert torch.equal(latents[0], expected[0])
    assert not torch.equal(output, plain)


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("name", ["prompt_embeds", "negative_prompt_embeds"])
def test_what_a_callback_writes_into_a_tensor_is_as_if_it_gave_it_back(
    case: Golden, name: str, inference: bool
) -> None:
    def give_back(_p: Any, _s: int, _t: torch.Tensor, tensors: dict) -> dict:
        return {name: -tensors[name]}

    def write(_p: Any, _s: int, _t: torch.Tensor, tensors: dict) -> dict:
        tensors[name].neg_()
        return {}

    outputs = []
    for callback in (give_back, write):
        arguments = case.encoded(
            callback_on_step_end=callback, callback_on_step_end_tensor_inputs=[name]
        )
        with torch.inference_mode(inference):
            outputs.append(case.run(arguments))
    assert torch.equal(*outputs)
    assert not torch.equal(outputs[0], case.run(case.encoded()))


def test_a_callback_turns_guidance_off_as_in_diffusers(case: Golden) -> None:
    passes = []

    def cut(pipeline: Any, _s: int, _t: torch.Tensor, tensors: dict) -> dict:
        pipeline._guidance_scale = 0.0
        tensors["prompt_embeds"] = tensors["prompt_embeds"].chunk(2)[-1]
        return tensors

    names = ["latents", "prompt_embeds"]
    spy = case.pipeline.transformer.register_forward_pre_hook(
        lambda _, __, given: passes.append(len(given["hidden_states"])), with_kwargs=True
    )
    try:
        output = case.run(
            case.encoded(callback_on_step_end=cut, callback_on_step_end_tensor_inputs=names)
        )
    finally:
        spy.remove()
    # Two passes at the first step, apart or in one batch, and one from then on.
    assert sum(passes) == 3
    assert not torch.equal(output, case.run(case.encoded()))


def test_a_callback_changes_the_scale_of_guidance(case: Golden) -> None:
    scales = []

    def change(pipeline: Any, step: int, _t: torch.Tensor, _tensors: dict) -> dict:
        pipeline._guidance_scale = 2.0
        scales.append(step)
        return {}

    changed = case.run(case.encoded(callback_on_step_end=change))
    assert scales == [0, 1]
    assert not torch.equal(changed, case.run(case.encoded()))


def test_a_callback_that_turns_guidance_on_too_late_is_told(case: Golden) -> None:
    def late(pipeline: Any, *_: Any) -> dict:
        pipeline._guidance_scale = 5.0
        return {}

    with pytest.raises(ValueError, match=r"scale to 5\.0, .*Start with guidance_scale above 1"):
        case.run(case.encoded(callback_on_step_end=late, guidance_scale=1.0))


def test_a_callback_interrupts(case: Golden) -> None:
    steps = []

    def stop(pipeline: Any, step: int, _t: torch.Tensor, tensors: dict) -> dict:
        steps.append(tensors["latents"])
        pipeline._interrupt = True
        return {}

    output = case.run(case.encoded(num_inference_steps=4, callback_on_step_end=stop))
    assert len(steps) == 1
    assert torch.equal(output, steps[0])
    again = case.run(case.encoded())
    assert not torch.equal(again, output)


def test_a_pipeline_callback_names_its_own_tensors(case: Golden) -> None:
    class Zero(PipelineCallback):
        tensor_inputs = ["latents"]  # noqa: RUF012 - as diffusers declares it

        def callback_fn(self, pipeline, step_index, timestep, callback_kwargs) -> dict:  # noqa: ARG002 - diffusers' signature
            return {"latents": callback_kwargs["latents"] * 0}

    assert not case.run(case.encoded(callback_on_step_end=Zero())).any()


SWITCHES = {
    "off": lambda pipeline: pipeline.transformer.disable_adapters(),
    "weaker": lambda pipeline: pipeline.set_adapters("x", 0.25),
    "merged": lambda pipeline: pipeline.fuse_lora(components=["transformer"], lora_scale=2.0),
    "away": lambda pipeline: pipeline.unload_lora_weights(),
}


@pytest.mark.parametrize("how", SWITCHES)
def test_adapters_that_a_callback_switches_count_in_all_that_is_kept(
    case: Golden, how: str
) -> None:
    def run(*, keep: bool, reuse: Reuse) -> torch.Tensor:
        pipeline = load(case.family)
        pipeline.keep_constants, pipeline.reuse = keep, reuse
        torch.manual_seed(0)
        config = LoraConfig(r=4, target_modules=["to_q", "to_k", "to_v"], init_lora_weights=False)
        pipeline.transformer.add_adapter(config, "x")

        def switch(_p: Any, step: int, _t: torch.Tensor, _tensors: dict) -> dict:
            if step == 0:
                SWITCHES[how](pipeline)
            return {}

        return case.run(case.encoded(callback_on_step_end=switch), pipeline)

    anew = run(keep=False, reuse=Reuse())
    assert torch.equal(run(keep=True, reuse=Reuse()), anew)
    # What the second step would take over from the first is of the old weights, too.
    assert torch.equal(run(keep=True, reuse=Reuse(guidance=3, references=3)), anew)


def test_without_a_switch_an_adapter_keeps_what_is_kept(case: Golden) -> None:
    pipeline = load(case.family)
    torch.manual_seed(0)
    config = LoraConfig(r=2, target_modules=["attn1.to_q"], init_lora_weights=False)
    pipeline.transformer.add_adapter(config, "x")
    pipeline.reuse = Reuse(guidance=5)
    passes: list[int] = []
    pipeline.transformer.register_forward_pre_hook(
        lambda _, __, given: passes.append(len(given["hidden_states"])), with_kwargs=True
    )
    scaled = {"attention_kwargs": {"scale": 0.7}}
    case.run(case.prompted(callback_on_step_end=lambda *_: {}, **scaled), pipeline)
    # Two passes at the first step, and one at the second, which takes guidance over.
    assert sum(passes) == 3
