"""What the denoisers of both variants share: guidance, its passes, and changed conditions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, ClassVar, Protocol

import torch
from peft.tuners.tuners_utils import BaseTunerLayer

from vap.models.reference_cache import GenerationMemory, StepMemory
from vap.pipelines.denoise import EVERYTHING, StepWork

CONDITIONAL, UNCONDITIONAL, UNREFERENCED = "cond", "uncond", "unreferenced"
"""The prediction itself, that of the negative prompt, and that of the backbone alone."""


@dataclass(frozen=True, slots=True)
class Guidance:
    """Classifier-free guidance, by the text and by the reference."""

    scale: float  # Scale of guidance by the text; 1 or less turns it off
    dynamic: bool = False  # Raise that scale over the steps by CogVideoX's cosine
    steps: int = 50  # Number of inference steps N of that cosine
    reference: float = 1.0  # Scale of guidance by the reference; 1 or less turns it off

    @property
    def enabled(self) -> bool:
        """Whether an unconditional prediction is needed."""
        return self.scale > 1.0

    @property
    def by_reference(self) -> bool:
        """Whether a prediction without the references is needed."""
        return self.reference > 1.0

    def at(self, timestep: torch.Tensor) -> float:
        """Scale at a timestep.

        The released formula takes the scheduler's timestep value for t, so most of N − t is
        negative; it is kept because the released numbers depend on it.
        """
        if not self.dynamic:
            return self.scale
        progress = (self.steps - timestep.item()) / self.steps
        return 1 + self.scale * (1 - math.cos(math.pi * progress**5.0)) / 2

    def combine(
        self, conditional: torch.Tensor, unconditional: torch.Tensor, timestep: torch.Tensor
    ) -> torch.Tensor:
        """Move from the unconditional prediction through the conditional one."""
        return unconditional + self.at(timestep) * (conditional - unconditional)

    def moved(
        self,
        conditional: torch.Tensor,
        unconditional: torch.Tensor | None,
        by_reference: torch.Tensor | None,
        timestep: torch.Tensor,
    ) -> torch.Tensor:
        """Move a prediction by the text, and by what the references change of it, where given."""
        guided = conditional
        if unconditional is not None:
            guided = self.combine(conditional, unconditional, timestep)
        if by_reference is not None:
            guided = guided + (self.reference - 1.0) * by_reference
        return guided


@dataclass(frozen=True, eq=False, slots=True)
class Pass:
    """One forward of the transformer at every step: all that it is given but noise and time."""

    context: str  # Name that diffusers' caches know the pass by
    conditions: Mapping[str, Any]  # Arguments with the batch first: tensors [B, …] or None
    shared: Mapping[str, Any]  # Arguments that do not differ between passes and videos
    copies: int = 1  # How often the noisy latents are repeated along the batch


class GuidancePasses(Protocol):
    """A way to run the passes of guidance: both here, one after the other or at once, or apart."""

    def arrange(self, passes: Sequence[Pass]) -> tuple[Pass, ...]:
        """What this process runs at every step; asked once for the same conditions."""
        ...

    def collect(self, predictions: Sequence[torch.Tensor], passes: int) -> Sequence[torch.Tensor]:
        """One prediction ``[B, …]`` for each of so many given passes, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class SequentialPasses:
    """One pass after the other: half the activations of a batch of both."""

    def arrange(self, passes: Sequence[Pass]) -> tuple[Pass, ...]:
        """The passes as they are."""
        return tuple(passes)

    def collect(self, predictions: Sequence[torch.Tensor], passes: int) -> Sequence[torch.Tensor]:
        """The predictions as they are."""
        assert len(predictions) == passes
        return predictions


@dataclass(frozen=True, slots=True)
class BatchedPasses:
    """All passes in one batch: fewer, larger matrix products."""

    def arrange(self, passes: Sequence[Pass]) -> tuple[Pass, ...]:
        """A pass for each set of arguments: those that are given the same make one batch."""
        alike = groupby(passes, lambda one: one.conditions.keys())
        groups = [tuple(group) for _, group in alike]
        return tuple(join_passes(group) if len(group) > 1 else group[0] for group in groups)

    def collect(self, predictions: Sequence[torch.Tensor], passes: int) -> Sequence[torch.Tensor]:
        """The batches, split again."""
        size = sum(map(len, predictions)) // passes
        return [part for together in predictions for part in together.split(size)]


def join_passes(passes: Sequence[Pass]) -> Pass:
    """One pass whose batch is those of several, in their order."""
    first = passes[0]
    conditions = {
        name: None if tensor is None else torch.cat([one.conditions[name] for one in passes])
        for name, tensor in first.conditions.items()
    }
    return Pass(
        context="_".join(sorted(one.context for one in passes)),
        conditions=conditions,
        shared=first.shared,
        copies=sum(one.copies for one in passes),
    )


@dataclass(frozen=True)
class Conditions:
    """What the target stream is given at every step, for B videos; a subclass adds the rest."""

    text: torch.Tensor  # [B, L, D]
    negative_text: torch.Tensor | None  # The same, None without guidance


class GuidedDenoiser(ABC):
    """Makes guided predictions; a subclass defines the inputs of the transformer.

    Args:
        transformer: Backbone and expert.
        conditions: Of the target, of a subclass of :class:`Conditions`.
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
        conditions: Any,
        reference: Any,
        guidance: Guidance,
        strength: float = 1.0,
        attention_kwargs: dict[str, Any] | None = None,
        passes: GuidancePasses | None = None,
        *,
        keep: bool = True,
    ) -> None:
        self.transformer = transformer
        self.conditions: Any = conditions
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
        self.conditions = replace(self.conditions, **{self._fields[name]: tensor})
        self._arranged = {}
        self._forget()

    def _forget(self) -> None:
        """Take nothing over from the steps before."""
        self._memories, self._differences = {}, {}

    def guide(self, scale: float) -> None:
        """Take a scale of guidance by the text that a step callback set; 1 or less turns it off."""
        if scale > 1.0 and self.conditions.negative_text is None:
            raise ValueError(
                f"A step callback set the guidance scale to {scale}, but the call started without "
                "guidance, so it has no negative prompt. Start with guidance_scale above 1."
            )
        self.guidance = replace(self.guidance, scale=scale)
        if not self.guidance.enabled:
            self._differences.pop(UNCONDITIONAL, None)


def adapter_state(transformer: torch.nn.Module) -> list[tuple[Any, ...]]:
    """What of each adapted layer decides its output, next to the weights.

    Equal as long as no adapter is added, switched, scaled, merged or taken away.
    """
    if not hasattr(transformer, "peft_config"):
        return []
    return [
        (
            *(tuple(adapters) for adapters in (layer.active_adapters, layer.merged_adapters)),
            dict(getattr(layer, "scaling", {})),
            layer.disable_adapters,
        )
        for layer in transformer.modules()
        if isinstance(layer, BaseTunerLayer)
    ]
