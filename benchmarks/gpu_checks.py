"""What a CPU cannot show: attention kernels, offloading, quantization and compilation on a GPU.

Runs the golden checkpoints on an accelerator in every way that the package offers, compares each
with the released model's numbers, and prints a table. They are tiny: the table shows that a way
works and how far its numbers are, not how fast it would be at full size.

    python benchmarks/gpu_checks.py [--family wan|cogvideox]
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from safetensors.torch import load_file

import vap
from vap.acceleration import offload
from vap.acceleration.attention import use_attention
from vap.loading.pipeline import default_device

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
FAMILIES = ("wan", "cogvideox")
EXACT, HALF, EIGHT_BITS = 1e-4, 0.05, 0.2
# Blocks of 512 MB, and cycles that their copies sleep before they begin.
_WIDTH, _BLOCKS, _ASLEEP = 16384, 4, 1_000_000_000


@dataclass(frozen=True)
class Check:
    """One way to run a pipeline.

    Attributes:
        name: Row of the table.
        tolerance: Largest relative error of the final latents that is accepted.
        dtype: Precision to load in.
        offload: Offloading, as for :func:`vap.load_pipeline`.
        prepare: What is done to the loaded pipeline.
        optional: Whether it takes a kernel or library that a machine may lack: then an error is a
            refusal, and else a failure.
    """

    name: str
    tolerance: float
    dtype: str = "float32"
    offload: str | None = None
    prepare: Callable[[Any], None] = lambda _: None
    optional: bool = False


@dataclass(frozen=True)
class Result:
    """What came of a check: error, seconds of the second run and peak memory, or what it raised."""

    error: float = float("nan")
    seconds: float = float("nan")
    mebibytes: float = float("nan")
    raised: str = ""

    def failed(self, check: Check) -> bool:
        """Whether this must not be: numbers that are off, or an error where nothing may lack."""
        return not check.optional if self.raised else not self.error <= check.tolerance


def checks() -> Iterator[Check]:
    """Every check, the plainest first."""
    yield Check("float32", EXACT)
    yield Check("bfloat16", HALF, "bf16")
    for backend in ("_native_efficient", "_native_math"):
        yield Check(f"attention {backend}", EXACT, prepare=attention(backend))
    for backend in ("cudnn", "_native_cudnn", "_native_flash", "flash", "_flash_3", "sage"):
        yield Check(f"attention {backend}", HALF, "bf16", prepare=attention(backend), optional=True)
    for way in ("model", "group", "sequential"):
        yield Check(f"offload {way}", EXACT, offload=way)
    yield Check("offload group, bfloat16", HALF, "bf16", "group")
    yield Check("compiled blocks", HALF, "bf16", prepare=compile_blocks)
    for name, config in (
        ("torchao fp8", "Float8WeightOnlyConfig"),
        ("torchao fp8, activations too", "Float8DynamicActivationFloat8WeightConfig"),
        ("torchao int8", "Int8WeightOnlyConfig"),
    ):
        yield Check(name, EIGHT_BITS, "bf16", prepare=quantize(config), optional=True)
    yield Check("layerwise fp8", EIGHT_BITS, "bf16", prepare=cast_layers)


def attention(backend: str) -> Callable[[Any], None]:
    """Choose an attention backend."""
    return lambda pipeline: use_attention(pipeline.transformer, backend)


def compile_blocks(pipeline: Any) -> None:
    """Compile the repeated blocks without a graph break."""
    pipeline.transformer.compile_repeated_blocks(fullgraph=True)


def quantize(config: str) -> Callable[[Any], None]:
    """Quantize linear layers whose sizes the kernels take."""

    def apply(pipeline: Any) -> None:
        from torchao import quantization

        def fits(module: torch.nn.Module, _: str) -> bool:
            linear = isinstance(module, torch.nn.Linear)
            return linear and not any(size % 16 for size in module.weight.shape)

        quantization.quantize_(pipeline.transformer, getattr(quantization, config)(), fits)

    return apply


def cast_layers(pipeline: Any) -> None:
    """Store weights in eight bits and compute in bfloat16."""
    pipeline.transformer.enable_layerwise_casting(
        storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16
    )


def run(family: str, check: Check, device: torch.device) -> Result:
    """Load, prepare, generate twice, compare."""
    folder = GOLDEN / family
    try:
        pipeline = vap.load_pipeline(
            folder, dtype=check.dtype, device=device, offload=check.offload
        )
        pipeline.set_progress_bar_config(disable=True)
        # Backends are a process-wide choice in diffusers: every check makes its own.
        pipeline.transformer.set_attention_backend("native")
        check.prepare(pipeline)
        generate(pipeline, folder)
        torch.accelerator.synchronize(device)
        torch.accelerator.reset_peak_memory_stats(device)
        start = time.perf_counter()
        latents = generate(pipeline, folder)
        torch.accelerator.synchronize(device)
        seconds = time.perf_counter() - start
    except Exception as error:  # noqa: BLE001 - a row of the table, not the end of it
        return Result(raised=f"{type(error).__name__}: {error}".splitlines()[0][:90])
    finally:
        torch.compiler.reset()
    expected = load_file(folder / "expected.safetensors")["pipeline.out.latents"]
    distance = (latents.float().cpu() - expected).norm() / expected.norm()
    peak = torch.accelerator.max_memory_allocated(device) / 2**20
    return Result(float(distance), seconds, peak)


def run_late_copies(device: torch.device) -> Result:
    """Stream large blocks to the last device, not the current one, with copies that come late."""
    device = torch.device(device.type, torch.accelerator.device_count() - 1)
    copying = torch.Stream(device)
    try:
        with torch.no_grad(), patch.object(offload, "_side_stream", lambda _: copying):
            layer = torch.nn.Linear(_WIDTH, _WIDTH, bias=False, dtype=torch.bfloat16)
            blocks = [layer, *(copy.deepcopy(layer) for _ in range(_BLOCKS - 1))]
            start = torch.ones(8, _WIDTH, dtype=torch.bfloat16, device=device)
            expected = start
            for block in blocks:
                torch.nn.init.normal_(block.weight, std=_WIDTH**-0.5)
                expected = expected @ block.weight.to(device).T
            offload.offload_blocks(blocks, device)
            with copying:
                torch.cuda._sleep(_ASLEEP)
            found = start
            for block in blocks:
                found = block(found)
            return Result(float((found - expected).norm() / expected.norm()))
    except Exception as error:  # noqa: BLE001 - a row of the table, not the end of it
        return Result(raised=f"{type(error).__name__}: {error}".splitlines()[0][:90])


def generate(pipeline: Any, folder: Path) -> torch.Tensor:
    """The golden call."""
    settings = json.loads((folder / "expected.json").read_text())
    names = ("prompt", "negative_prompt", "reference_prompts", "height", "width", "num_frames")
    numbers = ("num_inference_steps", "guidance_scale")
    with np.load(folder / "inputs.npz") as inputs:
        return pipeline(
            image=inputs["image"],
            reference_videos=inputs["reference"],
            latents=load_file(folder / "expected.safetensors")["pipeline.in.latents"],
            # On the CPU, so that the VAE draws what the released run drew.
            generator=torch.Generator("cpu").manual_seed(settings.get("generator_seed", 0)),
            output_type="latent",
            fit="stretch",  # as the released run
            **{name: settings[name] for name in (*names, *numbers)},
        ).frames


def main() -> int:
    """Run all checks of the chosen variants; exit status 1 if one failed, 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=FAMILIES, action="append", help="default: both")
    families = parser.parse_args().family or FAMILIES
    device = default_device()
    if device.type == "cpu":
        print(
            "No GPU was found: these checks compare GPU kernels with the CPU's numbers. "
            "Run them on a machine with a GPU and a torch build for it.",
            file=sys.stderr,
        )
        return 2
    # TensorFloat-32 convolutions would hide errors below 1e-3.
    torch.backends.cudnn.allow_tf32 = False
    table = Table("model", "check", "error", "allowed", "s", "MiB", "verdict")
    late = Check("offload group, late copies to the last GPU", HALF)
    rows = [(family, check) for family in families for check in checks()]
    failed = False
    for family, check in [*rows, ("blocks of 512 MB", late)]:
        result = run_late_copies(device) if check is late else run(family, check, device)
        failed |= result.failed(check)
        verdict = "OFF" if result.failed(check) else "ok"
        if result.raised:
            verdict = f"{'FAILED' if result.failed(check) else 'refused'}: {result.raised}"
        figures = (f"{result.error:.1e}", f"{check.tolerance:.0e}", f"{result.seconds:.2f}")
        table.add_row(family, check.name, *figures, f"{result.mebibytes:.0f}", escape(verdict))
    Console(width=160).print(table)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
