"""Encode a dataset once: every clip with its caption, by the pipeline that will read it.

Shards depend only on the table and the settings and are written whole, so an interrupted job goes
on with the missing ones, and processes or machines share it.
"""

from __future__ import annotations

import math
import multiprocessing
import pickle
import random
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.multiprocessing.spawn import ProcessExitedException, start_processes

from vap.data.check import has_file
from vap.data.clip_files import Progress, no_progress
from vap.data.encode_job import EncodeJob, EncodeSettings
from vap.data.encoded import TEXT, EncodedClip, Shard, caption_digest, shard_name, write_shard
from vap.media import MediaError, probe_clip, read_clip, select_frames
from vap.media.files import hash_file
from vap.parallel.ray_cluster import each_on_ray
from vap.shapes import PixelShape

if TYPE_CHECKING:
    from vap.data.clip_encoder import ClipEncoder


def run_job(
    job: EncodeJob,
    *,
    workers: int | None = None,
    ray: str | None = None,
    progress: Progress = no_progress,
) -> None:
    """Encode the missing shards, in processes that each load the encoders.

    Args:
        job: The work.
        workers: Processes; by default one, on a cluster one for each GPU.
        ray: Address of a Ray cluster, ``local`` for one on this machine; None for no cluster.
        progress: Called after each shard.
    """
    missing = job.missing()
    if ray is not None and missing:
        for _ in each_on_ray(
            _encoding,
            (job, missing),
            len(missing),
            address=ray,
            purpose="encode on many machines",
            workers=workers,
        ):
            progress("encoding", job.shards - len(job.missing()), job.shards)
    elif (workers or 1) <= 1 or len(missing) <= 1:
        for shard in _in_turn(job, missing):
            encode_shard(job, shard)
            progress("encoding", job.shards - len(job.missing()), job.shards)
    else:
        _run_workers(job, missing, min(workers or 1, len(missing)), progress)
    progress("encoding", job.shards, job.shards)


def _encoding(job: EncodeJob, shards: Sequence[int]) -> Callable[[int], int]:
    """Encode shards by their places, in a process of a cluster; a lost one may have made some."""

    def encode(place: int) -> int:
        if not job.has(shards[place]):
            encode_shard(job, shards[place])
        return place

    return encode


def encode_shard(job: EncodeJob, index: int, device: torch.device | str | None = None) -> Path:
    """Encode one shard and return its file; every process on every machine runs this."""
    settings, size = job.settings, job.settings.shard_size
    encoder = _encoder(settings.model, None if device is None else str(device))
    clips, tensors, dropped = [], [], {}
    for video, caption in job.clips[index * size : (index + 1) * size]:
        if not has_file(job.root, video):
            raise FileNotFoundError(
                f"{video!r} is not in {job.root}. Give the folder that the table's paths are "
                "relative to, or download the clip. Then run again to continue."
            )
        try:
            shape, frames = _frames_of(job.root / video, settings)
        except MediaError as error:
            dropped[video] = str(error)
            continue
        encoded = encoder.encode(frames, caption, shape)
        clips.append(EncodedClip(video, shape, len(encoded[TEXT]), caption_digest(caption)))
        tensors.append(encoded)
    empty = encoder.encode_text("") if index == 0 else None
    path = job.output / shard_name(index)
    shard = Shard(clips, tensors, dropped, empty, job.digest)
    write_shard(path, shard, getattr(torch, settings.stored_as))
    return path


def read_frames(path: Path, settings: EncodeSettings) -> tuple[PixelShape, np.ndarray]:
    """Read a clip as it is trained with: at the given rate, frames taken evenly, bicubic.

    Returns:
        The size that was chosen, and frames ``[T, H, W, 3]`` of that size in 0 … 255.
    """
    info = probe_clip(path, fps=settings.fps)
    shape = choose_size(info.frames, info.height, info.width, settings.sizes)
    clip = read_clip(
        path,
        fps=settings.fps,
        size=(shape.height, shape.width),
        fit="stretch",
        resample="bicubic",
        frame_indices=lambda available: select_frames(available, shape.frames),
    )
    return shape, clip.frames


def _frames_of(path: Path, settings: EncodeSettings) -> tuple[PixelShape, np.ndarray]:
    """As :func:`read_frames`, but ``OSError`` where the bytes of a clip cannot be read."""
    try:
        return read_frames(path, settings)
    except MediaError:
        try:
            hash_file(path)
        except MediaError as error:
            raise OSError(f"{error} When it is readable, run again to continue.") from error
        return read_frames(path, settings)


def choose_size(frames: int, height: int, width: int, sizes: Sequence[PixelShape]) -> PixelShape:
    """The size that changes a clip least: nearest in proportions, then the longest it can fill."""

    def distortion(size: PixelShape) -> float:
        return round(abs(math.log(size.width / size.height) - math.log(width / height)), 6)

    least = min(map(distortion, sizes))
    nearest = [size for size in sizes if distortion(size) == least]
    filled = [size for size in nearest if size.frames <= frames]
    if filled:
        return max(filled, key=lambda size: (size.frames, size.pixels))
    return min(nearest, key=lambda size: (size.frames, size.pixels))


@lru_cache(maxsize=1)
def _encoder(model: str, device: str | None) -> ClipEncoder:
    """The encoders of this process, loaded once."""
    from vap.data.clip_encoder import ClipEncoder, load_encoders

    return ClipEncoder(load_encoders(model, device))


def _in_turn(job: EncodeJob, shards: Sequence[int]) -> Iterator[int]:
    """Shards that are still missing when a worker gets to them."""
    for shard in random.SystemRandom().sample(shards, len(shards)):
        if not job.has(shard):
            yield shard


def _run_workers(job: EncodeJob, missing: list[int], workers: int, progress: Progress) -> None:
    method = _start_method()
    errors = multiprocessing.get_context(method).SimpleQueue()
    arguments = (job, missing, workers, errors)
    running = start_processes(_work, arguments, workers, join=False, start_method=method)
    try:
        while not running.join(timeout=1.0):
            progress("encoding", job.shards - len(job.missing()), job.shards)
    except ProcessExitedException as end:
        if not errors.empty():
            raise errors.get() from None
        raise RuntimeError(
            f"A worker died ({end}); see its messages above. Run the same command again to "
            "continue."
        ) from end
    finally:
        # Where it was interrupted: the end of this process would wait for theirs.
        for process in running.processes:
            process.terminate()


def _start_method() -> str:
    """New processes without this one's threads and accelerators."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return "spawn"
    multiprocessing.set_forkserver_preload(["vap.data.encode", "vap.data.clip_encoder"])
    return "forkserver"


def _work(worker: int, job: EncodeJob, missing: list[int], workers: int, errors: Any) -> None:
    """Encode every ``workers``-th of the missing shards; with accelerators, on the next one."""
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    place = f"{device.type}:{worker % torch.accelerator.device_count()}" if device else None
    command = multiprocessing.parent_process()
    try:
        for shard in _in_turn(job, missing[worker::workers]):
            if command is not None and not command.is_alive():
                return  # it was killed
            encode_shard(job, shard, place)
    except Exception as error:  # noqa: BLE001 - the command says what it was
        errors.put(_portable(error))
        sys.exit(1)


def _portable(error: Exception) -> Exception:
    """An error that another process can raise, with the traceback as a note."""
    error.add_note(f"In a worker:\n{traceback.format_exc()}")
    try:
        copied = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - an error with arguments of its own
        copied = RuntimeError(f"{type(error).__name__}: {error}")
    return copied
