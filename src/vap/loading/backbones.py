"""Backbones from files of their own, joined with a checkpoint's expert."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from vap.extras import require
from vap.files.components import check_stored
from vap.files.folders import read_json, stored_tensors
from vap.files.reading import reading
from vap.files.weights import read_headers, shape_difference
from vap.models.expert import is_expert_name, load_dtype

_PREFIX = re.compile(r"^(model\.)?diffusion_model\.")
_MAKERS_NAMES = re.compile(r"\.(self_attn|cross_attn)\.|^(head|time_embedding)\.")
_LORA = re.compile(r"lora|\.diff(_b)?$|\.(hada|lokr)_")
_OF_IMAGES = re.compile(r"image_embedder|\.(add_k_proj|add_v_proj|norm_added_k)\.")
# fp8 with scales beside the weights, as ComfyUI and its extensions store them.
_FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)
_FORMATS = ("float8_e4m3fn", "float8_e5m2")
_WEIGHT_SCALES = ("scale_weight", "weight_scale")
# Of activations, for products in fp8; weights are the same without.
_INPUT_SCALES = ("scale_input", "input_scale")
_SHARD = re.compile(r"-\d+-of-\d+\.")


def transformer_with_backbone(
    model_class: Any, folder: Path, backbone: str | Path, dtype: torch.dtype
) -> Any:
    """Load the backbone from its own file and the expert from a pipeline folder.

    The backbone is a ``.gguf``, whose weights stay quantized, a ``.safetensors``, or a folder of
    shards, with names of diffusers or of the backbone's makers. fp8 weights are multiplied by the
    scales beside them.
    """
    with reading(Path(backbone)):
        path = Path(backbone).expanduser()
    files = _backbone_files(path)
    if not hasattr(model_class, "from_single_file") or model_class._blocks_name != "blocks":
        raise ValueError(
            f"backbone={str(path)!r}: only backbones of the Wan variant can be loaded from a "
            f"single file, not those of {model_class.__name__}. Give a pipeline folder instead."
        )
    place = folder / "transformer"
    with reading(place), torch.device("meta"):
        config = read_json(place / "config.json")
        wanted = model_class.from_config(config).state_dict()
        expert = _checked_expert(place, wanted)
    plain = {name: tensor for name, tensor in wanted.items() if not is_expert_name(name)}
    with reading(path):
        if path.suffix == ".gguf":
            transformer = _from_gguf(model_class, folder, path, plain, dtype)
        else:
            transformer = _from_safetensors(model_class, config, path, files, plain, dtype)
    if expert:
        transformer.install_expert(
            expert,
            depths=config["block_idx_with_mot_ref"],
            reference_positions=config.get("reference_positions", "before"),
        )
    return transformer.eval()


def expert_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Expert tensors of a transformer's folder, mapped from its files, backbone left alone."""
    found = {}
    for name, stored in stored_tensors(folder).items():
        if is_expert_name(name):
            with safe_open(stored.file, framework="pt") as tensors:
                found[name] = tensors.get_tensor(name)
    return found


def _backbone_files(path: Path) -> list[Path]:
    """The files that a backbone is read from."""
    if path.is_dir():
        place = path / "transformer" if (path / "transformer").is_dir() else path
        files = sorted(place.glob("*.safetensors"))
        if not files:
            raise FileNotFoundError(
                f"backbone={str(path)!r} contains no .safetensors file. Give a folder with such "
                "files."
            )
        return files
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no backbone file {path}. Give a .gguf or .safetensors file."
        )
    if path.suffix not in {".gguf", ".safetensors"}:
        raise ValueError(
            f"backbone={str(path)!r}: backbones are read from .gguf or .safetensors files."
        )
    return [path]


def _checked_expert(place: Path, wanted: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The expert of a transformer's folder, seen to be whole; empty if the model has none."""
    described = {name: tensor for name, tensor in wanted.items() if is_expert_name(name)}
    if not described:
        return {}
    stored = {name: t for name, t in stored_tensors(place).items() if is_expert_name(name)}
    check_stored(place, stored, described)
    return expert_tensors(place)


def _from_safetensors(
    model_class: Any,
    config: Mapping[str, Any],
    path: Path,
    files: Iterable[Path],
    wanted: Mapping[str, torch.Tensor],
    dtype: torch.dtype,
) -> Any:
    from accelerate import init_empty_weights

    _check_kind(path, read_headers(files))
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        tensors |= load_file(file)
    found = _without_scales(_without_prefix(tensors), path, dtype)
    state = _in_diffusers_names(found)
    _check_whole(path, {name: tuple(tensor.shape) for name, tensor in state.items()}, wanted)
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            raise ValueError(
                f"{path} has {name} in {tensor.dtype}. Weights must be floating-point."
            )
    with init_empty_weights():
        # The files have no expert; it follows from the folder.
        transformer = model_class.from_config({**config, "block_idx_with_mot_ref": None})
    keep = tuple(model_class._keep_in_fp32_modules or ())
    placed = {n: tensor.to(load_dtype(n, tensor, dtype, keep)) for n, tensor in state.items()}
    transformer.load_state_dict(placed, assign=True)
    return transformer


def _from_gguf(
    model_class: Any,
    folder: Path,
    path: Path,
    wanted: Mapping[str, torch.Tensor],
    dtype: torch.dtype,
) -> Any:
    require("gguf", extra="quant", purpose="read GGUF backbones")
    from diffusers import GGUFQuantizationConfig
    from diffusers.models.model_loading_utils import load_gguf_checkpoint

    tensors = _without_prefix(load_gguf_checkpoint(str(path)))
    _check_kind(path, tensors)
    state = _in_diffusers_names(tensors)
    # Shapes are diffusers' to check: those of quantized tensors are of bytes.
    shapes = {name: tuple(wanted[name].shape) if name in wanted else () for name in state}
    _check_whole(path, shapes, wanted)
    return model_class.from_single_file(
        state,
        config=str(folder),
        subfolder="transformer",
        torch_dtype=dtype,
        block_idx_with_mot_ref=None,
        quantization_config=GGUFQuantizationConfig(compute_dtype=dtype),
    )


def _without_prefix(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors by the names that they have in the model alone."""
    return {_PREFIX.sub("", name): tensor for name, tensor in tensors.items()}


def _in_diffusers_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

    if not any(_MAKERS_NAMES.search(name) for name in tensors):
        return tensors
    return dict(convert_wan_transformer_to_diffusers(tensors))


def _check_kind(path: Path, names: Iterable[str]) -> None:
    """Refuse files of another kind by what they are."""
    names = list(names)
    expert = [name for name in names if is_expert_name(name)]
    said = None
    if any(_LORA.search(name) for name in names):
        said = "is a LoRA. Load the model, and give the file to load_lora_weights"
    elif expert and len(expert) == len(names):
        said = "is an expert. Pass it as expert=…"
    elif expert:
        said = (
            "is a whole Video-As-Prompt transformer, with an expert. Pass its pipeline folder as "
            "the model; backbone=… takes an image-to-video model alone"
        )
    if said is not None:
        raise ValueError(f"{path} {said}.")


def _check_whole(
    path: Path, found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, torch.Tensor]
) -> None:
    """Refuse a backbone with tensors missing, left over or of other shapes, and say why."""
    shapes = {name: tensor.shape for name, tensor in wanted.items()}
    difference = shape_difference(found, shapes)
    if difference is None:
        return
    name, there, here = difference
    missing = wanted.keys() - found.keys()
    if _SHARD.search(path.name):
        said = "It is one of several shards: give the folder with all of them"
    elif not found.keys() & wanted.keys():
        said = "It is another model: give the model's own image-to-video backbone"
    elif missing and all(_OF_IMAGES.search(name) for name in missing):
        said = "It looks like a text-to-video model: give an image-to-video model"
    else:
        said = "It is incomplete or of another size: give the whole image-to-video backbone"
    raise ValueError(
        f"{path} does not fit this model: {name} is {there} in the file and {here} in the model, "
        f"which takes {len(wanted)} tensors. {said}."
    )


def _without_scales(
    tensors: Mapping[str, torch.Tensor], path: Path, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Multiply fp8 weights by the scales stored beside them, as ``….scale_weight``."""
    kept = dict(tensors)
    scaled = kept.pop("scaled_fp8", None) is not None
    for name in tensors:
        layer, _, leaf = name.rpartition(".")
        if leaf in _INPUT_SCALES:
            del kept[name]
        elif leaf == "comfy_quant":
            _check_format(kept.pop(name), name, path)
        elif leaf in _WEIGHT_SCALES:
            scaled = True
            weight = f"{layer}.weight"
            kept[weight] = _product(kept.get(weight), kept.pop(name), name, path, dtype)
    unscaled = [name for name, tensor in kept.items() if tensor.dtype in _FP8]
    if scaled and unscaled:
        raise ValueError(
            f"{path} has fp8 weights with scales, and {unscaled[0]} without one. Copy it again."
        )
    return kept


def _product(
    weight: torch.Tensor | None, scale: torch.Tensor, name: str, path: Path, dtype: torch.dtype
) -> torch.Tensor:
    whole = scale.numel() == 1
    rows = weight is not None and tuple(scale.shape) in {weight.shape[:1], (weight.shape[0], 1)}
    if weight is None or weight.dtype not in _FP8 or not (whole or rows):
        raise ValueError(
            f"{path} has the scale {name} {tuple(scale.shape)}. It must have one value, or one "
            "per row of an fp8 weight. Give a file in fp8 with one scale per weight, in bfloat16, "
            "or a .gguf."
        )
    factor = scale.float().reshape(-1, *[1] * (weight.ndim - 1))
    return (weight.float() * factor).to(dtype)


def _check_format(note: torch.Tensor, name: str, path: Path) -> None:
    """Refuse what ComfyUI notes as quantized in another way."""
    stated = json.loads(bytes(note.flatten().to(torch.uint8).tolist()))
    if not isinstance(stated, dict) or stated.get("format") not in _FORMATS:
        raise ValueError(
            f"{path} has a weight in the format {stated!r:.80} ({name}), which is not supported; "
            f"supported are {' and '.join(_FORMATS)}. Give a file in one of these, in bfloat16, "
            "or a .gguf."
        )
