"""Pipelines in and out of folders, and what is put on top of them."""

import json
import logging
import socket
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.utils import logging as diffusers_logging
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

import vap
from tests.pipelines.golden import Golden, load, relative_error
from tests.pipelines.test_stock import stock_pipeline

CLOSE = 1e-5


def reload(folder: Path, **options: Any) -> Any:
    pipeline = vap.load_pipeline(folder, device="cpu", **options)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize("shards", ["10GB", "300KB"])
def test_a_saved_pipeline_gives_the_same_bits(case: Golden, tmp_path: Path, shards: str) -> None:
    case.pipeline.save_pretrained(tmp_path, max_shard_size=shards)
    weights = list((tmp_path / "transformer").glob("*.safetensors"))
    assert len(weights) > 1 if shards == "300KB" else len(weights) == 1
    expected = case.run(case.prompted())
    again = reload(tmp_path)
    assert torch.equal(case.run(case.prompted(), again), expected)
    assert again.encoder_fingerprint == case.pipeline.encoder_fingerprint
    by_class = type(case.pipeline).from_pretrained(tmp_path)
    by_class.set_progress_bar_config(disable=True)
    assert relative_error(case.run(case.prompted(), by_class), expected) < CLOSE


def test_generation_defaults_are_saved_and_used(case: Golden, tmp_path: Path) -> None:
    defaults = {"num_frames": 17, "fps": 8.0, "guidance_scale": 3.0}
    components = case.pipeline.components
    type(case.pipeline)(**components, generation_defaults=defaults).save_pretrained(tmp_path)
    again = reload(tmp_path)
    assert (again.defaults.num_frames, again.defaults.fps) == (17, 8.0)
    assert again.defaults.height == case.pipeline.defaults.height
    frames = case.run(case.prompted(num_frames=None, latents=None, output_type="np"), again)
    assert frames.shape[1] == 17


def test_a_backbone_of_two_transformers_is_refused(wan: Golden, tmp_path: Path) -> None:
    wan.pipeline.save_pretrained(tmp_path)
    index = tmp_path / "model_index.json"
    stored = json.loads(index.read_text())
    index.write_text(json.dumps({**stored, "boundary_ratio": 0.9}))
    with pytest.raises(ValueError, match=r"boundary_ratio=0\.9, which WanVideoAsPrompt"):
        reload(tmp_path)


def test_released_defaults_are_the_released_sizes(wan: Golden, cogvideox: Golden) -> None:
    assert (wan.pipeline.defaults.num_frames, wan.pipeline.defaults.guidance_scale) == (49, 5.0)
    assert "walking backwards" in wan.pipeline.defaults.negative_prompt
    native = cogvideox.pipeline.defaults
    assert (native.height, native.width, native.num_frames) == (48, 64, 9)
    assert (native.guidance_scale, native.use_dynamic_cfg) == (6.0, True)


def test_a_stock_folder_and_an_expert_file_are_the_released_model(
    case: Golden, tmp_path: Path
) -> None:
    stock_pipeline(case.pipeline, case.family).save_pretrained(tmp_path / "stock")
    expert = case.pipeline.transformer.save_expert(tmp_path / "expert.safetensors")
    alone = reload(tmp_path / "stock")
    assert torch.equal(case.run(case.alone(), alone), case.run(case.alone()))
    with pytest.raises(ValueError, match="no expert"):
        case.run(case.prompted(), alone)
    whole = reload(tmp_path / "stock", expert=expert)
    assert torch.equal(case.run(case.prompted(), whole), case.run(case.prompted()))


def test_loading_warns_of_nothing_and_asks_no_network(
    case: Golden, tmp_path: Path, monkeypatch, caplog
) -> None:
    stock_pipeline(case.pipeline, case.family).save_pretrained(tmp_path / "stock")
    expert = case.pipeline.transformer.save_expert(tmp_path / "expert.safetensors")

    def refuse(*_: Any) -> None:
        message = "a local folder needs no network"
        raise AssertionError(message)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    diffusers_logging.enable_propagation()
    try:
        with warnings.catch_warnings(), caplog.at_level(logging.WARNING, logger="diffusers"):
            warnings.simplefilter("error")
            reload(case.folder)
            reload(case.folder, dtype="bf16")
            reload(tmp_path / "stock", expert=expert)
    finally:
        diffusers_logging.disable_propagation()
    assert [record.message for record in caplog.records if "diffusers" in record.name] == []


def test_half_precision_spares_what_was_trained_in_float32() -> None:
    wan = load("wan", dtype="bf16")
    dtypes = {name: parameter.dtype for name, parameter in wan.transformer.named_parameters()}
    assert dtypes["blocks.0.ffn.net.2.weight"] == torch.bfloat16
    assert dtypes["blocks.0.ffn_mot_ref.net.2.weight"] == torch.bfloat16
    for name in ("blocks.0.scale_shift_table", "blocks.0.norm2.weight", "scale_shift_table"):
        assert dtypes[name] == torch.float32, name
    assert wan.vae.dtype == wan.image_encoder.dtype == torch.float32
    assert wan.text_encoder.dtype == torch.bfloat16
    assert wan.transformer.rope.freqs_cos.dtype == torch.float32
    cogvideox = load("cogvideox", dtype="bf16")
    assert cogvideox.transformer.dtype == cogvideox.vae.dtype == torch.bfloat16


def test_offloading_goes_through_every_model_in_the_order_of_use(case: Golden) -> None:
    order = case.pipeline.model_cpu_offload_seq.split("->")
    models = {n for n, c in case.pipeline.components.items() if isinstance(c, torch.nn.Module)}
    assert set(order) == models
    assert order.index("text_encoder") < order.index("transformer") < order.index("vae")


@pytest.mark.parametrize("stream", ["attn1", "attn1_mot_ref"])
def test_lora_weights_go_in_and_out_through_the_pipeline(
    case: Golden, tmp_path: Path, stream: str
) -> None:
    blocks = "blocks" if case.family == "wan" else "transformer_blocks"
    targets = [f"{blocks}.{depth}.{stream}.to_{part}" for depth in (0, 2) for part in "qv"]
    trained = load(case.family)
    torch.manual_seed(0)
    trained.transformer.add_adapter(
        LoraConfig(r=4, lora_alpha=16, target_modules=targets, init_lora_weights=False)
    )
    type(trained).save_lora_weights(
        tmp_path, transformer_lora_layers=get_peft_model_state_dict(trained.transformer)
    )
    (file,) = tmp_path.iterdir()
    assert file.suffix == ".safetensors"

    plain, adapted = case.run(case.prompted()), case.run(case.prompted(), trained)
    fresh = load(case.family)
    fresh.load_lora_weights(tmp_path)
    # Without its α in the file, an adapter is loaded with α = rank: a quarter of this one's.
    fresh.set_adapters(fresh.get_active_adapters(), 4.0)
    assert relative_error(case.run(case.prompted(), fresh), adapted) < CLOSE
    assert relative_error(adapted, plain) > 1e-3
    off = case.run(case.prompted(attention_kwargs={"scale": 0.0}), fresh)
    assert relative_error(off, plain) < CLOSE
    fresh.unload_lora_weights()
    assert torch.equal(case.run(case.prompted(), fresh), plain)


def test_a_backbone_adapter_leaves_the_expert_as_it_is(case: Golden) -> None:
    pipeline = load(case.family)
    pipeline.transformer.add_adapter(LoraConfig(r=2, target_modules=["attn1.to_q"]))
    adapted = {n for n, _ in pipeline.transformer.named_parameters() if "lora_A" in n}
    assert adapted
    assert not any("_mot_ref" in name for name in adapted)
