"""A measured process, from the outside: start it, ask for generations, end it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.measured.job import Job
from benchmarks.systems import ROOT, System

_TAIL = 1500
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Run:
    """What one generation took.

    Attributes:
        stages: Seconds by stage.
        processor_stages: Seconds of the processor's time, all threads together.
        peak_memory_bytes: Of the device, or of the process on a CPU.
    """

    stages: dict[str, float]
    processor_stages: dict[str, float]
    peak_memory_bytes: int

    @property
    def seconds(self) -> float:
        """From call to decoded video."""
        return sum(self.stages.values())


class MeasuredProcess:
    """A system in a process of its own, so that neither memory nor settings are shared.

    Args:
        system: What to start.
        job: Its work.
        folder: For its job file, log and latents.
    """

    def __init__(self, system: System, job: Job, folder: Path) -> None:
        self.job = job
        self.system = system.name
        self.name = f"{system.name} ({job.dtype})"
        self.latents = folder / f"{system.name}-{job.dtype}.safetensors"
        self._log = folder / f"{system.name}-{job.dtype}.log"
        description = folder / f"{system.name}-{job.dtype}.json"
        job.save(description)
        threads = {"OMP_NUM_THREADS": str(job.threads), "MKL_NUM_THREADS": str(job.threads)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - one of our own commands
                [*system.command, str(description)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env={**os.environ, **threads, **system.environment},
            )

    def __enter__(self) -> Self:
        """The process is running already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it: politely, then not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE_SECONDS if error is None else 0.1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait_until_loaded(self) -> dict[str, Any]:
        """What the process says of itself once its model is there."""
        return self._answer()["ready"]

    def run(self, steps: int, *, keep_latents: bool = False) -> Run:
        """One generation.

        Args:
            steps: Denoising steps.
            keep_latents: Whether to write its final latents.

        Raises:
            RuntimeError: If it failed, with the end of its log.
        """
        latents = str(self.latents) if keep_latents else None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"run": {"steps": steps, "latents": latents}}))
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has died; its last answer, or its log, says why
        return Run(**self._answer())

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            answer = json.loads(line)
        except json.JSONDecodeError:
            answer = {"error": "it ended without an answer" if not line else f"it said {line!r}"}
        if "error" in answer:
            tail = self._log.read_text(errors="replace")[-_TAIL:]
            message = f"{self.name} failed: {answer['error']}. The end of its log:\n{tail}"
            raise RuntimeError(message)
        return answer
