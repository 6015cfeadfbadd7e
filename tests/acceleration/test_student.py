"""A few-step student takes the backbone's place."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    CogVideoXDDIMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

import vap
from tests.pipelines.golden import Golden, load, relative_error
from tests.pipelines.test_passes import spied
from vap.acceleration import fast
from vap.acceleration.calibration import Chosen
from vap.acceleration.fast import apply_profile
from vap.acceleration.onednn import OneDnnLinear
from vap.acceleration.plan import MemoryPlan
from vap.acceleration.profiles import Settings
from vap.acceleration.quantize import quantize
from vap.acceleration.student import (
    STEPS_NOTE,
    first_order,
    taught_steps,
    use_distilled,
    use_student,
)
from vap.files.names import BUNDLED_FOLDER
from vap.loading import pipeline as loading
from vap.training.methods.lora import LoraStrategy
from vap.training.tuning_config import ModelConfig


@pytest.fixture
def student(case: Golden, tmp_path: Path) -> Path:
    """A LoRA as distillation writes it, of updates that matter."""
    model, strategy = load(case.family).transformer, LoraStrategy("backbone")
    strategy.prepare(model, ModelConfig(start="", lora_rank=2))
    generator = torch.Generator().manual_seed(0)
    for name, update in model.named_parameters():
        if "lora_B" in name:
            update.data = 0.1 * torch.randn(update.shape, generator=generator)
    strategy.save(model, tmp_path)
    return tmp_path


def test_merged_it_is_the_backbone_with_its_updates(case: Golden, student: Path) -> None:
    beside, merged = load(case.family), load(case.family)
    beside.load_lora_weights(str(student))
    beside.scheduler = first_order(beside.scheduler)
    use_student(merged, student)
    expected, plain = (
        case.run(case.prompted(guidance_scale=1.0), each) for each in (beside, load(case.family))
    )
    made = case.run(case.prompted(guidance_scale=1.0), merged)
    assert relative_error(made, expected) < 1e-5
    assert relative_error(made, plain) > 1e-3
    assert not hasattr(merged.transformer, "peft_config") or not merged.get_active_adapters()


def test_it_needs_one_pass_a_step_and_takes_as_many_as_it_was_taught(
    case: Golden, student: Path
) -> None:
    pipeline = use_student(load(case.family), student, steps=3)
    assert pipeline.defaults.num_inference_steps == 3
    batches = spied(pipeline)
    arguments = case.prompted(num_inference_steps=None, guidance_scale=None)
    del arguments["guidance_scale"], arguments["num_inference_steps"]
    case.run(arguments, pipeline)
    assert batches == [1, 1, 1]


def test_a_saved_pipeline_remembers_how_its_student_is_sampled(
    case: Golden, student: Path, tmp_path: Path
) -> None:
    pipeline = load(case.family)
    if case.family == "wan":
        use_distilled(pipeline, "lightx2v-4step", student)
    else:
        use_student(pipeline, student, steps=4)
    expected = pipeline.defaults
    pipeline.save_pretrained(tmp_path / "saved")
    again = vap.load_pipeline(tmp_path / "saved")
    assert pipeline.defaults == again.defaults == expected
    assert (expected.num_inference_steps, expected.guidance_scale) == (4, 1.0)
    assert again.even_levels is pipeline.even_levels
    assert type(again.scheduler) is type(pipeline.scheduler)


def test_there_is_one_student_at_most(case: Golden, student: Path) -> None:
    pipeline = use_student(load(case.family), student)
    with pytest.raises(ValueError, match=r"merged into this model already\. Load"):
        use_student(pipeline, student)


def test_a_profile_takes_the_student_of_the_pipelines_folder(
    case: Golden, student: Path, tmp_path: Path
) -> None:
    pipeline = load(case.family)
    settings = Settings(student=True)
    with pytest.raises(ValueError, match=r"no folder student/.*profile='fast'"):
        apply_profile(pipeline, "turbo", settings=settings)
    weights = student / "pytorch_lora_weights.safetensors"
    (tmp_path / "model" / "student").mkdir(parents=True)
    weights.rename(tmp_path / "model" / "student" / weights.name)
    pipeline.register_to_config(_name_or_path=str(tmp_path / "model"))
    apply_profile(pipeline, "turbo", settings=settings)
    assert pipeline.student == str(tmp_path / "model" / "student")
    apply_profile(pipeline, "turbo", settings=settings)
    with pytest.raises(ValueError, match=r"contains the distilled LoRA.*Load the model again"):
        apply_profile(pipeline, "exact")


def test_a_users_student_keeps_its_steps_whatever_the_profile(case: Golden, student: Path) -> None:
    pipeline = vap.load_pipeline(case.folder, device="cpu", student=student, profile="turbo")
    native = pipeline.native_defaults.num_inference_steps
    assert pipeline.defaults.num_inference_steps == native
    assert pipeline.reuse.nothing
    assert pipeline.defaults.guidance_scale == 1.0


def test_what_distillation_writes_says_for_how_many_steps_it_is(
    case: Golden, tmp_path: Path
) -> None:
    model = load(case.family).transformer
    strategy = LoraStrategy("backbone", notes={STEPS_NOTE: "6"})
    strategy.prepare(model, ModelConfig(start="", lora_rank=2))
    strategy.save(model, tmp_path)
    assert taught_steps(tmp_path) == 6
    pipeline = vap.load_pipeline(case.folder, device="cpu", student=tmp_path)
    assert pipeline.defaults.num_inference_steps == 6


def test_weights_in_eight_bits_are_not_merged_into(student: Path) -> None:
    pipeline = load("wan")
    pipeline.memory_plan = MemoryPlan("small", quantize="int8")
    with pytest.raises(ValueError, match=r"are quantized.*student=…"):
        use_student(pipeline, student)


def test_weights_that_were_quantized_by_hand_are_not_merged_into(student: Path) -> None:
    pipeline = load("wan")
    quantize(pipeline.transformer.expert_blocks, "int8")
    with pytest.raises(ValueError, match="LoRAs cannot be merged"):
        use_student(pipeline, student)


def test_a_profiles_student_is_merged_before_weights_are_quantized() -> None:
    merged = vap.load_pipeline("vap-mini", device="cpu", profile="fast", dtype="fp32")
    small = vap.load_pipeline(
        "vap-mini", device="cpu", profile="fast", dtype="fp32", quantize="int8"
    )
    assert small.student == merged.student is not None
    assert small.defaults == merged.defaults
    for layer in merged.transformer.modules():
        if isinstance(layer, OneDnnLinear):
            layer.__class__ = torch.nn.Linear
    quantize(merged.transformer.expert_blocks, "int8")
    expected, found = merged.transformer.state_dict(), small.transformer.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_a_profile_without_its_student_is_refused_before_weights_are_quantized(
    case: Golden, monkeypatch
) -> None:
    settings = Chosen(Settings(student=True), "measured on some")
    monkeypatch.setattr(fast, "settings_for", lambda *_: settings)
    monkeypatch.setattr(loading, "_place", None)
    with pytest.raises(ValueError, match=r"no folder student/.*profile='fast'"):
        load(case.family, profile="turbo", quantize="int8", dtype="fp32")


def test_what_is_no_lora_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.safetensors is not a LoRA"):
        taught_steps(BUNDLED_FOLDER / "vap-mini" / "text_encoder" / "model.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.safetensors is not a safetensors file"):
        taught_steps(tmp_path / "text.safetensors")


@given(noted=st.text(max_size=8) | st.integers(-3, 200).map(str))
def test_a_note_of_steps_is_a_number_of_steps_or_refused(tmp_path_factory, noted: str) -> None:
    file = tmp_path_factory.mktemp("student") / "lora.safetensors"
    save_file({"x.lora_A.weight": torch.zeros(1, 1)}, file, metadata={STEPS_NOTE: noted})
    if noted.isdecimal() and int(noted) > 0:
        assert taught_steps(file) == int(noted)
    else:
        with pytest.raises(ValueError, match="invalid number of steps"):
            taught_steps(file)


def test_weights_that_are_not_there_are_named(case: Golden) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        use_student(load(case.family), "nowhere")


@pytest.mark.parametrize("prediction", ["flow_prediction", "sample"])
def test_steps_of_unipc_are_straight(prediction: str) -> None:
    scheduler = first_order(
        UniPCMultistepScheduler(
            prediction_type=prediction, use_flow_sigmas=True, flow_shift=3.0, solver_order=2
        )
    )
    scheduler.set_timesteps(4)
    generator = torch.Generator().manual_seed(0)
    latents = expected = torch.randn(1, 4, 2, 3, generator=generator)
    for (sigma, to), timestep in zip(pairwise(scheduler.sigmas), scheduler.timesteps, strict=True):
        said = torch.randn(latents.shape, generator=generator)
        velocity = said if prediction == "flow_prediction" else (expected - said) / sigma
        expected = expected + (to - sigma) * velocity
        latents = scheduler.step(said, timestep, latents, return_dict=False)[0]
        torch.testing.assert_close(latents, expected, atol=1e-5, rtol=1e-4)


def test_schedulers_of_a_kind_become_their_first_order_one() -> None:
    euler: Any = FlowMatchEulerDiscreteScheduler(shift=5.0)
    assert first_order(euler) is euler
    ddim = first_order(CogVideoXDDIMScheduler())
    assert ddim.config.timestep_spacing == "trailing"
    with pytest.raises(ValueError, match=r"DPMSolverMultistepScheduler takes no first-order"):
        first_order(DPMSolverMultistepScheduler())
