"""LoRA files: the names in use for their tensors, brought to those of this model's layers.

diffusers, PEFT, kohya, musubi, ComfyUI and DiffSynth differ in prefixes, separators and suffixes,
so a layer is found by its name with underscores; diffusers knows the names of Wan's authors.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vap.files.weights import LORA_FILE

_PREFIXES = re.compile(
    r"(?:(?:base_model|model|diffusion_model|transformer|pipe|dit|module)\.|lora_(?:unet|transformer)_+)*"
)
_PART = re.compile(
    r"(?P<layer>.+)\.(?:"
    r"(?P<down>lora_A(?:\.[^.]+)?\.weight|lora_down\.weight|lora\.down\.weight)|"
    r"(?P<up>lora_B(?:\.[^.]+)?\.weight|lora_up\.weight|lora\.up\.weight)|"
    r"(?P<alpha>alpha)|(?P<bias>lora_B(?:\.[^.]+)?\.bias)|(?P<diff_b>diff_b)|(?P<diff>diff))"
)
# What makes another adapter than a LoRA of a layer.
_OTHER_KINDS = re.compile(r"\.(dora_scale|lora_magnitude_vector|lora_mid|lokr_|hada_|oft_|boft_)")
_PEFT_FILE, _PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA in the names of a model's layers.

    ``LAYER.lora_A.weight`` ``[r, in]``, ``LAYER.lora_B.weight`` ``[out, r]`` (its alpha multiplied
    in) and ``LAYER.lora_B.bias`` are updates; changes are added to other parameters.
    """

    updates: dict[str, Tensor]
    changes: dict[str, Tensor]


def lora_path(path: str | Path) -> Path:
    """The file of a LoRA, given as the file or its folder."""
    file = given = Path(path).expanduser()
    if given.is_dir():
        usual = [given / name for name in (LORA_FILE, _PEFT_FILE) if (given / name).is_file()]
        inside = usual or sorted(given.glob("*.safetensors"))
        if len(inside) != 1:
            raise FileNotFoundError(
                f"{given} has {len(inside)} LoRA files and no {LORA_FILE}. Name the file."
            )
        file = inside[0]
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist. Give a LoRA in a .safetensors file.")
    try:
        with safe_open(file, framework="pt") as opened:
            names = tuple(opened.keys())
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{file} is not a safetensors file ({error}). Give a LoRA in that format."
        ) from error
    if not any(_PART.fullmatch(name) or _OTHER_KINDS.search(name) for name in names):
        raise ValueError(f"{file} is not a LoRA: none of its tensors has a LoRA name.")
    return file


def stored_alpha(file: Path) -> float | None:
    """The alpha that PEFT writes beside its file, for all layers; None elsewhere."""
    place = file.parent / _PEFT_CONFIG
    if file.name != _PEFT_FILE or not place.is_file():
        return None
    try:
        config = json.loads(place.read_text(encoding="utf-8"))
        alpha, rank = float(config["lora_alpha"]), int(config["r"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{place} is not a configuration of PEFT's LoRA ({error}).") from error
    for name in ("alpha_pattern", "rank_pattern", "use_dora", "modules_to_save"):
        if config.get(name):
            raise ValueError(f"{place} sets {name}, which is not supported. Use a plain LoRA.")
    return alpha * math.sqrt(rank) if config.get("use_rslora") else alpha


def in_layer_names(
    stored: Mapping[str, Tensor], model: nn.Module, source: str, alpha: float | None = None
) -> Lora:
    """Bring a LoRA's tensors to the names of a model's layers."""
    layers = _layers(model)
    reached: dict[str, dict[str, Tensor]] = {}
    missed: set[str] = set()
    for name, tensor in stored.items():
        if _OTHER_KINDS.search(name):
            raise ValueError(
                f"{source} has {name}, so it is not a plain LoRA. DoRA, LoKr and similar adapters "
                "are not supported: merge it into a backbone file, and give that as backbone."
            )
        part = _PART.fullmatch(name)
        layer = part and _layer(part["layer"], layers)
        if part is None or layer is None:
            missed.add(part["layer"] if part else name)
            continue
        if part.lastgroup in reached.setdefault(layer, {}):
            raise ValueError(f"{source} has the {part.lastgroup} of {layer} twice, see {name}.")
        reached[layer][str(part.lastgroup)] = tensor
    if not reached:
        raise ValueError(
            f"{source} is not a LoRA of this model: the model has none of its layers, such as "
            f"{min(missed, default='any')}. Give a LoRA that was trained on this backbone."
        )
    if missed:
        warnings.warn(
            f"{source}: {len(reached)} of {len(reached) + len(missed)} layers of this LoRA are in "
            f"the model; the others, such as {min(missed)}, have no effect.",
            stacklevel=2,
        )
    return _assembled(reached, model, source, alpha)


def _assembled(
    reached: Mapping[str, Mapping[str, Tensor]], model: nn.Module, source: str, alpha: float | None
) -> Lora:
    lora, parameters = Lora({}, {}), plain_parameters(model)
    for layer, stored in reached.items():
        parts = {role: _floating(tensor, source, layer) for role, tensor in stored.items()}
        changes = {f"{layer}.weight" if f"{layer}.weight" in parameters else layer: "diff"}
        if ("down" in parts or "up" in parts) and f"{layer}.weight" in parameters:
            _check_shapes(parts, model.get_submodule(layer), parameters, source, layer)
            own = parts["alpha"].item() if "alpha" in parts else alpha
            factor = 1.0 if own is None else own / len(parts["down"])
            lora.updates[f"{layer}.lora_A.weight"] = parts["down"]
            lora.updates[f"{layer}.lora_B.weight"] = parts["up"] * factor
            bias = parts["bias"] * factor if "bias" in parts else parts.get("diff_b")
            if bias is not None:
                lora.updates[f"{layer}.lora_B.bias"] = bias
        else:
            changes[f"{layer}.bias"] = "diff_b"
        for name, role in changes.items():
            if role not in parts:
                continue
            wanted, found = getattr(parameters.get(name), "shape", None), parts[role].shape
            if wanted != found:
                raise ValueError(
                    f"{source} does not fit this model: {role} of {layer} is {_say(found)} there "
                    f"and {_say(wanted)} here."
                )
            if parts[role].any():
                lora.changes[name] = parts[role]
    if any(name.endswith(".bias") for name in lora.updates):
        # PEFT gives all layers a bias, or none.
        for name in [name for name in lora.updates if name.endswith("lora_B.weight")]:
            up = lora.updates[name]
            lora.updates.setdefault(f"{name.removesuffix('weight')}bias", up.new_zeros(len(up)))
    return lora


def plain_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """A model's parameters by their names without adapters, those of adapters left out."""
    return {
        name.replace(".base_layer.", "."): parameter
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if ".lora_" not in name
    }


def _layers(model: nn.Module) -> dict[str, str]:
    """Names of layers, and of parameters that stand alone, by their names with underscores."""
    names = (re.sub(r"\.(weight|bias)$", "", name) for name in plain_parameters(model))
    return {name.replace(".", "_"): name for name in names}


def _layer(spelling: str, layers: Mapping[str, str]) -> str | None:
    """The layer that a file means, or None."""
    name = _PREFIXES.sub("", spelling, count=1)
    found = layers.get(name.replace(".", "_"))
    return found or layers.get(_diffusers_name(name).replace(".", "_"))


def _diffusers_name(name: str) -> str:
    """A layer of Wan as diffusers calls it, by the name of Wan's authors."""
    # Here: files are checked before diffusers is loaded.
    from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers

    if "." not in name:
        name = re.sub(r"^blocks_(\d+)_", r"blocks.\1.", name)
        name = re.sub(r"(self_attn|cross_attn|img_emb|head)_", r"\1.", name)
        name = re.sub(r"_(\d+)$", r".\1", name)
    (converted,) = convert_wan_transformer_to_diffusers({f"{name}.": torch.empty(0)})
    return str(converted).removesuffix(".")


def _floating(tensor: Tensor, source: str, layer: str) -> Tensor:
    if not tensor.is_floating_point():
        raise ValueError(f"{source} has {tensor.dtype} for {layer}; a LoRA is floating-point.")
    return tensor.bfloat16() if tensor.element_size() == 1 else tensor


def _check_shapes(
    parts: Mapping[str, Tensor],
    module: nn.Module,
    parameters: Mapping[str, Tensor],
    source: str,
    layer: str,
) -> None:
    if not {"down", "up"} <= parts.keys():
        raise ValueError(f"{source} has only one of the two matrices of {layer}.")
    weight = parameters[f"{layer}.weight"]
    # Quantized weights have other shapes than what they stand for.
    outputs: int = getattr(module, "out_features", len(weight))
    inputs: list[int] = [*weight.shape[1:]]
    if isinstance(features := getattr(module, "in_features", None), int):
        inputs = [features]
    down, up = parts["down"].shape, parts["up"].shape
    rank = down[0] if down else 0
    if rank < 1 or [*down[1:]] != inputs or [*up[:2]] != [outputs, rank]:
        raise ValueError(
            f"{source} does not fit this model: the update of {layer} is {_say(up)} by "
            f"{_say(down)}, and the layer has {_say(inputs)} inputs and {outputs} outputs."
        )


def _say(shape: Sequence[int] | None) -> str:
    return "absent" if shape is None else "×".join(map(str, shape))
