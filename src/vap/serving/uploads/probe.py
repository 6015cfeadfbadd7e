"""Runs in a process of its own: reads one file from outside, and prints what it is as JSON.

A decoder that a file leads astray ends with this process: its memory and time are limited, it
cannot write a file, and it knows no secret.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vap.serving.content_filter import FRAMES, RefusedContentError, check_content
from vap.serving.uploads.kinds import Kind

_SIZE = (256, 256)  # of the frames that the content filter sees


@dataclass(frozen=True, slots=True)
class ProbeLimits:
    """What a file from outside may take.

    Attributes:
        seconds: Length of a video.
        pixels: Of a frame or image.
        memory: Bytes of the process that decodes it.
        time: Seconds of that process.
        content: Score from which the content filter refuses it; None for no filter.
    """

    seconds: float
    pixels: int
    memory: int
    time: int
    content: float | None = None


@dataclass(frozen=True, slots=True)
class Probed:
    """What a file is; lengths only of videos, sizes not of video prompts."""

    kind: Kind
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    fps: float | None = None
    seconds: float | None = None
    captions: tuple[str, ...] = ()


def probe(path: Path, limits: ProbeLimits) -> Probed:
    """Read a file to its end, and tell what it is.

    Raises:
        RefusedContentError: If the content filter refuses it.
        ValueError: If it is no image, video or video prompt, or exceeds a limit.
    """
    from vap.media.files import HEAD_BYTES, identify

    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    kind = identify(head)
    if kind.role == "image":
        return _image(path, limits)
    if kind.role in {"video", "animation"}:
        return _video(path, limits)
    if head[8:9] == b"{":  # the header of safetensors, after its length
        return _video_prompt(path)
    raise ValueError(
        f"The content of the file is {kind.title}. Give an image (PNG, JPEG, WebP …) or a video "
        "(MP4, MOV, WebM, MKV, AVI, GIF)."
    )


def _image(path: Path, limits: ProbeLimits) -> Probed:
    from vap.media import MediaLimits, read_image

    image = read_image(path, limits=MediaLimits(pixels=limits.pixels))
    check_content([image], limits.content)
    return Probed("image", image.width, image.height)


def _video(path: Path, limits: ProbeLimits) -> Probed:
    from vap.media import MediaLimits, probe_clip, read_clip, select_frames

    bounds = MediaLimits(pixels=limits.pixels, seconds=limits.seconds)
    info = probe_clip(path, limits=bounds)
    # Decodes all frames up to the last, and keeps few of them, small.
    few = select_frames(info.frames, min(info.frames, FRAMES))
    clip = read_clip(path, limits=bounds, frame_indices=[*few, info.frames - 1], size=_SIZE)
    check_content(clip.frames, limits.content)
    return Probed("video", info.width, info.height, info.frames, info.fps, info.seconds)


def _video_prompt(path: Path) -> Probed:
    from vap.pipelines.video_prompt import VideoPrompt

    prompt = VideoPrompt.load(path)
    shape = prompt.shape
    return Probed(
        "video_prompt", shape.width, shape.height, shape.frames, captions=tuple(prompt.captions)
    )


def confine(limits: ProbeLimits) -> None:
    """Limit this process; there is no way back."""
    # Data, not address space: files and libraries that are mapped are no danger.
    resource.setrlimit(resource.RLIMIT_DATA, (limits.memory, limits.memory))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.time, limits.time))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(arguments: Sequence[str]) -> None:
    """Probe the file named first, within the limits given second as JSON."""
    path, limits = Path(arguments[0]), ProbeLimits(**json.loads(arguments[1]))
    confine(limits)
    answer: dict[str, Any]
    try:
        answer = {"probed": asdict(probe(path, limits))}
    except RefusedContentError as error:
        answer = {"refused": str(error)}
    except (ValueError, OSError, MemoryError) as error:
        answer = {"problem": str(error) or type(error).__name__}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
