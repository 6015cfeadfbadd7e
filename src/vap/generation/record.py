"""From a request to the record of its run, and back to make the same video again."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from vap.acceleration.plan import Quantization
from vap.files.errors import MediaError
from vap.files.names import bundled_model, hub_id, local_model
from vap.files.weights import LORA_FILE, weights_hash
from vap.generation.request import SINGLE_INPUTS, GenerationRequest
from vap.media.clip import read_clip
from vap.media.files import hash_file
from vap.media.records import (
    InputFile,
    RunRecord,
    installed_versions,
    read_metadata,
    read_run,
    record_path,
)
from vap.pipelines.video_prompt import VideoPrompt

_logger = logging.getLogger(__name__)

# What a record keeps under names of its own, or as an input file with its hash.
_RECORDED_ELSEWHERE = frozenset({
    "image", "last_image", "references", "video_prompt", "prompt", "reference_prompts",
    "negative_prompt", "model", "seed", "fps", "expert", "student", "backbone", "lora",
})  # fmt: skip
_ORIGINS = frozenset({"effect", "captions_by"})
# Among a record's arguments: what loading made of the weights, which the request did not ask for.
_QUANTIZED = "quantized_in"


def record_of(
    request: GenerationRequest,
    prompt: VideoPrompt | None,
    weights: str | None = None,
    held: Quantization | None = None,
) -> RunRecord:
    """What is needed to make a request's video again."""
    folder = Path(request.model).expanduser()
    bundled = bundled_model(request.model) is not None
    local = not bundled and folder.is_dir()
    settings = {k: v for k, v in asdict(request).items() if k not in _RECORDED_ELSEWHERE}
    # Where captions and references come from, if it is not the user.
    settings = {k: v for k, v in settings.items() if k not in _ORIGINS or v is not None}
    settings["lora_scales"] = list(request.lora_scales)
    if held is not None and request.quantize is None:
        settings[_QUANTIZED] = held
    assert request.fps is not None
    return RunRecord(
        model=folder.resolve().name if local else request.model,
        model_path=str(folder.resolve()) if local else None,
        model_id=None if local or bundled else request.model,
        prompt=request.prompt,
        seed=request.seed,
        fps=request.fps,
        reference_prompts=request.reference_prompts,
        negative_prompt=request.negative_prompt,
        arguments=settings,
        inputs=tuple(_inputs(request, prompt)),
        weights=weights,
    )


def weights_of(pipeline: Any) -> str | None:
    """Identity of the weights in the folder that a pipeline was loaded from, if it was."""
    folder = Path(pipeline.name_or_path or "")
    return weights_hash(folder) if (folder / "model_index.json").is_file() else None


def recorded_run(path: str | Path) -> RunRecord:
    """The record of a video, from the JSON beside it if that is about it, else from inside it."""
    place = Path(path)
    if place.suffix.lower() == ".json":
        return read_run(place)
    if record_path(place).exists():
        return _own_record(place, read_run(place))
    embedded = read_metadata(place)
    if embedded is None:
        raise MediaError(
            f"{place} contains no record. Give a video made by vap, or its JSON record."
        )
    return RunRecord.from_json(json.dumps(embedded), place)


def request_from(
    record: RunRecord,
    *,
    moved: Mapping[str, Sequence[Path]] | None = None,
    model: str | None = None,
) -> GenerationRequest:
    """The request that made a recorded video, its inputs checked.

    ``moved`` says where inputs are now, by role such as ``image`` or ``reference``, and ``model``
    where the model is. Inputs are told apart by their contents. A model that would have to be
    downloaded is refused unless ``model`` names it.
    """
    found: dict[str, list[Path]] = {}
    for entry in record.inputs:
        candidates = [_file(entry.role, place) for place in (moved or {}).get(entry.role, ())]
        found.setdefault(entry.role, []).append(_located(entry, candidates))
    if model is None:
        _check_here(record.model_path or record.model)
    elsewhere = sorted(record.arguments.keys() & _RECORDED_ELSEWHERE)
    if elsewhere:
        raise MediaError(
            f"The record is damaged: {elsewhere} are not arguments. Make the video again."
        )
    content = {
        "references": tuple(found.get("reference", ())),
        "lora": tuple(found.get("lora", ())),
        "reference_prompts": record.reference_prompts,
        "prompt": record.prompt,
        "negative_prompt": record.negative_prompt,
        "model": model or record.model_path or record.model,
        "seed": record.seed,
        "fps": record.fps,
        **{role: found[role][0] for role in SINGLE_INPUTS if role in found},
        **{name: value for name, value in record.arguments.items() if name != _QUANTIZED},
    }
    return _validated(content)


def _check_here(model: str) -> None:
    """Refuse to download a model that only the record names."""
    if local_model(model) is not None:
        return
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(hub_id(model), "model_index.json")
    except FileNotFoundError:  # not a Hub id either; loading raises the error
        return
    if found is None:
        raise MediaError(
            f"The record names the model {model!r}, which is not on this machine. Give --model "
            f"{model} to download it from the Hub, or the folder where it is."
        )


def quantized_in(record: RunRecord) -> Quantization | None:
    """Precision of the quantized backbone's weights, or None without quantization.

    Older records know only what was asked for.
    """
    held = record.arguments.get(_QUANTIZED) or record.arguments.get("quantize")
    return cast("Quantization | None", held)


def changed_versions(record: RunRecord) -> dict[str, tuple[str, str]]:
    """Software that is not what made a video: recorded and installed version, by name."""
    here = installed_versions()
    return {
        name: (then, here.get(name, "none"))
        for name, then in record.versions.items()
        if here.get(name) != then
    }


def has_other_weights(record: RunRecord, model: str) -> bool:
    """Whether the weights of a local model differ from those that made a video."""
    folder = local_model(model)
    if folder is None or record.weights is None or not (folder / "model_index.json").is_file():
        return False
    return weights_hash(folder) != record.weights


def has_same_inputs(record: RunRecord, request: GenerationRequest) -> bool:
    """Whether a request's files hold what made a video, wherever they are, and its model too."""
    recorded = [(entry.role, entry.sha256) for entry in record.inputs]
    if [role for role, _ in recorded] != [role for role, _ in request.inputs]:
        return False
    found = [(role, input_digest(_file(role, path))) for role, path in request.inputs]
    return found == recorded and not has_other_weights(record, request.model)


def _own_record(video: Path, beside: RunRecord) -> RunRecord:
    """The record beside a video, or that inside it where the JSON has stayed from another one."""
    try:
        embedded = read_metadata(video)
    except MediaError:  # the reason to make a video again may be that it is lost or damaged
        embedded = None
    if embedded is None:
        return beside
    json_file = record_path(video)
    try:
        inside = RunRecord.from_json(json.dumps(embedded), video)
    except MediaError as error:
        raise MediaError(
            f"{video}: the record inside is incomplete, and {json_file.name} does not match it. "
            f"Delete {json_file} if it belongs to another video; otherwise give that file."
        ) from error
    # Both as records, so that keys of later versions count on neither side.
    if inside.embedded() == beside.embedded():
        return beside
    _logger.warning(
        "%s belongs to another video, so the record inside %s is used. To use the JSON instead, "
        "give its path.",
        json_file,
        video,
    )
    return inside


def _inputs(request: GenerationRequest, prompt: VideoPrompt | None) -> list[InputFile]:
    single = [(role, _file(role, path)) for role, path in request.inputs if role != "reference"]
    inputs = [
        InputFile(role, path.name, hash_file(path), str(path.resolve())) for role, path in single
    ]
    if prompt is not None and request.video_prompt is None:
        # Read a moment ago, so their hashes are known.
        inputs += [
            InputFile("reference", source.name, source.sha256, str(path.resolve()))
            for path, source in zip(request.references, prompt.references, strict=True)
        ]
    return inputs


def _file(role: str, place: Path) -> Path:
    """The file of an input; a LoRA may be given as its folder."""
    return place / LORA_FILE if role in {"student", "lora"} and place.is_dir() else place


def _located(entry: InputFile, candidates: Sequence[Path]) -> Path:
    """The file of a recorded input, wherever it is now, if it is still the same."""
    option = f"--{entry.role.replace('_', '-')}"
    places = [*candidates, *([] if entry.path is None else [Path(entry.path)])]
    # Whoever wrote the record chose the place: a device or pipe would never end.
    existing = [place for place in places if place.is_file() or place.is_dir()]
    for place in existing:
        if input_digest(place) == entry.sha256:
            return place
    if existing:
        raise MediaError(
            f"{existing[0]} is not the {entry.role} that made this video ({entry.name}): its "
            f"contents differ. Give the original with {option}."
        )
    where = f"not at {places[0]}" if places else "somewhere that is not recorded"
    raise MediaError(
        f"The {entry.role} of this video, {entry.name}, is {where}. Give it with {option}."
    )


def input_digest(place: Path) -> str:
    """Hash of the contents of an input: a file, or a folder of frames."""
    return read_clip(place, max_frames=1).sha256 if place.is_dir() else hash_file(place)


def _validated(content: dict[str, Any]) -> GenerationRequest:
    """Outside input as a request: known names, and values of their types."""
    known = {field.name for field in fields(GenerationRequest)}
    unknown = sorted(content.keys() - known)
    if unknown:
        raise MediaError(
            f"The record has settings that this version does not know: {unknown}. Update vap."
        )
    try:
        return TypeAdapter(GenerationRequest).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise MediaError(
            f"The record is damaged: {where}: {first['msg']}. Make the video again."
        ) from error
