"""Small clips and raw containers that the tests of this package make for themselves."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image


def moving(count=9, height=48, width=64):
    """A shaded picture with a darker top that turns blue with time: [T, H, W, 3] uint8."""
    rows, columns = np.mgrid[:height, :width]
    red = np.broadcast_to(columns * 200 // width, (count, height, width))
    green = np.broadcast_to(np.where(rows < height // 3, 40, 160), (count, height, width))
    blue = np.broadcast_to(np.arange(count)[:, None, None] * (240 // count), red.shape)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def colors(frames):
    """Mean RGB of every frame, [T, 3]."""
    return frames.reshape(len(frames), -1, 3).mean(axis=1)


def flat(*levels, size=(32, 32)):
    """Grey frames of the given brightness: [T, H, W, 3] uint8."""
    return np.stack([np.full((*size, 3), level, np.uint8) for level in levels])


def encode(
    path: Path,
    frames,
    codec="libx264",
    pix_fmt="yuv420p",
    times: Sequence[int] | None = None,
    tick=Fraction(1, 16),
    pixel_format="rgb24",
    rotation=0,
    aspect=None,
    options=None,
    container_options=None,
):
    """Write frames with full control over codec, pixel format, times and rotation."""
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=1 / tick, options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = tick
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format=pixel_format)
            frame.pts, frame.time_base = (times[index] if times else index), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def audio_only(path: Path, codec: str):
    """Write a tenth of a second of silence."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), "s16", "mono")
        frame.sample_rate = 48000
        fifo = av.AudioFifo()
        fifo.write(frame)
        size = stream.codec_context.frame_size or 1024
        while chunk := fifo.read(size):
            for ready in av.AudioResampler(stream.format, "mono", 48000).resample(chunk):
                container.mux(stream.encode(ready))
        container.mux(stream.encode())
    return path


def animate(path: Path, images: Sequence[Image.Image], durations: Sequence[int], **options):
    """Write a GIF, animated PNG or WebP with Pillow; durations in milliseconds."""
    first, *rest = images
    first.save(path, save_all=True, append_images=rest, duration=list(durations), **options)
    return path
