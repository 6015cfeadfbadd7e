"""How fast this machine multiplies matrices: the rate that no exact implementation exceeds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from vap.acceleration.kernels import PRECISIONS, linear
from vap.devices import has_fast_half

_CPU_SIZES, _GPU_SIZES = (256, 512, 1024, 2048), (4096, 8192, 16384)
_TRIALS = 8


def matrix_rate(device: torch.device, dtype: torch.dtype, threads: int) -> float:
    """Operations a second of plain square matrix products; the best of a few sizes.

    On one thread of a CPU the processor's own time counts, so that other work on the machine does
    not lower the ceiling.

    Args:
        device: Where.
        dtype: Precision.
        threads: Of torch's pool, on a CPU.
    """
    on_cpu = device.type == "cpu"
    alone = on_cpu and threads == 1
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        sizes = _CPU_SIZES if on_cpu else _GPU_SIZES
        return max(_rate(device, dtype, size, alone=alone) for size in sizes)
    finally:
        torch.set_num_threads(before)


def _rate(device: torch.device, dtype: torch.dtype, size: int, *, alone: bool) -> float:
    now = time.process_time if alone else time.perf_counter
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = []
    for multiply in _libraries(device, dtype):
        multiply(left, right)
        for _ in range(_TRIALS):
            _wait(device)
            start = now()
            multiply(left, right)
            _wait(device)
            seconds.append(now() - start)
    return 2 * size**3 / max(min(seconds), 1e-9)


def _libraries(
    device: torch.device, dtype: torch.dtype
) -> Iterator[Callable[[torch.Tensor, torch.Tensor], Any]]:
    """Ways to multiply: torch's own choice and, on a CPU, the library that is faster there."""
    if device.type != "cpu" or dtype == torch.float32 or has_fast_half(device):
        yield torch.matmul
    if device.type == "cpu" and dtype in PRECISIONS:
        yield linear


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
