"""Ways to place a model in memory, from the fastest to the smallest."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal, TypeAlias, get_args

Offload: TypeAlias = Literal["model", "sequential", "group"]
Quantization: TypeAlias = Literal["int8", "fp8"]
Profile: TypeAlias = Literal["exact", "fast", "turbo"]
TextEncoder: TypeAlias = Literal["resident", "offload"]

# Of what the whole picture takes in memory, what strips or tiles take, and how much more they
# compute for what they read around them (traced at 480×832 and 480×720).
MEMORY_SHARE = {"wan": 0.45, "cogvideox": 0.27}
OVERHEAD = {"wan": 1.4, "cogvideox": 1.4}

_UNITS = {"": 1, "B": 1}
_UNITS |= {f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", 1)}
_UNITS |= {f"{prefix}IB": 1024**power for power, prefix in enumerate("KMGT", 1)}
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
_MIB, _EIB = 1 << 20, 1 << 60


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """One way to place a model: the user guide docs/memory.md explains each part."""

    name: str
    text_encoder: TextEncoder = "resident"
    tiling: bool = False
    offload: Offload | None = None
    quantize: Quantization | None = None
    keep_constants: bool = True
    keep_references: bool = False

    @property
    def exact(self) -> bool:
        """Whether videos are those of the model as it is stored, to rounding."""
        return self.quantize is None

    @property
    def mergeable(self) -> bool:
        """Whether a LoRA can be merged into weights that are placed so."""
        return self.quantize is None and self.offload not in {"group", "sequential"}


@dataclass(frozen=True, slots=True)
class WantedVideo:
    """The video that memory must suffice for; None is the model's own."""

    height: int | None = None
    width: int | None = None
    num_frames: int | None = None
    references: int = 1


_RESIDENT = MemoryPlan("resident")
_TEXT_OFFLOAD = MemoryPlan("text-encoder offload", "offload")
_TILED = MemoryPlan("tiled VAE", "offload", tiling=True)
_BLOCKS = MemoryPlan("block-level offload", "offload", tiling=True, offload="group")
_NOTHING_KEPT = replace(_BLOCKS, name="block-level offload, no caches", keep_constants=False)
ACCELERATOR_PLANS = (
    _RESIDENT,
    _TEXT_OFFLOAD,
    _TILED,
    MemoryPlan("model offload", "offload", tiling=True, offload="model"),
    _BLOCKS,
    _NOTHING_KEPT,
    replace(_NOTHING_KEPT, name="block-level offload, fp8", quantize="fp8"),
    replace(_NOTHING_KEPT, name="sequential offload", offload="sequential"),
)
CPU_PLANS = (
    _RESIDENT,
    _TEXT_OFFLOAD,
    _TILED,
    replace(_TILED, name="tiled VAE, no caches", keep_constants=False),
    replace(_TILED, name="tiled VAE, no caches, int8", quantize="int8", keep_constants=False),
)


def plans_for(
    device_type: str, quantize: Quantization | None = None, *, keep_references: bool = False
) -> tuple[MemoryPlan, ...]:
    """Plans of a device, fastest first."""
    plans: tuple[MemoryPlan, ...] = CPU_PLANS if device_type == "cpu" else ACCELERATOR_PLANS
    if keep_references:
        plans = tuple(replace(plan, keep_references=True) for plan in plans if plan.keep_constants)
    if quantize is None:
        return plans
    chosen = (plan for plan in plans if plan.exact)
    return tuple(replace(p, name=f"{p.name}, {quantize}", quantize=quantize) for p in chosen)


def memory_bytes(amount: str | int) -> int:
    """Bytes of an amount of memory."""
    if isinstance(amount, str):
        found = _AMOUNT.fullmatch(amount)
        if found is None or found[2].upper() not in _UNITS:
            raise ValueError(
                f"memory={amount!r} is not an amount of memory. Write, for example, 10GB, 7.5GiB "
                "or auto."
            )
        amount = round(Decimal(found[1]) * _UNITS[found[2].upper()])
    if not _MIB <= amount < _EIB:
        raise ValueError(
            f"memory={amount} bytes is too little for any model, or more than any machine "
            "has. Write it like 10GB."
        )
    return amount


def dtype_name(dtype: str) -> str:
    """The full name of a precision."""
    full = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
    name = full.get(dtype, dtype)
    if name not in full.values():
        raise ValueError(f"dtype={dtype!r} is unknown. Use one of: {', '.join(full.values())}.")
    return name


def check_quantize(quantize: str) -> None:
    """Refuse a precision that weights are not quantized to."""
    if quantize not in get_args(Quantization):
        raise ValueError(f"quantize={quantize!r} is unknown. Use one of: {get_args(Quantization)}.")


def check_offload(offload: str, device_type: str) -> None:
    """Refuse a way to offload that there is none of, or no place to offload from."""
    if device_type == "cpu":
        raise ValueError(
            f"offload={offload!r} needs an accelerator, and the device is the CPU. Leave it out."
        )
    if offload not in get_args(Offload):
        raise ValueError(f"offload={offload!r} is unknown. Use 'model', 'group' or 'sequential'.")


def check_profile(profile: str) -> None:
    """Refuse a profile that there is none of."""
    if profile not in get_args(Profile):
        raise ValueError(
            f"profile={profile!r} is unknown. Use one of: {', '.join(get_args(Profile))}."
        )
