"""A backbone from one file and the expert from its checkpoint are the checkpoint's model."""

from collections.abc import Callable
from pathlib import Path

import gguf
import pytest
import torch
from safetensors.torch import load_file, save_file

import vap
from tests.pipelines.golden import FOLDER, Golden, golden, load, relative_error
from vap.models.expert import is_expert_name

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


def backbone_tensors() -> dict[str, torch.Tensor]:
    state = load_file(FOLDER / "wan" / WEIGHTS)
    return {name: tensor for name, tensor in state.items() if not is_expert_name(name)}


@pytest.fixture(scope="module")
def wan() -> Golden:
    return golden("wan")


def write_gguf(path: Path, name_of: Callable[[str], str] = str) -> Path:
    """The golden backbone with the matrices of its blocks in eight bits."""
    writer = gguf.GGUFWriter(path, "wan")
    for name, tensor in backbone_tensors().items():
        values = tensor.numpy()
        if values.ndim == 2 and name.startswith("blocks") and values.shape[1] % 32 == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name_of(name), gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name_of(name), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "backbone.gguf")


def run(wan: Golden, backbone: Path) -> torch.Tensor:
    pipeline = vap.load_pipeline(wan.folder, device="cpu", backbone=backbone)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.transformer.expert_depths == wan.pipeline.transformer.expert_depths
    return wan.run(wan.prompted(), pipeline)


def test_a_gguf_backbone_comes_close(wan: Golden, gguf_file: Path) -> None:
    error = relative_error(run(wan, gguf_file), wan.run(wan.prompted()))
    assert 0 < error < 0.02


def test_a_backbone_of_the_same_weights_is_the_model(wan: Golden, tmp_path: Path) -> None:
    path = tmp_path / "backbone.safetensors"
    save_file(backbone_tensors(), path)
    assert relative_error(run(wan, path), wan.run(wan.prompted())) < 1e-5


# diffusers' names and the makers', as the makers' files and ComfyUI's have them.
_MAKERS = {
    "attn1.to_out.0": "self_attn.o",
    "attn2.to_out.0": "cross_attn.o",
    "attn1.to_": "self_attn.",
    "attn2.to_": "cross_attn.",
    "attn1.": "self_attn.",
    "attn2.add_k_proj": "cross_attn.k_img",
    "attn2.add_v_proj": "cross_attn.v_img",
    "attn2.norm_added_k": "cross_attn.norm_k_img",
    "attn2.": "cross_attn.",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
    "norm2": "norm3",
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.image_embedder.norm1": "img_emb.proj.0",
    "condition_embedder.image_embedder.ff.net.0.proj": "img_emb.proj.1",
    "condition_embedder.image_embedder.ff.net.2": "img_emb.proj.3",
    "condition_embedder.image_embedder.norm2": "img_emb.proj.4",
}


def makers_name(name: str) -> str:
    if name == "scale_shift_table":
        return "head.modulation"
    name = name.replace("proj_out", "head.head")
    for ours, theirs in _MAKERS.items():
        name = name.replace(ours, theirs)
    return name.replace("scale_shift_table", "modulation")


def in_fp8(spelling: str, rows: bool = False) -> dict[str, torch.Tensor]:
    """The golden backbone with the matrices of its blocks in fp8, each with its scale."""
    stored = {}
    for name, tensor in backbone_tensors().items():
        if tensor.ndim == 2 and name.startswith("blocks") and name.endswith(".weight"):
            scale = tensor.abs().amax(*([1, True] if rows else [])) / 448
            stored[name] = (tensor / scale).to(torch.float8_e4m3fn)
            layer = name.removesuffix("weight")
            stored[layer + spelling] = scale
            stored[layer + spelling.replace("weight", "input")] = torch.ones(())
        else:
            stored[name] = tensor
    return stored


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
@pytest.mark.parametrize("spelling", ["scale_weight", "weight_scale"])
def test_fp8_weights_are_multiplied_by_their_scales(
    wan: Golden, tmp_path: Path, spelling: str, prefix: str
) -> None:
    path = tmp_path / "backbone.safetensors"
    stored = in_fp8(spelling, rows=bool(prefix))
    stored["scaled_fp8"] = torch.empty(2, dtype=torch.float8_e4m3fn)
    save_file({prefix + makers_name(name): t.contiguous() for name, t in stored.items()}, path)
    assert 0 < relative_error(run(wan, path), wan.run(wan.prompted())) < 0.1


def test_fp8_weights_without_scales_are_read(wan: Golden, tmp_path: Path) -> None:
    path = tmp_path / "backbone.safetensors"
    stored = {
        makers_name(name): tensor.to(torch.float8_e4m3fn) if tensor.ndim == 2 else tensor
        for name, tensor in backbone_tensors().items()
    }
    save_file(stored, path)
    assert 0 < relative_error(run(wan, path), wan.run(wan.prompted())) < 0.1


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model."])
def test_a_file_of_comfyui_gives_the_released_outputs(
    wan: Golden, tmp_path: Path, prefix: str
) -> None:
    path = tmp_path / "backbone.safetensors"
    tensors = backbone_tensors().items()
    save_file({prefix + makers_name(name): tensor for name, tensor in tensors}, path)
    pipeline = load("wan", backbone=path)
    steps = wan.settings["num_inference_steps"]
    made = wan.run(wan.prompted(num_inference_steps=steps), pipeline)
    assert relative_error(made, wan.expected["pipeline.out.latents"]) < 1e-5


def test_a_gguf_file_with_the_makers_names_is_the_same(
    wan: Golden, gguf_file: Path, tmp_path: Path
) -> None:
    path = write_gguf(tmp_path / "backbone.gguf", makers_name)
    assert relative_error(run(wan, path), run(wan, gguf_file)) < 1e-5


def test_a_folder_of_shards_is_the_model(wan: Golden, tmp_path: Path) -> None:
    tensors = sorted(backbone_tensors().items())
    middle = len(tensors) // 2
    save_file(dict(tensors[:middle]), tmp_path / "wan-00001-of-00002.safetensors")
    with pytest.raises(ValueError, match=r"takes \d+ tensors"):
        vap.load_pipeline(wan.folder, backbone=tmp_path)
    save_file(dict(tensors[middle:]), tmp_path / "wan-00002-of-00002.safetensors")
    assert relative_error(run(wan, tmp_path), wan.run(wan.prompted())) < 1e-5
    with pytest.raises(ValueError, match="give the folder"):
        vap.load_pipeline(wan.folder, backbone=tmp_path / "wan-00001-of-00002.safetensors")


def scaled_by_blocks(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return tensors | {"blocks.0.ffn.net.2.weight_scale": torch.ones(4, 2)}


def without_image(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: t for name, t in tensors.items() if "image" not in name and "add" not in name}


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (scaled_by_blocks, r"ffn\.net\.2\.weight_scale"),
        (lambda t: t | {"blocks.0.attn1.to_q.scale_weight": torch.ones(1)}, "to_q.scale_weight"),
        (lambda t: t | {"blocks.0.attn1.to_q.weight_scale_2": torch.ones(1)}, "weight_scale_2"),
        (lambda t: t | {"blocks.9.extra": torch.ones(1)}, r"blocks\.9\.extra"),
        (lambda t: {n: v for n, v in t.items() if "blocks.3" not in n}, r"blocks\.3\."),
        (lambda t: {n: v.to(torch.int8) for n, v in t.items()}, "int8"),
        (without_image, "text-to-video"),
        (lambda t: {n: t[n] for n in sorted(t)[: len(t) // 2]}, "is incomplete"),
        (lambda _: load_file(FOLDER / "wan" / WEIGHTS), "whole Video-As-Prompt transformer"),
        (lambda _: {"blocks.0.attn1_mot_ref.to_q.weight": torch.ones(2)}, "is an expert"),
        (lambda _: {"blocks.0.self_attn.q.lora_down.weight": torch.ones(2)}, "is a LoRA"),
        (lambda _: {"model.layers.0.weight": torch.ones(2)}, "another model"),
    ],
)
def test_a_file_that_is_no_backbone_is_refused_by_what_it_is(
    tmp_path: Path, edit: Callable[..., dict[str, torch.Tensor]], said: str
) -> None:
    path = tmp_path / "backbone.safetensors"
    save_file(edit(backbone_tensors()), path)
    with pytest.raises(ValueError, match=said) as refused:
        vap.load_pipeline(FOLDER / "wan", backbone=path)
    assert str(path) in str(refused.value)


def test_half_precision_spares_what_was_trained_in_float32(tmp_path: Path) -> None:
    path = tmp_path / "backbone.safetensors"
    save_file(backbone_tensors(), path)
    own = vap.load_pipeline(FOLDER / "wan", dtype="bf16").transformer
    read = vap.load_pipeline(FOLDER / "wan", dtype="bf16", backbone=path).transformer
    dtypes = [{n: t.dtype for n, t in model.state_dict().items()} for model in (own, read)]
    assert dtypes[0] == dtypes[1]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("missing.gguf", FileNotFoundError, "no backbone file"),
        ("weights.ckpt", ValueError, r"\.gguf or \.safetensors"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, error: type, message: str) -> None:
    if error is ValueError:
        (tmp_path / name).touch()
    with pytest.raises(error, match=message):
        vap.load_pipeline(FOLDER / "wan", backbone=tmp_path / name)


def test_the_other_variant_is_refused(gguf_file: Path) -> None:
    with pytest.raises(ValueError, match="Wan variant can be loaded from a single file"):
        vap.load_pipeline(FOLDER / "cogvideox", backbone=gguf_file)


def test_loras_stay_beside_the_weights_of_a_gguf_file(
    wan: Golden, gguf_file: Path, tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(0)
    update = {
        f"diffusion_model.blocks.{depth}.self_attn.q.lora_{part}.weight": 0.3
        * torch.randn(size, generator=generator)
        for depth in range(2)
        for part, size in (("down", (4, 64)), ("up", (64, 4)))
    }
    save_file(update, tmp_path / "lora.safetensors")
    outputs = []
    for backbone, scale in ((gguf_file, 0.5), (None, 0.5), (gguf_file, 1.0)):
        lora = [(tmp_path / "lora.safetensors", scale)]
        pipeline = vap.load_pipeline(wan.folder, device="cpu", backbone=backbone, lora=lora)
        pipeline.set_progress_bar_config(disable=True)
        outputs.append(wan.run(wan.prompted(), pipeline))
    beside, merged, stronger = outputs
    assert relative_error(beside, merged) < 0.02 < relative_error(stronger, merged)
