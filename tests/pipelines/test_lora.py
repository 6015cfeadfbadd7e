"""LoRA files of every spelling in use do the same, in every place that takes one."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.pipelines.golden import Golden, load, relative_error
from vap.acceleration import student
from vap.acceleration.student import DISTILLED, use_distilled, use_student
from vap.models.lora_file import in_layer_names
from vap.pipelines.adapters import merge_lora
from vap.training.methods.lora import LoraStrategy
from vap.training.tuning_config import ModelConfig

RANK = 4
AUTHORS = {
    "attn1.to_out.0": "self_attn.o",
    "attn1.to_": "self_attn.",
    "attn2.to_out.0": "cross_attn.o",
    "attn2.to_": "cross_attn.",
    "attn2.add_k_proj": "cross_attn.k_img",
    "attn2.add_v_proj": "cross_attn.v_img",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.image_embedder.ff.net.2": "img_emb.proj.3",
}


def authors(name: str) -> str:
    """A layer by the name of Wan's authors."""
    for ours, theirs in AUTHORS.items():
        name = name.replace(ours, theirs)
    return "head.head" if name == "proj_out" else name


def pair(name: str, down: str, up: str) -> Callable[[Tensor, Tensor], dict[str, Tensor]]:
    return lambda a, b: {f"{name}.{down}.weight": a, f"{name}.{up}.weight": b}


def kohya(name: str) -> Callable[[Tensor, Tensor], dict[str, Tensor]]:
    name = name.replace(".", "_")
    # alpha is half the rank, so that the update is stored at twice its size.
    return lambda a, b: {
        f"{name}.lora_down.weight": a,
        f"{name}.lora_up.weight": 2 * b,
        f"{name}.alpha": torch.tensor(RANK / 2),
    }


SPELLINGS: dict[str, Callable[[str], Callable[[Tensor, Tensor], dict[str, Tensor]]]] = {
    "diffusers": lambda n: pair(f"transformer.{n}", "lora_A", "lora_B"),
    "diffusers, older": lambda n: pair(f"transformer.{n}", "lora.down", "lora.up"),
    "bare": lambda n: pair(n, "lora_A", "lora_B"),
    "PEFT": lambda n: pair(f"base_model.model.{n}", "lora_A.default", "lora_B.default"),
    "kohya": lambda n: kohya(f"lora_unet__{n}"),
    "musubi": lambda n: kohya(f"lora_unet_{authors(n)}"),
    "ComfyUI": lambda n: pair(f"diffusion_model.{authors(n)}", "lora_down", "lora_up"),
    "ComfyUI, diffusers' layers": lambda n: pair(f"diffusion_model.{n}", "lora_A", "lora_B"),
    "DiffSynth": lambda n: pair(authors(n), "lora_A.default", "lora_B.default"),
}


def updates(model: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """An update of each of the backbone's linear layers."""
    generator = torch.Generator().manual_seed(5)
    return {
        name: (
            0.1 * torch.randn(RANK, layer.in_features, generator=generator),
            0.1 * torch.randn(layer.out_features, RANK, generator=generator),
        )
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and "_mot_ref" not in name
    }


def written(model: nn.Module, spelling: str, file: Path, **more: Tensor) -> Path:
    tensors = {
        key: tensor
        for name, (a, b) in updates(model).items()
        for key, tensor in SPELLINGS[spelling](name)(a, b).items()
    }
    save_file({**tensors, **more}, file)
    return file


@pytest.mark.parametrize("spelling", list(SPELLINGS)[1:])
def test_every_spelling_comes_to_the_same_tensors(case: Golden, spelling: str) -> None:
    model = case.pipeline.transformer
    named = {
        key: tensor
        for name, (a, b) in updates(model).items()
        for key, tensor in SPELLINGS[spelling](name)(a, b).items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = in_layer_names(named, model, "x").updates
    expected = {
        f"{name}.lora_{letter}.weight": tensor
        for name, both in updates(model).items()
        for letter, tensor in zip("AB", both, strict=True)
    }
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.slow
@pytest.mark.parametrize("spelling", ["kohya", "DiffSynth"])
def test_outputs_are_equal_to_the_bit(case: Golden, tmp_path: Path, spelling: str) -> None:
    files = [
        written(case.pipeline.transformer, each, tmp_path / f"{index}.safetensors")
        for index, each in enumerate(["diffusers", spelling])
    ]
    uses: list[Callable[[Any, Path], Any]] = [
        lambda pipeline, file: pipeline.load_lora_weights(file),
        use_student,
        merge_lora,
    ]
    for use in uses:
        outputs = []
        for file in files:
            pipeline = load(case.family)
            use(pipeline, file)
            outputs.append(case.run(case.encoded(), pipeline))
        assert torch.equal(*outputs)
        assert relative_error(outputs[0], case.run(case.encoded())) > 1e-2


@pytest.mark.parametrize("prefix", ["text_encoder", "x.transformer", "transformer_2"])
def test_a_file_that_reaches_no_layer_is_refused(case: Golden, tmp_path: Path, prefix: str) -> None:
    model, file = case.pipeline.transformer, tmp_path / "other.safetensors"
    save_file({f"{prefix}.{n}.lora_A.weight": a for n, (a, _) in updates(model).items()}, file)
    pipeline = load(case.family)
    for use in (pipeline.load_lora_weights, lambda f: use_student(pipeline, f)):
        with pytest.raises(ValueError, match=rf"other\.safetensors.*{prefix}"):
            use(file)
    assert pipeline.student is None
    assert not hasattr(pipeline.transformer, "peft_config")


def test_a_file_that_reaches_some_layers_says_how_many(case: Golden, tmp_path: Path) -> None:
    model = case.pipeline.transformer
    file = written(
        model,
        "diffusers",
        tmp_path / "more.safetensors",
        **{
            "transformer.blocks.999.attn1.to_q.lora_A.weight": torch.ones(4, 64),
            "transformer.blocks.999.attn1.to_q.lora_B.weight": torch.ones(64, 4),
            "unknown.lora_x": torch.ones(1),
        },
    )
    count = len(updates(model))
    with pytest.warns(
        UserWarning, match=rf"{count} of {count + 2} layers.*transformer\.blocks\.999"
    ):
        load(case.family).load_lora_weights(file)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("dora_scale", torch.ones(64, 1)),
        ("lokr_w1", torch.ones(4, 4)),
        ("lora_A.weight", torch.ones(4, 63)),
        ("lora_A.weight", torch.ones(3, 64)),
        ("lora_A.weight", torch.ones(4, 64, dtype=torch.int8)),
        ("diff_b", torch.ones(63)),
    ],
)
def test_what_is_no_lora_of_a_layer_is_refused_by_name(
    case: Golden, name: str, tensor: Tensor
) -> None:
    blocks = "blocks" if case.family == "wan" else "transformer_blocks"
    layer = f"{blocks}.0.attn1.to_q"
    stored = {
        f"{layer}.lora_A.weight": torch.ones(4, 64),
        f"{layer}.lora_B.weight": torch.ones(64, 4),
        f"{layer}.{name}": tensor,
    }
    if name == "diff_b":
        stored = {f"{layer}.{name}": tensor}
    with pytest.raises(ValueError, match=r"file\.safetensors.*attn1\.to_q"):
        in_layer_names(stored, case.pipeline.transformer, "file.safetensors")


def test_a_layer_that_is_named_twice_is_refused(case: Golden) -> None:
    name = next(iter(updates(case.pipeline.transformer)))
    stored = {f"{prefix}.{name}.lora_A.weight": torch.ones(4, 64) for prefix in ("model", "dit")}
    with pytest.raises(ValueError, match="twice"):
        in_layer_names(stored, case.pipeline.transformer, "x")


def test_loras_are_merged_with_their_scales_as_the_model_is_loaded(
    case: Golden, tmp_path: Path
) -> None:
    file = written(case.pipeline.transformer, "PEFT", tmp_path / "a.safetensors")
    twice = load(case.family, lora=[(file, 0.5), (file, 0.25)])
    assert twice.loras == ((str(file), 0.5), (str(file), 0.25))
    beside = load(case.family)
    beside.load_lora_weights(file, adapter_name="a")
    beside.set_adapters(["a"], [0.75])
    found, expected = (case.run(case.encoded(), each) for each in (twice, beside))
    assert relative_error(found, expected) < 1e-4
    assert not hasattr(twice.transformer, "peft_config")


def test_loras_are_merged_before_weights_are_quantized(case: Golden, tmp_path: Path) -> None:
    file = written(case.pipeline.transformer, "PEFT", tmp_path / "a.safetensors")
    small, plain = (load(case.family, lora=[(file, 1.0)], quantize=q) for q in ("int8", None))
    found, expected = (case.run(case.encoded(), each) for each in (small, plain))
    assert 0 < relative_error(found, expected) < 0.05


def test_whole_changes_are_merged_and_told_where_they_cannot_be(
    wan: Golden, tmp_path: Path
) -> None:
    # As step-distilled LoRA have them: of norms and biases, some of them zero.
    changes = {
        "diffusion_model.blocks.0.norm3.diff": torch.full((64,), 0.5),
        "diffusion_model.blocks.0.norm3.diff_b": torch.zeros(64),
        "diffusion_model.blocks.1.self_attn.q.diff_b": torch.full((64,), 0.25),
        "diffusion_model.head.head.diff_b": torch.full((64,), 0.125),
    }
    file = written(wan.pipeline.transformer, "ComfyUI", tmp_path / "a.safetensors", **changes)
    before, after = wan.pipeline.transformer, load("wan")
    merge_lora(after, file, 2.0)
    for name, change in (("blocks.0.norm2.weight", 1.0), ("blocks.0.norm2.bias", 0.0)):
        moved = after.transformer.get_parameter(name) - before.get_parameter(name)
        assert torch.allclose(moved, torch.tensor(change))
    for name, change in (("blocks.1.attn1.to_q.bias", 0.5), ("proj_out.bias", 0.25)):
        moved = after.transformer.get_parameter(name) - before.get_parameter(name)
        assert torch.allclose(moved, torch.tensor(change), atol=1e-6)
    beside = load("wan")
    with pytest.warns(UserWarning, match=r"1 parameters.*blocks\.0\.norm2\.weight"):
        beside.load_lora_weights(file)
    assert relative_error(wan.run(wan.encoded(), beside), wan.run(wan.encoded())) > 1e-3


def test_the_alpha_that_peft_writes_beside_its_file_counts(case: Golden, tmp_path: Path) -> None:
    written(case.pipeline.transformer, "PEFT", tmp_path / "adapter_model.safetensors")
    config = {"lora_alpha": 2 * RANK, "r": RANK}
    plain, double = load(case.family), load(case.family)
    merge_lora(plain, tmp_path, 2.0)
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    merge_lora(double, tmp_path)
    runs = [case.run(case.encoded(), pipeline) for pipeline in (plain, double)]
    assert relative_error(*runs) < 1e-5
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
    with pytest.raises(ValueError, match="use_dora"):
        merge_lora(double, tmp_path)


def test_training_goes_on_from_a_lora_of_another_spelling(case: Golden, tmp_path: Path) -> None:
    model, method = load(case.family).transformer, LoraStrategy("backbone")
    method.prepare(model, ModelConfig(start="", lora_rank=RANK))
    targets = {
        name.removeprefix("transformer.").rpartition(".lora_")[0]
        for name in method._named(model.state_dict())
    }
    plain = updates(case.pipeline.transformer)
    both = {name: update for name, update in plain.items() if name in targets}
    save_file(
        {k: t for n, (a, b) in both.items() for k, t in SPELLINGS["kohya"](n)(a, b).items()},
        tmp_path / "kohya.safetensors",
    )
    model = load(case.family).transformer
    method.prepare(
        model, ModelConfig(start="", lora_rank=RANK, lora=tmp_path / "kohya.safetensors")
    )
    method.save(model, tmp_path)
    stored = load_file(tmp_path / "pytorch_lora_weights.safetensors")
    for name, (a, b) in both.items():
        assert torch.equal(stored[f"transformer.{name}.lora_A.weight"], a)
        assert torch.equal(stored[f"transformer.{name}.lora_B.weight"], b)


def test_the_published_distilled_lora_is_sampled_at_its_levels(wan: Golden, tmp_path: Path) -> None:
    file = written(wan.pipeline.transformer, "ComfyUI", tmp_path / "a.safetensors")
    pipeline = load("wan", distilled="lightx2v-4step", student=file)
    assert pipeline.student == str(file)
    assert pipeline.defaults.num_inference_steps == 4
    assert pipeline.defaults.guidance_scale == 1.0
    assert isinstance(pipeline.scheduler, FlowMatchEulerDiscreteScheduler)
    timesteps: list[float] = []
    wan.run(
        wan.encoded(
            num_inference_steps=None,
            guidance_scale=None,
            callback_on_step_end=lambda _p, _i, time, _t: timesteps.append(float(time)) or {},
        ),
        pipeline,
    )
    levels = [1.0, 0.75, 0.5, 0.25]
    assert timesteps == pytest.approx([1000 * 5 * s / (1 + 4 * s) for s in levels], abs=1e-3)


def test_a_distilled_lora_is_found_in_the_hubs_cache_or_named(
    case: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    known = DISTILLED["lightx2v-4step"]
    with pytest.raises(FileNotFoundError, match=f"hf download {known.repository} {known.file}"):
        load(case.family, distilled="lightx2v-4step")
    with pytest.raises(ValueError, match="'lightx2v-5step' is unknown"):
        load(case.family, distilled="lightx2v-5step")
    file = written(case.pipeline.transformer, "diffusers", tmp_path / "a.safetensors")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(file))
    assert student.distilled_file("lightx2v-4step") == file
    if case.family == "cogvideox":
        with pytest.raises(ValueError, match="does not fit cogvideox"):
            use_distilled(load(case.family), "lightx2v-4step")
