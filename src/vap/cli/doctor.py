"""``vap doctor``: what this machine can run, how long it takes and how much memory it needs."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from vap.cli import options
from vap.cli.console import quiet_libraries, reporting, results, show_json

_GIB = 1 << 30
_BILLION = 1_000_000_000
_MATRIX = {"cpu": 1024}
_LARGE_MATRIX = 8192
_TITLES = {
    "memory_gib": "memory (GiB)",
    "free_memory_gib": "free (GiB)",
    "teraflop_per_second": "TFLOP/s",
    "video_encoders": "writes",
}
_ENCODERS = {"mp4 (H.264)": "libx264", "webm (VP9)": "libvpx-vp9", "gif": "gif"}


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What a model needs here.

    Attributes:
        name: Of the model.
        size: Video that it makes.
        steps: Denoising steps.
        tokens: Of the target stream.
        parameters: Of all components.
        memory_gib: With everything resident.
        offloaded_gib: With one component at a time resident (``--offload model``).
        seconds: Predicted denoising time on this machine.
        fits: How it can be run here.
    """

    name: str
    size: str
    steps: int
    tokens: int
    parameters: int
    memory_gib: float
    offloaded_gib: float
    seconds: float
    fits: str


def doctor(
    as_json: options.AsJson = False,
) -> None:
    """Say what this machine can run, and how long and how much memory each model would take."""
    with reporting(as_json=as_json):
        quiet_libraries()
        machine = _machine()
        reports = _model_reports(machine)
        if as_json:
            show_json({"machine": machine, "models": [asdict(report) for report in reports]})
        else:
            _show(machine, reports)


def _show(machine: dict[str, Any], reports: list[ModelReport]) -> None:
    """Blocks of name and value, which no terminal is too narrow for."""
    results.print("[bold]This machine[/]")
    _show_facts({_TITLES.get(key, key): _say(value) for key, value in machine.items()})
    for report in reports:
        results.print(f"\n[bold]{report.name}[/]")
        facts = {
            "makes": f"{report.size}, {report.steps} steps",
            "parameters": _count(report.parameters),
            "memory": _gib(report.memory_gib),
            "denoising": f"about {_duration(report.seconds)}",
            "here": report.fits,
        }
        if machine["device"] != "cpu":
            facts["memory"] += f"; {_gib(report.offloaded_gib)} with --offload model"
        _show_facts(facts)
    results.print("\nTimes and memory are predicted, times from the measured speed above.")


def _show_facts(facts: dict[str, str]) -> None:
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(f"  {name}", value)
    results.print(table)


def _machine() -> dict[str, Any]:
    import torch

    from vap.hub import default_device

    device = default_device()
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    free, total = _memory(device)
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cores": os.cpu_count(),
        "memory_gib": round(total / _GIB, 1),
        "free_memory_gib": round(free / _GIB, 1),
        "dtype": str(dtype).removeprefix("torch."),
        "teraflop_per_second": round(_matrix_rate(device, dtype) / 1e12, 3),
        "video_encoders": {name: _has_encoder(codec) for name, codec in _ENCODERS.items()},
    }


def _model_reports(machine: dict[str, Any]) -> list[ModelReport]:
    from vap.cost import generation_cost, stored_parameters
    from vap.cost_released import RELEASED_MODELS, PlannedModel
    from vap.hub import BUNDLED_FOLDER, known_models

    reports = []
    for entry in known_models():
        if entry.where == "bundled":
            folder = BUNDLED_FOLDER / entry.name
            planned = PlannedModel.from_folder(folder, entry.family, stored_parameters(folder))
        else:
            planned = RELEASED_MODELS[entry.name]
        cost = generation_cost(
            planned.size,
            planned.shape,
            planned.compression,
            steps=planned.steps,
            guidance=planned.guidance,
        )
        width = 4 if machine["dtype"] == "float32" else 2
        working = planned.working_bytes(width)
        resident = sum(planned.parameters.values()) * width + working
        offloaded = max(planned.parameters.values()) * width + working
        reports.append(
            ModelReport(
                entry.name,
                f"{planned.shape.frames} frames of {planned.shape.height}×{planned.shape.width}",
                planned.steps,
                cost.tokens,
                sum(planned.parameters.values()),
                resident / _GIB,
                offloaded / _GIB,
                cost.seconds(machine["teraflop_per_second"] * 1e12),
                _fits(machine, resident / _GIB, offloaded / _GIB),
            )
        )
    return reports


def _fits(machine: dict[str, Any], resident: float, offloaded: float) -> str:
    free = machine["free_memory_gib"]
    if resident <= free:
        return "fits"
    if machine["device"] == "cpu":
        return "not enough memory"
    return "with --offload model" if offloaded <= free else "with --offload group"


def _matrix_rate(device: Any, dtype: Any) -> float:
    """Operations a second of a plain matrix product, best of a few."""
    import torch

    extent = _MATRIX.get(device.type, _LARGE_MATRIX)
    left = torch.randn(extent, extent, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        product = left @ left
        product[0, 0].item()
        best = min(best, time.perf_counter() - start)
    return 2 * extent**3 / best


def _memory(device: Any) -> tuple[int, int]:
    """Free and total bytes where the model would live."""
    import psutil
    import torch

    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return free, total
    memory = psutil.virtual_memory()
    return memory.available, memory.total


def _has_encoder(codec: str) -> bool:
    import av

    return codec in av.codecs_available


def _say(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(key for key, held in value.items() if held) or "nothing"
    return str(value)


def _count(parameters: int) -> str:
    if parameters < _BILLION:
        return f"{parameters / 1e6:.1f} million"
    return f"{parameters / 1e9:.1f} billion"


def _gib(amount: float) -> str:
    return f"{amount:.1f} GiB" if amount >= 1 else f"{amount * 1024:.0f} MiB"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
