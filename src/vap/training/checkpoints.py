"""Checkpoints of a training run: written whole or not at all, and exact on return.

A checkpoint is a folder: ``tensors.safetensors`` holds weights, their average and the optimizers'
moments, ``state.json`` everything that is not a tensor. Where weights are spread over processes,
the processes of one copy each write the part that they hold. Data order and noise are functions of
the step, so the step is all there is to remember of them. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from vap.training.optimizers import NamedParameters, WeightAverage
from vap.training.parallel import held
from vap.weights import save_tensors

_STATE = "state.json"


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


def save_checkpoint(
    folder: Path, state: RunState, step: int, fingerprint: str, part: Part = _ALONE
) -> None:
    """Write a checkpoint beside the previous one, then put it in its place.

    Args:
        folder: Checkpoint folder; an interrupted write leaves the previous one usable.
        state: What to save.
        step: Steps taken so far.
        fingerprint: Identity of the recipe, checked on return.
        part: This process's share; every process must call.
    """
    partial, previous = folder.with_suffix(".partial"), folder.with_suffix(".previous")
    if part.rank == 0:
        _restore(folder, previous)
        for leftover in (partial, previous):
            shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir(parents=True)
    part.wait()
    if part.writes:
        tensors, plain = _pack(state)
        save_tensors(tensors, partial / part.file)
    part.wait()
    if part.rank == 0:
        content = {
            "step": step,
            "fingerprint": fingerprint,
            "processes": part.processes,
            "data_processes": part.data_processes,
            "shards": part.shards,
            "optimizers": plain,
        }
        with (partial / _STATE).open("w", encoding="utf-8") as file:
            json.dump(content, file)
        _flush(partial / _STATE)
        if folder.exists():
            folder.rename(previous)
        partial.rename(folder)
        shutil.rmtree(previous, ignore_errors=True)
    part.wait()


def load_checkpoint(folder: Path, state: RunState, fingerprint: str, part: Part = _ALONE) -> int:
    """Continue a run: fill weights, average and optimizers in place.

    Args:
        folder: Checkpoint folder.
        state: What to fill.
        fingerprint: Identity of the recipe that continues.
        part: This process's share; every process must call.

    Returns:
        Steps taken when the checkpoint was written; 0 if there is none.

    Raises:
        ValueError: If the checkpoint belongs to another recipe, to other weights, or to another
            number of processes or way to share videos and weights among them, or if not all
            processes find the same one.
    """
    if part.rank == 0:
        _restore(folder, folder.with_suffix(".previous"))
    part.wait()
    found = folder.exists()
    content = json.loads((folder / _STATE).read_text(encoding="utf-8")) if found else {}
    _check_all_begin_at(int(content["step"]) if found else 0, folder, part)
    if not found:
        return 0
    if content["fingerprint"] != fingerprint:
        message = (
            f"The checkpoint {folder} was written by another recipe. Continue with the recipe it "
            "was written by, choose another output folder, or remove the checkpoint."
        )
        raise ValueError(message)
    _check_processes(folder, content, part)
    if not (folder / part.file).is_file():
        message = f"{folder} has no {part.file}: it was written with another way of sharding."
        raise ValueError(message)
    _unpack(load_file(folder / part.file), content["optimizers"], state, folder)
    return int(content["step"])


def _check_all_begin_at(step: int, folder: Path, part: Part) -> None:
    """Refuse processes of which some continue and others begin anew."""
    steps = part.gather(step)
    if len(set(steps)) > 1:
        found = ", ".join(f"{each} in process {rank}" for rank, each in enumerate(steps))
        message = (
            f"The processes of this run do not find the same checkpoint {folder}: they would "
            f"continue at step {found}. Set output to a folder that all machines share."
        )
        raise ValueError(message)


def _check_processes(folder: Path, content: dict[str, Any], part: Part) -> None:
    """Refuse processes that do something else than those that wrote a checkpoint."""
    processes = content.get("processes", 1)
    if processes != part.processes:
        message = (
            f"The checkpoint {folder} was written by {processes} processes, and there are "
            f"{part.processes}, which see other data. Continue with {processes}."
        )
        raise ValueError(message)
    # Checkpoints of earlier versions do not say the rest.
    if (batches := content.get("data_processes", part.data_processes)) != part.data_processes:
        message = (
            f"The checkpoint {folder} was written by processes with {batches} different batches at "
            f"once, and here are {part.data_processes}, which see other data. Continue with "
            f"run.context={processes // batches}."
        )
        raise ValueError(message)
    if (shards := content.get("shards", part.shards)) != part.shards:
        message = (
            f"The checkpoint {folder} was written with weights cut into {shards}, and here they "
            f"are cut into {part.shards}. Continue with the run.sharding and run.shard that it "
            "was written with."
        )
        raise ValueError(message)


def _restore(folder: Path, previous: Path) -> None:
    """Undo a replacement that was interrupted between its two renames."""
    if not folder.exists() and previous.exists():
        previous.rename(folder)


def _flush(path: Path) -> None:
    """Have a file on the disk before the folder takes the previous one's place."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _pack(state: RunState) -> tuple[dict[str, Tensor], list[Any]]:
    tensors = {f"model.{name}": value.detach() for name, value in state.parameters}
    if state.average is not None:
        tensors |= {f"average.{name}": value for name, value in state.average.shadow.items()}
    plain: list[Any] = []
    for index, optimizer in enumerate(state.optimizers):
        numbers: dict[str, dict[str, Any]] = {}
        for key, values in optimizer.state_dict()["state"].items():
            numbers[str(key)] = {}
            for name, value in values.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{index}.{key}.{name}"] = value
                else:
                    numbers[str(key)][name] = value
        plain.append(numbers)
    return {name: held(value).contiguous() for name, value in tensors.items()}, plain


@torch.no_grad()
def _unpack(tensors: dict[str, Tensor], plain: list[Any], state: RunState, folder: Path) -> None:
    expected = {f"model.{name}" for name, _ in state.parameters}
    found = {name for name in tensors if name.startswith("model.")}
    if expected != found:
        message = (
            f"The checkpoint {folder} holds other weights than this run trains: missing "
            f"{sorted(expected - found)[:3]}, unknown {sorted(found - expected)[:3]}."
        )
        raise ValueError(message)
    if len(plain) != len(state.optimizers):
        message = (
            f"The checkpoint {folder} holds {len(plain)} optimizers and this run has "
            f"{len(state.optimizers)}: an earlier version wrote it, which gave Muon other weights. "
            "Choose another output folder."
        )
        raise ValueError(message)
    for name, value in state.parameters:
        held(value).copy_(tensors[f"model.{name}"])
    if state.average is not None:
        for name, shadow in state.average.shadow.items():
            held(shadow).copy_(tensors[f"average.{name}"])
    for index, optimizer in enumerate(state.optimizers):
        values: dict[int, dict[str, Any]] = {
            int(key): dict(numbers) for key, numbers in plain[index].items()
        }
        for name, tensor in tensors.items():
            kind, *rest = name.split(".", 3)
            if kind == "optimizer" and int(rest[0]) == index:
                values[int(rest[1])][rest[2]] = tensor
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
