"""Optimizers, learning-rate schedule and weight averaging."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim import Optimizer

from vap.training.muon import Muon
from vap.training.rounding import RoundedAdamW
from vap.training.sections import OptimizerConfig

# Weights of layers inside a transformer's blocks or an autoencoder's two halves.
_MATRIX = re.compile(r"(^|\.)((transformer_)?blocks|encoder|decoder)\..*\.weight$")
NamedParameters = list[tuple[str, nn.Parameter]]


def trainable_parameters(model: nn.Module) -> NamedParameters:
    """The parameters that require a gradient, by name, in the module's order."""
    return [(name, value) for name, value in model.named_parameters() if value.requires_grad]


def build_optimizers(
    parameters: NamedParameters, config: OptimizerConfig, seed: int = 0
) -> list[Optimizer]:
    """Optimizers that together train every given parameter once.

    Muon orthogonalizes the update of a matrix, so it takes the weights inside blocks, encoders and
    decoders; embeddings, tables, scales and vectors stay with AdamW.
    """
    if not parameters:
        raise ValueError("Nothing trains: no parameter requires a gradient.")
    muon = _matrices(parameters) if config.name == "muon" else []
    taken = {id(value) for value in muon}
    rest = [value for _, value in parameters if id(value) not in taken]
    optimizers: list[Optimizer] = []
    if rest:
        groups = [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
        ]
        filled = [group for group in groups if group["params"]]
        rates = config.learning_rate, config.betas, config.epsilon
        rounded = any(value.dtype == torch.bfloat16 for value in rest)
        optimizers.append(
            RoundedAdamW(filled, *rates, seed) if rounded else torch.optim.AdamW(filled, *rates)
        )
    if muon:
        optimizers.append(
            Muon(muon, lr=config.muon_learning_rate, weight_decay=config.weight_decay)
        )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def _matrices(parameters: NamedParameters) -> list[nn.Parameter]:
    """What Muon takes."""
    chosen = [value for name, value in parameters if value.ndim > 1 and _MATRIX.search(name)]
    if not chosen:
        raise ValueError(
            "optimizer.name is muon, and no matrix inside a block, an encoder or a decoder trains "
            f"(what does: {parameters[0][0]!r} and {len(parameters) - 1} more). Use adamw."
        )
    if any(value.dtype == torch.bfloat16 for value in chosen):
        raise ValueError(
            "optimizer.name is muon, which does not support bfloat16 weights: rounding would lose "
            "most updates. Set model.weights to float32, or optimizer.name to adamw."
        )
    return chosen


def schedule_factor(step: int, steps: int, config: OptimizerConfig) -> float:
    """Share of the peak learning rate at a step."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.schedule == "constant":
        return 1.0
    progress = (step - config.warmup) / max(1, steps - config.warmup)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def set_learning_rate(optimizers: Iterable[Optimizer], factor: float) -> None:
    """Set every group's rate to a share of its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor


class WeightAverage:
    """Exponential moving average of trainable weights in float32, with a warm-up of the decay.

    diffusers' ``EMAModel`` averages in the precision of the weights, which rounds bfloat16 steps
    away, and starts one step later, which would change what recipes write.

    Attributes:
        shadow: Averaged float32 tensors by parameter name.
    """

    def __init__(self, parameters: NamedParameters, decay: float) -> None:
        self.decay = decay
        self.shadow = {
            name: value.detach().to(torch.float32, copy=True) for name, value in parameters
        }

    @torch.no_grad()
    def update(self, parameters: NamedParameters, step: int) -> None:
        """Blend in the current weights; early steps average over fewer of them."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in parameters:
            # One at a time: float32 copies of all bfloat16 weights at once may not fit.
            self.shadow[name].lerp_(value.detach().float(), 1 - decay)

    @torch.no_grad()
    def copy_to(self, parameters: NamedParameters) -> None:
        """Overwrite the weights with their average, in their own precision."""
        for name, value in parameters:
            value.copy_(self.shadow[name])

    @contextmanager
    def in_place(self, parameters: NamedParameters) -> Iterator[None]:
        """Replace the weights by their average for a while, then restore every bit."""
        # In main memory: an accelerator may have no room for one more copy.
        own = {name: value.detach().to("cpu", copy=True) for name, value in parameters}
        self.copy_to(parameters)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in parameters:
                    value.copy_(own[name])
