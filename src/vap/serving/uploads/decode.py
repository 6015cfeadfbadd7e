"""Runs in a process of its own: decodes the files of a job, and prints their pixels."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vap.media import MediaLimits, probe_clip, read_clip, read_image, select_frames
from vap.media.pixels import RGB
from vap.serving.uploads.probe import ProbeLimits, confine


@dataclass(frozen=True, slots=True)
class WantedImage:
    """An image to decode whole."""

    path: Path


@dataclass(frozen=True, slots=True)
class WantedFrames:
    """Frames of a video, evenly over a part of it.

    Attributes:
        path: The video.
        count: How many frames.
        size: Height and width to resize to.
        start: Seconds; None for the beginning.
        end: Seconds; None for the end.
    """

    path: Path
    count: int
    size: tuple[int, int]
    start: float | None = None
    end: float | None = None

    def indices(self, available: int, fps: float) -> list[int]:
        """Return which of a video's frames these are; the part has at least two of them."""
        first = min(round((self.start or 0.0) * fps), max(0, available - 2))
        stop = available if self.end is None else min(available, round(self.end * fps))
        stop = max(stop, min(available, first + 2))
        return [first + index for index in select_frames(stop - first, self.count)]


Wanted = WantedImage | WantedFrames


def decode(wanted: Wanted, limits: ProbeLimits) -> RGB:
    """Return the pixels of an image ``[H, W, 3]``, or of frames ``[T, H, W, 3]``.

    Raises:
        MediaError: If the file is damaged, or exceeds a limit.
    """
    bounds = MediaLimits(pixels=limits.pixels, seconds=limits.seconds)
    if isinstance(wanted, WantedImage):
        return np.asarray(read_image(wanted.path, limits=bounds))
    fps = probe_clip(wanted.path, limits=bounds).fps
    return read_clip(
        wanted.path,
        limits=bounds,
        size=wanted.size,
        frame_indices=lambda available: wanted.indices(available, fps),
    ).frames


def as_json(wanted: Sequence[Wanted]) -> str:
    """Write what is wanted as an argument of the process."""
    return json.dumps([asdict(each) for each in wanted], default=str)


def _from_json(text: str) -> list[Wanted]:
    given: list[dict[str, Any]] = json.loads(text)
    return [
        (WantedFrames if "count" in each else WantedImage)(**{**each, "path": Path(each["path"])})
        for each in given
    ]


def main(arguments: Sequence[str]) -> None:
    """Decode what the first argument says as JSON, within the limits given second."""
    wanted, limits = _from_json(arguments[0]), ProbeLimits(**json.loads(arguments[1]))
    confine(limits)
    out = sys.stdout.buffer
    for each in wanted:
        try:
            pixels = np.ascontiguousarray(decode(each, limits))
        except (ValueError, OSError, MemoryError) as error:
            out.write(json.dumps({"problem": str(error) or type(error).__name__}).encode())
            return
        out.write(json.dumps({"shape": pixels.shape}).encode() + b"\n")
        out.write(pixels.data)


if __name__ == "__main__":
    main(sys.argv[1:])
