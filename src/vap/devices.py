"""Devices: their names, checked against what this machine has, and what they are fast at."""

from __future__ import annotations

import logging
import re
from functools import cache
from typing import TYPE_CHECKING

from vap.files.names import did_you_mean

if TYPE_CHECKING:
    import torch

_TYPES = ("cpu", "cuda", "mps", "xpu", "npu", "mtia", "hpu")
_NAME = re.compile(rf"({'|'.join(_TYPES)})(:\d+)?")

_logger = logging.getLogger(__name__)


def has_fast_half(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 without taking a detour over float32."""
    import torch

    if device.type != "cpu":
        return True
    available = torch.backends.mkldnn.is_available()
    return available and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@cache
def note_slow_half(device: torch.device) -> None:
    """Say once that bfloat16, which was asked for, is slow on a device, if it is."""
    if not has_fast_half(device):
        _logger.warning(
            "This processor has no bfloat16 instructions and emulates them in float32. bfloat16 "
            "needs half the memory, but more time than float32."
        )


def check_device(name: str) -> None:
    """Refuse a device that torch does not know or that is not there.

    Args:
        name: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ``xpu`` …

    Raises:
        ValueError: Saying what this machine has.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"device={name!r} is unknown.{did_you_mean(name, _TYPES)} Use cpu, cuda, cuda:1 or mps."
        )
    import torch

    device = torch.device(name)
    here = torch.accelerator.current_accelerator(check_available=True)
    have = "cpu" if here is None else f"cpu and {here.type}"
    if device.type == "cpu":
        return
    if here is None or device.type != here.type:
        message = f"device={name!r} is not available. Use one that this machine has: {have}."
        raise ValueError(message)
    count = torch.accelerator.device_count()
    if device.index is not None and device.index >= count:
        last = count - 1
        message = (
            f"device={name!r} is not there. This machine has {here.type}:0 … {here.type}:{last}."
        )
        raise ValueError(message)


def half_precision(device: torch.device) -> torch.dtype:
    """The type of 16 bits that an accelerator computes in: bfloat16, unless it only emulates it.

    Before Ampere, no fused kernel of attention takes emulated bfloat16.
    """
    import torch

    if device.type != "cuda":
        return torch.bfloat16
    with torch.cuda.device(device):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native else torch.float16
