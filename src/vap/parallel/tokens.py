"""Tokens of all streams, split over the processes of a context group and gathered again.

Where a model splits and gathers is what its ``_cp_plan`` says, in the form of diffusers. Unlike
there, tokens need not divide by the processes: the first processes have one more.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from diffusers.models._modeling_parallel import ContextParallelInput, ContextParallelOutput
from torch import nn

from vap.parallel.mesh import Group

_STREAM = "hidden_states"
_REFERENCE = "reference_"


def shares(tokens: int, processes: int) -> tuple[int, ...]:
    """Tokens of each process: as equal as can be, the first with one more."""
    if tokens < processes:
        raise ValueError(
            f"{processes} processes cannot share a stream of {tokens} tokens. Start at most "
            f"{tokens} for each guidance pass, or make a larger video."
        )
    least, more = divmod(tokens, processes)
    return tuple(least + (place < more) for place in range(processes))


class TokenCounts:
    """How many tokens each process has; set whenever a model splits its streams.

    So attention knows what the others send without asking them.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self.video: tuple[int, ...] = ()
        self._target: tuple[int, ...] = ()
        self._joint: tuple[int, ...] = ()

    def note(self, streams: Mapping[str, torch.Tensor]) -> None:
        """Take the sizes of a model's streams before they are split, each ``[B, N, D]``.

        References may be folded into the batch, ``[B·R, N, D]``, or be missing with batch zero.
        """
        batch = len(streams[_STREAM])
        totals = {True: [0] * self.group.size, False: [0] * self.group.size}
        for name, tokens in streams.items():
            folded = len(tokens) // batch
            for place, count in enumerate(shares(tokens.shape[1], self.group.size)):
                totals[name.startswith(_REFERENCE)][place] += folded * count
        self.video = shares(streams[_STREAM].shape[1], self.group.size)
        self._target = tuple(totals[False])
        self._joint = tuple(map(sum, zip(totals[False], totals[True], strict=True)))

    def of(self, mine: int) -> tuple[int, ...]:
        """Tokens of each process, where this one has so many in an attention."""
        for counts in (self._joint, self._target):
            if counts and counts[self.group.place] == mine:
                return counts
        raise RuntimeError(
            f"This process attends with {mine} tokens, and has {self._target} of the target and "
            f"{self._joint} of all streams."
        )


def split_tokens(model: nn.Module, plan: Mapping[str, Any], group: Group) -> TokenCounts:
    """Have a model work on this process's tokens only, from where it splits to where it gathers."""
    counts = TokenCounts(group)
    for path, what in plan.items():
        for module in _modules_at(model, path):
            if isinstance(what, ContextParallelOutput):
                module.register_forward_hook(partial(_gather_output, what, counts))
            elif all(isinstance(name, int) for name in what):
                module.register_forward_hook(partial(_split_outputs, what, group))
            else:
                names = inspect.signature(type(module).forward)
                hook = partial(_split_inputs, what, counts, names)
                module.register_forward_pre_hook(hook, with_kwargs=True)
    return counts


# Compiled blocks break at a hook and continue after it.
@torch.compiler.disable
def _split_inputs(
    plan: Mapping[str, Any],
    counts: TokenCounts,
    names: inspect.Signature,
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Leave a module this process's tokens of the inputs that a plan names."""
    given = names.bind(module, *args, **kwargs)
    inputs = {name: given.arguments.get(name) for name in plan}
    streams = {k: v for k, v in inputs.items() if k.endswith(_STREAM) and v is not None}
    if streams:
        counts.note(streams)
    for name, value in inputs.items():
        if isinstance(value, torch.Tensor):
            given.arguments[name] = own_share(value, plan[name].split_dim, counts.group)
        elif value is not None:
            tables = zip(value, plan[name], strict=True)
            given.arguments[name] = tuple(
                own_share(table, how.split_dim, counts.group) for table, how in tables
            )
    return given.args[1:], given.kwargs


@torch.compiler.disable
def _split_outputs(
    plan: Mapping[int, ContextParallelInput],
    group: Group,
    _module: nn.Module,
    _args: Any,
    output: tuple[torch.Tensor, ...],
) -> tuple[torch.Tensor, ...]:
    """Leave this process's tokens of the outputs of a module, such as rotary tables."""
    return tuple(
        own_share(tensor, plan[place].split_dim, group) for place, tensor in enumerate(output)
    )


@torch.compiler.disable
def _gather_output(
    plan: ContextParallelOutput,
    counts: TokenCounts,
    _module: nn.Module,
    _args: Any,
    output: torch.Tensor,
) -> torch.Tensor:
    """Give every process the target's tokens of all."""
    return gathered(output, plan.gather_dim, counts.video, counts.group)


def own_share(tensor: torch.Tensor, axis: int, group: Group) -> torch.Tensor:
    """This process's part of a tensor."""
    return tensor.split(shares(tensor.shape[axis], group.size), dim=axis)[group.place]


def gathered(tensor: torch.Tensor, axis: int, sizes: Sequence[int], group: Group) -> torch.Tensor:
    """All processes' parts in their order."""
    moved = tensor.movedim(axis, 0)
    # Parts of one length, which every backend gathers in one go.
    padded = moved.new_zeros(max(sizes), *moved.shape[1:])
    padded[: len(moved)] = moved
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded, group=group.channel)
    whole = torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
    return whole.movedim(0, axis)


def _modules_at(model: nn.Module, path: str) -> list[nn.Module]:
    """The module at a path, or with ``*`` at its end all children."""
    parent, _, last = path.rpartition(".")
    if last == "*":
        return list(model.get_submodule(parent).children())
    return [model.get_submodule(path)]
