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
from vap.training.parallel import Gather, Layout, local_part
from vap.training.recipe_identity import Identity, check_continues

_LOGGER = logging.getLogger(__name__)
_STATE = "state.json"
_Read = TypeVar("_Read")
_ALONE = Layout()


def _one(value: int) -> list[int]:
    """The numbers of all processes, of which there is one."""
    return [value]


@dataclass(frozen=True)
class RunState:
    """What a run changes: weights, their optimizers, and their moving average if any."""

    parameters: NamedParameters
    optimizers: Sequence[Optimizer]
    average: WeightAverage | None = None


class _Written(BaseModel):
    """What ``state.json`` contains."""

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
    folder: Path,
    state: RunState,
    step: int,
    recipe: Identity,
    layout: Layout = _ALONE,
    gather: Gather = _one,
) -> None:
    """Write a checkpoint beside the previous one, then put it in its place."""
    partial, previous = folder.with_suffix(".partial"), folder.with_suffix(".previous")
    if layout.rank == 0:
        _restore(folder, previous)
        for leftover in (partial, previous):
            _remove(leftover)
        partial.mkdir(parents=True)
    gather(step)
    if layout.rank < layout.weight_shards:  # the first copy of the model
        save_tensors(_pack(state), partial / _tensors_of(layout))
    gather(step)
    if layout.rank == 0:
        written = _Written(
            step=step,
            recipe=recipe,
            processes=layout.processes,
            data_processes=layout.batches,
            shards=layout.weight_shards,
            digests={file.name: sampled_digest(file).hex() for file in partial.iterdir()},
        )
        with atomic_file(partial / _STATE) as file:
            file.write_text(written.model_dump_json(), encoding="utf-8")
        if os.path.lexists(folder):
            folder.rename(previous)
        partial.rename(folder)
        _remove(previous)
    gather(step)


def load_checkpoint(
    folder: Path,
    state: RunState,
    recipe: Identity,
    layout: Layout = _ALONE,
    gather: Gather = _one,
) -> int:
    """Fill weights, average and optimizers in place; return the step, 0 without a checkpoint."""
    previous = folder.with_suffix(".previous")
    if layout.rank == 0:
        _restore(folder, previous)
    gather(layout.rank)
    try:
        return _load(folder, state, recipe, layout, gather)
    except _DamagedError as damage:
        if not previous.is_dir():
            raise
        _LOGGER.warning("%s Using the previous one, %s.", damage, previous)
        return _load(previous, state, recipe, layout, gather)


def read_identity(folder: Path) -> Identity | None:
    """The recipe that wrote a checkpoint; None if there is none."""
    return _read_state(folder).recipe if os.path.lexists(folder) else None


def _load(folder: Path, state: RunState, recipe: Identity, layout: Layout, gather: Gather) -> int:
    # A link that leads nowhere is a damaged checkpoint, not none.
    found = os.path.lexists(folder)
    written = _together(lambda: _read_state(folder) if found else None, gather)
    steps = gather(written.step if written else 0)
    if len(set(steps)) > 1:
        each = ", ".join(f"{step} in process {rank}" for rank, step in enumerate(steps))
        raise ValueError(
            f"The processes of this run find different checkpoints in {folder}: they would "
            f"continue at step {each}. Set output to a folder that all machines share."
        )
    if written is None:
        return 0
    check_continues(folder.parent, written.recipe, recipe)
    _check_layout(folder, written, layout)
    name = _tensors_of(layout)
    tensors = _together(lambda: _read_tensors(folder / name, written.digests.get(name)), gather)
    _unpack(tensors, state, folder)
    return written.step


def _together(read: Callable[[], _Read], gather: Gather) -> _Read:
    """What this process reads; if any process finds damage, all of them raise."""
    value, damage = None, None
    try:
        value = read()
    except _DamagedError as error:
        damage = error
    whole = gather(int(damage is None))
    if not all(whole):
        raise damage or _DamagedError(f"Process {whole.index(0)} finds its checkpoint damaged.")
    return cast("_Read", value)


def _read_state(folder: Path) -> _Written:
    place = folder / _STATE
    try:
        return _Written.model_validate_json(place.read_bytes())
    except (OSError, ValidationError) as error:
        raise _damaged(place, "it cannot be read, or another version wrote it") from error


def _tensors_of(layout: Layout) -> str:
    """File of a process's tensors: copies of the model have the same in the same order."""
    if not layout.sharded:
        return "tensors.safetensors"
    return f"tensors-{layout.rank % layout.weight_shards:05d}.safetensors"


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


def _check_layout(folder: Path, written: _Written, layout: Layout) -> None:
    """Refuse processes that do something else than those that wrote a checkpoint."""
    processes, batches = written.processes, written.data_processes
    if processes != layout.processes:
        raise ValueError(
            f"The checkpoint {folder} was written by {processes} processes, and "
            f"{layout.processes} are running, which would read other data. Continue with "
            f"{processes}."
        )
    if batches != layout.batches:
        raise ValueError(
            f"The checkpoint {folder} was written by processes with {batches} different batches "
            f"at once, and this run has {layout.batches}, which would read other data. Continue "
            f"with run.context={processes // batches}."
        )
    if written.shards != layout.weight_shards:
        raise ValueError(
            f"The checkpoint {folder} was written with {written.shards} shards of the weights, "
            f"and this run has {layout.weight_shards}. Continue with the same run.sharding and "
            "run.shard."
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
            f"The checkpoint {folder} contains other weights than this run trains: {name} is "
            f"{there} there and {here} here. Set output to a new folder."
        )
    for name, value in state.parameters:
        local_part(value).copy_(tensors[f"model.{name}"])
    if state.average is not None:
        for name, shadow in state.average.shadow.items():
            local_part(shadow).copy_(tensors[f"average.{name}"])
    for index, optimizer in enumerate(state.optimizers):
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        moments: dict[int, dict[str, Any]] = {}
        for name, tensor in tensors.items():
            kind, *rest = name.split(".", 3)
            if kind == "optimizer" and int(rest[0]) == index:
                key = int(rest[1])
                moments.setdefault(key, {})[rest[2]] = _spread_like(weights[key], tensor)
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": moments, "param_groups": groups})


def _spread_like(weight: Tensor, moment: Tensor) -> Tensor:
    """A moment as part of one that is spread over processes, where its weight is."""
    if not isinstance(weight, DTensor) or moment.shape != weight.to_local().shape:
        return moment
    return DTensor.from_local(
        moment,
        weight.device_mesh,
        weight.placements,
        run_check=False,
        shape=weight.shape,
        stride=weight.stride(),
    )
