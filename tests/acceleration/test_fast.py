"""Profiles: what they set, what they refuse, and that no reuse is no change."""

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import HeunDiscreteScheduler

import vap
from tests.pipelines.golden import FOLDER, Golden, load, relative_error, wait
from vap.acceleration import fast as fast_module
from vap.acceleration.fast import apply_profile
from vap.acceleration.fast_products import can_multiply_fp8, quantized_attention
from vap.acceleration.profiles import GUESSES, Settings
from vap.pipelines.denoise import Reuse
from vap.training.methods.streams import couple_by_addition, couple_one_way


def latents(case: Golden, settings: Settings, steps: int = 4, **changes: Any) -> torch.Tensor:
    pipeline = apply_profile(load(case.family), "exact", settings=settings)
    return case.run(case.encoded(num_inference_steps=steps, **changes), pipeline)


def test_without_reuse_a_profile_has_the_bits_of_exact(case: Golden) -> None:
    exact = case.run(case.encoded(num_inference_steps=3), apply_profile(load(case.family), "exact"))
    assert torch.equal(latents(case, Settings(), steps=3), exact)


@pytest.mark.parametrize("reuse", [Reuse(references=2), Reuse(guidance=2), Reuse(model=2)])
def test_every_kind_of_reuse_changes_a_little(case: Golden, reuse: Reuse) -> None:
    exact = latents(case, Settings())
    error = relative_error(latents(case, Settings(reuse=reuse)), exact)
    assert 1e-5 < error < 0.3


@pytest.mark.parametrize(
    ("reuse", "passes"), [(Reuse(), 8), (Reuse(guidance=2), 6), (Reuse(model=2, warm_up=1), 6)]
)
def test_reuse_saves_passes(wan: Golden, reuse: Reuse, passes: int) -> None:
    pipeline = apply_profile(load("wan"), "exact", settings=Settings(reuse=reuse))
    ran = []
    pipeline.transformer.register_forward_hook(lambda *_: ran.append(1))
    wan.run(wan.encoded(num_inference_steps=4), pipeline)
    assert len(ran) == passes


def test_a_reference_that_never_sees_the_target_is_kept_exactly(wan: Golden) -> None:
    outputs = []
    for keep in (True, False):
        pipeline = load("wan")
        couple_one_way(pipeline.transformer)
        pipeline.keep_constants = keep
        outputs.append(wan.run(wan.encoded(num_inference_steps=3), pipeline))
    assert relative_error(*outputs) < 1e-5


def test_loading_by_a_profile_sets_steps_and_reuse() -> None:
    pipeline = vap.load_pipeline(FOLDER / "wan", device="cpu", profile="turbo")
    settings = GUESSES["turbo"]
    assert pipeline.reuse == settings.reuse
    native = pipeline.native_defaults.num_inference_steps
    assert pipeline.defaults.num_inference_steps == round(settings.steps * native)


def test_an_unknown_profile_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match=r"'quick' is unknown.*exact, fast, turbo"):
        vap.load_pipeline(FOLDER / "wan", device="cpu", profile="quick")


def test_carrying_on_is_refused_where_the_scheduler_has_stages() -> None:
    pipeline = load("wan")
    pipeline.scheduler = HeunDiscreteScheduler()
    with pytest.raises(ValueError, match=r"HeunDiscreteScheduler runs the model 2 times"):
        apply_profile(pipeline, "fast", settings=Settings(reuse=Reuse(model=2)))


def test_what_a_device_can_do_is_asked_of_the_one_that_computes(monkeypatch) -> None:
    asked = []

    def answer(device: torch.device, *_: object, **__: object) -> None:
        asked.append(device.type)

    for name in ("can_multiply_fp8", "quantized_attention", "has_fast_half"):
        monkeypatch.setattr(fast_module, name, answer)
    monkeypatch.setattr(fast_module, "_stays", lambda _: True)
    pipeline = wait(load("wan"), "meta")
    wanted = Settings(half_vae=True, fp8_products=True, quantized_attention=True)
    apply_profile(pipeline, "exact", settings=wanted)
    assert asked == ["meta"] * 3


def test_weights_that_wait_are_not_changed_for_fp8_products(monkeypatch) -> None:
    monkeypatch.setattr(fast_module, "can_multiply_fp8", lambda *_, **__: True)
    monkeypatch.setattr(fast_module, "use_fp8_products", None)
    pipeline = wait(load("wan"), "meta")
    apply_profile(pipeline, "exact", settings=Settings(fp8_products=True))


def test_a_guess_leaves_out_kept_references_where_they_do_not_suit(caplog) -> None:
    pipeline = load("wan")
    pipeline.keep_constants = False
    with caplog.at_level(logging.INFO):
        apply_profile(pipeline, "fast")
    assert pipeline.reuse == replace(GUESSES["fast"].reuse, references=1)
    assert "the memory plan keeps nothing" in caplog.text
    pipeline = load("wan")
    couple_by_addition(pipeline.transformer)
    assert apply_profile(pipeline, "fast").reuse.references == 1
    assert apply_profile(load("wan"), "fast").reuse == GUESSES["fast"].reuse


def test_keeping_references_is_refused_where_nothing_is_kept_or_attended_to() -> None:
    pipeline, settings = load("wan"), Settings(reuse=Reuse(references=2))
    pipeline.keep_constants = False
    with pytest.raises(ValueError, match="keeps nothing"):
        apply_profile(pipeline, "fast", settings=settings)
    pipeline.keep_constants = True
    pipeline.memory_plan = replace(pipeline.memory_plan, keep_references=False)
    with pytest.raises(ValueError, match="no room for it"):
        apply_profile(pipeline, "fast", settings=settings)
    pipeline = load("wan")
    couple_by_addition(pipeline.transformer)
    with pytest.raises(ValueError, match="no keys and values to cache"):
        apply_profile(pipeline, "fast", settings=settings)


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
def test_a_share_of_steps_lies_between_none_and_all(share: float) -> None:
    with pytest.raises(ValueError, match="is not a share of the steps"):
        Settings(share)


def test_the_vae_works_in_half_precision_only_where_that_is_fast(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for able, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(fast_module, "has_fast_half", lambda _, able=able: able)
        pipeline = apply_profile(load("wan"), "exact", settings=Settings(half_vae=True))
        assert pipeline.vae.dtype == dtype


@pytest.mark.skipif(not fast_module.has_fast_half(torch.device("cpu")), reason="no bfloat16 here")
def test_a_vae_in_half_precision_serves_a_pipeline_in_float32(case: Golden) -> None:
    exact, half = (
        case.run(
            case.prompted(output_type="pt"),
            apply_profile(load(case.family), "exact", settings=Settings(half_vae=half)),
        )
        for half in (False, True)
    )
    assert 0 < float((half.float() - exact).abs().mean()) < 0.02


def test_a_cpu_has_no_fp8_products_and_no_quantized_attention() -> None:
    assert not can_multiply_fp8(torch.device("cpu"), torch.bfloat16, compiled=True)
    assert quantized_attention(torch.device("cpu")) is None
