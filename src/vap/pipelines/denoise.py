"""The one denoising loop of the project, and what it steps with."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from diffusers.schedulers import CogVideoXDPMScheduler

from vap.pipelines.work import EVERYTHING, StepWork

StepCallback = Callable[[Any, int, torch.Tensor, dict[str, Any]], dict[str, Any]]


class Denoiser(Protocol):
    """Makes one guided prediction; knows the model's conditions, nothing of the schedule."""

    def predict(
        self, latents: torch.Tensor, timestep: torch.Tensor, work: StepWork = EVERYTHING
    ) -> torch.Tensor:
        """Model output for noisy latents at one timestep, guidance applied."""
        ...

    @property
    def tensors(self) -> dict[str, torch.Tensor | None]:
        """Conditions that a step callback may read, by name."""
        ...

    def replace(self, name: str, tensor: torch.Tensor) -> None:
        """Take a condition that a step callback gave back, or changed in place."""
        ...

    def guide(self, scale: float) -> None:
        """Take a scale of guidance by the text that a step callback set."""
        ...


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
        """Move a prediction by all guidance that there is.

        Args:
            conditional: The prediction.
            unconditional: That of the negative prompt; None without guidance by the text.
            by_reference: The prediction less that without the references: all that these change;
                None without guidance by the reference.
            timestep: Of the step.
        """
        guided = conditional
        if unconditional is not None:
            guided = self.combine(conditional, unconditional, timestep)
        if by_reference is not None:
            guided = guided + (self.reference - 1.0) * by_reference
        return guided


class SchedulerStep:
    """Calls ``scheduler.step``, which takes a generator or η only in some schedulers."""

    def __init__(
        self,
        scheduler: Any,
        generator: torch.Generator | list[torch.Generator] | None = None,
        eta: float = 0.0,
    ) -> None:
        self.scheduler = scheduler
        accepted = inspect.signature(scheduler.step).parameters
        offered = {"generator": generator, "eta": eta}
        self._extra = {name: value for name, value in offered.items() if name in accepted}
        self._previous_timestep: torch.Tensor | None = None
        self._previous_clean: torch.Tensor | None = None

    def __call__(
        self, prediction: torch.Tensor, timestep: torch.Tensor, latents: torch.Tensor
    ) -> torch.Tensor:
        """Latents of the next, less noisy step."""
        if not isinstance(self.scheduler, CogVideoXDPMScheduler):
            return self.scheduler.step(
                prediction, timestep, latents, **self._extra, return_dict=False
            )[0]
        # This multistep solver leaves it to the caller to remember its last step.
        latents, self._previous_clean = self.scheduler.step(
            prediction,
            self._previous_clean,
            timestep,
            self._previous_timestep,
            latents,
            **self._extra,
            return_dict=False,
        )
        self._previous_timestep = timestep
        return latents


@dataclass(frozen=True, slots=True)
class StepEnd:
    """What to call after every step: a function, and the names of the tensors that it gets."""

    function: StepCallback | None = None
    tensor_names: Sequence[str] = ("latents",)

    @classmethod
    def of(
        cls,
        function: StepCallback | PipelineCallback | MultiPipelineCallbacks | None,
        tensor_names: Sequence[str],
        allowed: Sequence[str],
    ) -> StepEnd:
        """Check a callback against the tensors that a pipeline offers."""
        if isinstance(function, PipelineCallback | MultiPipelineCallbacks):
            tensor_names = function.tensor_inputs
        unknown = sorted(set(tensor_names) - set(allowed))
        if unknown:
            raise ValueError(
                f"callback_on_step_end_tensor_inputs names {unknown}; "
                f"this pipeline offers {list(allowed)}."
            )
        return cls(function, tuple(tensor_names))


def denoise(
    pipeline: Any,
    denoiser: Denoiser,
    latents: torch.Tensor,
    step: SchedulerStep,
    *,
    num_inference_steps: int,
    latents_dtype: torch.dtype,
    on_step_end: StepEnd,
) -> torch.Tensor:
    """Denoise latents over the scheduler's timesteps.

    Args:
        pipeline: Gives the progress bar, and is told the timestep and handed to the callback;
            its ``interrupt`` ends the loop early, its ``reuse`` says what steps take over.
        denoiser: Makes the guided predictions.
        latents: Initial noise.
        step: Advances the latents.
        num_inference_steps: Steps as asked for, for the progress bar.
        latents_dtype: Precision of the latents between steps.
        on_step_end: The user's callback.

    Returns:
        Clean latents.
    """
    scheduler = step.scheduler
    timesteps = scheduler.timesteps
    schedule = pipeline.reuse.schedule(len(timesteps))
    carries_on = not all(work.model for work in schedule)
    made: list[tuple[float, torch.Tensor]] = []
    warmup = max(len(timesteps) - num_inference_steps * scheduler.order, 0)
    with pipeline.progress_bar(total=num_inference_steps) as progress:
        for index, timestep in enumerate(timesteps):
            if pipeline.interrupt:
                break
            pipeline._current_timestep = timestep
            if schedule[index].model:
                prediction = denoiser.predict(latents, timestep, schedule[index])
                if carries_on:
                    made = [*made[-1:], (float(timestep), prediction)]
            else:
                prediction = _carried_on(made, float(timestep))
            latents = step(prediction, timestep, latents).to(latents_dtype)
            if on_step_end.function is not None:
                latents = _call_back(pipeline, denoiser, latents, index, timestep, on_step_end)
            last = index == len(timesteps) - 1
            if last or ((index + 1) > warmup and (index + 1) % scheduler.order == 0):
                progress.update()
    pipeline._current_timestep = None
    return latents


def _carried_on(made: Sequence[tuple[float, torch.Tensor]], timestep: float) -> torch.Tensor:
    """The straight line through the last two predictions over the timestep, or the only one."""
    *earlier, (last_time, last) = made
    if not earlier:
        return last
    ((time, prediction),) = earlier
    return torch.lerp(prediction, last, (timestep - time) / (last_time - time))


def check_finite(made: torch.Tensor, module: Any) -> None:
    """Refuse NaN and infinity, which would be shown as black."""
    if not made.isfinite().all():
        dtype = str(module.dtype).removeprefix("torch.")
        raise ValueError(
            f"{type(module).__name__} gave non-finite values in {dtype}, so there is no picture. "
            "Use dtype=bfloat16 or float32; if it is one of them, weights of the model, its expert "
            "or an adapter are damaged."
        )


def _call_back(
    pipeline: Any,
    denoiser: Denoiser,
    latents: torch.Tensor,
    index: int,
    timestep: torch.Tensor,
    on_step_end: StepEnd,
) -> torch.Tensor:
    """Hand tensors to the user's callback and take back what it changed.

    As in diffusers it may return tensors, change the offered ones in place, or set the scale of
    guidance on the pipeline.
    """
    conditions = denoiser.tensors
    offered = {**conditions, "latents": latents}
    wanted = {name: offered[name] for name in on_step_end.tensor_names}
    versions = {name: _version(tensor) for name, tensor in wanted.items()}
    scale = pipeline._guidance_scale
    assert on_step_end.function is not None
    returned = on_step_end.function(pipeline, index, timestep, dict(wanted)) or {}
    for name, before in conditions.items():
        tensor = returned.get(name, before)
        in_place = name in wanted and _version(before) != versions[name]
        if tensor is not None and (tensor is not before or in_place):
            denoiser.replace(name, tensor)
    if pipeline._guidance_scale != scale:
        denoiser.guide(pipeline._guidance_scale)
    return returned.get("latents", latents)


def _version(tensor: torch.Tensor | None) -> object:
    """Equal before and after, if and only if nobody wrote to the tensor meanwhile."""
    if tensor is None:
        return None
    # Tensors of inference mode count nothing: any of them may have been written to.
    return object() if tensor.is_inference() else tensor._version
