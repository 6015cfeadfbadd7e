"""Cost against work: time and memory over tokens, references, steps and batch.

``python -m benchmarks.curves --size cpu-mid-wan --json FILE --plot FILE``

Every point is a process of its own, so that its peak memory is its own. An exponent of 1 means
proportional; time is ``a · work^b``, fitted on logarithms, and for memory what the smallest run
uses anyway (weights, libraries) is part of the curve.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.checkpoint import write_checkpoint
from benchmarks.measure import Row, measure
from benchmarks.plan import Plan
from benchmarks.quiet import silence_loading
from benchmarks.sizes import SIZES, Size
from benchmarks.svg import Line, Panel, draw
from benchmarks.systems import profile_system

_ROWS_OF_TOKENS = 16  # pixels of one token
_HEIGHT_FACTORS = (0.5, 1.0, 1.5, 2.0)
_COUNTS = (1, 2, 3, 4)
_MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Point:
    """One measured amount of work.

    Attributes:
        axis: What was varied.
        work: How much of it.
        denoise: Seconds of denoising, of the processor's own time on one thread of a CPU.
        seconds: The same, of all stages.
        peak_memory_bytes: As in the table.
        flop: By the cost model.
    """

    axis: str
    work: float
    denoise: float
    seconds: float
    peak_memory_bytes: int
    flop: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every axis, fit exponents, write the files."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.curves", description=(__doc__ or "").splitlines()[0]
    )
    small = [name for name, size in SIZES.items() if not size.needs_gpu]
    parser.add_argument("--size", default="cpu-mid-wan", choices=small)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--repeats", type=int, default=1, help="runs of each point (default: 1)")
    parser.add_argument("--json", metavar="FILE", help="write points and exponents here")
    parser.add_argument("--plot", metavar="FILE", help="write an SVG picture here")
    options = parser.parse_args(arguments)
    silence_loading()
    told = Console(stderr=True)
    points = []
    for axis, plan in plans(SIZES[options.size], options.dtype, options.repeats):
        points.append(_measured(axis, plan))
        told.print(f"{axis} {points[-1].work:g}: {points[-1].denoise:.2f} s")
    exponents = fit(points)
    Console().print(_table(points, exponents))
    if options.json:
        found = {"size": options.size, "dtype": options.dtype, "exponents": exponents}
        content = {**found, "points": [asdict(point) for point in points]}
        Path(options.json).write_text(json.dumps(content, indent=2) + "\n")
    if options.plot:
        Path(options.plot).write_text(picture(points, exponents))
    return 0


def plans(size: Size, dtype: str, repeats: int) -> list[tuple[str, Plan]]:
    """What is run, by axis; every axis passes through the same middle point."""
    systems = [profile_system("exact", {})]
    base = Plan(size, systems, [dtype], 2, repeats, threads=1, device="cpu")
    heights = [_height(size, factor) for factor in _HEIGHT_FACTORS]
    return [
        *(("tokens", replace(base, size=size.with_height(height))) for height in heights),
        *(("references", replace(base, references=count)) for count in _COUNTS),
        *(("steps", replace(base, steps=2 * count)) for count in _COUNTS),
        *(("batch", replace(base, batch=count)) for count in _COUNTS),
    ]


def fit(points: Sequence[Point]) -> dict[str, dict[str, float]]:
    """Exponents of time and memory over each axis."""
    exponents = {}
    for axis in dict.fromkeys(point.axis for point in points):
        along = [point for point in points if point.axis == axis]
        work = np.log([point.work for point in along])
        exponents[axis] = {
            name: float(np.polyfit(work, np.log([getattr(p, name) for p in along]), 1)[0])
            for name in ("denoise", "seconds", "peak_memory_bytes", "flop")
        }
    return exponents


def picture(points: Sequence[Point], exponents: dict[str, dict[str, float]]) -> str:
    """Denoising time above, peak memory below; one column an axis."""
    axes = list(exponents)

    def panel(axis: str, name: str, title: str, unit: str, scale: float) -> Panel:
        along = [(p.work, getattr(p, name) / scale) for p in points if p.axis == axis]
        line = Line(f"∝ {axis}^{exponents[axis][name]:.2f}", along)
        return Panel(f"{title} over {axis}", axis, unit, [line])

    return draw(
        [
            [panel(axis, "denoise", "denoising", "s", 1.0) for axis in axes],
            [panel(axis, "peak_memory_bytes", "peak memory", "MiB", _MEBIBYTE) for axis in axes],
        ]
    )


def _measured(axis: str, plan: Plan) -> Point:
    with tempfile.TemporaryDirectory(prefix="vap-curves-") as name:
        folder = Path(name)
        write_checkpoint(plan.size, folder / "checkpoint")
        (row,) = measure(plan.work(folder / "checkpoint"), folder, repeats=plan.repeats)
    return _point(axis, plan, row)


def _point(axis: str, plan: Plan, row: Row) -> Point:
    work = {
        "tokens": plan.tokens,
        "references": plan.references,
        "steps": plan.steps,
        "batch": plan.batch,
    }
    return Point(
        axis,
        work[axis],
        row.processor_stages["denoise"],
        row.processor_seconds,
        row.peak_memory_bytes,
        plan.flop,
    )


def _height(size: Size, factor: float) -> int:
    return round(size.shape.height * factor / _ROWS_OF_TOKENS) * _ROWS_OF_TOKENS


def _table(points: Sequence[Point], exponents: dict[str, dict[str, float]]) -> Table:
    table = Table("axis", "work", "denoise, s", "all, s", "peak MiB", "TFLOP")
    for axis, fitted in exponents.items():
        for point in (p for p in points if p.axis == axis):
            table.add_row(
                axis,
                f"{point.work:g}",
                f"{point.denoise:.2f}",
                f"{point.seconds:.2f}",
                f"{point.peak_memory_bytes / _MEBIBYTE:,.0f}",
                f"{point.flop / 1e12:.2f}",
            )
        names = ("denoise", "seconds", "peak_memory_bytes", "flop")
        table.add_row(f"{axis}: exponent", "", *(f"{fitted[name]:.2f}" for name in names))
        table.add_section()
    return table


if __name__ == "__main__":
    raise SystemExit(main())
