"""Candidates of the front: settings by name, in groups that differ in one thing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vap.acceleration.profiles import Settings
from vap.pipelines.denoise import Reuse


@dataclass(frozen=True, slots=True)
class Candidate:
    """One point.

    Attributes:
        group: What it is drawn together with.
        amount: Of what the group varies.
        settings: What it does.
        step_cache: Which cache of diffusers runs besides, of :mod:`benchmarks.fidelity_caches`;
            ``amount`` is what it is told.
    """

    group: str
    amount: float
    settings: Settings
    step_cache: str | None = None


EXACT, STEPS, REFERENCES, CARRIED, GUIDANCE, HALF, LIBRARY, TOGETHER, STUDENT = (
    "exact",
    "fewer steps",
    "references kept",
    "predictions carried on",
    "guidance kept",
    "bfloat16 VAE",
    "caches of diffusers",
    "together",
    "student",
)
_LIBRARY = {"FirstBlockCache": (0.1, 0.2), "MagCache": (0.06, 0.12, 0.24), "TaylorSeer": (2, 3)}


def candidates(
    native_steps: int, *, guided: bool, student: bool = False
) -> Mapping[str, Candidate]:
    """What is tried for a model.

    Args:
        native_steps: Its own number of denoising steps.
        guided: Whether it runs with guidance.
        student: Whether it has a few-step student.

    Returns:
        By name, the exact profile first.
    """
    found = dict(_candidates(native_steps, guided=guided))
    return found | dict(_of_student(native_steps)) if student else found


def _candidates(native: int, *, guided: bool) -> Iterator[tuple[str, Candidate]]:
    yield "exact", Candidate(EXACT, 1, Settings())
    shares = (2 / 3, 1 / 2, 1 / 3, 1 / 4, 1 / 6, 1 / 12)
    fewer = sorted({max(1, round(native * share)) for share in shares})
    for steps in reversed(fewer):
        share = steps / native
        yield _steps(steps), Candidate(STEPS, steps, Settings(share))
    for every in (2, 3, 4, 6, native):
        name = f"references every {every}"
        yield name, Candidate(REFERENCES, every, Settings(reuse=Reuse(references=every)))
    for every in (2, 3):
        name = f"model every {every}"
        yield name, Candidate(CARRIED, every, Settings(reuse=Reuse(model=every, warm_up=2)))
    for every in sorted({2, 4, native}) if guided else ():
        name = f"guidance every {every}"
        yield name, Candidate(GUIDANCE, every, Settings(reuse=Reuse(guidance=every)))
    yield "bfloat16 VAE", Candidate(HALF, 1, Settings(half_vae=True))
    for name, amounts in _LIBRARY.items():
        for amount in amounts:
            yield f"{name} {amount}", Candidate(LIBRARY, amount, Settings(), name)
    for steps in reversed(fewer[:4]):
        for every in sorted({1, 2, steps}):
            if every <= steps:
                settings = Settings(steps / native, Reuse(references=every), half_vae=True)
                kept = f", references every {every}" if every > 1 else ""
                name = f"{_steps(steps)}{kept}, bfloat16 VAE"
                yield name, Candidate(TOGETHER, steps, settings)


def _of_student(native: int) -> Iterator[tuple[str, Candidate]]:
    for steps in (2, 1):
        for every in range(1, steps + 1):
            reuse = Reuse(references=every)
            settings = Settings(steps / native, reuse, half_vae=True, student=True)
            kept = f", references every {every}" if every > 1 else ""
            name = f"student, {_steps(steps)}{kept}, bfloat16 VAE"
            yield name, Candidate(STUDENT, steps, settings)


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"
