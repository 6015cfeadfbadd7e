"""Optimisers, learning-rate schedule and weight averaging."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vap.training.config import OptimizerConfig
from vap.training.muon import Muon

# Weights of layers inside a transformer's blocks or an autoencoder's two halves.
_MATRIX = re.compile(r"(^|\.)(blocks|encoder|decoder)\..*\.weight$")
NamedParameters = list[tuple[str, nn.Parameter]]


def trainable_parameters(model: nn.Module) -> NamedParameters:
    """The parameters that require a gradient, by name, in the module's order."""
    return [(name, value) for name, value in model.named_parameters() if value.requires_grad]


def build_optimizers(parameters: NamedParameters, config: OptimizerConfig) -> list[Optimizer]:
    """Optimisers that together hold every given parameter once.

    Muon orthogonalises the update of a matrix, so it takes the weights inside blocks, encoders and
    decoders; embeddings, tables, scales and vectors stay with AdamW.

    Args:
        parameters: What trains.
        config: Rates and names.

    Raises:
        ValueError: If nothing trains.
    """
    if not parameters:
        message = "Nothing trains: no parameter requires a gradient."
        raise ValueError(message)
    muon = [
        value
        for name, value in parameters
        if config.name == "muon" and value.ndim > 1 and _MATRIX.search(name)
    ]
    taken = {id(value) for value in muon}
    rest = [value for _, value in parameters if id(value) not in taken]
    optimizers: list[Optimizer] = []
    if rest:
        groups = [
            {"params": [p for p in rest if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizers.append(
            torch.optim.AdamW(
                [group for group in groups if group["params"]],
                lr=config.learning_rate,
                betas=config.betas,
                eps=config.epsilon,
            )
        )
    if muon:
        optimizers.append(
            Muon(muon, lr=config.muon_learning_rate, weight_decay=config.weight_decay)
        )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def schedule_factor(step: int, steps: int, config: OptimizerConfig) -> float:
    """Share of the peak learning rate at a step.

    Args:
        step: Step about to be taken, from 0.
        steps: Steps of the whole stage.
        config: Warm-up length and the schedule after it.

    Returns:
        A factor in (0, 1].
    """
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
    """Exponential moving average of trainable weights, with a warm-up of the decay.

    Attributes:
        shadow: Averaged float32 tensors by parameter name.
    """

    def __init__(self, parameters: NamedParameters, decay: float) -> None:
        self.decay = decay
        self.shadow = {name: value.detach().clone() for name, value in parameters}

    @torch.no_grad()
    def update(self, parameters: NamedParameters, step: int) -> None:
        """Blend in the current weights; early steps average over fewer of them."""
        decay = min(self.decay, (1 + step) / (10 + step))
        shadows = [self.shadow[name] for name, _ in parameters]
        torch._foreach_lerp_(shadows, [value.detach() for _, value in parameters], 1 - decay)

    @torch.no_grad()
    def copy_to(self, parameters: NamedParameters) -> None:
        """Overwrite the weights with their average."""
        for name, value in parameters:
            value.copy_(self.shadow[name])

    def load(self, shadow: dict[str, Tensor]) -> None:
        """Take over saved averages."""
        for name, value in self.shadow.items():
            value.copy_(shadow[name])
