"""Small systems and metrics that log what they do, fail, and end their process when told to."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from vap.evaluation.benchmarks.base import Benchmark
from vap.evaluation.case import Case
from vap.evaluation.metrics.base import Metric, Sample, Value
from vap.evaluation.registry import Registry
from vap.evaluation.systems.base import Job, Outcome, System
from vap.media import read_clip, write_video

FRAMES, HEIGHT, WIDTH = 3, 16, 24
CONDITIONS = ("melt", "melt", "pan", "zoom", "pan", "melt")


def log(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")


def logged(folder: Path, name: str) -> list[str]:
    path = folder / name
    return path.read_text(encoding="utf-8").split() if path.is_file() else []


def _end_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Painted(System):
    """Frames of one gray value that depends on the image, the seed and the reference."""

    kind: ClassVar[str] = "painted"
    reads_reference: ClassVar[bool] = True

    shade: int = 0
    at_once: int = 1
    log_folder: Path
    fails_on: tuple[str, ...] = ()
    dies_before: str = ""
    dies_after: str = ""

    @property
    def jobs_at_once(self) -> int:
        return self.at_once

    def identity(self):
        return {"kind": self.kind, "shade": self.shade}

    def run(self, jobs, folder) -> Iterator[Outcome]:
        assert folder.name == self.name
        for start in range(0, len(jobs), self.at_once):
            outcomes = [self._one(job) for job in jobs[start : start + self.at_once]]
            yield from outcomes

    def _one(self, job: Job) -> Outcome:
        name = f"{job.case.name}:{job.seed}:{job.variant}"
        if name == self.dies_before:
            _end_process()
        if job.case.name in self.fails_on:
            return Outcome(job, error="ValueError: as told")
        gray = 100 + self.shade + job.seed
        if job.reference is not None:
            gray += int(read_clip(job.reference).frames.mean()) // 4
        frames = np.full((FRAMES, HEIGHT, WIDTH, 3), gray, np.uint8)
        write_video(frames, job.output, 8)
        log(self.log_folder, f"{self.name}.log", name)
        if name == self.dies_after:
            _end_process()
        return Outcome(job, seconds=0.5, cost=1.0, details={"gray": gray})


class Blind(Painted):
    """The same, whatever the reference."""

    kind: ClassVar[str] = "blind"
    reads_reference: ClassVar[bool] = False

    def covers(self, case):
        return case.condition != "zoom"


class Broken(Painted):
    """Makes one video, then raises."""

    kind: ClassVar[str] = "broken"

    def run(self, jobs, folder):
        assert folder.name == self.name
        yield self._one(jobs[0])
        raise RuntimeError("no more")


class Liar(Painted):
    """Says that it made videos."""

    kind: ClassVar[str] = "liar"
    reads_reference: ClassVar[bool] = False

    def run(self, jobs, folder):
        assert folder.name == self.name
        yield from map(Outcome, jobs)


class Silent(Liar):
    """Ends without a word."""

    kind: ClassVar[str] = "silent"

    def run(self, jobs, folder):
        assert folder.name == self.name
        yield from jobs[:0]


class Orphaned(Painted):
    """Ends the process that started its own, and then never finishes."""

    kind: ClassVar[str] = "orphaned"

    def run(self, jobs, folder):
        assert folder.name == self.name
        log(self.log_folder, "pids.log", str(os.getpid()))
        os.kill(os.getppid(), signal.SIGKILL)
        threading.Event().wait()
        yield self._one(jobs[0])


class Far(Blind):
    """Works elsewhere."""

    kind: ClassVar[str] = "far"
    remote: ClassVar[bool] = True


class Brightness(Metric):
    """Mean of all pixels."""

    kind: ClassVar[str] = "brightness"

    log_folder: Path
    scale: float = 1.0
    fails_on: tuple[str, ...] = ()
    dies_on: str = ""

    def identity(self):
        return {"kind": self.kind, "scale": self.scale}

    def score(self, sample: Sample) -> Value:
        name = f"{sample.system}:{sample.case.name}:{sample.seed}"
        if name == self.dies_on:
            _end_process()
        if sample.case.name in self.fails_on:
            raise ValueError("too dark")
        log(self.log_folder, f"{self.name}.log", name)
        return Value(self.scale * float(read_clip(sample.video).frames.mean()))


class Lacking(Metric):
    """A metric whose weights are not here."""

    kind: ClassVar[str] = "lacking"
    variants: ClassVar = ("none",)

    def check(self):
        raise FileNotFoundError("Give lacking.safetensors.")

    def identity(self):
        raise AssertionError

    def score(self, sample):
        raise AssertionError(sample)


class Use(Metric):
    """How far the own reference is from a swapped one."""

    kind: ClassVar[str] = "use"
    variants: ClassVar = ("none", "swapped")

    def identity(self):
        return {"kind": self.kind}

    def applies(self, sample):
        return "swapped" in sample.videos

    def score(self, sample):
        means = {name: read_clip(path).frames.mean() for name, path in sample.videos.items()}
        return Value(float(abs(means["own"] - means["swapped"])))


_HERE = "tests.evaluation.standins"
SYSTEMS: Registry[System] = Registry(
    "system", {kind.kind: f"{_HERE}:{kind.__name__}" for kind in (Painted, Blind, Broken, Far)}, ()
)
METRICS: Registry[Metric] = Registry(
    "metric", {kind.kind: f"{_HERE}:{kind.__name__}" for kind in (Brightness, Lacking, Use)}, ()
)


def make_benchmark(folder: Path, *, exact: bool = True, count: int = len(CONDITIONS)) -> Benchmark:
    """Cases with gray media; those of one condition have one reference shade."""
    cases = []
    for place, condition in enumerate(CONDITIONS[:count]):
        at = folder / f"case{place}"
        at.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 10 * place, np.uint8)).save(at / "image.png")
        shade = 80 * sorted(set(CONDITIONS)).index(condition)
        clip = np.full((FRAMES, HEIGHT, WIDTH, 3), shade, np.uint8)
        write_video(clip, at / "reference", 8)
        cases.append(
            Case(
                f"case{place}",
                condition,
                at / "image.png",
                at / "reference",
                group="even" if place % 2 == 0 else "odd",
            )
        )
    return Benchmark("small", tuple(cases), exact=exact)
