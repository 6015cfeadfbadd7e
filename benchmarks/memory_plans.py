"""Memory plans at full size on a GPU: time and peak memory beside what was predicted.

    python -m benchmarks.memory_plans [--steps 4] [--plans "resident" "block-level offload" …]

The Wan 14B transformer gets random weights and random conditions; a few denoising steps run under
every plan, with guidance and one reference at 480×832 and 49 frames. Text encoder and VAE are left
out. Not yet measured on a GPU.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from vap.acceleration.offload import offload_blocks
from vap.acceleration.plan import ACCELERATOR_PLANS, MemoryPlan
from vap.acceleration.quantize import quantize
from vap.cost.denoiser import denoising_step, weightless_transformer
from vap.cost.footprint import Video, traced_footprint
from vap.cost.prediction import denoising_bytes
from vap.cost.released import RELEASED_MODELS
from vap.files.folders import RELEASED
from vap.loading.memory import move_apart_from
from vap.loading.pipeline import default_device

RESIDENT = "resident"
NAMES = (
    RESIDENT,
    "block-level offload",
    "block-level offload, no caches",
    "block-level offload, fp8",
)


def placed(plan: MemoryPlan, device: torch.device) -> Any:
    """The transformer with random weights, placed by a plan."""
    transformer = weightless_transformer(RELEASED_MODELS[RELEASED["wan"]], torch.bfloat16)
    start = device if plan.offload is None and plan.quantize is None else torch.device("cpu")
    transformer.to_empty(device=start)
    for parameter in transformer.parameters():
        parameter.data.normal_(std=0.02)
    if plan.quantize is not None:
        quantize(transformer.expert_blocks, plan.quantize)
    if plan.offload == "group":
        offload_blocks(transformer.expert_blocks, device)
        move_apart_from(transformer, transformer.expert_blocks, device)
    return transformer if plan.offload is not None else transformer.to(device)


def measured(plan: MemoryPlan, device: torch.device, steps: int) -> tuple[float, float]:
    """Seconds of a step and gigabytes at the peak."""
    gc.collect()
    torch.accelerator.empty_cache()
    transformer = placed(plan, device)
    released = RELEASED_MODELS[RELEASED["wan"]]
    step = denoising_step(
        released,
        transformer,
        released.shape,
        guidance=True,
        references=1,
        dtype=torch.bfloat16,
        keep=plan.keep_constants,
        device=device,
    )
    with torch.no_grad():
        step()
        torch.accelerator.synchronize(device)
        torch.accelerator.reset_peak_memory_stats(device)
        start = time.perf_counter()
        for _ in range(steps):
            step()
        torch.accelerator.synchronize(device)
    seconds = (time.perf_counter() - start) / steps
    return seconds, torch.accelerator.max_memory_allocated(device) / 1e9


def counted(plan: MemoryPlan) -> float:
    """Gigabytes of weights and tensors that the cost model counts for denoising alone."""
    released = RELEASED_MODELS[RELEASED["wan"]]
    video = Video.native(released)
    needed = denoising_bytes(released, traced_footprint(released, video, torch.bfloat16), plan)
    return needed / 1e9


def main() -> int:
    """Run the chosen plans; exit status 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--plans", nargs="+", choices=NAMES, default=NAMES)
    options = parser.parse_args()
    device = default_device()
    if device.type == "cpu":
        print("No GPU was found: memory plans are measured at full size on one.", file=sys.stderr)
        return 2
    plans = {plan.name: plan for plan in ACCELERATOR_PLANS}
    found = {name: measured(plans[name], device, options.steps) for name in options.plans}
    table = Table("plan", "s a step", f"of {RESIDENT}", "GB at the peak", "GB predicted")
    for name, (seconds, gigabytes) in found.items():
        share = f"{seconds / found[RESIDENT][0]:.2f}×" if RESIDENT in found else "–"
        figures = (f"{seconds:.2f}", share, f"{gigabytes:.1f}")
        table.add_row(name, *figures, f"{counted(plans[name]):.1f}")
    Console(width=100).print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
