"""From a model's name to a folder to a pipeline: bundled model, local folder, Hub id."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch
from safetensors import SafetensorError, safe_open

from vap.devices import check_device
from vap.prompts import Family

Offload: TypeAlias = Literal["model", "sequential", "group"]

RELEASED = {
    "wan": "ByteDance/Video-As-Prompt-Wan2.1-14B",
    "cogvideox": "ByteDance/Video-As-Prompt-CogVideoX-5B",
}
BUNDLED_FOLDER = Path(__file__).parent / "bundled"
DEFAULT_MODEL = "vap-mini"

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
_TORCH_ALIGNMENT = 64
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that can be named.

    Attributes:
        name: What to pass as the model.
        family: Which variant.
        where: ``bundled`` or ``hub``.
        description: One line.
    """

    name: str
    family: Family
    where: str
    description: str


def known_models() -> list[ModelEntry]:
    """Models that this version knows by name; any other folder or Hub id works too."""
    bundled = [
        ModelEntry(folder.name, family_of(folder), "bundled", "ships with the package")
        for folder in sorted(BUNDLED_FOLDER.glob("*"))
        if (folder / "model_index.json").is_file()
    ]
    released = [
        ModelEntry(RELEASED["wan"], "wan", "hub", "20.7B parameters, 480×832, 49 frames"),
        ModelEntry(
            RELEASED["cogvideox"], "cogvideox", "hub", "11.1B parameters, 480×720, 49 frames"
        ),
    ]
    return bundled + released


def resolve_folder(name_or_path: str | Path) -> Path:
    """Find the pipeline folder of a model.

    Args:
        name_or_path: A bundled model's name, a local folder (``./name`` for one that is named
            like a bundled model), or a Hub id ``owner/name``. Only a Hub id is ever downloaded,
            by the Hub's own client, into its own cache.

    Raises:
        FileNotFoundError: If there is no such model, or files of it are missing.
    """
    folder = _find_folder(name_or_path)
    check_folder(folder)
    return folder


def _find_folder(name_or_path: str | Path) -> Path:
    """The folder of a model, downloaded if need be; what is in it is not looked at."""
    text = str(name_or_path)
    local = bundled_model(text) or _local_folder(name_or_path)
    if local is not None:
        return local
    if isinstance(name_or_path, str) and _HUB_ID.fullmatch(text) and not text.startswith("."):
        return _download(text)
    names = ", ".join(entry.name for entry in known_models())
    message = (
        f"There is no model {text!r}: no such folder, and no known name. Give a pipeline "
        f"folder, a Hub id (owner/name), or one of: {names}."
    )
    raise FileNotFoundError(message)


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


def load_pipeline(
    name_or_path: str | Path = DEFAULT_MODEL,
    *,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str | None = None,
    expert: str | Path | None = None,
    offload: Offload | None = None,
    **options: Any,
) -> Any:
    """Load a Video-As-Prompt pipeline of either variant.

    Args:
        name_or_path: A bundled model's name, a local folder, or a Hub id. A stock image-to-video
            backbone folder works too: give it an ``expert``, or use it without references.
        dtype: Precision; by default bfloat16 on an accelerator and float32 on a CPU. The Wan VAE
            and image encoder stay in float32, as they were trained.
        device: Where to run; by default an accelerator if there is one.
        expert: An expert file to load in place of the checkpoint's own.
        offload: Trade speed for accelerator memory: ``model`` (one component at a time),
            ``group`` (blocks of the transformer stream in) or ``sequential`` (slowest).
        **options: Passed to the pipeline's ``from_pretrained``.

    Returns:
        A :class:`WanVideoAsPromptPipeline` or :class:`CogVideoXVideoAsPromptPipeline`.

    Raises:
        FileNotFoundError: If the model or one of its files is missing.
        ValueError: If a file is damaged or does not fit.
    """
    # First what needs no model: one of these may be downloaded for hours.
    if device is not None:
        check_device(str(device))
    device = torch.device(device) if device is not None else default_device()
    dtype = _as_dtype(dtype) or (torch.float32 if device.type == "cpu" else torch.bfloat16)
    _check_offload(offload, device)
    folder = _find_folder(name_or_path)
    family = family_of(folder)
    dtypes: Any = dtype
    if family == "wan":
        dtypes = {"default": dtype, "vae": torch.float32, "image_encoder": torch.float32}
    pipeline = pipeline_class(family).from_pretrained(folder, dtype=dtypes, **options)
    if expert is not None:
        pipeline.transformer.load_expert(expert)
    return _place(pipeline, device, offload)


def load_transformer(name_or_path: str | Path, *, dtype: torch.dtype | None = None) -> Any:
    """Load the transformer of a model alone, in the precision that it is stored in by default."""
    folder = resolve_folder(name_or_path)
    model_class = pipeline_class(family_of(folder)).transformer_class
    return model_class.from_pretrained(
        folder, subfolder="transformer", dtype=dtype or _stored_dtype(folder / "transformer")
    )


def _stored_dtype(folder: Path) -> torch.dtype:
    """Precision that most of a component's weights are stored in; diffusers loads float32."""
    elements: Counter[str] = Counter()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                stored = tensors.get_slice(name)
                elements[stored.get_dtype()] += math.prod(stored.get_shape())
    ((most, _),) = elements.most_common(1)
    return {"F16": torch.float16, "BF16": torch.bfloat16}.get(most, torch.float32)


def pipeline_class(family: Family) -> Any:
    """The pipeline class of a variant."""
    if family == "wan":
        from vap.pipelines.wan import WanVideoAsPromptPipeline

        return WanVideoAsPromptPipeline
    from vap.pipelines.cogvideox import CogVideoXVideoAsPromptPipeline

    return CogVideoXVideoAsPromptPipeline


def default_device() -> torch.device:
    """The accelerator of this machine, or its CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def _check_offload(offload: Offload | None, device: torch.device) -> None:
    if offload is None:
        return
    if device.type == "cpu":
        message = (
            f"offload={offload!r} needs an accelerator, and the device is the CPU. Leave it out."
        )
        raise ValueError(message)
    if offload not in get_args(Offload):
        message = f"offload={offload!r} is unknown. Use 'model', 'group' or 'sequential'."
        raise ValueError(message)


def _place(pipeline: Any, device: torch.device, offload: Offload | None) -> Any:
    if offload is None:
        return _settled(pipeline) if device.type == "cpu" else pipeline.to(device)
    if offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        _stream_in(pipeline, device)
    return pipeline


def _stream_in(pipeline: Any, device: torch.device) -> None:
    """Keep weights in main memory and bring them in while the device works on what it has."""
    pipeline.transformer.enable_group_offload(
        onload_device=device, offload_type="block_level", num_blocks_per_group=1, use_stream=True
    )
    # Text encoders keep their layers too deep for block level, which would bring in all at once.
    pipeline.enable_group_offload(
        onload_device=device,
        offload_type="leaf_level",
        use_stream=True,
        exclude_modules=["transformer"],
    )


def _settled(pipeline: Any) -> Any:
    """Copy weights out of the files that they are mapped from.

    How an operand lies in memory decides the last bit of a product on a CPU, and how a weight
    lies in its file depends on the length of the file's header. So that the same weights give the
    same bytes from whatever file they come, they go where torch would have put them.
    """
    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            for tensor in (*component.parameters(), *component.buffers()):
                plain = type(tensor) in {torch.Tensor, torch.nn.Parameter}
                if plain and tensor.data_ptr() % _TORCH_ALIGNMENT:
                    tensor.data = tensor.data.clone()
    return pipeline


def _as_dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    names = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    short = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
    chosen = names.get(short.get(dtype, dtype))
    if chosen is None:
        message = f"dtype={dtype!r} is unknown. Use one of: {', '.join(names)}."
        raise ValueError(message)
    return chosen


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


def bundled_model(name: str) -> Path | None:
    """The folder of a model that ships with the package, or None."""
    folder = BUNDLED_FOLDER / name
    plain = folder.name == name
    return folder if plain and (folder / "model_index.json").is_file() else None


def _local_folder(name_or_path: str | Path) -> Path | None:
    """The folder of that name, or None; a name that no file can have is no folder."""
    try:
        folder = Path(name_or_path).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError):
        return None


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                hub_id, allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt"]
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        message = (
            f"{hub_id!r} is no local folder, and could not be had from the Hub: {error}. Check "
            "the name and the connection, or give the path of a downloaded folder."
        )
        raise FileNotFoundError(message) from error


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
