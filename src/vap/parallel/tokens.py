"""Tokens of all streams, split over the processes of a context group and gathered again.

Where a model splits and gathers is what its ``_cp_plan`` says, in the form of diffusers. Unlike
there, tokens need not divide by the processes: the first processes have one more.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from diffusers.hooks import HookRegistry, ModelHook
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


class SplitInputs(ModelHook):
    """Leaves a module this process's tokens of the inputs that a plan names."""

    def __init__(self, plan: Mapping[str, Any], counts: TokenCounts) -> None:
        super().__init__()
        self._plan = plan
        self._counts = counts
        self._signature: inspect.Signature | None = None

    def initialize_hook(self, module: nn.Module) -> nn.Module:
        """Learn the names of the module's inputs before other hooks hide them."""
        self._signature = inspect.signature(type(module).forward)
        return module

    @torch.compiler.disable  # compiled blocks break here and go on behind
    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Split the inputs."""
        assert self._signature is not None
        given = self._signature.bind(module, *args, **kwargs)
        inputs = {name: given.arguments.get(name) for name in self._plan}
        streams = {k: v for k, v in inputs.items() if k.endswith(_STREAM) and v is not None}
        if streams:
            self._counts.note(streams)
        for name, value in inputs.items():
            if value is not None:
                given.arguments[name] = self._split(value, self._plan[name])
        return given.args[1:], given.kwargs

    def _split(self, value: Any, how: Any) -> Any:
        if isinstance(how, ContextParallelInput):
            return own_share(value, how.split_dim, self._counts.group)
        return tuple(map(self._split, value, how))


class SplitOutputs(ModelHook):
    """Leaves this process's tokens of the outputs of a module, such as rotary tables."""

    def __init__(self, plan: Mapping[int, ContextParallelInput], group: Group) -> None:
        super().__init__()
        self._plan = plan
        self._group = group

    @torch.compiler.disable
    def post_forward(self, module: nn.Module, output: tuple[torch.Tensor, ...]) -> Any:  # noqa: ARG002 - the hook's signature
        """Split the outputs."""
        return tuple(
            own_share(tensor, self._plan[place].split_dim, self._group)
            if place in self._plan
            else tensor
            for place, tensor in enumerate(output)
        )


class GatherOutput(ModelHook):
    """Gives every process the target's tokens of all."""

    def __init__(self, plan: ContextParallelOutput, counts: TokenCounts) -> None:
        super().__init__()
        self._axis = plan.gather_dim
        self._counts = counts

    @torch.compiler.disable
    def post_forward(self, module: nn.Module, output: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 - the hook's signature
        """Gather the output."""
        return gathered(output, self._axis, self._counts.video, self._counts.group)


def split_tokens(model: nn.Module, plan: Mapping[str, Any], group: Group) -> TokenCounts:
    """Have a model work on this process's tokens only, from where it splits to where it gathers."""
    counts = TokenCounts(group)
    for path, what in plan.items():
        for module in _modules_at(model, path):
            HookRegistry.check_if_exists_or_initialize(module).register_hook(
                _hook(what, counts), f"vap_tokens {path}"
            )
    return counts


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


def _hook(what: Any, counts: TokenCounts) -> ModelHook:
    """What does a line of a plan; a hook serves one module."""
    if isinstance(what, ContextParallelOutput):
        return GatherOutput(what, counts)
    if all(isinstance(name, int) for name in what):
        return SplitOutputs(what, counts.group)
    return SplitInputs(what, counts)


def _modules_at(model: nn.Module, path: str) -> list[nn.Module]:
    """The module at a path, or with ``*`` at its end all children."""
    parent, _, last = path.rpartition(".")
    if last == "*":
        return list(model.get_submodule(parent).children())
    return [model.get_submodule(path)]
