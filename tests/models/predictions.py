"""How the model tests run a transformer and compare what it predicts."""

from typing import Any

import torch

from vap.models.expert import is_expert_name


def without_reference(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if not name.startswith("reference_")}


@torch.no_grad()
def predict(model: torch.nn.Module, arguments: dict[str, Any], **changes: Any) -> torch.Tensor:
    return model(**{**arguments, **changes}).sample


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())


def calls_of(module: torch.nn.Module) -> list[tuple[Any, ...]]:
    """A list that grows by the module's positional inputs each time it is called."""
    calls: list[tuple[Any, ...]] = []
    module.register_forward_hook(lambda _, inputs, __: calls.append(inputs))
    return calls


def expert_parameters(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return {name: value for name, value in model.named_parameters() if is_expert_name(name)}
