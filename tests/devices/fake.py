"""Tensors of a GPU that is not there: shapes are computed, and mixed devices are errors.

What a CPU build of torch lacks for tensors of CUDA (indexing, ``copy_``, ``contiguous``, choosing a
convolution) goes by operators that it has. Streams, events, pinning, gradients, autocast, NCCL and
accelerate's hooks are out of reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

CUDA = torch.device("cuda:0")
ATEN = torch.ops.aten
_FILLS = ("uniform_", "normal_", "random_")
_stock_data = torch._C.TensorBase.data


@contextmanager
def fake_cuda() -> Iterator[None]:
    """Let tensors that are made here be fakes, those of CUDA among them."""
    ticks = count()
    answers: dict[str, Callable[[torch.Tensor], Any]] = {
        "item": lambda t: True if t.dtype == torch.bool else (1.0 if t.is_floating_point() else 1),
        "__bool__": lambda _: True,
        # No two alike: differences of times divide.
        "__float__": lambda _: 1000.0 - next(ticks),
        "__int__": lambda _: 1,
        "__index__": lambda _: 1,
    }
    replaced = {
        "__getitem__": _get,
        "__setitem__": _set,
        "contiguous": _contiguous,
        "copy_": lambda t, source, *_, **__: ATEN.copy_.default(t, source),
        "nonzero": lambda t: torch.zeros(1, t.dim(), dtype=torch.int64, device=t.device),
        **{name: lambda t, *_, **__: t for name in _FILLS},
        **{name: _read_by_host(answer) for name, answer in answers.items()},
    }
    with ExitStack() as stack:
        for name, method in replaced.items():
            stack.enter_context(patch.object(torch.Tensor, name, _for_fakes(name, method)))
        for name in [n for n in dir(torch.nn.init) if n.endswith("_") and n[0] != "_"]:
            stack.enter_context(patch.object(torch.nn.init, name, lambda t, *_, **__: t))
        stack.enter_context(patch.object(torch, "equal", lambda *_: False))
        stack.enter_context(patch.object(torch._C, "_select_conv_backend", _one_device))
        form = lambda *_: torch.contiguous_format  # noqa: E731
        stack.enter_context(patch.object(torch._C, "_conv_determine_backend_memory_format", form))
        stack.enter_context(patch.object(torch.Tensor, "data", property(_data, _set_data)))
        stack.enter_context(patch.object(torch.nn.Module, "_apply", _apply))
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(torch.no_grad())
        yield


def retype(
    model: torch.nn.Module,
    dtype: torch.dtype,
    keep: tuple[str, ...] = (),
    device: torch.device = CUDA,
) -> Any:
    """Give a fake model new parameters of a precision; modules of the names ``keep`` in float32."""
    for name, parameter in list(model.named_parameters()):
        owner, _, leaf = name.rpartition(".")
        wanted = torch.float32 if set(keep) & set(name.split(".")) else dtype
        new = torch.empty(parameter.shape, dtype=wanted, device=device)
        module = model.get_submodule(owner) if owner else model
        setattr(module, leaf, torch.nn.Parameter(new, requires_grad=False))
    return model.eval()


def _for_fakes(name: str, replacement: Callable[..., Any]) -> Callable[..., Any]:
    original = getattr(torch.Tensor, name)

    def method(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self, FakeTensor):
            return replacement(self, *args, **kwargs)
        if name == "__getitem__" and isinstance(args[0], FakeTensor) and args[0].dim() == 0:
            args = (1,)  # a table of the CPU, read at an index that lies on the GPU
        return original(self, *args, **kwargs)

    return method


def _read_by_host(answer: Callable[[torch.Tensor], Any]) -> Callable[[torch.Tensor], Any]:
    def method(self: torch.Tensor) -> Any:
        if self.numel() != 1:
            raise RuntimeError("more than one element")
        return answer(self)

    return method


def _basic(x: torch.Tensor, index: Any) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
    """Index by numbers and slices; what is indexed by tensors, by axis, is left."""
    index = index if isinstance(index, tuple) else (index,)
    given = sum(1 for part in index if part is not None and part is not Ellipsis)
    dim, tensors = 0, {}
    for part in index:
        if part is Ellipsis:
            dim += x.dim() - given - dim + sum(1 for p in index[: index.index(...)] if p is None)
        elif part is None:
            x, dim = ATEN.unsqueeze.default(x, dim), dim + 1
        elif isinstance(part, slice):
            start, stop, step = (None if v is None else int(v) for v in _parts(part))
            x, dim = ATEN.slice.Tensor(x, dim, start, stop, step or 1), dim + 1
        elif isinstance(part, torch.Tensor | list):
            tensors[dim] = torch.tensor(part, device=x.device) if isinstance(part, list) else part
            dim += 1
        else:
            if not -x.shape[dim] <= int(part) < x.shape[dim]:
                raise IndexError(f"index {part} is out of bounds for size {x.shape[dim]}")
            x = ATEN.select.int(x, dim, int(part))
    return x, tensors


def _parts(part: slice) -> tuple[Any, Any, Any]:
    return part.start, part.stop, part.step


def _get(x: torch.Tensor, index: Any) -> torch.Tensor:
    x, tensors = _basic(x, index)
    if not tensors:
        return x
    if all(t.dim() == 0 and t.dtype != torch.bool for t in tensors.values()):
        for dim in reversed(tensors):  # read by the host
            x = ATEN.select.int(x, dim, 0)
        return x
    return ATEN.index.Tensor(x, [tensors.get(dim) for dim in range(max(tensors) + 1)])


def _set(x: torch.Tensor, index: Any, value: Any) -> None:
    place, tensors = _basic(x, index)
    if not isinstance(value, torch.Tensor):
        value = torch.full((), value, dtype=x.dtype, device=x.device)
    if tensors:
        indices = [tensors.get(dim) for dim in range(max(tensors) + 1)]
        ATEN.index_put_.default(place, indices, value.to(x.dtype))
        return
    while value.dim() > place.dim():
        value = value.squeeze(0)
    ATEN.copy_.default(place, value)


def _contiguous(x: torch.Tensor, memory_format: Any = torch.contiguous_format) -> torch.Tensor:
    if x.is_contiguous(memory_format=memory_format):
        return x
    return ATEN.clone.default(x, memory_format=memory_format)


def _one_device(x: torch.Tensor, weight: torch.Tensor, bias: Any = None, **_: Any) -> None:
    devices = {t.device for t in (x, weight, bias) if isinstance(t, torch.Tensor)}
    if len(devices) > 1:
        raise RuntimeError(f"convolution on several devices: {devices}")


def _data(self: torch.Tensor) -> torch.Tensor:
    return _stock_data.__get__(self)


def _set_data(self: torch.Tensor, value: torch.Tensor) -> None:
    _stock_data.__set__(self, value)
    if isinstance(self, FakeTensor) and isinstance(value, FakeTensor):
        self.fake_device = value.fake_device


def _apply(self: torch.nn.Module, fn: Callable[[Any], Any], recurse: bool = True) -> Any:
    """``Module.to``, which refuses to swap fakes."""
    for child in self.children() if recurse else ():
        child._apply(fn)
    for parameter in self._parameters.values():
        if parameter is not None:
            parameter.data = fn(parameter.data)
    for name, buffer in self._buffers.items():
        if buffer is not None:
            self._buffers[name] = fn(buffer)
    return self
