"""Encode a dataset once: every clip with its caption, by the pipeline that will read it.

The work is cut into shards that depend on nothing but the table and the settings. A shard is
written whole or not at all, so work that was killed goes on with the shards that are missing, and
any number of processes or machines may share it (:mod:`vap.data.encode_ray` for many machines).
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from vap.data.clips import Progress, no_progress
from vap.data.encoded import (
    MANIFEST,
    TEXT,
    EncodedClip,
    Shard,
    read_manifest,
    shard_name,
    write_shard,
)
from vap.data.schema import ClipRow
from vap.media import MediaError, probe_clip, read_clip, select_frames
from vap.media.atomic import atomic_file
from vap.shapes import TEXT_TOKENS, PixelShape

StoredAs = Literal["float16", "bfloat16", "float32"]


@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """How clips are encoded.

    Attributes:
        model: Pipeline folder, bundled model or Hub id whose VAE and encoders are used.
        sizes: Sizes that a clip may be brought to; see :func:`choose_size`.
        fps: Rate that clips are read at before frames are taken evenly (release: 16).
        shard_size: Clips of a shard.
        stored_as: Precision of what is written.
    """

    model: str
    sizes: tuple[PixelShape, ...]
    fps: float = 16.0
    shard_size: int = 64
    stored_as: StoredAs = "float16"

    def __post_init__(self) -> None:
        if not self.sizes or self.shard_size < 1:
            message = (
                f"sizes={self.sizes}, shard_size={self.shard_size}: give at least one size, and "
                "at least one clip a shard."
            )
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class EncodeJob:
    """All there is to encode.

    Attributes:
        settings: How.
        root: Folder that the paths start from.
        clips: Path and caption of every clip.
        output: Folder of the shards.
    """

    settings: EncodeSettings
    root: Path
    clips: tuple[tuple[str, str], ...] = field(repr=False)
    output: Path

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-len(self.clips) // self.settings.shard_size)

    def missing(self) -> list[int]:
        """Shards that are not there yet."""
        return [i for i in range(self.shards) if not (self.output / shard_name(i)).is_file()]


def plan_job(
    rows: Iterable[ClipRow], settings: EncodeSettings, root: Path, output: Path
) -> EncodeJob:
    """Lay out the shards of a table, and see that the output folder is this job's.

    Args:
        rows: Rows with different paths; those out of use are left out.
        settings: How to encode.
        root: Folder that the paths start from.
        output: Folder of the shards; made if missing.

    Raises:
        ValueError: If there is nothing to encode, or the folder holds shards of another job.
    """
    clips = tuple((row.video, row.caption) for row in rows if row.usable)
    if not clips:
        message = "There is nothing to encode: the table has no usable row."
        raise ValueError(message)
    job = EncodeJob(settings, root, clips, output)
    output.mkdir(parents=True, exist_ok=True)
    manifest = _manifest(job)
    # A run that was refused before its first shard has no claim on the folder.
    if not any((output / shard_name(index)).is_file() for index in range(job.shards)):
        with atomic_file(output / MANIFEST) as partial:
            partial.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    found = read_manifest(output)
    different = [key for key in manifest if found.get(key) != manifest[key]]
    if different:
        message = (
            f"{output} holds shards of another job: {', '.join(sorted(different))} differ. Encode "
            "with the settings and the table it was begun with, or into another folder."
        )
        raise ValueError(message)
    return job


def run_job(job: EncodeJob, *, workers: int = 1, progress: Progress = no_progress) -> None:
    """Encode the missing shards on this machine.

    Args:
        job: What to encode.
        workers: Processes; each loads the encoders, and with accelerators takes the next one.
        progress: Told after each shard.

    Raises:
        RuntimeError: If a worker died.
    """
    missing = job.missing()
    if workers <= 1 or len(missing) <= 1:
        for shard in missing:
            encode_shard(job, shard)
            progress("encoding", job.shards - len(job.missing()), job.shards)
    else:
        _run_workers(job, missing, min(workers, len(missing)), progress)
    sweep(job)
    progress("encoding", job.shards, job.shards)


def encode_shard(job: EncodeJob, index: int, device: torch.device | str | None = None) -> Path:
    """Encode one shard: the code that every process on every machine runs.

    Args:
        job: What to encode.
        index: Which shard.
        device: Where to compute; the accelerator or the CPU by default.

    Returns:
        The file.

    Raises:
        FileNotFoundError: If a clip is not there (any more): that is no fault of the clip's, and
            the shard is left for later.
    """
    settings, size = job.settings, job.settings.shard_size
    encoder = _encoder(settings.model, None if device is None else str(device))
    clips, tensors, dropped = [], [], {}
    for video, caption in job.clips[index * size : (index + 1) * size]:
        if not (job.root / video).is_file():
            message = (
                f"{video!r} is not in {job.root}. Give the folder that the table's paths start "
                "from, fetch the clip or drop its row, and run again: what is done stays."
            )
            raise FileNotFoundError(message)
        try:
            shape, frames = read_frames(job.root / video, settings)
        except MediaError as error:
            dropped[video] = str(error)
            continue
        encoded = encoder.encode(frames, caption, shape)
        clips.append(EncodedClip(video, shape, len(encoded[TEXT])))
        tensors.append(encoded)
    empty = encoder.encode_text("") if index == 0 else None
    path = job.output / shard_name(index)
    write_shard(path, Shard(clips, tensors, dropped, empty), getattr(torch, settings.stored_as))
    return path


def sweep(job: EncodeJob) -> None:
    """Remove what killed processes left half written, once every shard is there."""
    if not job.missing():
        for leftover in (*job.output.glob(".shard-*"), *job.output.glob(f".{MANIFEST[:-5]}.*")):
            leftover.unlink(missing_ok=True)


def read_frames(path: Path, settings: EncodeSettings) -> tuple[PixelShape, np.ndarray]:
    """Read a clip as it is trained with: at the given rate, frames taken evenly, bicubic.

    Returns:
        The size that was chosen, and frames ``[T, H, W, 3]`` of that size in 0 … 255.

    Raises:
        MediaError: If the clip cannot be read.
    """
    info = probe_clip(path, fps=settings.fps)
    shape = choose_size(info.frames, info.height, info.width, settings.sizes)
    clip = read_clip(
        path,
        fps=settings.fps,
        frame_indices=lambda available: select_frames(available, shape.frames),
    )
    size = (shape.width, shape.height)
    frames = [
        np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))
        for frame in clip.frames
    ]
    return shape, np.stack(frames)


def choose_size(frames: int, height: int, width: int, sizes: Sequence[PixelShape]) -> PixelShape:
    """The size that changes a clip least: nearest in proportions, then the longest it can fill.

    Args:
        frames: Frames of the clip.
        height: Its height.
        width: Its width.
        sizes: Allowed sizes.
    """

    def distortion(size: PixelShape) -> float:
        return round(abs(math.log(size.width / size.height) - math.log(width / height)), 6)

    least = min(map(distortion, sizes))
    nearest = [size for size in sizes if distortion(size) == least]
    filled = [size for size in nearest if size.frames <= frames]
    if filled:
        return max(filled, key=lambda size: (size.frames, size.pixels))
    return min(nearest, key=lambda size: (size.frames, size.pixels))


class ClipEncoder:
    """The frozen encoders of a pipeline, without its transformer.

    Args:
        pipeline: A pipeline of either variant.
    """

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline

    @classmethod
    def load(cls, model: str, device: str | None) -> ClipEncoder:
        """Load VAE, text encoder and image encoder."""
        from vap.data.encoders import load_encoders

        return cls(load_encoders(model, device))

    def encode(
        self, frames: np.ndarray, caption: str, shape: PixelShape
    ) -> dict[str, torch.Tensor]:
        """Encodings of one clip, as a video prompt holds them, without the axis R."""
        prompt = self.pipeline.encode_video_prompt(
            frames, caption, height=shape.height, width=shape.width, num_frames=shape.frames
        )
        return {name: tensor[0] for name, tensor in prompt.tensors.items()}

    @torch.no_grad()
    def encode_text(self, caption: str) -> torch.Tensor:
        """Text tokens ``[L, D]`` of a caption, as the pipeline makes them."""
        text, _ = self.pipeline.encode_prompt(
            [caption],
            do_classifier_free_guidance=False,
            max_sequence_length=TEXT_TOKENS[self.pipeline.family],
            device=self.pipeline.device,
        )
        return text[0]


@lru_cache(maxsize=1)
def _encoder(model: str, device: str | None) -> ClipEncoder:
    """The encoders of this process, loaded once."""
    return ClipEncoder.load(model, device)


def _manifest(job: EncodeJob) -> dict[str, Any]:
    """Identity of a job: same manifest, same shards."""
    from vap.data.encoders import encoders_identity

    settings = asdict(job.settings)
    model = settings.pop("model")  # where it lies is no part of what it is
    listed = json.dumps(job.clips, ensure_ascii=False).encode()
    return {
        **settings,
        "sizes": list(settings["sizes"]),
        **encoders_identity(model),
        "clips": len(job.clips),
        "clips_sha256": hashlib.sha256(listed).hexdigest(),
        "shards": job.shards,
    }


def _run_workers(job: EncodeJob, missing: list[int], workers: int, progress: Progress) -> None:
    context = _process_context()
    accelerators = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    processes = []
    for worker in range(workers):
        kind = torch.accelerator.current_accelerator() if accelerators else None
        device = f"{kind.type}:{worker % accelerators}" if kind else None
        share = missing[worker::workers]
        process = context.Process(target=_work, args=(job, share, device))
        process.start()
        processes.append(process)
    for _ in _until_done(processes):
        progress("encoding", job.shards - len(job.missing()), job.shards)
    failed = [process.exitcode for process in processes if process.exitcode]
    if failed:
        message = (
            f"{len(failed)} of {workers} workers died (exit codes {failed}); see their messages "
            "above. What is written is sound: run the same command again to go on."
        )
        raise RuntimeError(message)


def _process_context() -> Any:
    """New processes without this one's threads and accelerators, quick where the system can."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vap.data.encode", "vap.data.encoders"])
    return context


def _until_done(processes: Sequence[Any]) -> Iterator[None]:
    for process in processes:
        while process.is_alive():
            process.join(timeout=1.0)
            yield


def _work(job: EncodeJob, shards: list[int], device: str | None) -> None:
    parent = multiprocessing.parent_process()
    for shard in shards:
        if parent is not None and not parent.is_alive():
            return  # the command was killed, so nobody waits for the rest
        encode_shard(job, shard, device)
