"""Read clips: any source in, chosen RGB frames at a constant rate out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from vap.files.errors import refusal
from vap.media.files import ANIMATED_WEBP, check_file, is_folder, mislabeled
from vap.media.images import FrameStack, open_folder, open_frames
from vap.media.limits import MediaLimits
from vap.media.pixels import RGB, Fit, Resample, resize
from vap.media.timing import Source, exact_rate, sample
from vap.media.video import open_video
from vap.media.webp import open_webp

if TYPE_CHECKING:
    import torch

    ClipSource = str | Path | FrameStack | torch.Tensor

FrameSelection = Literal["evenly", "first", "random"]


def select_frames(
    count_available: int,
    count_wanted: int,
    mode: FrameSelection = "evenly",
    generator: torch.Generator | None = None,
) -> list[int]:
    """Choose frame indices of a clip, in order of time.

    ``"evenly"`` spreads over the whole clip, ``np.linspace(0, n - 1, F)`` truncated to integers;
    more frames than there are repeats some. ``"first"`` takes the beginning and ``"random"`` a
    contiguous window whose start is uniform; both repeat the last frame when the clip is too short.

    Args:
        count_available: Frames in the clip, n >= 1.
        count_wanted: Frames to choose, F >= 1.
        mode: How to choose.
        generator: For ``"random"``; torch's global generator if None.

    Returns:
        F indices in 0..n-1, never decreasing.

    Raises:
        ValueError: If a count is below 1 or the mode is unknown.
    """
    if count_available < 1 or count_wanted < 1:
        raise ValueError(
            f"Cannot select {count_wanted} frames of {count_available}: both must be at least 1."
        )
    last = count_available - 1
    start = 0
    match mode:
        case "evenly":
            return [int(index) for index in np.linspace(0, last, count_wanted).astype(int)]
        case "random":
            import torch

            starts = max(0, count_available - count_wanted) + 1
            start = int(torch.randint(starts, (1,), generator=generator))
        case "first":
            pass
        case _:
            raise ValueError(
                f"Unknown frame selection {mode!r}. Use one of {get_args(FrameSelection)}."
            )
    return [min(start + step, last) for step in range(count_wanted)]


FrameIndices = Sequence[int] | Callable[[int], Sequence[int]]


@dataclass(frozen=True, slots=True)
class ClipInfo:
    """What a clip is, known without decoding it."""

    # Container or form: ``"mov"`` (also MP4), ``"matroska"`` (also WebM), ``"avi"``, ``"gif"``,
    # ``"apng"``, ``"webp"``, ``"folder"``, ``"list of images"``, ``"array"`` or ``"tensor"``.
    kind: str
    frames: int  # frames at the constant rate ``fps``
    fps: float
    width: int  # in pixels, as displayed
    height: int  # in pixels, as displayed
    variable_rate: bool  # whether the source's own timing is uneven

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return self.frames / self.fps


@dataclass(frozen=True, slots=True, eq=False)  # arrays have no single answer to ==
class Clip:
    """Frames of a video."""

    frames: RGB  # uint8 [T, H, W, 3], RGB in 0..255
    fps: float  # frames per second of the source's constant rate, whichever frames were picked
    name: str  # file name, or a word for frames without a file
    # Digest of the source's bytes (of its pixels, where it has no file), in hexadecimal.
    sha256: str
    info: ClipInfo  # the source before selection and resizing
    path: Path | None = None  # the source's path, if it has one


def read_clip(
    source: ClipSource,
    *,
    limits: MediaLimits | None = None,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
    fit: Fit = "cover",
    resample: Resample = "lanczos",
    frame_indices: FrameIndices | None = None,
    max_frames: int | None = None,
) -> Clip:
    """Read a clip as RGB frames at a constant rate.

    Frames are upright (rotation and mirroring of the container applied), with square pixels, on
    white where they were transparent. A clip of variable frame rate is resampled: frame k is what
    is on the screen at (k + ½) / fps. Frames are resized while decoding, so memory contains little
    more than the result. Colors are sRGB: high dynamic range (HLG, PQ) is tone-mapped and wide
    gamuts (Display P3, BT.2020) are converted. Interlaced video is deinterlaced.

    Args:
        source: Path of a video (MP4, MOV, WebM, MKV, AVI), of an animated GIF, PNG or WebP, or of
            a folder of images; or a list of images; or an array or tensor [T, H, W, 3] or
            [T, 3, H, W] of uint8, or of floating point in 0..1.
        limits: Bounds on what is accepted.
        fps: Rate to read at. By default a video's own; 16 for frames without one. For a video,
            another rate resamples; for stills, it states their rate.
        size: Height and width to resize to; by default the source's own.
        fit: ``"cover"`` keeps the proportions and crops the center, ``"stretch"`` distorts.
        resample: Filter to resize with; either takes all pixels into account.
        frame_indices: Which frames to return, in any order; or a function that chooses them from
            the number there are, such as ``lambda n: select_frames(n, 49)``.
        max_frames: Return at most this many frames, from the start of the selection.

    Returns:
        The clip.

    Raises:
        MediaError: If the source is missing, damaged, no clip, or exceeds a limit.
        ValueError: If an argument is out of its range.
    """
    limits = limits or MediaLimits()
    opened = _open(source, fps, limits)
    rate = exact_rate(fps) if fps is not None else opened.timeline.rate
    info = _info(opened, rate)
    limits.check_length(opened.name, info.frames, info.seconds)
    indices = _choose(opened.name, info.frames, frame_indices, max_frames)
    if size is not None and min(size) < 1:
        raise ValueError(f"size={size} must be a height and a width of at least 1 pixel.")
    height, width = size or (info.height, info.width)
    limits.check_size(opened.name, width, height)
    if opened.file_bytes is not None:
        (last,) = opened.timeline.targets([max(indices)], rate)
        limits.check_effort(source, opened.pixels_until(last), opened.file_bytes)
    limits.check_total(opened.name, len(indices), width, height)
    return Clip(
        frames=_collect(opened, rate, indices, (height, width), fit, resample),
        fps=float(rate),
        name=opened.name,
        sha256=opened.digest(),
        info=info,
        path=Path(source) if isinstance(source, str | Path) else None,
    )


def probe_clip(
    source: ClipSource, *, limits: MediaLimits | None = None, fps: float | None = None
) -> ClipInfo:
    """Tell kind, size, rate and number of frames of what ``read_clip`` reads, without decoding.

    Raises:
        MediaError: If the source cannot be a clip.
    """
    opened = _open(source, fps, limits or MediaLimits())
    return _info(opened, exact_rate(fps) if fps is not None else opened.timeline.rate)


def _open(source: ClipSource, fps: float | None, limits: MediaLimits) -> Source:
    if not isinstance(source, str | Path):
        return open_frames(source, fps, limits)
    path = Path(source)
    if is_folder(path):
        return open_folder(path, fps, limits)
    file = check_file(path, limits)
    if file.kind == ANIMATED_WEBP:
        return open_webp(file, limits)
    if file.kind.demuxer is None:
        fix = "Give a video (MP4, MOV, WebM, MKV, AVI, GIF) or a folder of frames."
        if file.kind.role == "image":
            fix = "A still shows no motion to follow. " + fix
        raise mislabeled(file, "a video", fix)
    return open_video(file, limits)


def _info(source: Source, rate: Fraction) -> ClipInfo:
    timeline = source.timeline
    return ClipInfo(
        kind=source.kind,
        frames=timeline.count(rate),
        fps=float(rate),
        width=source.width,
        height=source.height,
        variable_rate=timeline.constant_rate is None,
    )


def _choose(
    name: str, available: int, selection: FrameIndices | None, max_frames: int | None
) -> list[int]:
    if max_frames is not None and max_frames < 1:
        raise ValueError(f"max_frames={max_frames} must be at least 1.")
    chosen = selection(available) if callable(selection) else selection
    indices = list(range(available) if chosen is None else chosen)[:max_frames]
    outside = next((index for index in indices if not 0 <= index < available), None)
    if outside is not None or not indices:
        what = "no frames were asked for" if outside is None else f"it has no frame {outside}"
        raise refusal(name, what, f"Its frames are 0 to {available - 1}.")
    return indices


def _collect(
    source: Source,
    rate: Fraction,
    indices: Sequence[int],
    size: tuple[int, int],
    fit: Fit,
    resample: Resample,
) -> RGB:
    """Decode the chosen frames into one array [T, H, W, 3]."""
    frames = np.empty((len(indices), *size, 3), np.uint8)
    # Decoding runs forward in time, whatever the order of the indices.
    order = sorted(range(len(indices)), key=indices.__getitem__)
    targets = source.timeline.targets((indices[place] for place in order), rate)
    filled, last = -1, None
    for position, shot in sample(source, targets):
        place = order[position]
        if shot is last:
            frames[place] = frames[filled]
        else:
            frames[place] = resize(shot.load(), size, fit, resample)
        filled, last = place, shot
    if last is None:
        raise refusal(source.name, "none of its frames can be decoded", "Export it again.")
    return frames
