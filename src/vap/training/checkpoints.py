"""Checkpoints of a training run: written whole or not at all, and exact on return.

A checkpoint is a folder: ``tensors.safetensors`` holds weights, their average and the optimisers'
moments, ``state.json`` everything that is not a tensor. Nothing is pickled.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from vap.training.optimizers import NamedParameters, WeightAverage

_TENSORS = "tensors.safetensors"
_STATE = "state.json"


@dataclass(frozen=True)
class RunState:
    """What a run changes as it goes.

    Attributes:
        parameters: The weights that train.
        optimizers: Their optimisers.
        average: Their moving average, if one is kept.
    """

    parameters: NamedParameters
    optimizers: Sequence[Optimizer]
    average: WeightAverage | None = None


def save_checkpoint(folder: Path, state: RunState, step: int, fingerprint: str) -> None:
    """Write a checkpoint beside the previous one, then put it in its place.

    Args:
        folder: Checkpoint folder; an interrupted write leaves the previous one usable.
        state: What to save.
        step: Steps taken so far.
        fingerprint: Identity of the recipe, checked on return.
    """
    partial, previous = folder.with_suffix(".partial"), folder.with_suffix(".previous")
    for leftover in (partial, previous):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    tensors, plain = _pack(state)
    save_file(tensors, partial / _TENSORS)
    content = {"step": step, "fingerprint": fingerprint, "optimizers": plain}
    with (partial / _STATE).open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    if folder.exists():
        folder.rename(previous)
    partial.rename(folder)
    shutil.rmtree(previous, ignore_errors=True)


def load_checkpoint(folder: Path, state: RunState, fingerprint: str) -> int:
    """Continue a run: fill weights, average and optimisers in place.

    Args:
        folder: Checkpoint folder.
        state: What to fill.
        fingerprint: Identity of the recipe that continues.

    Returns:
        Steps taken when the checkpoint was written; 0 if there is none.

    Raises:
        ValueError: If the checkpoint belongs to another recipe or to other weights.
    """
    previous = folder.with_suffix(".previous")
    if not folder.exists() and previous.exists():
        previous.rename(folder)
    if not folder.exists():
        return 0
    content = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    if content["fingerprint"] != fingerprint:
        message = (
            f"The checkpoint {folder} was written by another recipe. Continue with the recipe it "
            "was written by, choose another output folder, or remove the checkpoint."
        )
        raise ValueError(message)
    _unpack(load_file(folder / _TENSORS), content["optimizers"], state, folder)
    return int(content["step"])


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
    return {name: value.contiguous() for name, value in tensors.items()}, plain


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
    for name, value in state.parameters:
        value.copy_(tensors[f"model.{name}"])
    if state.average is not None:
        state.average.load({name: tensors[f"average.{name}"] for name in state.average.shadow})
    for index, optimizer in enumerate(state.optimizers):
        values: dict[int, dict[str, Any]] = {
            int(key): dict(numbers) for key, numbers in plain[index].items()
        }
        for name, tensor in tensors.items():
            kind, *rest = name.split(".", 3)
            if kind == "optimizer" and int(rest[0]) == index:
                values[int(rest[1])][rest[2]] = tensor
        saved = optimizer.state_dict()
        optimizer.load_state_dict({"state": values, "param_groups": saved["param_groups"]})
