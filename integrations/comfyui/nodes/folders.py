"""Where ComfyUI keeps the files that the nodes read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.v0_0_2 import io

NONE = "none"
LORAS = "loras"
BACKBONES = "vap_backbones"
EXPERTS = "vap_experts"
VIDEO_PROMPTS = "vap_video_prompts"


def register() -> None:
    """Add the folders of this pack to those of ComfyUI, beside extra paths of the user."""
    for name in (EXPERTS, VIDEO_PROMPTS):
        folder_paths.add_model_folder_path(name, str(Path(folder_paths.models_dir) / name))
        _set_suffixes(name, {".safetensors"})
    for place in folder_paths.get_folder_paths("diffusion_models"):
        folder_paths.add_model_folder_path(BACKBONES, place)
    _set_suffixes(BACKBONES, {".safetensors", ".gguf"})


def video_prompts_folder() -> Path:
    """Return the folder that video prompts are saved in."""
    return Path(folder_paths.get_folder_paths(VIDEO_PROMPTS)[0])


def file_input(name: str, folder: str, tooltip: str, *more: str) -> Any:
    """Return a choice among the files of a folder, names in ``more``, and none."""
    options = [NONE, *more, *folder_paths.get_filename_list(folder)]
    return io.Combo.Input(name, options=options, default=NONE, tooltip=tooltip)


def chosen_file(folder: str, name: str) -> Path | None:
    """Return the file that was chosen, or None."""
    return None if name == NONE else Path(folder_paths.get_full_path_or_raise(folder, name))


def _set_suffixes(name: str, suffixes: set[str]) -> None:
    paths, _ = folder_paths.folder_names_and_paths[name]
    folder_paths.folder_names_and_paths[name] = (paths, suffixes)
