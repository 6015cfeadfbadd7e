"""The one denoising loop of the project, the work of its steps and their noise levels."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers import UniPCMultistepScheduler
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from diffusers.schedulers import CogVideoXDPMScheduler

from vap.models.reference_cache import ReferenceUse

if TYPE_CHECKING:
    from vap.pipelines.denoiser import GuidedDenoiser

StepCallback = Callable[[Any, int, torch.Tensor, dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class StepWork:
    """One step's work."""

    model: bool = True  # Whether the transformer runs; else its predictions are extrapolated
    # Whether the unconditional pass runs; else the last difference of both passes stands for
    # today's
    guidance: bool = True
    # What is done with the reference stream, see :mod:`vap.models.reference_cache`
    references: ReferenceUse = "run"


EVERYTHING = StepWork()


@dataclass(frozen=True, slots=True)
class Reuse:
    """How much of a generation is taken from earlier steps.

    The first ``warm_up`` steps compute everything. After them each kind of work is done at every
    k-th step, counted from the end of the warm-up. The last step always runs the transformer, but
    may take over the rest as any other.
    """

    model: int = 1  # k of the transformer; 1 runs it at every step
    # k of the unconditional pass, counted over the steps that run the transformer
    guidance: int = 1
    references: int = 1  # k of the reference stream, the same
    warm_up: int = 1  # Steps at the start that compute everything; at least 1

    def __post_init__(self) -> None:
        for name in ("model", "guidance", "references", "warm_up"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"Reuse({name}={value}): it must be at least 1 (no reuse).")

    @property
    def nothing(self) -> bool:
        """Whether every step computes everything."""
        return max(self.model, self.guidance, self.references) == 1

    def schedule(self, steps: int) -> tuple[StepWork, ...]:
        """The work of each of so many steps."""
        return tuple(self._work(index, steps) for index in range(steps))

    def _work(self, index: int, steps: int) -> StepWork:
        place = index - self.warm_up + 1
        if place <= 0 or self.nothing:
            keeps: ReferenceUse = "run" if self.references == 1 else "record"
            return StepWork(references=keeps)
        last = index == steps - 1
        if not last and place % self.model:
            return StepWork(model=False, guidance=False, references="read")
        # Of the steps that run the transformer, not of all.
        ran = -(-place // self.model)
        guidance = ran % self.guidance == 0
        if self.references == 1:
            return StepWork(guidance=guidance)
        return StepWork(guidance=guidance, references="read" if ran % self.references else "record")


NOTHING = Reuse()


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
    denoiser: GuidedDenoiser,
    latents: torch.Tensor,
    step: SchedulerStep,
    *,
    num_inference_steps: int,
    latents_dtype: torch.dtype,
    on_step_end: StepEnd,
) -> torch.Tensor:
    """Denoise latents over the scheduler's timesteps.

    Args:
        pipeline: Gives the progress bar, gets the timestep, and is passed to the callback;
            its ``interrupt`` ends the loop early, its ``reuse`` says what steps take over.
        denoiser: Makes the guided predictions.
        latents: Initial noise.
        step: Advances the latents.
        num_inference_steps: Steps as asked for, for the progress bar.
        latents_dtype: Precision of the latents between steps.
        on_step_end: The user's callback.
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
            f"{type(module).__name__} gave non-finite values in {dtype}. Use dtype=bfloat16 or "
            "float32. If it is one of these, weights of the model, its expert or an adapter are "
            "damaged."
        )


def _call_back(
    pipeline: Any,
    denoiser: GuidedDenoiser,
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


def set_flow_timesteps(
    scheduler: Any,
    num_inference_steps: int,
    strength: float,
    device: torch.device,
    *,
    even: bool = False,
) -> None:
    """Set a schedule: as stock diffusers at strength 0 (no reference), as released at 1.

    ``even`` spaces noise levels from 1 to 0 before the shift, as step distillation does.
    """
    sigmas = (
        np.linspace(1.0, 0.0, num_inference_steps + 1)[:-1]
        if even
        else released_sigmas(scheduler, num_inference_steps, strength)
    )
    if sigmas is None:
        scheduler.set_timesteps(num_inference_steps, device=device)
    else:
        scheduler.set_timesteps(sigmas=sigmas, device=device)


def released_sigmas(scheduler: Any, num_inference_steps: int, strength: float) -> np.ndarray | None:
    """Noise levels that the released Wan model was run with, where diffusers' have moved.

    The UniPC scheduler of diffusers 0.34 spaced its T flow noise levels, before the shift, from
    1 − 1/T down; today's start at 1. The difference is 3e-2 in the final latents of a
    short schedule, so the released numbers need the old ones, and the stock pipeline today's.
    Between the two, they follow the reference strength, so that results do too. None where the
    scheduler's own are right.
    """
    config = scheduler.config
    if not isinstance(scheduler, UniPCMultistepScheduler) or strength == 0.0:
        return None
    others = "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"
    spaced_otherwise = config.use_dynamic_shifting or any(config[name] for name in others)
    if not config.use_flow_sigmas or spaced_otherwise:
        return None
    lowest = 1.0 / config.num_train_timesteps
    return np.linspace(1.0, lowest, num_inference_steps + 1)[:-1] - strength * lowest
