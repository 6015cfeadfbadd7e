"""What the denoisers of both variants share: guidance, and callbacks that change conditions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch

from vap.models.reference_cache import GenerationMemory, StepMemory
from vap.pipelines.adapters import adapter_state
from vap.pipelines.denoise import Guidance
from vap.pipelines.passes import (
    CONDITIONAL,
    UNCONDITIONAL,
    UNREFERENCED,
    GuidancePasses,
    Pass,
)
from vap.pipelines.work import EVERYTHING, StepWork


class Conditions(Protocol):
    """Conditions of the target, a frozen dataclass; the texts are what all have.

    Attributes:
        text: ``[B, L, D]``.
        negative_text: The same, None without guidance.
    """

    @property
    def text(self) -> torch.Tensor: ...  # noqa: D102 - documented on the class
    @property
    def negative_text(self) -> torch.Tensor | None: ...  # noqa: D102


ConditionsT = TypeVar("ConditionsT", bound=Conditions)
ReferenceT = TypeVar("ReferenceT")


class GuidedDenoiser(ABC, Generic[ConditionsT, ReferenceT]):
    """Makes guided predictions; a subclass says what the transformer is given.

    Args:
        transformer: Backbone and expert.
        conditions: Of the target.
        reference: Of the references; None for the backbone alone.
        guidance: Classifier-free guidance; that by the reference needs one.
        strength: Reference strength, 0 … 1.
        attention_kwargs: Passed to the transformer.
        passes: How the passes of guidance are run; as the stock pipeline does by default.
        keep: Whether to keep what no step changes, see :mod:`vap.models.reference_cache`.
    """

    stock_passes: ClassVar[GuidancePasses]
    # Precision in which guidance is applied; None for that of the predictions.
    _guided_in: ClassVar[torch.dtype | None] = None
    # The order in which the stock pipeline has the first two, which a batch of both keeps.
    _contexts: ClassVar = (CONDITIONAL, UNCONDITIONAL, UNREFERENCED)
    _fields: ClassVar = {"prompt_embeds": "text", "negative_prompt_embeds": "negative_text"}

    def __init__(
        self,
        transformer: Any,
        conditions: ConditionsT,
        reference: ReferenceT | None,
        guidance: Guidance,
        strength: float = 1.0,
        attention_kwargs: dict[str, Any] | None = None,
        passes: GuidancePasses | None = None,
        *,
        keep: bool = True,
    ) -> None:
        self.transformer = transformer
        self.conditions = conditions
        self.reference = reference
        self.guidance = guidance
        self.strength = strength
        self.attention_kwargs = attention_kwargs
        self.passes = passes or self.stock_passes
        self.keep = keep
        self._arranged: dict[tuple[str, ...], tuple[Pass, ...]] = {}
        self._memories: dict[str, GenerationMemory] = {}
        # The prediction minus that of each other pass, of the last step that ran it.
        self._differences: dict[str, torch.Tensor] = {}
        # Of the weights that all this was computed with.
        self._adapters = adapter_state(transformer)

    def predict(
        self, latents: torch.Tensor, timestep: torch.Tensor, work: StepWork = EVERYTHING
    ) -> torch.Tensor:
        """Prediction for noisy latents ``[B, …]`` at one timestep, guidance applied."""
        if adapter_state(self.transformer) != self._adapters:
            # A step callback has switched them.
            self._forget()
        contexts = self._contexts_of(work)
        if contexts not in self._arranged:
            passes = self.passes.arrange([self._pass(context) for context in contexts])
            self._arranged[contexts] = tuple(passes)
        noisy, step = self._input(latents, timestep), StepMemory(use=work.references)
        predictions = []
        for one in self._arranged[contexts]:
            memory = self._memories.setdefault(one.context, GenerationMemory())
            # The pass without references shares nothing with the others, not even at the start.
            shared = StepMemory() if one.context == UNREFERENCED else step
            kept = {"memory": memory, "step": shared} if self.keep else {}
            repeated = torch.cat([noisy] * one.copies)
            with self.transformer.cache_context(one.context):
                (prediction,) = self.transformer(
                    hidden_states=repeated,
                    timestep=timestep.expand(len(repeated)),
                    **one.conditions,
                    **one.shared,
                    **kept,
                    attention_kwargs=self.attention_kwargs,
                    return_dict=False,
                )
            predictions.append(prediction.to(self._guided_in or prediction.dtype))
        # After the forward: scaling adapters for it, and back, may leave a rounding error in them.
        self._adapters = adapter_state(self.transformer)
        collected = self.passes.collect(predictions, len(contexts))
        return self._guided(dict(zip(contexts, collected, strict=True)), timestep)

    def _contexts_of(self, work: StepWork) -> tuple[str, ...]:
        """The passes of a step; those of guidance may be spared once each has run."""
        wanted = [CONDITIONAL]
        if self.guidance.enabled:
            wanted.append(UNCONDITIONAL)
        if self.guidance.by_reference and self.reference is not None:
            wanted.append(UNREFERENCED)
        if not work.guidance and self._differences.keys() == set(wanted[1:]):
            return (CONDITIONAL,)
        return tuple(context for context in self._contexts if context in wanted)

    def _guided(self, by_context: dict[str, torch.Tensor], timestep: torch.Tensor) -> torch.Tensor:
        """The prediction, moved away from those of the passes that ran, or had run."""
        conditional = by_context[CONDITIONAL]
        for context, prediction in by_context.items():
            if context != CONDITIONAL:
                self._differences[context] = conditional - prediction
        unconditional = by_context.get(UNCONDITIONAL)
        if unconditional is None and UNCONDITIONAL in self._differences:
            unconditional = conditional - self._differences[UNCONDITIONAL]
        by_reference = self._differences.get(UNREFERENCED)
        return self.guidance.moved(conditional, unconditional, by_reference, timestep)

    @abstractmethod
    def _input(self, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """What the transformer reads of noisy latents, beside their condition latents."""

    @abstractmethod
    def _pass(self, context: str) -> Pass:
        """What the transformer is given in a pass of guidance."""

    def _text(self, context: str) -> torch.Tensor:
        """The target's text in a pass."""
        if context != UNCONDITIONAL:
            return self.conditions.text
        assert self.conditions.negative_text is not None
        return self.conditions.negative_text

    def _reference_text(self, context: str, text: torch.Tensor) -> torch.Tensor:
        """The references' text in a pass, ``[B, R, L, D]``."""
        if context == CONDITIONAL:
            return text
        # The negative prompt stands in for target and reference text alike.
        return self._text(context).unsqueeze(1).expand_as(text)

    @property
    def tensors(self) -> dict[str, torch.Tensor | None]:
        """Conditions that a step callback may read and replace."""
        return {name: getattr(self.conditions, field) for name, field in self._fields.items()}

    def replace(self, name: str, tensor: torch.Tensor) -> None:
        """Take a condition that a step callback gave back, or changed in place."""
        changed: Any = {self._fields[name]: tensor}
        self.conditions = replace(self.conditions, **changed)  # type: ignore[type-var]
        self._arranged = {}
        self._forget()

    def _forget(self) -> None:
        """Take nothing over from the steps before."""
        self._memories, self._differences = {}, {}

    def guide(self, scale: float) -> None:
        """Take a scale of guidance by the text that a step callback set; 1 or less turns it off."""
        if scale > 1.0 and self.conditions.negative_text is None:
            raise ValueError(
                f"A step callback set the guidance scale to {scale}, and the call began without "
                "guidance, so there is no negative prompt. Begin with guidance_scale above 1."
            )
        self.guidance = replace(self.guidance, scale=scale)
        if not self.guidance.enabled:
            self._differences.pop(UNCONDITIONAL, None)
