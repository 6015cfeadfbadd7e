"""``vap doctor``: what this machine can run, how long it takes and how much memory it needs."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from vap.cli import options
from vap.cli.console import in_options, reporting, results, show_json

if TYPE_CHECKING:
    from vap.acceleration.plan import Profile, WantedVideo
    from vap.cost.devices import DeviceSpec
    from vap.cost.model import PlannedModel
    from vap.cost.prediction import Prediction

_GB = 10**9
_ANY = sys.maxsize
_ENCODERS = {"mp4 (H.264)": "libx264", "webm (VP9)": "libvpx-vp9", "gif": "gif"}

Gpu = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Predict for this GPU (h200, 4090 …) instead of this machine; repeatable.",
    ),
]
Model = Annotated[
    str | None, typer.Option(metavar="NAME", help="Show only this model: a known name or a folder.")
]


def doctor(
    model: Model = None,
    gpu: Gpu = None,
    memory: options.Memory = None,
    frames: options.Frames = None,
    height: options.Height = None,
    width: options.Width = None,
    steps: options.Steps = None,
    profile: options.Profile = None,
    as_json: options.AsJson = False,
) -> None:
    """Show which models this machine can run, with predicted time and memory."""
    with reporting(as_json=as_json, words=in_options):
        from vap.acceleration.plan import WantedVideo, memory_bytes
        from vap.cost.devices import known_gpu

        asked = None if memory in {None, "auto"} else memory_bytes(str(memory))
        devices = [known_gpu(name) for name in gpu or ()]
        models = _models(model)
        machine, here = _machine(measured=not devices)
        wanted = WantedVideo(height, width, frames)
        question = _Question(wanted, steps, profile, asked)
        free = round(machine["free_memory_gb"] * _GB)
        # Of another machine, nobody knows how much main memory it has.
        others = [(each, each.memory, _ANY) for each in devices]
        places: list[tuple[DeviceSpec, int, int | None]] = [*others] or [(here, free, None)]
        reports = [
            _report(name, planned, device, asked or all_of_it, host, question)
            for name, planned in models
            for device, all_of_it, host in places
        ]
        if as_json:
            show_json({"machine": machine, "models": reports})
        else:
            _show(machine, reports)


@dataclass(frozen=True)
class _Question:
    """The same question for every model."""

    video: WantedVideo  # Size, where it is not the model's own
    steps: int | None  # Denoising steps; the model's own by default
    profile: Profile | None  # Speed against fidelity
    memory: int | None  # Bytes that may be used; by default all that is free

    def options(self) -> str:
        """The options that ask ``vap generate`` the same."""
        given = {
            "height": self.video.height,
            "width": self.video.width,
            "frames": self.video.num_frames,
            "steps": self.steps,
            "profile": self.profile,
            "memory": None if self.memory is None else f"{self.memory / _GB:g}GB",
        }
        return "".join(f" --{name} {value}" for name, value in given.items() if value is not None)


def _machine(*, measured: bool) -> tuple[dict[str, Any], DeviceSpec]:
    """Facts about this machine, and its device."""
    import av
    import torch

    from vap.cost.devices import device_for_planning, device_memory, this_machine
    from vap.loading.pipeline import default_device

    device = default_device()
    here = this_machine(device) if measured else device_for_planning(device)
    free, total = device_memory(device)
    rates = here.rates if measured else {}
    facts = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": here.name,
        "cores": os.cpu_count(),
        "memory_gb": round(total / _GB, 1),
        "free_memory_gb": round(free / _GB, 1),
        "teraflop_per_second": {name: round(rate / 1e12, 3) for name, rate in rates.items()},
        "video_encoders": {name: codec in av.codecs_available for name, codec in _ENCODERS.items()},
    }
    return facts, here


def _models(chosen: str | None) -> list[tuple[str, PlannedModel]]:
    """The chosen model, or all known ones, none of them downloaded."""
    from vap.cost.released import planned_model
    from vap.files.names import check_model, full_name, known_models

    names = [entry.name for entry in known_models()] if chosen is None else [full_name(chosen)]
    found = []
    for name in names:
        check_model(name)
        planned = planned_model(name)
        if planned is None:
            raise FileNotFoundError(f"{name} was not found. Download it, and give its folder.")
        found.append((name, planned))
    return found


def _report(
    name: str,
    planned: PlannedModel,
    device: DeviceSpec,
    limit: int,
    host: int | None,
    asked: _Question,
) -> dict[str, Any]:
    """What a model takes on a device under every plan, and the plan that `vap generate` takes."""
    from vap.cost.arithmetic import generation_cost
    from vap.cost.footprint import Video
    from vap.loading.estimate import profile_settings
    from vap.loading.memory import fitting, predictions

    video = Video.native(planned, asked.video)
    settings, measured = profile_settings(name, planned, asked.profile)
    steps = asked.steps or max(1, round(settings.steps * video.steps))
    video = replace(video, steps=steps)
    cost = generation_cost(
        planned.size,
        video.shape,
        planned.compression,
        steps=video.steps,
        guidance=video.guidance,
        reference_guidance=video.reference_guidance,
    )
    found = predictions(planned, video, device, device.dtype)
    fit = fitting(found, limit, host)
    if settings.reuse.references > 1:
        keeping = predictions(planned, video, device, device.dtype, keep_references=True)
        fit = fitting(keeping, limit, host) or fit
    return {
        "name": name,
        "device": device.name,
        "size": f"{video.shape.frames} frames of {video.shape.height}×{video.shape.width}",
        "steps": video.steps,
        "profile": asked.profile,
        "profile_measured": measured,
        "tokens": cost.tokens,
        "flop": cost.flop,
        "parameters": planned.parameters["transformer"],
        "memory_gb": limit / _GB,
        "plan": fit[0].plan.name if fit else None,
        "command": _command(name, asked) if fit else None,
        "plans": [_row(each) for each in found],
        "checked": False,
    }


def _command(name: str, asked: _Question) -> str:
    from vap.files.names import known_models

    short = {entry.name: entry.alias for entry in known_models()}.get(name) or name
    return (
        f"vap generate --model {short} --reference clip.mp4 \\\n"
        f"    --image photo.jpg{asked.options()} -o out.mp4"
    )


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
    """Blocks of name and value and narrow tables, which fit every terminal."""
    from vap.cost.arithmetic import parameter_count

    rates = ", ".join(f"{rate:g} {name}" for name, rate in machine["teraflop_per_second"].items())
    results.print("This machine", style="bold")
    _show_facts(
        {
            "python, torch": f"{machine['python']}, {machine['torch']}",
            "device": f"{machine['device']}, {machine['cores']} cores",
            "memory": f"{machine['memory_gb']:.1f} GB, {machine['free_memory_gb']:.1f} free",
            **({"TFLOP/s": rates} if rates else {}),
            "writes": ", ".join(k for k, has in machine["video_encoders"].items() if has)
            or "nothing",
        }
    )
    for report in reports:
        results.print(f"\n{report['name']}", style="bold")
        least = min(plan["device_gb"] for plan in report["plans"])
        chosen = report["plan"] or f"no plan fits, {least:.1f} GB are needed"
        known = "measured" if report["profile_measured"] else "a guess, not measured on this model"
        profile = f"{report['profile']}: {known}"
        _show_facts(
            {
                "on": f"{report['device']}, {report['memory_gb']:.1f} GB: {chosen}",
                "makes": f"{report['size']}, {report['steps']} steps",
                "parameters": f"{parameter_count(report['parameters'])} in the transformer",
                **({} if report["profile"] in {None, "exact"} else {"profile": profile}),
            }
        )
        _show_plans(report)
        if report["command"]:
            results.print(f"  {report['command']}", soft_wrap=True)
    results.print(
        "\nPredicted for one video with one reference, from the rates above; for --gpu,\n"
        "from the manufacturer's. → marks the plan that vap generate uses: the fastest\n"
        "that fits. host: main memory for offloaded weights. Plans for GPUs are not yet\n"
        "measured."
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


def _size(gigabytes: float) -> str:
    return f"{gigabytes:.1f} GB" if gigabytes >= 1 else f"{gigabytes * 1000:.0f} MB"


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
