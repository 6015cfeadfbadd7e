"""Clocks and memory gauges of a measured process: seconds a stage, peak bytes."""

from __future__ import annotations

import resource
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

STAGES = ("encode", "denoise", "decode")
_KIBIBYTE = 1024


class StageClock:
    """Splits a generation into encoding, denoising and decoding.

    The split is seen from outside, at the encoders' and the decoder's doors, so that it is the
    same for every implementation: encoding ends when the last encoder returns, decoding begins
    when the decoder is first called, and denoising is all between.

    Args:
        pipeline: Whose ``vae``, ``text_encoder`` and ``image_encoder`` are watched.
        device: Where it runs.
    """

    def __init__(self, pipeline: Any, device: torch.device) -> None:
        self._device = device
        self._marks: dict[str, Mark] = {}
        encoders = [pipeline.text_encoder, pipeline.vae.encoder]
        if getattr(pipeline, "image_encoder", None) is not None:
            encoders.append(pipeline.image_encoder)
        for encoder in encoders:
            encoder.register_forward_hook(lambda *_: self._mark("encoded"))
        pipeline.vae.decoder.register_forward_pre_hook(lambda *_: self._mark_first("decoding"))

    def start(self) -> None:
        """A generation begins."""
        self._marks = {}
        self._mark("start")
        self._mark("encoded")

    def stop(self) -> tuple[dict[str, float], dict[str, float]]:
        """It is over.

        Returns:
            Seconds of each stage, which add up to the whole; and of the processor's time in it,
            all threads together: what one core takes that nothing else uses.
        """
        self._mark("end")
        self._mark_first("decoding")
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        marks = [self._marks[name] for name in ("start", "encoded", "decoding", "end")]
        pairs = dict(zip(STAGES, pairwise(marks), strict=True))
        seconds = {stage: begin.seconds_until(end) for stage, (begin, end) in pairs.items()}
        busy = {stage: end.processor - begin.processor for stage, (begin, end) in pairs.items()}
        return seconds, busy

    def _mark(self, name: str) -> None:
        self._marks[name] = Mark(self._device)

    def _mark_first(self, name: str) -> None:
        if name not in self._marks:
            self._mark(name)


class Mark:
    """A moment, on the clocks of a device and of the processor.

    Args:
        device: Whose work up to now is done when the moment has come.
    """

    def __init__(self, device: torch.device) -> None:
        self.processor = time.process_time()
        self._event = torch.cuda.Event(enable_timing=True) if device.type == "cuda" else None
        if self._event is not None:
            self._event.record(torch.cuda.current_stream(device))
        self._wall = time.perf_counter()

    def seconds_until(self, later: Mark) -> float:
        """Seconds between two moments; on a GPU both must have come."""
        if self._event is None or later._event is None:
            return later._wall - self._wall
        return self._event.elapsed_time(later._event) / 1e3


class PeakMemory:
    """The most memory used since :meth:`reset`: of the accelerator, or of this process.

    Args:
        device: Where it runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def reset(self) -> None:
        """Forget earlier peaks. Where the system cannot (not Linux), loading counts as well."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            return
        door = Path("/proc/self/clear_refs")
        if door.exists():
            door.write_text("5")

    def read(self) -> int:
        """Bytes."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        status = Path("/proc/self/status")
        if status.exists():
            lines = status.read_text().splitlines()
            (high,) = (line for line in lines if line.startswith("VmHWM:"))
            return int(high.split()[1]) * _KIBIBYTE
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return largest if sys.platform == "darwin" else largest * _KIBIBYTE
