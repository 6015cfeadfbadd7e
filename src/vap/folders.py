"""Pipeline folders: which variant they hold, and whether all of it is there."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from vap.pipelines.defaults import GenerationDefaults
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
_COPY_ADVICE = (
    "Copy it from where the model came from, for the released models the Hub repositories "
    f"{RELEASED['wan']} and {RELEASED['cogvideox']}."
)


def check_folder(folder: Path, variant: str | None = None) -> None:
    """See that a pipeline folder is complete before anything is loaded.

    Args:
        folder: The folder.
        variant: Of the weights to be loaded, such as ``fp16``; none in the released models.

    Raises:
        FileNotFoundError: Naming the missing file and where to get it.
        ValueError: If a file is damaged, or the folder is another kind of model or says of how it
            generates what no model knows.
    """
    index = read_json(folder / "model_index.json")
    family_of(folder)
    generation_defaults_of(folder)
    for name, entry in index.items():
        if name.startswith("_") or not isinstance(entry, list) or not entry or entry[0] is None:
            continue
        for missing in _missing_files(folder / name, name, variant):
            message = (
                f"{folder} is incomplete: {missing.relative_to(folder)} is missing. "
                f"{_variant_advice(missing) or _COPY_ADVICE}"
            )
            raise FileNotFoundError(message)
        for described in sorted((folder / name).glob("*.json")):
            read_json(described)
        for weights in sorted((folder / name).glob("*.safetensors")):
            _check_weights(weights)


def class_name_of(folder: Path, component: str) -> str:
    """Name of the class that a component of a pipeline folder is of."""
    _, name = read_json(folder / "model_index.json")[component]
    return str(name)


def generation_defaults_of(folder: Path) -> dict[str, Any]:
    """What a pipeline folder says of how its model generates; empty if it says nothing.

    Raises:
        ValueError: If it names a setting that there is not.
    """
    place = folder / "model_index.json"
    stored = read_json(place).get("generation_defaults") or {}
    if not isinstance(stored, dict):
        message = f"{place} has generation_defaults={stored!r}, not an object. Correct it."
        raise ValueError(message)
    known = [field.name for field in fields(GenerationDefaults)]
    for name in stored:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known are: {', '.join(known)}."
            message = f"{place} has the unknown setting {name!r} in generation_defaults. {hint}"
            raise ValueError(message)
    return stored


def weight_files(component: Path, variant: str | None = None) -> list[Path]:
    """Files that a component's weights are loaded from, whether they are there or not.

    Args:
        component: Folder of a component with weights.
        variant: The variant that is asked for, such as ``fp16``; where a component has none of
            this name, its usual files are loaded.

    Raises:
        ValueError: If its index is damaged.
    """
    stem = "model" if component.name.endswith("encoder") else "diffusion_pytorch_model"
    for mark in (f".{variant}", "") if variant else ("",):
        single = component / f"{stem}{mark}.safetensors"
        index = component / f"{stem}.safetensors.index{mark}.json"
        if index.is_file():
            return [component / shard for shard in _shards(index)]
        if single.is_file():
            return [single]
    return [component / f"{stem}.safetensors"]


def family_of(folder: Path) -> Family:
    """The variant of a pipeline folder.

    Raises:
        FileNotFoundError: If it is no pipeline folder.
        ValueError: If it is another kind of model.
    """
    name = read_json(folder / "model_index.json").get("_class_name")
    if not isinstance(name, str) or name not in _FAMILIES:
        message = (
            f"{folder} holds a {name}, which is no Video-As-Prompt model or backbone. "
            f"Usable are: {', '.join(_FAMILIES)}."
        )
        raise ValueError(message)
    return _FAMILIES[name]


def _missing_files(folder: Path, name: str, variant: str | None) -> Iterator[Path]:
    for config in _COMPONENT_CONFIGS.get(name, ("config.json",)):
        if not (folder / config).is_file():
            yield folder / config
    if name == "tokenizer" and not any((folder / file).is_file() for file in _VOCABULARIES):
        yield folder / _VOCABULARIES[0]
    if name in _WITHOUT_WEIGHTS:
        return
    yield from (file for file in weight_files(folder, variant) if not file.is_file())


def _variant_advice(missing: Path) -> str | None:
    """What to do where only a variant of the missing weights is there, else None."""
    stem = missing.stem
    for pattern, wanted in (
        (f"{stem}.safetensors.index.*.json", f"{stem}.safetensors.index.json"),
        (f"{stem}.*.safetensors", f"{stem}.safetensors"),
    ):
        for variant in sorted(missing.parent.glob(pattern)):
            return (
                f"There is {variant.name}, which is loaded only where a variant is asked for: "
                f"rename it to {wanted}."
            )
    return None


def _shards(index: Path) -> list[str]:
    """File names of the shards that an index lists."""
    places = read_json(index).get("weight_map")
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


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a pipeline folder.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds anything else.
    """
    if path.name == "model_index.json" and not path.is_file():
        message = (
            f"{path} is missing, so {path.parent} is no pipeline folder. It should have "
            "model_index.json and the folders transformer/, vae/, text_encoder/ and so on."
        )
        raise FileNotFoundError(message)
    if not path.is_file():
        message = f"{path} is missing. {_COPY_ADVICE}"
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
