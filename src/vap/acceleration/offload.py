"""Block-level offload: weights in main memory, copied to the device ahead of their use.

In place of diffusers' group offload by blocks: one copy a block, not 32 or 64, and 40 GB of pinned
memory for Wan 14B, not 60 (docs/notes/performance.md; counted, not yet measured on a GPU).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.hooks import ModelHook, add_hook_to_module
from torch import nn

_ALIGNMENT = 256
_SLOTS = 2
# A CPU, and Metal as torch has it, do everything in order.
_WITH_STREAMS = ("cuda", "xpu")


def offload_blocks(blocks: Sequence[nn.Module], device: torch.device) -> Callable[[], None]:
    """Keep blocks in main memory; while one computes, the next is copied to the device.

    What is added to a block later, such as an adapter, stays on the device; what is changed of a
    block between two passes, as by merging one, counts from the next pass on. Returns a function
    that frees the device's memory until a block runs again.
    """
    stream = _BlockStream(blocks, device)
    for index, block in enumerate(blocks):
        block.register_forward_pre_hook(stream.before(index), prepend=True)
        block.register_forward_hook(stream.after(index), always_call=True)
    return stream.release


def offload_layers(module: nn.Module, device: torch.device) -> None:
    """Keep a module in main memory, and move its layers to the device one by one."""
    from diffusers.hooks import apply_group_offloading

    streams = device.type in _WITH_STREAMS
    apply_group_offloading(
        module,
        onload_device=device,
        offload_type="leaf_level",
        use_stream=streams,
        # Pinned as they go: rarely used weights are not worth a second, pinned copy.
        low_cpu_mem_usage=streams,
    )


def offload_vae(
    vae: Any,
    transformer: nn.Module,
    device: torch.device,
    make_room: Callable[[], None] = lambda: None,
) -> None:
    """Keep a VAE in main memory, and move it to the device only to encode or decode."""
    add_hook_to_module(vae.to("cpu"), _ComesToWork(device, make_room))

    def leave(*_: Any) -> None:
        if vae.device.type != "cpu":
            vae.to("cpu")

    transformer.register_forward_pre_hook(leave)


class _ComesToWork(ModelHook):
    """Brings a module to a device when one of its methods is called.

    Not accelerate's ``CpuOffload``, by which diffusers would take the whole pipeline for one under
    model offload: it would refuse adapters, or set up that in place of this.
    """

    def __init__(self, device: torch.device, make_room: Callable[[], None]) -> None:
        self.execution_device = device
        self._make_room = make_room

    def pre_forward(
        self, module: nn.Module, *args: Any, **kwargs: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Move the module; what it is called with is left alone."""
        self._make_room()
        module.to(self.execution_device)
        return args, kwargs


@dataclass(frozen=True, slots=True)
class _Packed:
    """A block's weights end to end in main memory; ``spans`` are start, type and shape of each."""

    host: torch.Tensor
    tensors: tuple[torch.Tensor, ...]
    spans: tuple[tuple[int, torch.dtype, torch.Size], ...]

    @classmethod
    def of(cls, block: nn.Module, *, pinned: bool) -> _Packed:
        """Pack a block; its tensors become views of the packed bytes."""
        tensors = tuple(dict.fromkeys((*block.parameters(), *block.buffers())))
        spans, end = [], 0
        for tensor in tensors:
            spans.append((end, tensor.dtype, tensor.shape))
            end += -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT
        packed = cls(torch.empty(end, dtype=torch.uint8), tensors, tuple(spans))
        if pinned:
            _pin(packed.host)
        for tensor, view in zip(tensors, packed.views(packed.host), strict=True):
            view.copy_(tensor)
            tensor.data = view
        return packed

    def take_back(self) -> None:
        """Take in weights that were given other memory meanwhile, in place of those packed."""
        packed = self.host.data_ptr()
        places = zip(self.tensors, self.spans, strict=True)
        if all(tensor.data_ptr() == packed + start for tensor, (start, _, _) in places):
            return
        for tensor, view in zip(self.tensors, self.views(self.host), strict=True):
            view.copy_(tensor)
            tensor.data = view

    def views(self, store: torch.Tensor) -> list[torch.Tensor]:
        """The tensors in a store of the packed bytes."""
        return [
            store[start : start + shape.numel() * dtype.itemsize].view(dtype).view(shape)
            for start, dtype, shape in self.spans
        ]

    def place(self, store: torch.Tensor) -> None:
        """Let the block use the weights in a store."""
        for tensor, view in zip(self.tensors, self.views(store), strict=True):
            tensor.data = view


class _BlockStream:
    """Two places on the device, filled in turn ahead of the computation."""

    def __init__(self, blocks: Sequence[nn.Module], device: torch.device) -> None:
        self._device = device
        self._blocks = blocks
        self._packed = [_Packed.of(block, pinned=device.type == "cuda") for block in blocks]
        self._known = [set(map(id, packed.tensors)) for packed in self._packed]
        self._places: list[torch.Tensor] = []
        self._there: list[int | None] = [None] * _SLOTS
        self._copying = _side_stream(device)
        self._copied = [_event(device) for _ in range(_SLOTS)]
        self._used = [_event(device) for _ in range(_SLOTS)]

    def before(self, index: int) -> Any:
        """Hook that puts a block's weights in place and sends for the next block's."""

        @torch.compiler.disable
        def hook(*_: Any) -> None:
            slot = index % _SLOTS
            if index == 0:
                # Whoever changes weights does it between passes, and nothing tells of it.
                self._there = [None] * _SLOTS
            self._fetch(index)
            _wait(self._copied[slot], _computing_stream(self._device))
            self._packed[index].place(self._places[slot])
            self._bring_additions(index)
            if index + 1 < len(self._blocks):
                self._fetch(index + 1)

        return hook

    def after(self, index: int) -> Any:
        """Hook that gives a block's place back."""

        @torch.compiler.disable
        def hook(*_: Any) -> None:
            self._packed[index].place(self._packed[index].host)
            _record(self._used[index % _SLOTS], _computing_stream(self._device))

        return hook

    def release(self) -> None:
        """Free both places until a block runs again."""
        for copied in self._copied if self._places else ():
            # A pass that was given up may have left a copy under way.
            _wait(copied, _computing_stream(self._device))
        self._places, self._there = [], [None] * _SLOTS

    def _take_places(self) -> None:
        for slot in range(_SLOTS):
            size = max((len(packed.host) for packed in self._packed[slot::_SLOTS]), default=0)
            self._places.append(torch.empty(size, dtype=torch.uint8, device=self._device))
            # What lay there before may still be read by what computes now.
            _record(self._used[slot], _computing_stream(self._device))

    def _fetch(self, index: int) -> None:
        """Start the copy of a block, if it is not there."""
        slot = index % _SLOTS
        if not self._places:
            self._take_places()
        if self._there[slot] == index:
            return
        self._packed[index].take_back()
        with _on(self._copying):
            _wait(self._used[slot], self._copying)
            source = self._packed[index].host
            self._places[slot][: len(source)].copy_(source, non_blocking=True)
            _record(self._copied[slot], self._copying)
        self._there[slot] = index

    def _bring_additions(self, index: int) -> None:
        """What was added to a block after it was packed."""
        block = self._blocks[index]
        for tensor in (*block.parameters(), *block.buffers()):
            if id(tensor) not in self._known[index] and tensor.device != self._device:
                tensor.data = tensor.data.to(self._device)


def _pin(store: torch.Tensor) -> None:
    """Pin memory in place."""
    library = torch.cuda.cudart()
    status = library.cudaHostRegister(store.data_ptr(), store.nbytes, 0)
    if int(status) != 0:
        raise MemoryError(
            f"{store.nbytes} bytes of main memory could not be pinned (CUDA error {status}). "
            "Raise the limit of locked memory (ulimit -l), or choose a memory plan without "
            "block-level offload."
        )
    weakref.finalize(store.untyped_storage(), library.cudaHostUnregister, store.data_ptr())


# The stream is always named: an event on its own takes that of the current device, which may be
# another.


def _side_stream(device: torch.device) -> torch.Stream | None:
    return torch.Stream(device) if device.type in _WITH_STREAMS else None


def _computing_stream(device: torch.device) -> torch.Stream | None:
    return torch.accelerator.current_stream(device) if device.type in _WITH_STREAMS else None


def _event(device: torch.device) -> torch.Event | None:
    return torch.Event(device) if device.type in _WITH_STREAMS else None


def _on(stream: torch.Stream | None) -> AbstractContextManager[Any]:
    return nullcontext() if stream is None else stream


def _wait(event: torch.Event | None, stream: torch.Stream | None) -> None:
    """Let a stream wait for an event; do not wait if it was never recorded."""
    if event is not None and stream is not None:
        event.wait(stream)


def _record(event: torch.Event | None, stream: torch.Stream | None) -> None:
    if event is not None and stream is not None:
        event.record(stream)
