"""Media in the forms that every browser plays."""

from __future__ import annotations

import shutil
from pathlib import Path

from vap.media import read_clip, read_image, write_video

_PLAYED = {"h264", "vp8", "vp9", "av1"}
_SMALLEST = 128  # pixels: browsers blur what they enlarge, and 4:2:0 color blurs small pictures


def playable(video: Path, folder: Path, name: str) -> Path:
    """Return a video that browsers play, made in a folder if it is not there.

    Args:
        video: A file or a folder of frames.
        folder: Where it is put.
        name: What it is called there, without suffix.
    """
    place = folder / f"{name}.mp4"
    if place.is_file():
        return place
    folder.mkdir(parents=True, exist_ok=True)
    if _is_played(video):
        temporary = place.with_suffix(".part")
        shutil.copyfile(video, temporary)
        return temporary.replace(place)
    clip = read_clip(video)
    enlarged = -(-_SMALLEST // min(clip.frames.shape[1:3]))
    frames = clip.frames.repeat(enlarged, axis=1).repeat(enlarged, axis=2)
    return write_video(frames, place, clip.info.fps)


def picture(image: Path, folder: Path, name: str) -> Path:
    """Return an image that browsers show, upright and in sRGB."""
    place = folder / f"{name}.png"
    if not place.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = place.with_suffix(".part")
        read_image(image).save(temporary, format="png")
        temporary.replace(place)
    return place


def _is_played(video: Path) -> bool:
    """Whether a file is MP4 with a codec that browsers have."""
    if video.is_dir() or video.suffix.lower() != ".mp4":
        return False
    import av

    try:
        with av.open(str(video)) as container:
            stream = container.streams.video[0].codec_context
            return stream.name in _PLAYED and stream.pix_fmt == "yuv420p"
    except (av.FFmpegError, IndexError):
        return False
