"""Run records: what is needed to make a video again, as JSON beside it and inside it."""

from __future__ import annotations

import dataclasses
import difflib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated
from pydantic_core import ErrorDetails

from vap.files.atomic import atomic_file
from vap.files.errors import MediaError, refusal
from vap.media.files import GIF, PNG, check_file, unreadable
from vap.media.images import opened
from vap.media.limits import MediaLimits
from vap.media.video import open_container

FORMAT = 1
_FORMAT_KEY = "format"
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_BESIDE = ".json"
_LARGEST = 1 << 24  # bytes
_LOCAL = ("created", "model_path")  # differ between runs or machines that make the same video


def installed_versions() -> dict[str, str]:
    """Versions of the distributions that a video's pixels depend on."""
    found = {}
    for name in ("video-as-prompt", "torch", "diffusers", "transformers"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@validated(frozen=True, config=_STRICT)
class InputFile:
    """An image or video that a run used."""

    role: str  # what it was used as: ``"reference"``, ``"image"``, ...
    name: str  # file name without folders
    sha256: str  # digest of its bytes, as in ``Clip.sha256``
    path: str | None = None  # its path, if it was a file


@validated(frozen=True, config=_STRICT)
class RunRecord:
    """How a video was made."""

    model: str  # name of the model, as given by the user
    prompt: str
    seed: int  # seed of its noise
    fps: float  # frames per second it was written at
    model_path: str | None = None  # folder the model was loaded from, if local
    model_id: str | None = None  # Hub id of the model, if it has one
    reference_prompts: tuple[str, ...] = ()  # captions of the reference videos, in their order
    negative_prompt: str | None = None
    # All other arguments of the call, by name.
    arguments: dict[str, JsonValue] = field(default_factory=dict)
    # Versions of the software, by distribution.
    versions: dict[str, str] = field(default_factory=installed_versions)
    inputs: tuple[InputFile, ...] = ()
    # Digest of the model's configurations and weights, see ``vap.files.weights.weights_hash``;
    # None in records of before it was taken.
    weights: str | None = None
    # When, as an ISO 8601 time in UTC.
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def to_json(self) -> str:
        """Write as indented JSON that ``from_json`` reads back as an equal record."""
        content = {_FORMAT_KEY: FORMAT, **dataclasses.asdict(self)}
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, name: object = "run record") -> RunRecord:
        """Read what ``to_json`` wrote; ``name`` is that of its file, for errors."""
        content = _parse(text, name)
        found = content.pop(_FORMAT_KEY, None)
        if found != FORMAT:
            fix = f"This version reads format {FORMAT}: update vap, or make the video again."
            raise refusal(name, f"its record format is {found!r}", fix)
        try:
            # As JSON, where a tuple is a list; otherwise strict, so that "7" is not a number.
            return TypeAdapter(cls).validate_json(json.dumps(content), strict=True)
        except ValidationError as error:
            raise _first_fault(error.errors(), name) from error

    def embedded(self) -> dict[str, Any]:
        """The record as ``metadata`` of ``write_video``: without times and folders."""
        content: dict[str, Any] = json.loads(self.to_json())
        for key in _LOCAL:
            del content[key]
        for item in content["inputs"]:
            del item["path"]
        return content


def record_path(video: Path) -> Path:
    """Path of a video's (or folder's) record: ``out.mp4.json``."""
    return video.with_name(video.name + _BESIDE)


def write_run(path: str | Path, record: RunRecord) -> Path:
    """Write the record of a video or folder of frames beside it, and return its path.

    Raises:
        MediaError: If the path cannot be written to.
    """
    with writing_run(path, record) as target:
        return target


@contextmanager
def writing_run(path: str | Path, record: RunRecord) -> Iterator[Path]:
    """Write a record as ``write_run``; it appears when the block ends without an error."""
    target = record_path(Path(path))
    with atomic_file(target) as temporary:
        temporary.write_text(record.to_json(), encoding="utf-8")
        yield target


def read_run(path: str | Path) -> RunRecord:
    """Read the record of a video, given the video or the JSON itself.

    Raises:
        MediaError: If there is no record or it is not valid.
    """
    target = Path(path)
    if target.suffix.lower() != _BESIDE:
        target = record_path(target)
    if not target.is_file():
        fix = "Give a video made by vap, or its JSON record."
        raise refusal(target, "the run record does not exist", fix)
    try:
        if target.stat().st_size > _LARGEST:
            raise refusal(target, "it is too large for a run record", "Give a run record.")
        return RunRecord.from_json(target.read_text(encoding="utf-8"), target)
    except OSError as error:
        raise unreadable(target, error) from error
    except UnicodeDecodeError as error:
        raise refusal(target, "it is not UTF-8 text", "Give a run record.") from error


def _parse(text: str, name: object) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise refusal(name, f"it is not valid JSON ({error})", "Give a run record.") from error
    if not isinstance(content, dict):
        problem = f"it is a JSON {type(content).__name__}, not an object"
        raise refusal(name, problem, "Give a run record.")
    return content


def _first_fault(faults: list[ErrorDetails], name: object) -> MediaError:
    """The error for an unknown key, which may explain a missing one, or else the first fault."""
    unknown = (each for each in faults if each["type"] == "unexpected_keyword_argument")
    fault = next(unknown, faults[0])
    path = [str(part) for part in fault["loc"]]
    if fault["type"] == "unexpected_keyword_argument":
        owner = RunRecord if len(path) == 1 else InputFile
        names = [each.name for each in dataclasses.fields(owner)]
        nearest = difflib.get_close_matches(path[-1], names, n=1, cutoff=0.0)[0]
        return refusal(name, f"unknown key {path[-1]!r}", f"Did you mean {nearest!r}?")
    fix = "Correct the file, or make the video again."
    return refusal(name, f"{'.'.join(path)}: {fault['msg']}", fix)


COMMENT = "comment"
FIRST_FRAME = "frame_00000.png"  # of a folder of frames; contains the folder's metadata


def dump_metadata(metadata: Mapping[str, Any] | None) -> str | None:
    """Write metadata as ASCII JSON with sorted keys: the same bytes for the same content."""
    if metadata is None:
        return None
    try:
        return json.dumps(metadata, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Metadata must be JSON (text, numbers, lists, objects with text keys): {error}."
        ) from error


def read_metadata(path: str | Path) -> dict[str, Any] | None:
    """Read the metadata that ``write_video`` put into a video, GIF, PNG or folder of frames.

    Returns:
        The JSON object in its comment; None if there is none.

    Raises:
        MediaError: If the file is missing or cannot be opened.
    """
    path = Path(path)
    comment = _comment(path / FIRST_FRAME if path.is_dir() else path)
    try:
        found = json.loads(comment) if comment else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _comment(path: Path) -> str | bytes | None:
    limits = MediaLimits()
    file = check_file(path, limits)
    if file.kind in (GIF, PNG):
        with opened(path, limits) as image:
            return image.info.get(COMMENT)
    if file.kind.role != "video":
        return None
    with open_container(file, limits) as container:
        # Matroska writes its keys in capitals.
        return {key.lower(): value for key, value in container.metadata.items()}.get(COMMENT)
