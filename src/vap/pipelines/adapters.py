"""LoRA on a pipeline's transformer: loaded beside its weights, or merged into them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_base import _fetch_state_dict

from vap.models.lora_file import Lora, in_layer_names, lora_path, plain_parameters, stored_alpha

_MERGED = "merged"
# Options of diffusers for finding a file in a folder or on the Hub, and their defaults.
_SOURCE_OPTIONS: dict[str, Any] = {
    "weight_name": None,
    "subfolder": None,
    "revision": None,
    "token": None,
    "cache_dir": None,
    "proxies": None,
    "local_files_only": None,
    "force_download": False,
}


class LoraMixin:
    """Mixed into a diffusers pipeline: LoRA files of every spelling in use.

    Attributes:
        loras: Files that were merged or added as the pipeline was loaded, with their scales.
    """

    loras: tuple[tuple[str, float], ...] = ()

    def load_lora_weights(
        self,
        pretrained_model_name_or_path_or_dict: str | Path | dict[str, torch.Tensor],
        adapter_name: str | None = None,
        hotswap: bool = False,
        **kwargs: Any,
    ) -> None:
        """Load a LoRA without merging it, as in diffusers; ``set_adapters`` sets its scale.

        Args:
            pretrained_model_name_or_path_or_dict: File, folder, Hub id or tensors, with tensor
                names of diffusers, PEFT, kohya, musubi, ComfyUI or DiffSynth.
            adapter_name: Name of the adapter.
            hotswap: Whether to replace the adapter of that name.
            **kwargs: Arguments of diffusers, such as ``weight_name``.

        Raises:
            ValueError: If it matches no layer of the transformer or does not fit.
        """
        lora, metadata = _read(self, pretrained_model_name_or_path_or_dict, kwargs)
        if lora.changes:
            warnings.warn(
                f"{_name(pretrained_model_name_or_path_or_dict)} also changes "
                f"{len(lora.changes)} parameters, such as {next(iter(lora.changes))}, which is "
                "possible only where it is merged: use load_pipeline(lora=…).",
                stacklevel=2,
            )
        _add(self, lora, metadata, adapter_name=adapter_name, hotswap=hotswap, **kwargs)


def use_loras(
    pipeline: Any, loras: Sequence[tuple[str | Path, float]], *, merge: bool = True
) -> None:
    """Apply LoRA files with their scales: merge them, or keep them beside the weights."""
    for index, (path, scale) in enumerate(loras):
        if merge:
            merge_lora(pipeline, path, scale)
        else:
            pipeline.load_lora_weights(lora_path(path), adapter_name=f"lora_{index}")
    if loras and not merge:
        names = [f"lora_{index}" for index in range(len(loras))]
        pipeline.set_adapters(names, [scale for _, scale in loras])
    pipeline.loras = tuple((str(path), float(scale)) for path, scale in loras)


def merge_lora(pipeline: Any, path: str | Path, scale: float = 1.0) -> None:
    """Merge a LoRA into a pipeline's transformer, for good."""
    pipeline.transformer.check_mergeable()
    lora, metadata = _read(pipeline, lora_path(path), {})
    if lora.updates:
        _add(pipeline, lora, metadata, adapter_name=_MERGED)
        pipeline.fuse_lora(components=["transformer"], adapter_names=[_MERGED], lora_scale=scale)
        pipeline.unload_lora_weights()
    parameters = plain_parameters(pipeline.transformer)
    for name, change in lora.changes.items():
        parameter = parameters[name]
        parameter.data += (scale * change).to(parameter.device, parameter.dtype)


def _read(
    pipeline: Any, source: str | Path | Mapping[str, torch.Tensor], options: dict[str, Any]
) -> tuple[Lora, dict[str, Any] | None]:
    """A LoRA in the names of the transformer's layers, and what diffusers noted in its header."""
    chosen = {name: options.pop(name, default) for name, default in _SOURCE_OPTIONS.items()}
    found: Any = source
    if isinstance(source, str | Path) and Path(source).expanduser().exists():
        found = lora_path(Path(source, chosen["subfolder"] or "", chosen["weight_name"] or ""))
        chosen["weight_name"] = found.name
    options.pop("use_safetensors", None)
    state, metadata = _fetch_state_dict(
        found,
        **chosen,
        use_safetensors=True,
        user_agent={"file_type": "attn_procs_weights", "framework": "pytorch"},
        allow_pickle=False,  # nothing is unpickled
    )
    alpha = stored_alpha(found) if isinstance(found, Path) else None
    return in_layer_names(state, pipeline.transformer, _name(source), alpha), metadata


def _add(pipeline: Any, lora: Lora, metadata: dict[str, Any] | None, **options: Any) -> None:
    pipeline.load_lora_into_transformer(
        {f"transformer.{name}": tensor for name, tensor in lora.updates.items()},
        transformer=pipeline.transformer,
        metadata=metadata,
        _pipeline=pipeline,
        **options,
    )


def _name(source: object) -> str:
    return str(source) if isinstance(source, str | Path) else "The LoRA"
