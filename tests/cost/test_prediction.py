"""Predictions follow from the code that they are about, and from published figures."""

from dataclasses import replace

import pytest
import torch

from tests.pipelines.golden import FOLDER, Golden
from vap.acceleration.plan import ACCELERATOR_PLANS
from vap.cost.arithmetic import generation_cost
from vap.cost.devices import GPUS, known_gpu, this_machine
from vap.cost.footprint import Video
from vap.cost.model import PlannedModel
from vap.cost.prediction import predict
from vap.cost.recorded import footprint
from vap.cost.released import RELEASED_MODELS
from vap.cost.trace import trace
from vap.files.folders import RELEASED
from vap.loading.memory import predictions
from vap.shapes import PixelShape


@pytest.fixture
def model(case: Golden) -> PlannedModel:
    return PlannedModel.from_folder(FOLDER / case.family, case.family)


SMALL = Video(PixelShape(9, 48, 64))


# Traces


def test_a_trace_counts_what_is_alive_at_once() -> None:
    def run() -> torch.Tensor:
        first = torch.empty(1000, device="meta")
        second = first + 1
        del first
        return second.view(10, 100) * 2

    assert trace(run).peak_bytes == 2 * 4000


def test_weights_are_not_counted_and_attention_holds_no_scores() -> None:
    linear = torch.nn.Linear(100, 100, device="meta")

    def run() -> torch.Tensor:
        tokens = linear(torch.empty(1, 1, 5000, 100, device="meta"))
        return torch.nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)

    assert trace(run, [linear]).peak_bytes == 2 * 4 * 5000 * 100


def test_a_trace_on_meta_is_one_of_real_tensors(case: Golden, model) -> None:
    traced = footprint(model, SMALL, torch.float32)
    pipeline = case.pipeline
    modules = [m for m in pipeline.components.values() if isinstance(m, torch.nn.Module)]
    latents = pipeline.compression.latent(SMALL.shape, 16)
    size = (1, 16, latents.frames, latents.height, latents.width)
    found = trace(lambda: pipeline.vae.decode(torch.randn(size)), modules)
    assert found.peak_bytes == traced.decode.peak_bytes


def test_weights_are_those_of_the_loaded_model(case: Golden, model) -> None:
    traced = footprint(model, SMALL, torch.float32)
    held = sum(p.nbytes for p in case.pipeline.transformer.parameters())
    assert traced.transformer == held
    assert traced.text_encoder == sum(p.nbytes for p in case.pipeline.text_encoder.parameters())
    assert max(traced.blocks) >= max(traced.narrowable) > 0


def test_memory_grows_with_size_references_and_what_is_kept(model) -> None:
    small = footprint(model, SMALL, torch.float32)
    assert small.denoising >= small.bare_denoising
    more = footprint(model, Video(SMALL.shape, references=3), torch.float32)
    assert more.denoising > small.denoising
    if model.family == "wan":
        wider = footprint(model, Video(PixelShape(9, 48, 128)), torch.float32)
        assert wider.denoising > small.denoising


def test_references_kept_over_steps_are_counted_for_every_coupled_block(model) -> None:
    plain = footprint(model, SMALL, torch.float32)
    kept = footprint(model, SMALL, torch.float32, keep_references=True)
    tokens = model.compression.tokens(SMALL.shape)
    keys_and_values = 2 * 4 * tokens * model.size.width
    passes, coupled = 2, model.size.coupled
    # The first coupled block keeps them anyway.
    assert kept.denoising - plain.denoising > 0.5 * passes * (coupled - 1) * keys_and_values
    assert kept.bare_denoising == plain.bare_denoising


def test_an_expert_of_its_own_changes_what_is_predicted(model) -> None:
    depths = model.transformer["block_idx_with_mot_ref"]
    bare = model.with_expert([])
    assert (
        footprint(bare, SMALL, torch.float32).transformer
        < footprint(model, SMALL, torch.float32).transformer
    )
    assert bare.with_expert(depths) == model


# Devices


@pytest.mark.parametrize("name", ["h200", "H200", "NVIDIA H200", "RTX 4090", "geforce rtx 4090"])
def test_gpus_are_known_by_their_names(name: str) -> None:
    assert known_gpu(name).name in name.lower()


def test_an_unknown_gpu_is_refused_with_the_known() -> None:
    with pytest.raises(ValueError, match=r"'abacus' is not in the table.*h200"):
        known_gpu("abacus")


def test_this_machine_is_measured() -> None:
    here = this_machine(torch.device("cpu"))
    assert here.is_cpu
    assert here.measured
    assert min(*here.rates.values(), here.bandwidth, here.memory) > 0
    assert here.rate("float16") == here.rate("bfloat16")


# Predictions


def test_plans_are_ordered_by_memory_and_streaming_is_hidden_by_computation() -> None:
    released = RELEASED_MODELS[RELEASED["cogvideox"]]
    found = predictions(released, Video.native(released), GPUS["h200"], torch.bfloat16)
    assert [each.plan for each in found] == list(ACCELERATOR_PLANS)
    needs = [each.device_bytes for each in found]
    assert needs == sorted(needs, reverse=True)
    by_name = {each.plan.name: each for each in found}
    assert by_name["block-level offload"].seconds < 1.15 * by_name["resident"].seconds
    assert by_name["block-level offload"].device_bytes < 10e9


def test_one_component_at_a_time_is_one_beside_the_vae(model) -> None:
    plan = next(plan for plan in ACCELERATOR_PLANS if plan.offload == "model")
    traced, more = footprint(model, SMALL, torch.float32), 10**9
    larger = replace(traced, vae=traced.vae + more)
    before, after = (
        predict(model, each, SMALL, GPUS["h200"], plan, torch.float32).device_bytes
        for each in (replace(traced, rest=10**12), replace(larger, rest=10**12))
    )
    assert after - before == pytest.approx(more)


def test_predictions_agree_with_published_times() -> None:
    """Wan2.1 14B by its own code, no reference, 81 frames and 40 steps on an H200: 366 s."""
    released = RELEASED_MODELS[RELEASED["wan"]]
    backbone = replace(released.size, coupled=0)
    shape = PixelShape(81, 480, 832)
    cost = generation_cost(backbone, shape, released.compression, steps=40, references=0)
    assert cost.flop / GPUS["h200"].rate("bfloat16") == pytest.approx(366, rel=0.05)


@pytest.mark.parametrize(("name", "efficiency"), [("h100", 0.35), ("4090", 0.75), ("a100", 0.5)])
def test_every_card_has_the_efficiency_that_was_published_for_its_kind(name, efficiency) -> None:
    card = GPUS[name]
    assert card.rate("bfloat16") == pytest.approx(efficiency * card.rates["bfloat16"])


@pytest.mark.parametrize("name", ["t4", "v100", "RTX 2080 Ti"])
def test_cards_without_bfloat16_are_predicted_in_float16(name: str) -> None:
    assert known_gpu(name).dtype == torch.float16
