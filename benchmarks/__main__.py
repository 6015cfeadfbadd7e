"""One table: our profiles beside the released implementation, same weights, inputs and machine.

``python -m benchmarks --size cpu-mid-wan --profile exact --peer PATH --json FILE``
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.sizes import SIZES
from benchmarks.systems import PROFILES, peer_system, profile_system

DTYPES = ("float32", "bfloat16")
_CANNOT_RUN = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and show; 0, or 2 if what was asked for cannot be run."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except (FileNotFoundError, ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return _CANNOT_RUN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--size", required=True, choices=SIZES, help="models and videos to measure")
    parser.add_argument(
        "--profile",
        nargs="+",
        default=["exact"],
        help=f"our profiles: {', '.join(PROFILES)} (default: exact)",
    )
    parser.add_argument(
        "--peer", type=Path, metavar="PATH", help="checkout of the released implementation"
    )
    parser.add_argument(
        "--peer-python",
        type=Path,
        metavar="FILE",
        help="interpreter of its environment (default: PATH/.venv/bin/python)",
    )
    parser.add_argument("--json", metavar="FILE", help="write the results here too")
    parser.add_argument("--steps", type=int, help="denoising steps (default: the size's own)")
    parser.add_argument("--repeats", type=int, default=3, help="runs that count (default: 3)")
    parser.add_argument(
        "--dtype",
        nargs="+",
        choices=DTYPES,
        help="precisions (default: float32 on a CPU, bfloat16 on a GPU)",
    )
    parser.add_argument("--threads", type=int, default=1, help="on a CPU (default: 1)")
    parser.add_argument("--device", help="of torch (default: an accelerator if there is one)")
    parser.add_argument("--references", type=int, default=1, help="reference videos (default: 1)")
    parser.add_argument("--batch", type=int, default=1, help="videos at once (default: 1)")
    parser.add_argument(
        "--option",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="options of vap.load_pipeline for our profiles, values as JSON or plain words",
    )
    parser.add_argument(
        "--no-turns",
        action="store_true",
        help="one system after the other, for models that do not fit into memory together",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be measured")
    return parser


def _run(options: argparse.Namespace) -> int:
    import torch

    from benchmarks.plan import Plan
    from vap.loading.pipeline import default_device

    _check_counts(options)
    device = torch.device(options.device) if options.device else default_device()
    size = SIZES[options.size]
    extra = _load_options(options.option)
    systems = [profile_system(name, extra) for name in dict.fromkeys(options.profile)]
    if options.peer is not None:
        systems.insert(0, peer_system(options.peer, options.peer_python))
        if options.batch > 1:
            message = "The released implementation makes one video at a time: leave --batch out."
            raise ValueError(message)
    on_cpu = device.type == "cpu" and not (options.dry_run and size.needs_gpu)
    plan = Plan(
        size,
        systems,
        options.dtype or (["float32"] if on_cpu else ["bfloat16"]),
        options.steps or size.steps,
        options.repeats,
        options.threads,
        str(device),
        options.references,
        options.batch,
        not options.no_turns,
        extra,
    )
    if options.dry_run:
        print(plan.describe())
        return 0
    if size.needs_gpu and device.type == "cpu":
        message = (
            f"--size {size.name} makes its weights on a GPU, and the device is the CPU. Use a "
            "machine with a GPU, a cpu-mid size, or --dry-run to see what would be measured."
        )
        raise ValueError(message)
    return _measure(plan, options.json)


def _measure(plan: Any, json_file: str | None) -> int:
    import torch

    from benchmarks.ceiling import matrix_rate
    from benchmarks.checkpoint import write_checkpoint
    from benchmarks.measure import measure
    from benchmarks.prediction import predict_runs
    from benchmarks.quiet import silence_loading
    from benchmarks.report import Report

    silence_loading()
    device = torch.device(plan.device)
    told = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="vap-benchmark-") as name:
        folder = Path(name)
        write_checkpoint(plan.size, folder / "checkpoint")
        ceilings = {
            dtype: matrix_rate(device, getattr(torch, dtype), plan.threads) for dtype in plan.dtypes
        }
        rows = measure(
            plan.work(folder / "checkpoint"),
            folder,
            repeats=plan.repeats,
            interleaved=plan.interleaved,
            tell=told.print,
        )
        predictions = predict_runs(plan, folder / "checkpoint", ceilings)
    report = Report(plan, rows, ceilings, predictions)
    Console(width=170).print(report.table())
    if json_file is not None:
        report.write(json_file)
    return 0


def _check_counts(options: argparse.Namespace) -> None:
    for name in ("steps", "repeats", "threads", "references", "batch"):
        value = getattr(options, name)
        if value is not None and value < 1:
            message = f"--{name} {value}: give at least 1."
            raise ValueError(message)


def _load_options(pairs: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` words; a value that is no JSON is a string."""
    options: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name.isidentifier():
            message = f"--option {pair!r} is not of the form NAME=VALUE."
            raise ValueError(message)
        try:
            options[name] = json.loads(value)
        except json.JSONDecodeError:
            options[name] = value
    return options


if __name__ == "__main__":
    raise SystemExit(main())
