"""What a computation needs at its peak, found by running it on the meta device, without data."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True, slots=True)
class Trace:
    """Most bytes at once beside what was there before; operations without fused attention."""

    peak_bytes: float
    flop: float


def trace(
    run: Callable[[], object],
    resident: Iterable[torch.nn.Module] = (),
    *,
    count_operations: bool = False,
) -> Trace:
    """Run a computation and watch its tensors."""
    live = _LiveBytes(
        tensor for module in resident for tensor in (*module.parameters(), *module.buffers())
    )
    counter = FlopCounterMode(display=False)
    counting = counter if count_operations else nullcontext()
    with torch.no_grad(), _FusedKernels(), counting, live:
        run()
    flop = float(counter.get_total_flops()) if count_operations else 0.0
    return Trace(live.peak, flop)


class _FusedKernels(TorchFunctionMode):
    """Attention and normalization as fused kernels do them: without scores and float32 copies."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            named = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
            query, value = named["query"], named["value"]
            return query.new_empty(*query.shape[:-1], value.shape[-1])
        if func in {F.rms_norm, torch.rms_norm}:
            names = ("input", "normalized_shape", "weight", "eps")
            named = dict(zip(names, args, strict=False)) | kwargs
            # The fused kernel takes one precision; with two torch takes it apart there as well.
            if named.get("weight") is None or named["weight"].dtype == named["input"].dtype:
                return torch.empty_like(named["input"])
        return func(*args, **kwargs)


class _LiveBytes(TorchDispatchMode):
    """Adds up the storages that operations return, until they are freed."""

    def __init__(self, known: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.peak = 0
        self.now = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
