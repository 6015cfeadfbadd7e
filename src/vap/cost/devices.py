"""Devices for the cost model: published data sheets, or measurements of this machine."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

import torch

from vap.acceleration.plan import memory_bytes
from vap.devices import half_precision, has_fast_half

# Share of a published dense rate that a whole generation reaches, by published times of the plain
# Wan2.1 image-to-video model: 0.35 on an H100 and 0.37 on an H200 (its own code; the best exact
# engine reaches 0.54 there), 0.75 on a 4090. GeForce cards multiply at half their rate where sums
# are float32, so that the rest of the work weighs less. Nothing is known of the others.
_HOPPER, _GEFORCE, _UNKNOWN = 0.35, 0.75, 0.5
# Share of the rate that a plain matrix product reaches here, and a whole generation keeps.
MEASURED_EFFICIENCY = 0.6

_GB, _TERA = 10**9, 1e12
_MATRIX, _LARGE_MATRIX = 1024, 8192
_COPY_BYTES = 256 << 20
_REPEATS = 4


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """What of a device decides time and memory, in bytes and operations a second.

    ``host_link`` is the rate from pinned main memory, None where that is the same memory.
    """

    name: str
    rates: dict[str, float] = field(hash=False)
    memory: int
    bandwidth: float
    host_link: float | None
    efficiency: float = _UNKNOWN
    measured: bool = False

    @property
    def is_cpu(self) -> bool:
        """Whether the device computes in main memory."""
        return self.host_link is None

    @property
    def dtype(self) -> torch.dtype:
        """What a model computes in here by default."""
        if self.is_cpu:
            return torch.float32
        return torch.bfloat16 if "bfloat16" in self.rates else torch.float16

    def rate(self, precision: str) -> float:
        """Operations a second of a generation in a precision, or in the next wider one."""
        for wider in (precision, "bfloat16", "float32"):
            if wider in self.rates:
                return self.rates[wider] * self.efficiency
        raise ValueError(
            f"{self.name} has no rate for {precision}; known are {', '.join(self.rates)}."
        )


def _gpu(
    name: str,
    bf16: float,
    fp8: float | None,
    memory: int,
    bandwidth: float,
    link: float,
    efficiency: float = _UNKNOWN,
) -> DeviceSpec:
    rates = {"bfloat16": bf16 * _TERA, "float16": bf16 * _TERA}
    # TensorFloat-32, what torch's convolutions use for float32: half the 16-bit rate.
    rates["float32"] = bf16 / 2 * _TERA
    if fp8 is not None:
        rates["float8"] = fp8 * _TERA
    return DeviceSpec(name, rates, memory * _GB, bandwidth * 1e12, link * _GB, efficiency)


def _old_gpu(
    name: str, fp16: float, fp32: float, memory: int, bandwidth: float, efficiency: float = _UNKNOWN
) -> DeviceSpec:
    """Before Ampere: neither bfloat16 nor TensorFloat-32."""
    rates = {"float16": fp16 * _TERA, "float32": fp32 * _TERA}
    return DeviceSpec(name, rates, memory * _GB, bandwidth * 1e12, 12 * _GB, efficiency)


# Makers' data sheets: dense TFLOP/s in bf16 and fp8 with float32 accumulation, GB of memory,
# TB/s of its bandwidth, GB/s of one direction of PCI Express (about 80 % of the nominal rate).
GPUS = {
    spec.name: spec
    for spec in (
        _gpu("b200", 2250, 4500, 180, 8.0, 50, _HOPPER),
        _gpu("h200", 989, 1979, 141, 4.8, 50, 0.37),
        _gpu("h100", 989, 1979, 80, 3.35, 50, _HOPPER),
        _gpu("a100", 312, None, 80, 2.04, 25),
        _gpu("l40s", 362, 733, 48, 0.864, 25),
        _gpu("a6000", 155, None, 48, 0.768, 25),
        _gpu("l4", 121, 242, 24, 0.3, 25),
        _gpu("5090", 209, 419, 32, 1.79, 50, _GEFORCE),
        _gpu("4090", 165, 330, 24, 1.01, 25, _GEFORCE),
        _gpu("3090", 71, None, 24, 0.936, 25, _GEFORCE),
        _gpu("4080", 97, 195, 16, 0.717, 25, _GEFORCE),
        _gpu("3080", 60, None, 10, 0.76, 25, _GEFORCE),
        _old_gpu("v100", 125, 15.7, 32, 0.9),
        _old_gpu("t4", 65, 8.1, 16, 0.32),
        _old_gpu("2080ti", 54, 13.4, 11, 0.616, _GEFORCE),
    )
}


def known_gpu(name: str) -> DeviceSpec:
    """A GPU of the table."""
    short = name.lower().replace("nvidia", "").replace("geforce", "").replace("rtx", "")
    short = re.sub("[ _-]", "", short)
    if short not in GPUS:
        raise ValueError(f"GPU {name!r} is not in the table. Known are: {', '.join(GPUS)}.")
    return GPUS[short]


def this_machine(device: torch.device) -> DeviceSpec:
    """Measure a device of this machine, in about a second."""
    on_cpu = device.type == "cpu"
    dtypes = [torch.float32]
    if not on_cpu or has_fast_half(device):
        dtypes.append(torch.bfloat16 if on_cpu else half_precision(device))
    rates = {str(dtype).removeprefix("torch."): matrix_rate(device, dtype) for dtype in dtypes}
    _, memory = device_memory(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return DeviceSpec(
        name,
        rates,
        memory,
        _copy_rate(device, device),
        None if on_cpu else _copy_rate(torch.device("cpu"), device) / 2,
        MEASURED_EFFICIENCY,
        measured=True,
    )


def device_for_planning(device: torch.device) -> DeviceSpec:
    """A device of this machine with nominal rates, for memory only: nothing is measured."""
    _, memory = device_memory(device)
    on_cpu = device.type == "cpu"
    rates = {"bfloat16": _TERA, "float32": _TERA}
    return DeviceSpec(device.type, rates, memory, 1e11, None if on_cpu else 1e10)


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a plain matrix product, best of a few."""
    extent = _MATRIX if device.type == "cpu" else _LARGE_MATRIX
    left = torch.randn(extent, extent, device=device).to(dtype)
    best = float("inf")
    for _ in range(_REPEATS):
        start = time.perf_counter()
        product = left @ left
        product[0, 0].item()
        best = min(best, time.perf_counter() - start)
    return 2 * extent**3 / best


def device_memory(device: torch.device) -> tuple[int, int]:
    """Free and total bytes where a model would live."""
    if device.type in {"cuda", "xpu"}:
        free, total = getattr(torch, device.type).mem_get_info(device)
        return free, total
    return host_memory()


def budget(memory: str | int, device: torch.device) -> int:
    """Bytes of a device that a model may take."""
    return device_memory(device)[0] if memory == "auto" else memory_bytes(memory)


def host_memory() -> tuple[int, int]:
    """Free and total bytes of main memory."""
    import psutil

    memory = psutil.virtual_memory()
    return memory.available, memory.total


def _copy_rate(source: torch.device, target: torch.device) -> float:
    """Bytes a second read and written by a plain copy, best of a few."""
    pinned = source.type == "cpu" and target.type != "cpu"
    data = torch.ones(_COPY_BYTES, dtype=torch.uint8, device=source, pin_memory=pinned)
    place = torch.empty_like(data, device=target)
    best = float("inf")
    for _ in range(_REPEATS):
        start = time.perf_counter()
        place.copy_(data)
        place[-1].item()
        best = min(best, time.perf_counter() - start)
    return 2 * _COPY_BYTES / best
