"""Time and memory of a request on this machine, predicted before it is made."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path

import torch

from vap.acceleration.calibration import Kind, settings_for
from vap.acceleration.plan import Profile, WantedVideo, memory_bytes
from vap.acceleration.profiles import GUESSES, Settings
from vap.cost.devices import DeviceSpec, host_memory, this_machine
from vap.cost.footprint import Video
from vap.cost.model import PlannedModel
from vap.cost.prediction import predict
from vap.cost.recorded import footprint
from vap.cost.released import planned_model
from vap.files.names import local_model
from vap.loading.memory import fitting, predictions
from vap.loading.pipeline import default_device, load_scheduler
from vap.models.expert_file import read_expert_info
from vap.process import quiet_libraries


@dataclass(frozen=True, slots=True)
class Work:
    """What decides time and memory of a request. For each field that is None, the model's own.

    Attributes:
        model: Bundled name, folder or Hub id.
        video: Size and number of references.
        steps: Denoising steps.
        guidance: Whether a step has classifier-free guidance.
        reference_guidance: Whether a step has guidance by the references.
        profile: ``exact``, ``fast`` or ``turbo``.
        check_reference: Whether a second video is made without the references.
        expert: Expert file in place of the model's own.
    """

    model: str
    video: WantedVideo = field(default_factory=WantedVideo)
    steps: int | None = None
    guidance: bool | None = None
    reference_guidance: bool | None = None
    profile: Profile | None = None
    check_reference: bool = False
    expert: Path | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a request takes.

    Attributes:
        seconds: Without the time to load the model.
        memory_bytes: At the peak, where the model runs.
        memory_available_bytes: What it may take there.
        fits: Whether that is enough; main memory for offloaded weights counts, too.
    """

    seconds: float
    memory_bytes: int
    memory_available_bytes: int
    fits: bool


@lru_cache(maxsize=256)
def estimate(work: Work, device: str | None = None, memory: str | None = None) -> Estimate | None:
    """Predict time and memory of a request.

    Args:
        work: The request.
        device: Where it runs; None for the best device.
        memory: Limit, as :func:`vap.load_pipeline` has it.

    Returns:
        The estimate; None for a model that would have to be downloaded first.
    """
    model = planned_model(work.model)
    if model is None:
        return None
    if work.expert is not None:
        model = model.with_expert(read_expert_info(work.expert).depths)
    machine = _measured(str(default_device()) if device is None else device)
    limit = machine.memory if memory in {None, "auto"} else memory_bytes(str(memory))
    video, keeps = _video(model, work)
    found = predictions(model, video, machine, machine.dtype, keep_references=keeps)
    if machine.is_cpu and memory is None:  # nothing is planned: the model is loaded as it is
        found = found[:1]
    fit = fitting(found, limit, host_memory()[1])
    # If no plan fits, the smallest.
    chosen = fit[0] if fit else min(found, key=lambda each: each.device_bytes)
    seconds = chosen.seconds
    if work.check_reference:
        traced = footprint(model, video, machine.dtype, keep_references=keeps)
        alone = replace(video, references=0, reference_guidance=False)
        again = predict(model, traced, alone, machine, chosen.plan, machine.dtype)
        seconds += again.seconds
    return Estimate(seconds, round(chosen.device_bytes), limit, bool(fit))


def profile_settings(
    name: str, planned: PlannedModel, profile: Profile | None
) -> tuple[Settings, bool]:
    """Return what a profile does for a model, and whether that was measured."""
    if profile in {None, "exact"}:
        return GUESSES["exact"], True
    assert profile is not None
    if local_model(name) is None:
        return GUESSES[profile], False
    guided = planned.guidance or planned.reference_guidance
    with quiet_libraries():
        scheduler = load_scheduler(name)
    chosen = settings_for(profile, Kind.by(planned.family, scheduler, planned.steps, guided=guided))
    return chosen.settings, not chosen.guessed


def _video(model: PlannedModel, work: Work) -> tuple[Video, bool]:
    """What is made, and whether references are kept over steps."""
    settings, _ = profile_settings(work.model, model, work.profile)
    own = Video.native(model, work.video)
    video = replace(
        own,
        steps=work.steps or max(1, round(settings.steps * own.steps)),
        guidance=_chosen(work.guidance, own.guidance),
        reference_guidance=_chosen(work.reference_guidance, own.reference_guidance),
    )
    return video, settings.reuse.references > 1


def _chosen(asked: bool | None, own: bool) -> bool:
    return own if asked is None else asked


@cache
def _measured(device: str) -> DeviceSpec:
    return this_machine(torch.device(device))
