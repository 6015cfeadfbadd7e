"""What the denoisers of both variants share: their conditions, and callbacks that change them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch

from vap.pipelines.denoise import Guidance


class Conditions(Protocol):
    """Conditions of the target, a frozen dataclass; the texts are what all have.

    Attributes:
        text: ``[B, L, D]``.
        negative_text: Likewise, None without guidance.
    """

    @property
    def text(self) -> torch.Tensor: ...  # noqa: D102 - documented on the class
    @property
    def negative_text(self) -> torch.Tensor | None: ...  # noqa: D102


ConditionsT = TypeVar("ConditionsT", bound=Conditions)
ReferenceT = TypeVar("ReferenceT")


class GuidedDenoiser(Generic[ConditionsT, ReferenceT]):
    """What a guided prediction is made from; a subclass makes it.

    Args:
        transformer: Backbone and expert.
        conditions: Of the target.
        reference: Of the references; None for the backbone alone.
        guidance: Classifier-free guidance.
        strength: Reference strength, 0 … 1.
        attention_kwargs: Passed to the transformer.
    """

    _fields: ClassVar = {"prompt_embeds": "text", "negative_prompt_embeds": "negative_text"}

    def __init__(
        self,
        transformer: Any,
        conditions: ConditionsT,
        reference: ReferenceT | None,
        guidance: Guidance,
        strength: float = 1.0,
        attention_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.transformer = transformer
        self.conditions = conditions
        self.reference = reference
        self.guidance = guidance
        self.strength = strength
        self.attention_kwargs = attention_kwargs

    @property
    def tensors(self) -> dict[str, torch.Tensor | None]:
        """Conditions that a step callback may read and replace."""
        return {name: getattr(self.conditions, field) for name, field in self._fields.items()}

    def replace(self, name: str, tensor: torch.Tensor) -> None:
        """Take a condition that a step callback gave back."""
        changed: Any = {self._fields[name]: tensor}
        self.conditions = replace(self.conditions, **changed)  # type: ignore[type-var]
