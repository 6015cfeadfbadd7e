"""A run's results as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.table import Table

from benchmarks.measure import Row
from benchmarks.measured.gauges import STAGES
from benchmarks.plan import Plan
from benchmarks.prediction import as_dict
from benchmarks.systems import EVERY_PASS
from vap.cost.prediction import Prediction

_MEBIBYTE = 1 << 20
_DECIMAL = 1e12


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a run found out.

    Attributes:
        plan: What was asked for.
        rows: What was measured, the reference first.
        ceilings: Matrix-product rate, operations a second, by precision.
        predictions: Of the cost model, by precision; none for several videos at once.
    """

    plan: Plan
    rows: Sequence[Row]
    ceilings: dict[str, float]
    predictions: dict[str, Prediction]

    def as_dict(self) -> dict[str, Any]:
        """As written by ``--json``."""
        return {
            **self.plan.as_dict(),
            "machine": describe_machine(torch.device(self.plan.device)),
            "ceiling_flop_per_second": self.ceilings,
            "rows": [self._row(row) for row in self.rows],
        }

    def write(self, path: str) -> None:
        """Write the JSON file."""
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - "-" and pipes work too
            json.dump(self.as_dict(), file, indent=2)
            file.write("\n")

    def table(self) -> Table:
        """For the terminal."""
        size = self.plan.size
        table = Table(
            *("system", "dtype", "seconds", "spread", *STAGES, "speed-up", "CPU s", "by CPU s"),
            *("peak MiB", "of ceiling", "error"),
            title=f"{size.name}: {self.plan.steps} steps, {self.plan.tokens:,} tokens a stream, "
            f"{self.plan.flop / _DECIMAL:.2f} TFLOP",
            caption=f"torch {torch_versions([asdict(row) for row in self.rows])}",
        )
        for row in self.rows:
            table.add_row(
                row.system,
                row.dtype,
                f"{row.seconds:.2f}",
                f"{row.spread[0]:.2f} – {row.spread[1]:.2f}",
                *(f"{row.stages[stage]:.2f}" for stage in STAGES),
                f"{self._speed_up(row):.2f}×",
                f"{row.processor_seconds:.2f}",
                f"{self._processor_speed_up(row):.2f}×",
                f"{row.peak_memory_bytes / _MEBIBYTE:,.0f}",
                f"{self._share(row):.0%}",
                f"{row.relative_error:.1e}",
            )
        for dtype, expected in self.predictions.items():
            stages = (expected.encode, expected.denoise, expected.decode)
            table.add_row(
                "predicted",
                dtype,
                f"{expected.seconds:.2f}",
                "",
                *(f"{seconds:.2f}" for seconds in stages),
                "",
                "",
                "",
                f"{expected.device_bytes / _MEBIBYTE:,.0f}",
                "",
                "",
                style="dim",
            )
        return table

    def _row(self, row: Row) -> dict[str, Any]:
        expected = self.predictions.get(row.dtype)
        return {
            **asdict(row),
            "speed_up": self._speed_up(row),
            "processor_seconds": row.processor_seconds,
            "processor_speed_up": self._processor_speed_up(row),
            "ceiling_share": self._share(row),
            "predicted": as_dict(expected) if expected and row.system in EVERY_PASS else None,
        }

    def _speed_up(self, row: Row) -> float:
        return self.rows[0].seconds / row.seconds

    def _processor_speed_up(self, row: Row) -> float:
        return self.rows[0].processor_seconds / max(row.processor_seconds, 1e-9)

    def _share(self, row: Row) -> float:
        """Of the ceiling, while denoising; every operation of the plain model counts as done.

        By the clock that the ceiling was measured with, see :func:`matrix_rate`.
        """
        alone = torch.device(self.plan.device).type == "cpu" and self.plan.threads == 1
        stages = row.processor_stages if alone else row.stages
        return self.plan.flop / (stages["denoise"] * self.ceilings[row.dtype])


def torch_versions(rows: Sequence[Mapping[str, Any]], unknown: str = "") -> str:
    """The version that all rows were measured with, or each system's.

    Args:
        rows: As written to JSON.
        unknown: Version of rows that do not say theirs, as of old files.
    """
    of = {row["system"]: row.get("torch", unknown) for row in rows}
    if len(set(of.values())) == 1:
        return next(iter(of.values()))
    return ", ".join(f"{version} ({system})" for system, version in of.items())


def describe_machine(device: torch.device) -> dict[str, Any]:
    """What the numbers were measured on, by this process; a row's may have another torch."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": name,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - not a plain file
            names = (line.split(":")[1].strip() for line in file if line.startswith("model name"))
            return next(names, platform.machine())
    except OSError:
        return platform.machine()
