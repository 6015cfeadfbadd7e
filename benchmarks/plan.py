"""What a run will do, and what the cost model expects of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measured.job import Job
from benchmarks.sizes import Size
from benchmarks.systems import System
from vap.cost.arithmetic import GenerationCost, generation_cost
from vap.cost.devices import MEASURED_EFFICIENCY

# Dense bfloat16 matrix products of one H200, operations a second, as measured.
H200_RATE = 790e12


@dataclass(frozen=True, slots=True)
class Plan:
    """A run, before it starts.

    Attributes:
        size: What is measured.
        systems: In the order of the table; errors and speed-ups are relative to the first.
        dtypes: Precisions, each of every system.
        steps: Denoising steps.
        repeats: Runs that count.
        threads: Of each process, on a CPU.
        device: Of torch.
        references: Reference videos.
        batch: Videos at once.
        interleaved: Whether systems take turns.
        options: Of :func:`vap.load_pipeline`, beyond the profile's.
    """

    size: Size
    systems: Sequence[System]
    dtypes: Sequence[str]
    steps: int
    repeats: int
    threads: int
    device: str
    references: int = 1
    batch: int = 1
    interleaved: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cost(self) -> GenerationCost:
        """Of one run, by the cost model."""
        return generation_cost(
            self.size.transformer_size,
            self.size.shape,
            self.size.compression,
            steps=self.steps,
            references=self.references,
        )

    @property
    def flop(self) -> float:
        """Operations of one run, all videos of the batch together."""
        return self.cost.flop * self.batch

    @property
    def tokens(self) -> int:
        """Of one stream."""
        return self.cost.tokens

    def work(self, folder: Path) -> list[tuple[System, Job]]:
        """Every system in every precision.

        Args:
            folder: Of the checkpoint.
        """
        shape = self.size.shape
        return [
            (
                system,
                Job(
                    system.name,
                    str(folder),
                    self.size.family,
                    shape.frames,
                    shape.height,
                    shape.width,
                    self.steps,
                    self.size.guidance_scale,
                    references=self.references,
                    batch=self.batch,
                    dtype=dtype,
                    device=self.device,
                    threads=self.threads,
                    created_on_device=self.size.needs_gpu,
                    options=dict(system.options),
                ),
            )
            for dtype in self.dtypes
            for system in self.systems
        ]

    def as_dict(self) -> dict[str, Any]:
        """The plan's part of the JSON file."""
        shape = self.size.shape
        return {
            "size": self.size.name,
            "video": {"frames": shape.frames, "height": shape.height, "width": shape.width},
            "tokens": self.tokens,
            "steps": self.steps,
            "repeats": self.repeats,
            "references": self.references,
            "batch": self.batch,
            "device": self.device,
            "threads": self.threads,
            "interleaved": self.interleaved,
            "options": dict(self.options),
            "flop": self.flop,
        }

    def describe(self) -> str:
        """A few lines for ``--dry-run``."""
        shape = self.size.shape
        seconds = self.flop / H200_RATE
        systems = ", ".join(f"{s.name} ({d})" for d in self.dtypes for s in self.systems)
        return (
            f"{self.size.name}: {shape.frames} frames of {shape.height}×{shape.width}, "
            f"{self.tokens:,} tokens a stream, {self.steps} steps with guidance\n"
            f"systems: {systems}; {self.repeats} repeats, "
            f"{'in turns' if self.interleaved else 'one system after the other'}\n"
            f"arithmetic: {self.flop:.2e} operations; on an H200 (bfloat16, "
            f"{H200_RATE / 1e12:.0f} TFLOP/s of plain matrix products) at least {seconds:.0f} s, "
            f"by the cost model about {seconds / MEASURED_EFFICIENCY:.0f} s"
        )
