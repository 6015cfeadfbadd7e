"""AdamW for bfloat16 weights: computed in float32, rounded stochastically.

Rounded to nearest, weights with 8 significant bits would not move at usual learning rates.
Hand-written: torchao's is an optional dependency and draws from the global generator, so that a
continued run would not repeat an uninterrupted one bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vap.training.parallel import local_part

# A bfloat16 is the upper half of a float32.
_DROPPED_BITS = 16


def round_stochastically(values: Tensor, generator: torch.Generator) -> Tensor:
    """Round float32 to bfloat16, up or down, such that the mean is the value."""
    drawn = torch.randint(
        1 << _DROPPED_BITS,
        values.shape,
        generator=generator,
        device=values.device,
        dtype=torch.int32,
    )
    # Added to the bits below, it carries into those that stay just as often as these bits say.
    bits = (values.contiguous().view(torch.int32) + drawn) & -(1 << _DROPPED_BITS)
    rounded = bits.view(torch.float32).bfloat16()
    return torch.where(values.isfinite(), rounded, values.bfloat16())


class RoundedAdamW(Optimizer):
    """AdamW whose bfloat16 weights and moments are rounded stochastically; others as usual.

    Draws are a function of seed, weight and step, so there is nothing of them to save, and every
    process with a copy of a weight rounds it the same.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        seed: int = 0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0}
        super().__init__(parameters, defaults)
        self._seed = seed

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # no closures here
        """Move every weight that has a gradient."""
        assert closure is None
        weights = [(group, weight) for group in self.param_groups for weight in group["params"]]
        for place, (group, weight) in enumerate(weights):
            if weight.grad is None:
                continue
            state = self.state[weight]
            if not state:
                state["step"] = torch.tensor(0.0)
                state["exp_avg"] = torch.zeros_like(weight)
                state["exp_avg_sq"] = torch.zeros_like(weight)
            state["step"] += 1
            number = (self._seed * 1_000_003 + int(state["step"])) * len(weights) + place
            # On the weight's own device, where its parts, if it is cut, may well draw the same.
            generator = torch.Generator(local_part(weight).device).manual_seed(number)
            self._move(weight, weight.grad, group, generator)

    def _move(
        self, weight: Tensor, gradient: Tensor, group: dict[str, Any], generator: torch.Generator
    ) -> None:
        """One step of one weight; if it is spread over processes, of this one's part."""
        state, (first, second) = self.state[weight], group["betas"]
        parts = local_part(weight), local_part(state["exp_avg"]), local_part(state["exp_avg_sq"])
        value, mean, square = (tensor.float() for tensor in parts)
        gradient = local_part(gradient).float()
        mean = mean.lerp(gradient, 1 - first)
        square = square.mul(second).addcmul(gradient, gradient, value=1 - second)
        step = float(state["step"])
        floor = (square / (1 - second**step)).sqrt() + group["eps"]
        value = value * (1 - group["lr"] * group["weight_decay"])
        value = value.addcdiv(mean, floor, value=-group["lr"] / (1 - first**step))
        for tensor, exact in zip(parts, (value, mean, square), strict=True):
            whole = tensor.dtype != torch.bfloat16
            tensor.copy_(exact if whole else round_stochastically(exact, generator))
