"""Pipeline folders: which variant they hold, and whether all of it is there."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError

from vap.shapes import Compression, Family, PixelShape

if TYPE_CHECKING:  # requests are checked before torch is imported
    from vap.files.weights import StoredTensor

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
_LARGE = 1 << 20  # bytes; vocabularies are read once, and not kept
_COPY_ADVICE = (
    "Copy it from where the model came from, for the released models the Hub repositories "
    f"{RELEASED['wan']} and {RELEASED['cogvideox']}."
)
# What a folder's model_index.json may say.
_Count: TypeAlias = Annotated[int, Field(ge=1, le=2**16)]
_Rate: TypeAlias = Annotated[float, Field(gt=0, le=1e3)]
_Scale: TypeAlias = Annotated[float, Field(ge=0, le=1e3)]

# The negative prompt that ships with Wan2.1 and that the released model was run with.
RELEASED_NEGATIVE_PROMPT = (
    "Bright tones, overexposed, static, blurred details, subtitles, style, works, paintings, "
    "images, static, overall gray, worst quality, low quality, JPEG compression residue, ugly, "
    "incomplete, extra fingers, poorly drawn hands, poorly drawn faces, deformed, disfigured, "
    "misshapen limbs, fused fingers, still picture, messy background, three legs, many people "
    "in the background, walking backwards"
)


@dataclass(frozen=True, slots=True)
class GenerationDefaults:
    """A model's native settings."""

    height: _Count = 480  # Pixels
    width: _Count = 832  # Pixels
    num_frames: _Count = 49  # Pixel frames
    fps: _Rate = 16.0  # Frames a second
    num_inference_steps: _Count = 50  # Denoising steps
    guidance_scale: _Scale = 5.0  # Classifier-free guidance
    # Guidance by the reference; the release has none, which is 1
    reference_guidance_scale: _Scale = 1.0
    use_dynamic_cfg: bool = False  # Whether the scale rises over the steps (CogVideoX)
    negative_prompt: str = RELEASED_NEGATIVE_PROMPT  # For target and reference text alike

    @property
    def guided(self) -> bool:
        """Whether a step takes more than one pass."""
        return max(self.guidance_scale, self.reference_guidance_scale) > 1.0

    def with_steps(self, share: float) -> GenerationDefaults:
        """The same with a share of the steps, at least one."""
        return replace(self, num_inference_steps=max(1, round(share * self.num_inference_steps)))

    def unguided(self) -> GenerationDefaults:
        """The same, one pass a step."""
        return replace(self, guidance_scale=1.0, reference_guidance_scale=1.0)

    def as_config(self) -> dict[str, Any]:
        """The settings as they stand in ``model_index.json``."""
        return asdict(self)


def check_folder(folder: Path, variant: str | None = None) -> None:
    """See that a pipeline folder is complete before anything is loaded."""
    index = read_json(folder / "model_index.json")
    family_of(folder)
    generation_defaults_of(folder)
    for name, entry in index.items():
        if name.startswith("_") or not isinstance(entry, list) or not entry or entry[0] is None:
            continue
        for missing in _missing_files(folder / name, name, variant):
            raise FileNotFoundError(
                f"{folder} is incomplete: {missing.relative_to(folder)} is missing. "
                f"{_variant_advice(missing) or _COPY_ADVICE}"
            )
        for described in sorted((folder / name).glob("*.json")):
            read_json(described)
        if name not in _WITHOUT_WEIGHTS:
            stored_tensors(folder / name, variant)


def class_name_of(folder: Path, component: str) -> tuple[str, str]:
    """Library and class that a component of a pipeline folder is of."""
    path = folder / "model_index.json"
    entry = read_json(path).get(component)
    if not isinstance(entry, list) or [type(part) for part in entry] != [str, str]:
        raise ValueError(
            f"{path} has {component}={entry!r:.80}, which should name a library and a class, such "
            'as ["diffusers", "AutoencoderKLWan"]. Correct it.'
        )
    return entry[0], entry[1]


def stored_tensors(component: Path, variant: str | None = None) -> dict[str, StoredTensor]:
    """Tensors that a component's weights are loaded from, by name; none is read."""
    from vap.files.weights import read_headers

    found = read_headers(weight_files(component, variant))
    index = _index_of(component, variant)
    if index is not None:
        listed = _weight_map(index)
        for name in sorted(listed.keys() | found.keys()):
            file = found[name].file.name if name in found else None
            if listed.get(name) != file:
                raise ValueError(
                    f"{index} lists the tensor {name} in {listed.get(name)}, but it is in {file}. "
                    "Copy index and shards again from the model's source."
                )
    return found


def generation_defaults_of(folder: Path) -> dict[str, Any]:
    """The native settings stored in a pipeline folder; empty if there are none."""
    place = folder / "model_index.json"
    stored = read_json(place).get("generation_defaults") or {}
    if not isinstance(stored, dict):
        raise ValueError(f"{place} has generation_defaults={stored!r}, not an object. Correct it.")
    known = [field.name for field in fields(GenerationDefaults)]
    for name in stored:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known are: {', '.join(known)}."
            raise ValueError(
                f"{place} has the unknown setting {name!r} in generation_defaults. {hint}"
            )
    try:
        TypeAdapter(GenerationDefaults).validate_json(json.dumps(stored), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(
            f"{place} has generation_defaults with {first['loc'][0]}={first['input']!r:.80}: "
            f"{first['msg']}. Correct it."
        ) from error
    return stored


def native_video(folder: Path, family: Family) -> tuple[PixelShape, Compression]:
    """The video that a folder's model makes by default, and how the model shrinks one."""
    stored = generation_defaults_of(folder)
    native = GenerationDefaults(**stored)
    transformer = read_json(folder / "transformer" / "config.json")
    compression = compression_of(transformer, read_json(folder / "vae" / "config.json"))
    if family == "cogvideox" and not stored:
        return _trained_shape(transformer, compression), compression
    return PixelShape(native.num_frames, native.height, native.width), compression


def compression_of(transformer: Mapping[str, Any], vae: Mapping[str, Any]) -> Compression:
    """How VAE and patches of these configurations shrink a video."""
    patch = transformer.get("patch_size", (1, 2, 2))
    if isinstance(patch, int):
        patch = (transformer.get("patch_size_t") or 1, patch, patch)
    return Compression(
        vae.get("scale_factor_temporal") or int(vae.get("temporal_compression_ratio", 4)),
        vae.get("scale_factor_spatial") or 8,
        tuple(patch),
    )


def scheduler_config(folder: Path) -> dict[str, Any]:
    """The configuration of a folder's scheduler; empty where there is none."""
    path = folder / "scheduler" / "scheduler_config.json"
    return read_json(path) if path.is_file() else {}


def _trained_shape(transformer: Mapping[str, Any], compression: Compression) -> PixelShape:
    """The size that a CogVideoX backbone was trained at."""
    return PixelShape(
        transformer.get("sample_frames", 49),
        transformer.get("sample_height", 60) * compression.spatial,
        transformer.get("sample_width", 90) * compression.spatial,
    )


def weight_files(component: Path, variant: str | None = None) -> list[Path]:
    """Files that a component's weights are loaded from, whether they are there or not.

    Where a component has no files of a variant such as ``fp16``, its usual files are loaded.
    """
    index = _index_of(component, variant)
    if index is not None:
        return sorted({component / shard for shard in _weight_map(index).values()})
    stem = _stem(component)
    single = component / f"{stem}.{variant}.safetensors"
    return [single if variant and single.is_file() else component / f"{stem}.safetensors"]


def _index_of(component: Path, variant: str | None) -> Path | None:
    """The index that a component's shards are found by, if it is loaded from shards."""
    stem = _stem(component)
    for mark in (f".{variant}", "") if variant else ("",):
        index = component / f"{stem}.safetensors.index{mark}.json"
        if index.is_file():
            return index
        if (component / f"{stem}{mark}.safetensors").is_file():
            return None
    return None


def _stem(component: Path) -> str:
    return "model" if component.name.endswith("encoder") else "diffusion_pytorch_model"


def family_of(folder: Path) -> Family:
    """The variant of a pipeline folder."""
    name = read_json(folder / "model_index.json").get("_class_name")
    if not isinstance(name, str) or name not in _FAMILIES:
        raise ValueError(
            f"{folder} contains a {name!s:.80}, which is not a Video-As-Prompt model or backbone. "
            f"Supported are: {', '.join(_FAMILIES)}."
        )
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
            return f"{variant.name} would be loaded only with variant=: rename it to {wanted}."
    return None


def _weight_map(index: Path) -> dict[str, str]:
    """Tensors that an index lists, with the file of each, all of them beside it."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ValueError(f"{index} lists no shards under weight_map. Copy it again.")
    for file in places.values():
        plain = isinstance(file, str) and re.fullmatch(r"[^/\\:\0]+\.safetensors", file)
        if not plain:
            raise ValueError(
                f"{index} names the shard {file!r:.80}. Only .safetensors files beside it "
                "are read. Copy it again from where the model came from."
            )
    return places


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a pipeline folder."""
    if path.name == "model_index.json" and not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing, so {path.parent} is not a pipeline folder. It should have "
            "model_index.json and the folders transformer/, vae/, text_encoder/ and so on."
        )
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. {_COPY_ADVICE}")
    state = path.stat()
    if state.st_size > _LARGE:
        return _parsed(path)
    # Many steps read the same few files; each gets a copy that it may change.
    return deepcopy(_parsed_once(path, state.st_ino, state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=64)
def _parsed_once(path: Path, *_state: int) -> dict[str, Any]:
    return _parsed(path)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}). Copy it again.") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} contains a {type(content).__name__}, not an object. Copy it again."
        )
    return content
