"""The fastest plan that fits is chosen, and a pipeline under any plan makes the same video."""

import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model_state_dict

import vap
from tests.pipelines.golden import FOLDER, Golden, load, relative_error
from vap.acceleration import fast as fast_module
from vap.acceleration.calibration import Chosen, Kind, settings_for
from vap.acceleration.plan import (
    ACCELERATOR_PLANS,
    CPU_PLANS,
    MemoryPlan,
    Profile,
    WantedVideo,
    memory_bytes,
    plans_for,
)
from vap.acceleration.profiles import GUESSES, Settings
from vap.acceleration.text_encoder import is_unloaded
from vap.cost.model import PlannedModel
from vap.cost.prediction import Prediction
from vap.loading import memory as memory_module
from vap.loading import pipeline as loading
from vap.loading.memory import choose, place
from vap.pipelines.base import pipeline_class
from vap.pipelines.denoise import Reuse

CPU = torch.device("cpu")
GB = 10**9


def prediction(plan: MemoryPlan, device_gb: float, host_gb: float = 0.0) -> Prediction:
    return Prediction(plan, 1.0, 1.0, 1.0, device_gb * GB, host_gb * GB)


FOUND = [prediction(plan, 9 - place, place) for place, plan in enumerate(ACCELERATOR_PLANS)]


def planned(monkeypatch, plan: MemoryPlan) -> None:
    """Have a plan chosen, whatever would fit."""
    monkeypatch.setattr(memory_module, "predictions", lambda *_, **__: [prediction(plan, 1)])


# Amounts


@pytest.mark.parametrize(
    ("amount", "expected"),
    [("10GB", 10**10), ("7.5 GiB", 8053063680), ("800mb", 8 * 10**8), (1 << 30, 1 << 30)],
)
def test_amounts_are_read(amount, expected) -> None:
    assert memory_bytes(amount) == expected


@given(st.text(max_size=12) | st.integers(max_value=1 << 20))
def test_any_amount_is_read_or_refused(amount) -> None:
    try:
        assert memory_bytes(amount) >= 1 << 20
    except ValueError as error:
        assert "10GB" in str(error)  # noqa: PT017 - refusing is allowed, with an example


@pytest.mark.parametrize("amount", ["9" * 400, "99999999999TB", 10**400])
def test_amounts_that_no_machine_has_are_refused(amount) -> None:
    with pytest.raises(ValueError, match="more than any machine"):
        memory_bytes(amount)


# Choice


@pytest.mark.parametrize(("budget", "place"), [("9GB", 0), ("8.5GB", 1), ("5GB", 4)])
def test_the_first_that_fits_is_chosen(budget, place) -> None:
    assert choose(FOUND, budget, free_host=50 * GB).plan is ACCELERATOR_PLANS[place]


def test_main_memory_counts_too() -> None:
    with pytest.raises(
        ValueError, match=r"5\.00 GB of memory is enough only with 4\.00 GB of main memory"
    ):
        choose(FOUND, "5GB", free_host=2 * GB)


def test_too_little_says_what_is_needed() -> None:
    with pytest.raises(ValueError, match=r"sequential offload\) needs 2\.00 GB.*num_frames"):
        choose(FOUND, "1GB", free_host=50 * GB)


def test_the_choice_is_logged_and_inexact_plans_warn(caplog) -> None:
    with caplog.at_level(logging.INFO):
        choose(FOUND, "9GB", free_host=50 * GB)
    assert "'resident'" in caplog.text
    assert "8 bits" not in caplog.text
    inexact = [each for each in FOUND if not each.plan.exact]
    choose(inexact, "9GB", free_host=50 * GB)
    assert "8 bits" in caplog.text


def test_only_plans_of_eight_bits_are_inexact() -> None:
    for plan in (*ACCELERATOR_PLANS, *CPU_PLANS):
        assert plan.exact == (plan.quantize is None)
    assert all(plan.quantize == "int8" for plan in plans_for("cuda", "int8"))


# Profiles


def measured(monkeypatch, settings: Settings) -> None:
    """Have a profile that was measured for whatever model."""
    chosen = Chosen(settings, "measured on some")
    for module in (memory_module, fast_module):
        monkeypatch.setattr(module, "settings_for", lambda *_: chosen)


def predicted(monkeypatch, plain_gb: float, kept_gb: float) -> None:
    """Have every plan need so much, without and with references that are kept."""

    def predictions(*_: object, keep_references: bool = False) -> list[Prediction]:
        size = kept_gb if keep_references else plain_gb
        return [
            prediction(plan, size) for plan in plans_for("cpu", keep_references=keep_references)
        ]

    monkeypatch.setattr(memory_module, "predictions", predictions)


def test_plans_that_keep_nothing_keep_no_references() -> None:
    for device in ("cpu", "cuda"):
        plans = plans_for(device, keep_references=True)
        assert plans
        assert all(plan.keep_constants and plan.keep_references for plan in plans)
        assert len(plans) < len(plans_for(device))
        assert not any(plan.keep_references for plan in plans_for(device))


@pytest.mark.parametrize(("memory", "references"), [("10GB", 2), ("5GB", 1)])
def test_a_guessed_profile_keeps_references_where_the_plan_has_room(
    monkeypatch, caplog, memory, references
) -> None:
    predicted(monkeypatch, plain_gb=4, kept_gb=8)
    with caplog.at_level(logging.INFO):
        pipeline = load("wan", memory=memory, profile="fast", dtype="fp32")
    assert pipeline.memory_plan.keep_references == (references == 2)
    assert pipeline.reuse == replace(GUESSES["fast"].reuse, references=references)
    assert ("no reference cache" in caplog.text) == (references == 1)


def test_a_guessed_profile_suits_a_plan_that_keeps_nothing(case: Golden, monkeypatch) -> None:
    nothing_kept = prediction(CPU_PLANS[3], 1)
    monkeypatch.setattr(
        memory_module,
        "predictions",
        lambda *_, keep_references=False: [] if keep_references else [nothing_kept],
    )
    pipeline = load(case.family, memory="10GB", profile="fast", dtype="fp32")
    assert not pipeline.keep_constants
    assert pipeline.reuse.references == 1
    assert case.run(case.prompted(), pipeline).isfinite().all()


@pytest.mark.parametrize("model", [FOLDER / "wan", FOLDER / "cogvideox", "vap-mini"])
def test_the_plan_is_made_for_the_profile_that_is_applied(monkeypatch, model) -> None:
    kinds = []

    def spied(profile: Profile, kind: Kind) -> Chosen:
        kinds.append(kind)
        return settings_for(profile, kind)

    for module in (memory_module, fast_module):
        monkeypatch.setattr(module, "settings_for", spied)
    predicted(monkeypatch, plain_gb=4, kept_gb=8)
    vap.load_pipeline(model, device="cpu", memory="10GB", profile="fast")
    assert len(kinds) == 2
    assert kinds[0] == kinds[1]


def test_a_measured_profile_without_room_is_refused_before_anything_is_loaded(monkeypatch) -> None:
    measured(monkeypatch, Settings(reuse=Reuse(references=2)))
    predicted(monkeypatch, plain_gb=4, kept_gb=8)
    assert load("wan", memory="10GB", profile="fast", dtype="fp32").reuse.references == 2
    monkeypatch.setattr(loading, "_loaded", None)
    with pytest.raises(ValueError, match=r"needs 8\.00 GB.*reference cache needs a part.*'exact'"):
        load("wan", memory="5GB", profile="fast", dtype="fp32")


def test_an_expert_file_is_part_of_the_plan(monkeypatch, tmp_path) -> None:
    transformer = load("wan").transformer
    depths = range(len(transformer.expert_blocks))
    expert = transformer.remove_expert().add_expert(depths).initialize_expert()
    file = expert.save_expert(tmp_path / "expert.safetensors")
    seen = []

    def predictions(model: PlannedModel, *_: object, **__: object) -> list[Prediction]:
        seen.append(model.size.coupled)
        return [prediction(CPU_PLANS[0], 1)]

    monkeypatch.setattr(memory_module, "predictions", predictions)
    load("wan", memory="10GB", expert=file)
    load("wan", memory="10GB")
    assert seen[0] == len(depths) > seen[1]


def test_a_missing_expert_file_is_refused_before_anything_is_loaded(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(loading, "_loaded", None)
    with pytest.raises(FileNotFoundError, match="no expert file"):
        load("wan", memory="10GB", expert=tmp_path / "none.safetensors")


# Pipelines


@pytest.mark.parametrize("plan", CPU_PLANS, ids=lambda plan: plan.name)
def test_every_plan_of_a_cpu_makes_the_video(case: Golden, monkeypatch, plan) -> None:
    planned(monkeypatch, plan)
    pipeline = load(case.family, memory="10GB")
    assert pipeline.memory_plan == plan
    expected, found = case.run(case.prompted()), case.run(case.prompted(), pipeline)
    # The CogVideoX VAE is tiled by blending; at this size it is one tile.
    allowed = 1e-5 if plan.exact else 0.02
    assert relative_error(found, expected) < allowed
    if plan == CPU_PLANS[1]:
        assert torch.equal(found, expected)


def test_what_fits_follows_the_video() -> None:
    small = WantedVideo(48, 64, 9)
    pipeline = vap.load_pipeline(FOLDER / "wan", memory="1.5GB", video=small)
    assert pipeline.memory_plan.name == "resident"
    with pytest.raises(ValueError, match="is too little"):
        vap.load_pipeline(FOLDER / "wan", memory="1.5GB", video=WantedVideo(1440, 2560, 9))
    with pytest.raises(ValueError, match="Use num_frames=9"):
        vap.load_pipeline(FOLDER / "wan", memory="1.5GB", video=WantedVideo(num_frames=8))


def test_what_a_refusal_asks_for_is_enough() -> None:
    with pytest.raises(ValueError, match=r"0\.02 GB of memory is too little") as refused:
        vap.load_pipeline(FOLDER / "wan", memory="20MB")
    needed = re.search(r"needs (\S+) GB", str(refused.value))
    assert needed is not None
    assert vap.load_pipeline(FOLDER / "wan", memory=f"{needed.group(1)}GB").memory_plan


@pytest.mark.parametrize("wrong", [{"offload": "group"}, {"backbone": "a.gguf"}])
def test_contradictions_are_refused(monkeypatch, wrong) -> None:
    monkeypatch.setattr(vap.loading.pipeline, "check_offload", lambda *_: None)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        vap.load_pipeline(FOLDER / "wan", memory="10GB", **wrong)


def test_streaming_holds_for_whole_pipelines(case: Golden) -> None:
    """On an accelerator; a CPU takes the same path without streams."""
    pipeline = load(case.family)
    place(pipeline, MemoryPlan("by hand", "offload", offload="group"), CPU)
    expected = case.run(case.prompted(output_type="np"))
    for _ in range(2):
        assert (
            relative_error(
                torch.as_tensor(case.run(case.prompted(output_type="np"), pipeline)),
                torch.as_tensor(expected),
            )
            < 1e-5
        )


@pytest.mark.parametrize("offload", [None, "group"])
def test_a_pipeline_without_its_text_encoder_is_held_as_well(case: Golden, offload) -> None:
    pipeline = load(case.family, text_encoder=None, tokenizer=None)
    place(pipeline, MemoryPlan("by hand", "offload", offload=offload), CPU)
    assert pipeline.text_encoder is None


@pytest.fixture
def adapter(case: Golden, tmp_path: Path) -> Path:
    """A LoRA of the transformer's blocks that matters, as a user has it on disk."""
    transformer = load(case.family).transformer
    transformer.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"]))
    torch.manual_seed(0)
    for name, parameter in transformer.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    layers = get_peft_model_state_dict(transformer)
    kind = pipeline_class(case.family)
    kind.save_lora_weights(tmp_path, transformer_lora_layers=layers)
    return tmp_path


def test_a_lora_file_loads_and_merges_where_blocks_stream(case: Golden, adapter: Path) -> None:
    plain, streamed = load(case.family), load(case.family)
    place(streamed, MemoryPlan("by hand", "offload", offload="group"), CPU)
    outputs = []
    for pipeline in (plain, streamed):
        before = case.run(case.encoded(), pipeline)
        pipeline.load_lora_weights(adapter)
        beside = case.run(case.encoded(), pipeline)
        pipeline.fuse_lora(components=["transformer"])
        pipeline.unload_lora_weights()
        merged = case.run(case.encoded(), pipeline)
        assert relative_error(beside, before) > 1e-3
        assert relative_error(merged, beside) < 1e-4
        outputs.append(merged)
    assert relative_error(*outputs) < 1e-5


# Text encoder


def test_the_text_encoder_is_in_memory_only_while_it_is_needed(case: Golden, monkeypatch) -> None:
    planned(monkeypatch, CPU_PLANS[1])
    pipeline = load(case.family, memory="10GB")
    encoder = pipeline.text_encoder
    assert is_unloaded(encoder)
    text, negative = pipeline.encode_prompt(
        "a duck", max_sequence_length={"wan": 512, "cogvideox": 226}[case.family]
    )
    assert not is_unloaded(encoder)
    reference = pipeline.encode_video_prompt(
        case.inputs["reference"], "a goose", height=48, width=64, num_frames=9
    )
    given = {"prompt": None, "negative_prompt": None, "reference_videos": None}
    given |= {"reference_prompts": None, "video_prompt": reference}
    given |= {"prompt_embeds": text, "negative_prompt_embeds": negative}
    first = case.run(case.prompted(**given), pipeline)
    assert is_unloaded(encoder)
    # With texts and references encoded before, it is never read again.
    monkeypatch.setattr(type(encoder), "from_pretrained", None)
    assert torch.equal(case.run(case.prompted(**given), pipeline), first)
    assert torch.equal(case.run(case.prompted(**given)), first)
