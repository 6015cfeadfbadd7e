"""Interleaved measurements and what is made of them: medians, spread, error, share."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measured.gauges import STAGES
from benchmarks.measured.job import Job
from benchmarks.process import MeasuredProcess, Run
from benchmarks.systems import System

_WARM_UP_STEPS = 2


@dataclass(frozen=True, slots=True)
class Row:
    """One system in one precision.

    Attributes:
        system: Its name.
        dtype: Its precision.
        seconds: Median of a whole generation.
        spread: Fastest and slowest.
        stages: Median seconds by stage.
        processor_stages: The same of the processor's time, all threads together; less than
            ``stages`` times threads where other work took the cores away.
        peak_memory_bytes: Highest of all runs, loading not counted.
        relative_error: Of the final latents, to those of the first row.
        runs: Seconds of every run, in order.
        torch: Version that its process has.
        loading: Seconds until its model was there.
    """

    system: str
    dtype: str
    seconds: float
    spread: tuple[float, float]
    stages: dict[str, float]
    processor_stages: dict[str, float]
    peak_memory_bytes: int
    relative_error: float
    runs: tuple[float, ...]
    torch: str
    loading: float

    @property
    def processor_seconds(self) -> float:
        """Of all stages."""
        return sum(self.processor_stages.values())


def measure(
    work: Sequence[tuple[System, Job]],
    folder: Path,
    *,
    repeats: int,
    interleaved: bool = True,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """Run every system so many times, in turns, and sum up.

    Turns (A B A B …) let drifts of the machine — heat, other work — fall on all alike. They need
    all models in memory at once; without turns each system is started, run and ended in order.

    Args:
        work: Systems and their jobs; errors are relative to the first.
        folder: For the processes' files.
        repeats: Runs that count, after one short run that does not.
        interleaved: Whether to take turns.
        tell: Is told of progress.

    Raises:
        RuntimeError: If a process fails.
    """
    groups = [list(work)] if interleaved else [[one] for one in work]
    measured: list[tuple[MeasuredProcess, _Taken]] = []
    for group in groups:
        with ExitStack() as stack:
            processes = [
                stack.enter_context(MeasuredProcess(system, job, folder)) for system, job in group
            ]
            measured += zip(processes, _take_turns(processes, repeats, tell), strict=True)
    first = measured[0][0].latents
    return [_row(process, taken, first) for process, taken in measured]


@dataclass(frozen=True, slots=True)
class _Taken:
    """What a process said of itself, and its runs."""

    ready: dict[str, Any]
    runs: list[Run] = field(default_factory=list)


def _take_turns(
    processes: Sequence[MeasuredProcess], repeats: int, tell: Callable[[str], None]
) -> list[_Taken]:
    taken = []
    for process in processes:
        taken.append(_Taken(process.wait_until_loaded()))
        # Short, but with a second step: what is set up once is not set up again.
        process.run(min(_WARM_UP_STEPS, process.job.steps))
        tell(f"{process.name}: warm")
    for turn in range(repeats):
        for process, one in zip(processes, taken, strict=True):
            one.runs.append(process.run(process.job.steps, keep_latents=turn == 0))
            tell(f"{process.name}: {one.runs[-1].seconds:.2f} s")
    return taken


def _row(process: MeasuredProcess, taken: _Taken, first: Path) -> Row:
    runs = taken.runs
    seconds = [run.seconds for run in runs]
    return Row(
        system=process.system,
        dtype=process.job.dtype,
        seconds=statistics.median(seconds),
        spread=(min(seconds), max(seconds)),
        stages=_medians([run.stages for run in runs]),
        processor_stages=_medians([run.processor_stages for run in runs]),
        peak_memory_bytes=max(run.peak_memory_bytes for run in runs),
        relative_error=_relative_error(process.latents, first),
        runs=tuple(seconds),
        torch=taken.ready["torch"],
        loading=taken.ready["seconds"],
    )


def _medians(stages: Sequence[dict[str, float]]) -> dict[str, float]:
    return {stage: statistics.median(run[stage] for run in stages) for stage in STAGES}


def _relative_error(latents: Path, reference: Path) -> float:
    """‖a − b‖ / ‖b‖ of two files' latents."""
    from safetensors.torch import load_file

    a, b = (load_file(path)["latents"].double() for path in (latents, reference))
    return float((a - b).norm() / b.norm())
