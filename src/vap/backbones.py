"""Backbones from a single file, such as GGUF, joined with a checkpoint's expert."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from vap.extras import require
from vap.models.expert import is_expert_name


def transformer_with_backbone(
    model_class: Any, folder: Path, backbone: str | Path, dtype: torch.dtype
) -> Any:
    """Load a transformer whose backbone lies in one file and whose expert in a pipeline folder.

    Args:
        model_class: The variant's transformer class.
        folder: Pipeline folder; gives configuration and, if it has one, the expert.
        backbone: ``.gguf``, whose weights stay quantized, or ``.safetensors``; with stock names,
            diffusers' or those of the backbone's makers.
        dtype: Precision to compute in.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is of another kind or not for this variant.
        MissingExtraError: If GGUF is not installed.
    """
    path = Path(backbone).expanduser()
    if not path.is_file():
        message = f"There is no backbone file {path}. Give a .gguf or .safetensors file."
        raise FileNotFoundError(message)
    if path.suffix not in {".gguf", ".safetensors"}:
        message = f"backbone={str(path)!r}: backbones are read from .gguf or .safetensors files."
        raise ValueError(message)
    options: dict[str, Any] = {}
    if path.suffix == ".gguf":
        require("gguf", extra="quant", purpose="read GGUF backbones")
        from diffusers import GGUFQuantizationConfig

        options["quantization_config"] = GGUFQuantizationConfig(compute_dtype=dtype)
    stored = model_class.load_config(folder, subfolder="transformer")
    if not hasattr(model_class, "from_single_file") or model_class._blocks_name != "blocks":
        message = (
            f"backbone={str(path)!r}: diffusers reads backbones of the Wan variant from a single "
            f"file, not of {model_class.__name__}. Give a pipeline folder instead."
        )
        raise ValueError(message)
    transformer = model_class.from_single_file(
        str(path),
        config=str(folder),
        subfolder="transformer",
        torch_dtype=dtype,
        # The file has no expert; it follows from the folder.
        block_idx_with_mot_ref=None,
        **options,
    )
    depths = stored.get("block_idx_with_mot_ref")
    if depths:
        transformer.install_expert(
            expert_tensors(folder / "transformer"),
            depths=depths,
            reference_positions=stored.get("reference_positions", "before"),
        )
    return transformer.eval()


def expert_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Expert tensors of a transformer's folder, mapped from its files, backbone left alone."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as tensors:
            names = [name for name in tensors.keys() if is_expert_name(name)]  # noqa: SIM118
            found.update({name: tensors.get_tensor(name) for name in names})
    return found
