"""Files of a job, decoded within limits before the model process reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from vap.files.folders import family_of, native_video
from vap.files.names import find_folder
from vap.generation.request import GenerationRequest
from vap.media.files import hash_file
from vap.media.pixels import RGB
from vap.media.records import InputFile, RunRecord
from vap.serving.jobs.request import Part
from vap.serving.uploads.check import decode_files
from vap.serving.uploads.decode import WantedFrames, WantedImage
from vap.serving.uploads.probe import ProbeLimits


@dataclass(frozen=True, slots=True)
class Decoded:
    """A request with decoded files.

    Attributes:
        request: Its image is a PNG, and its references are folders of the frames that the model
            sees.
        originals: The files that were decoded whole, by place of what was decoded.
    """

    request: GenerationRequest
    originals: dict[str, Path]

    def record(self, made: RunRecord) -> RunRecord:
        """Return a record that names the originals, which make the same video."""
        return replace(made, inputs=tuple(map(self._original, made.inputs)))

    def _original(self, entry: InputFile) -> InputFile:
        original = self.originals.get(entry.path or "")
        if original is None:
            return entry
        return InputFile(entry.role, original.name, hash_file(original), str(original.resolve()))


def decode_inputs(
    request: GenerationRequest, parts: Sequence[Part], folder: Path, limits: ProbeLimits
) -> Decoded:
    """Decode the image and the references of a request.

    Args:
        request: With the files of clients.
        parts: Which part of each reference is used.
        folder: Where to write what was decoded.
        limits: Of the process that decodes.

    Raises:
        RefusedUploadError: If a file is damaged, or exceeds a limit.
    """
    model = find_folder(request.model)
    native, _ = native_video(model, family_of(model))
    size = (request.height or native.height, request.width or native.width)
    # A clip has at least two frames, also where the model sees one.
    count = max(2, request.num_frames or native.frames)
    image, *clips = decode_files(
        [
            WantedImage(request.image),
            *(
                WantedFrames(path, count, size, part.start, part.end)
                for path, part in zip(request.references, parts, strict=True)
            ),
        ],
        limits,
    )
    still = folder / "image.png"
    _write(still, image)
    places = [
        _write_frames(folder / f"reference-{number}", clip) for number, clip in enumerate(clips)
    ]
    originals = {str(still.resolve()): request.image}
    for place, path, part in zip(places, request.references, parts, strict=True):
        if part.whole:  # the whole file would not make the video of a part
            originals[str(place.resolve())] = path
    return Decoded(replace(request, image=still, references=tuple(places)), originals)


def _write_frames(folder: Path, frames: RGB) -> Path:
    folder.mkdir()
    for number, frame in enumerate(frames):
        _write(folder / f"{number:05}.png", frame)
    return folder


def _write(place: Path, pixels: RGB) -> None:
    Image.fromarray(pixels).save(place, compress_level=1)
