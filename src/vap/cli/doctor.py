"""``vap doctor``: what this machine can run, how long it takes and how much memory it needs."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from vap.cli import options
from vap.cli.console import quiet_libraries, reporting, results, show_json

if TYPE_CHECKING:
    from vap.cost.devices import DeviceSpec
    from vap.cost.model import PlannedModel
    from vap.cost.prediction import Prediction

_GB = 10**9
_ENCODERS = {"mp4 (H.264)": "libx264", "webm (VP9)": "libvpx-vp9", "gif": "gif"}

Gpu = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="Predict for h200, 4090 …, not for this machine; repeatable."
    ),
]
Model = Annotated[
    str | None, typer.Option(metavar="NAME", help="Only this model: a known name or a folder.")
]


def doctor(
    model: Model = None,
    gpu: Gpu = None,
    memory: options.Memory = None,
    as_json: options.AsJson = False,
) -> None:
    """Say what this machine can run, and how long and how much memory each model would take."""
    with reporting(as_json=as_json):
        quiet_libraries()
        from vap.acceleration.plan import memory_bytes
        from vap.cost.devices import known_gpu

        budget = None if memory is None else memory_bytes(memory)
        machine, here = _machine()
        devices = [known_gpu(name) for name in gpu] if gpu else [here]
        reports = [
            _report(name, planned, device, budget)
            for name, planned in _models(model)
            for device in devices
        ]
        if as_json:
            show_json({"machine": machine, "models": reports})
        else:
            _show(machine, reports)


def _machine() -> tuple[dict[str, Any], DeviceSpec]:
    """Facts about this machine, and its device, measured."""
    import torch

    from vap.cost.devices import device_memory, this_machine
    from vap.hub import default_device

    device = default_device()
    here = this_machine(device)
    free, total = device_memory(device)
    facts = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": here.name,
        "cores": os.cpu_count(),
        "memory_gb": round(total / _GB, 1),
        "free_memory_gb": round(free / _GB, 1),
        "teraflop_per_second": {name: round(rate / 1e12, 3) for name, rate in here.rates.items()},
        "video_encoders": {name: _has_encoder(codec) for name, codec in _ENCODERS.items()},
    }
    return facts, here


def _models(chosen: str | None) -> list[tuple[str, PlannedModel]]:
    """The chosen model, or all known ones, none of them downloaded.

    Raises:
        FileNotFoundError: If it is neither known nor here.
    """
    from vap.cost.released import planned_model
    from vap.names import check_model, full_name, known_models

    names = [entry.name for entry in known_models()] if chosen is None else [full_name(chosen)]
    found = []
    for name in names:
        check_model(name)
        planned = planned_model(name)
        if planned is None:
            raise FileNotFoundError(f"{name} is not here. Download it, and give its folder.")
        found.append((name, planned))
    return found


def _report(
    name: str, planned: PlannedModel, device: DeviceSpec, budget: int | None
) -> dict[str, Any]:
    """What a model takes on a device under every plan."""
    from vap.acceleration.memory import predictions
    from vap.cost.arithmetic import generation_cost
    from vap.cost.footprint import Video

    video = Video.native(planned)
    cost = generation_cost(
        planned.size,
        video.shape,
        planned.compression,
        steps=video.steps,
        guidance=video.guidance,
        reference_guidance=video.reference_guidance,
    )
    limit = device.memory if budget is None else budget
    found = predictions(planned, video, device, device.dtype)
    fitting = [each.plan.name for each in found if each.device_bytes <= limit]
    return {
        "name": name,
        "device": device.name,
        "size": f"{video.shape.frames} frames of {video.shape.height}×{video.shape.width}",
        "steps": video.steps,
        "tokens": cost.tokens,
        "flop": cost.flop,
        "parameters": sum(planned.parameters.values()),
        "memory_gb": limit / _GB,
        "plan": fitting[0] if fitting else None,
        "plans": [_row(each) for each in found],
        "checked": False,
    }


def _row(found: Prediction) -> dict[str, Any]:
    return {
        "name": found.plan.name,
        "exact": found.plan.exact,
        "device_gb": found.device_bytes / _GB,
        "host_gb": found.host_bytes / _GB,
        "encode_seconds": found.encode,
        "denoise_seconds": found.denoise,
        "decode_seconds": found.decode,
        "seconds": found.seconds,
    }


def _show(machine: dict[str, Any], reports: list[dict[str, Any]]) -> None:
    """Blocks of name and value and narrow tables, which no terminal is too narrow for."""
    from vap.cost.text import parameter_count

    results.print("This machine", style="bold")
    _show_facts(
        {
            "python, torch": f"{machine['python']}, {machine['torch']}",
            "device": f"{machine['device']}, {machine['cores']} cores",
            "memory": f"{machine['memory_gb']:.1f} GB, {machine['free_memory_gb']:.1f} free",
            "TFLOP/s": _listed(machine["teraflop_per_second"]),
            "writes": ", ".join(k for k, has in machine["video_encoders"].items() if has)
            or "nothing",
        }
    )
    for report in reports:
        results.print(f"\n{report['name']}", style="bold")
        chosen = report["plan"] or "no plan fits"
        _show_facts(
            {
                "on": f"{report['device']}, {report['memory_gb']:.1f} GB: {chosen}",
                "makes": f"{report['size']}, {report['steps']} steps",
                "parameters": parameter_count(report["parameters"]),
            }
        )
        _show_plans(report)
    results.print(
        "\nPredicted for one video with one reference, from the rates above; for --gpu,\n"
        "from the maker's. GPU plans are not yet measured. --memory chooses a plan."
    )


def _show_plans(report: dict[str, Any]) -> None:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("plan", min_width=24)
    for heading in ("memory", "host", "encode", "denoise", "decode"):
        table.add_column(heading, justify="right", no_wrap=True)
    for plan in report["plans"]:
        mark = "→" if plan["name"] == report["plan"] else " "
        table.add_row(
            f"{mark} {plan['name']}",
            _size(plan["device_gb"]),
            _size(plan["host_gb"]) if plan["host_gb"] else "",
            *(_duration(plan[f"{stage}_seconds"]) for stage in ("encode", "denoise", "decode")),
        )
    results.print(table)


def _show_facts(facts: dict[str, str]) -> None:
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(f"  {name}", value)
    results.print(table)


def _listed(rates: dict[str, float]) -> str:
    return ", ".join(f"{rate:g} {name}" for name, rate in rates.items())


def _has_encoder(codec: str) -> bool:
    import av

    return codec in av.codecs_available


def _size(gigabytes: float) -> str:
    return f"{gigabytes:.1f} GB" if gigabytes >= 1 else f"{gigabytes * 1000:.0f} MB"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
