"""What would stop a run before its first step, found without loading a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vap.files.atomic import check_makeable
from vap.files.names import resolve_folder
from vap.loading.pipeline import load_scheduler
from vap.training.checkpoints import read_identity
from vap.training.methods import strategy_for
from vap.training.parallel import check_residual, check_validation, layout_of
from vap.training.predictions import check_shift, flow_for
from vap.training.recipe_identity import check_continues, identity_of
from vap.training.run_plan import KNOWN, weightless
from vap.training.tracking import check_trackers
from vap.training.training_clips import clips_of
from vap.training.tuning_config import DistillStage, TuningStage
from vap.training.validation import Validation


def problems_of(recipe: TuningStage) -> list[Exception]:
    """Everything about a recipe that would be refused, or is not on this machine yet."""
    found: dict[str, Exception] = {}
    for check in _checks(recipe):
        try:
            check()
        except (ValueError, OSError, ImportError) as error:
            found.setdefault(str(error), error)  # a missing model is found by several
    return list(found.values())


def _checks(recipe: TuningStage) -> Iterator[Callable[[], object]]:
    start, every = recipe.model.start, recipe.validation.every
    yield lambda: check_trackers(recipe.run.trackers)
    yield lambda: _check_output(recipe)
    yield lambda: _check_files(recipe)
    yield lambda: check_validation(every, layout_of(recipe.run, recipe.hardware.gpus))
    yield lambda: strategy_for(recipe)
    if every:
        yield lambda: Validation(recipe, reads_references=strategy_for(recipe).reads_references)
    yield lambda: _check_family(recipe)
    yield lambda: clips_of(recipe, None if start in KNOWN else start)


def _check_output(recipe: TuningStage) -> None:
    check_makeable(recipe.output)
    before = read_identity(recipe.output / "checkpoint")
    if before is not None:
        check_continues(recipe.output, before, identity_of(recipe))


def _check_files(recipe: TuningStage) -> None:
    for key in ("expert", "lora"):
        file = getattr(recipe.model, key)
        if file is not None and not file.is_file():
            raise FileNotFoundError(f"model.{key} is {str(file)!r}, which does not exist.")


def _check_family(recipe: TuningStage) -> None:
    start = recipe.model.start
    family = weightless(start)[0]
    check_residual(recipe, family)
    if family == "cogvideox" or start in KNOWN:
        return
    flow_for(recipe.flow, resolve_folder(start))
    if isinstance(recipe, DistillStage) and recipe.objective == "consistency":
        check_shift(recipe.flow, load_scheduler(start).config)
