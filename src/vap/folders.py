"""Pipeline folders: which variant they hold, and whether all of it is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from vap.prompts import Family

RELEASED = {
    "wan": "ByteDance/Video-As-Prompt-Wan2.1-14B",
    "cogvideox": "ByteDance/Video-As-Prompt-CogVideoX-5B",
}
_FAMILIES: dict[str, Family] = {
    "WanVideoAsPromptPipeline": "wan",
    "WanImageToVideoMOTPipeline": "wan",
    "WanImageToVideoPipeline": "wan",
    "CogVideoXVideoAsPromptPipeline": "cogvideox",
    "CogVideoXImageToVideoMOTPipeline": "cogvideox",
    "CogVideoXImageToVideoPipeline": "cogvideox",
}
_COMPONENT_CONFIGS = {
    "tokenizer": ("tokenizer_config.json",),
    "scheduler": ("scheduler_config.json",),
    "image_processor": ("preprocessor_config.json",),
}
_VOCABULARIES = ("tokenizer.json", "spiece.model")
_WITHOUT_WEIGHTS = frozenset(_COMPONENT_CONFIGS)


def check_folder(folder: Path) -> None:
    """See that a pipeline folder is complete before anything is loaded.

    Raises:
        FileNotFoundError: Naming the missing file and where to get it.
        ValueError: If a file is damaged, or the folder is another kind of model.
    """
    index = _read_json(folder / "model_index.json")
    family_of(folder)
    for name, entry in index.items():
        if name.startswith("_") or not isinstance(entry, list) or not entry or entry[0] is None:
            continue
        for missing in _missing_files(folder / name, name):
            message = (
                f"{folder} is incomplete: {missing.relative_to(folder)} is missing. Copy it from "
                f"where the model came from, for the released models the Hub repositories "
                f"{RELEASED['wan']} and {RELEASED['cogvideox']}."
            )
            raise FileNotFoundError(message)
        for described in sorted((folder / name).glob("*.json")):
            _read_json(described)
        for weights in sorted((folder / name).glob("*.safetensors")):
            _check_weights(weights)


def class_name_of(folder: Path, component: str) -> str:
    """Name of the class that a component of a pipeline folder is of."""
    _, name = _read_json(folder / "model_index.json")[component]
    return str(name)


def generation_defaults_of(folder: Path) -> dict[str, Any]:
    """What a pipeline folder says of how its model generates; empty if it says nothing."""
    return dict(_read_json(folder / "model_index.json").get("generation_defaults") or {})


def family_of(folder: Path) -> Family:
    """The variant of a pipeline folder.

    Raises:
        FileNotFoundError: If it is no pipeline folder.
        ValueError: If it is another kind of model.
    """
    name = _read_json(folder / "model_index.json").get("_class_name")
    if not isinstance(name, str) or name not in _FAMILIES:
        message = (
            f"{folder} holds a {name}, which is no Video-As-Prompt model or backbone. "
            f"Usable are: {', '.join(_FAMILIES)}."
        )
        raise ValueError(message)
    return _FAMILIES[name]


def _missing_files(folder: Path, name: str) -> Iterator[Path]:
    for config in _COMPONENT_CONFIGS.get(name, ("config.json",)):
        if not (folder / config).is_file():
            yield folder / config
    if name == "tokenizer" and not any((folder / file).is_file() for file in _VOCABULARIES):
        yield folder / _VOCABULARIES[0]
    if name in _WITHOUT_WEIGHTS:
        return
    indices = sorted(folder.glob("*.safetensors.index.json"))
    for index in indices:
        yield from (folder / shard for shard in _shards(index) if not (folder / shard).is_file())
    if not indices and not any(folder.glob("*.safetensors")):
        stem = "model" if name.endswith("encoder") else "diffusion_pytorch_model"
        yield folder / f"{stem}.safetensors"


def _shards(index: Path) -> list[str]:
    """File names of the shards that an index lists."""
    places = _read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(file, str) for file in places.values()):
        message = f"{index} lists no shards under weight_map. Copy it again."
        raise ValueError(message)
    return sorted(set(places.values()))


def _check_weights(path: Path) -> None:
    """Read the header, which also compares the file's length with what it should be."""
    try:
        with safe_open(path, framework="pt"):
            pass
    except SafetensorError as error:
        message = f"{path} is damaged or incomplete ({error}). Copy it again."
        raise ValueError(message) from error


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        message = (
            f"{path} is missing, so {path.parent} is no pipeline folder. It should have "
            "model_index.json and the folders transformer/, vae/, text_encoder/ and so on."
        )
        raise FileNotFoundError(message)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"{path} is not valid JSON ({error}). Copy it again."
        raise ValueError(message) from error
    if not isinstance(content, dict):
        message = f"{path} holds a {type(content).__name__}, not an object. Copy it again."
        raise ValueError(message)
    return content
