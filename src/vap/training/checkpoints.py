"""Checkpoints of a training run: written completely or not at all, and bit-exact when loaded.

``tensors.safetensors`` has weights, their average and moments (one file a shard), ``state.json``
the step, the recipe and digests. Hand-written: torch's distributed checkpoints contain pickles.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, ValidationError
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from vap.files.atomic import atomic_file
from vap.files.weights import sampled_digest, save_tensors, shape_difference
from vap.training.optimizers import NamedParameters, WeightAverage
from vap.training.parallel import local_part
from vap.training.recipe_identity import Identity, check_continues

_LOGGER = logging.getLogger(__name__)
_STATE = "state.json"
_Read = TypeVar("_Read")


def _no_others() -> None:
    """Wait for nobody."""


def _alone(value: int) -> list[int]:
    """The numbers of all processes, of which there is one."""
    return [value]


@dataclass(frozen=True)
class Part:
    """What one of several processes does for a checkpoint.

    Attributes:
        rank: The process; the first one also writes what all have in common.
        processes: How many there are.
        sharded: Whether each holds a part of the weights; else the first one writes them all.
        data_processes: Different batches that they work on at once.
        shards: Parts that every weight is cut into.
        wait: Returns when every process has called it.
        gather: The numbers of all processes, in their order; every process must call.
    """

    rank: int = 0
    processes: int = 1
    sharded: bool = False
    data_processes: int = 1
    shards: int = 1
    wait: Callable[[], None] = _no_others
    gather: Callable[[int], list[int]] = _alone

    @property
    def file(self) -> str:
        """Name of this process's tensors: copies of the model hold the same in the same order."""
        if not self.sharded:
            return "tensors.safetensors"
        return f"tensors-{self.rank % self.shards:05d}.safetensors"

    @property
    def writes(self) -> bool:
        """Whether this process writes tensors: those of the first copy do."""
        return self.rank < (self.shards if self.sharded else 1)


_ALONE = Part()


@dataclass(frozen=True)
class RunState:
    """What a run changes as it goes.

    Attributes:
        parameters: The weights that train.
        optimizers: Their optimizers.
        average: Their moving average, if one is kept.
    """

    parameters: NamedParameters
    optimizers: Sequence[Optimizer]
    average: WeightAverage | None = None


class _Written(BaseModel):
    """What ``state.json`` holds."""

    model_config = ConfigDict(strict=True)

    step: NonNegativeInt
    recipe: Identity
    processes: PositiveInt
    data_processes: PositiveInt
    shards: PositiveInt
    digests: dict[str, str]


class _DamagedError(ValueError):
    """Not what was written."""


def save_checkpoint(
    folder: Path, state: RunState, step: int, recipe: Identity, part: Part = _ALONE
) -> None:
    """Write a checkpoint beside the previous one, then put it in its place."""
    partial, previous = folder.with_suffix(".partial"), folder.with_suffix(".previous")
    if part.rank == 0:
        _restore(folder, previous)
        for leftover in (partial, previous):
            _remove(leftover)
        partial.mkdir(parents=True)
    part.wait()
    if part.writes:
        save_tensors(_pack(state), partial / part.file)
    part.wait()
    if part.rank == 0:
        written = _Written(
            step=step,
            recipe=recipe,
            processes=part.processes,
            data_processes=part.data_processes,
            shards=part.shards,
            digests={file.name: sampled_digest(file).hex() for file in partial.iterdir()},
        )
        with atomic_file(partial / _STATE) as file:
            file.write_text(written.model_dump_json(), encoding="utf-8")
        if os.path.lexists(folder):
            folder.rename(previous)
        partial.rename(folder)
        _remove(previous)
    part.wait()


def load_checkpoint(folder: Path, state: RunState, recipe: Identity, part: Part = _ALONE) -> int:
    """Continue a run: fill weights, average and optimizers in place."""
    previous = folder.with_suffix(".previous")
    if part.rank == 0:
        _restore(folder, previous)
    part.wait()
    try:
        return _load(folder, state, recipe, part)
    except _DamagedError as damage:
        if not previous.is_dir():
            raise
        _LOGGER.warning("%s The one before it, %s, is used.", damage, previous)
        return _load(previous, state, recipe, part)


def read_identity(folder: Path) -> Identity | None:
    """The recipe that wrote a checkpoint; None if there is none."""
    return _read_state(folder).recipe if os.path.lexists(folder) else None


def _load(folder: Path, state: RunState, recipe: Identity, part: Part) -> int:
    # A link that leads nowhere is a damaged checkpoint, not none.
    found = os.path.lexists(folder)
    written = _together(lambda: _read_state(folder) if found else None, part)
    _check_all_begin_at(written.step if written else 0, folder, part)
    if written is None:
        return 0
    check_continues(folder.parent, written.recipe, recipe)
    _check_processes(folder, written, part)
    digest = written.digests.get(part.file)
    _unpack(_together(lambda: _read_tensors(folder / part.file, digest), part), state, folder)
    return written.step


def _together(read: Callable[[], _Read], part: Part) -> _Read:
    """What this process reads; if any process finds damage, all of them raise."""
    value, damage = None, None
    try:
        value = read()
    except _DamagedError as error:
        damage = error
    whole = part.gather(int(damage is None))
    if not all(whole):
        raise damage or _DamagedError(f"Process {whole.index(0)} finds its checkpoint damaged.")
    return cast("_Read", value)


def _read_state(folder: Path) -> _Written:
    place = folder / _STATE
    try:
        return _Written.model_validate_json(place.read_bytes())
    except (OSError, ValidationError) as error:
        raise _damaged(place, "it cannot be read, or an earlier version wrote it") from error


def _read_tensors(place: Path, digest: str | None) -> dict[str, Tensor]:
    if not place.is_file():
        raise _damaged(place, "it is missing")
    if sampled_digest(place).hex() != digest:
        raise _damaged(place, "it is not the file that the run wrote")
    return load_file(place)


def _damaged(place: Path, what: str) -> _DamagedError:
    return _DamagedError(
        f"The checkpoint cannot be used: {place}: {what}. Put back a copy of {place.parent}, or "
        "remove it to restart."
    )


def _check_all_begin_at(step: int, folder: Path, part: Part) -> None:
    """Refuse processes of which some continue and others restart."""
    steps = part.gather(step)
    if len(set(steps)) > 1:
        found = ", ".join(f"{each} in process {rank}" for rank, each in enumerate(steps))
        raise ValueError(
            f"The processes of this run do not find the same checkpoint {folder}: they would "
            f"continue at step {found}. Set output to a folder that all machines share."
        )


def _check_processes(folder: Path, written: _Written, part: Part) -> None:
    """Refuse processes that do something else than those that wrote a checkpoint."""
    processes = written.processes
    if processes != part.processes:
        raise ValueError(
            f"The checkpoint {folder} was written by {processes} processes, and there are "
            f"{part.processes}, which see other data. Continue with {processes}."
        )
    if (batches := written.data_processes) != part.data_processes:
        raise ValueError(
            f"The checkpoint {folder} was written by processes with {batches} different batches at "
            f"once, and here are {part.data_processes}, which see other data. Continue with "
            f"run.context={processes // batches}."
        )
    if (shards := written.shards) != part.shards:
        raise ValueError(
            f"The checkpoint {folder} was written with weights cut into {shards}, and here they "
            f"are cut into {part.shards}. Continue with the run.sharding and run.shard that it "
            "was written with."
        )


def _restore(folder: Path, previous: Path) -> None:
    """Undo a replacement that was interrupted between its two renames."""
    if not os.path.lexists(folder) and previous.exists():
        previous.rename(folder)


def _remove(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.unlink(missing_ok=True)  # a file or a link in its place


def _pack(state: RunState) -> dict[str, Tensor]:
    tensors = {f"model.{name}": value.detach() for name, value in state.parameters}
    if state.average is not None:
        tensors |= {f"average.{name}": value for name, value in state.average.shadow.items()}
    for index, optimizer in enumerate(state.optimizers):
        for key, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}.{name}": value for name, value in values.items()}
    return {name: local_part(value) for name, value in tensors.items()}


@torch.no_grad()
def _unpack(tensors: dict[str, Tensor], state: RunState, folder: Path) -> None:
    found = {n: tuple(tensor.shape) for n, tensor in tensors.items() if n.startswith("model.")}
    wanted = {f"model.{name}": tuple(local_part(value).shape) for name, value in state.parameters}
    if difference := shape_difference(found, wanted):
        name, there, here = difference
        raise ValueError(
            f"The checkpoint {folder} holds other weights than this run trains: {name} is {there} "
            f"there and {here} here. Set output to a new folder."
        )
    for name, value in state.parameters:
        local_part(value).copy_(tensors[f"model.{name}"])
    if state.average is not None:
        for name, shadow in state.average.shadow.items():
            local_part(shadow).copy_(tensors[f"average.{name}"])
    for index, optimizer in enumerate(state.optimizers):
        values: dict[int, dict[str, Any]] = {}
        for name, tensor in tensors.items():
            kind, *rest = name.split(".", 3)
            if kind == "optimizer" and int(rest[0]) == index:
                values.setdefault(int(rest[1]), {})[rest[2]] = tensor
        _spread_like_weights(optimizer, values)
        saved = optimizer.state_dict()
        optimizer.load_state_dict({"state": values, "param_groups": saved["param_groups"]})


def _spread_like_weights(optimizer: Optimizer, values: dict[int, dict[str, Any]]) -> None:
    """Make moments of weights that are spread over processes spread as well."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for index, moments in values.items():
        weight = weights[index]
        if not isinstance(weight, DTensor):
            continue
        for name, moment in moments.items():
            if isinstance(moment, Tensor) and moment.shape == weight.to_local().shape:
                moments[name] = DTensor.from_local(
                    moment,
                    weight.device_mesh,
                    weight.placements,
                    run_check=False,
                    shape=weight.shape,
                    stride=weight.stride(),
                )
