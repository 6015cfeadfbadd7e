"""Read a training recipe: a YAML file of one stage, checked key by key before anything is built."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from vap.files.yaml_text import brief
from vap.training.recipe_files import RecipeError, find_recipe, read_tree
from vap.training.sections import Recipe


class Stage(NamedTuple):
    """Where a stage is: the module and class of its recipe, and the module with ``run(recipe)``."""

    recipes: str
    recipe: str
    runs: str


_TUNING, _MINI = "vap.training.tuning_config", "vap.mini.training.mini_recipe"
_MINI_STAGES = "vap.mini.training.stages"
# By name, so that a stage costs the imports of its own networks only, and training none of mini.
STAGES = {
    "sft": Stage(_TUNING, "SFTStage", "vap.training.stages.sft"),
    "dpo": Stage(_TUNING, "DPOStage", "vap.training.stages.dpo"),
    "distill": Stage(_TUNING, "DistillStage", "vap.training.stages.distill"),
    "vae": Stage(_MINI, "VAEStage", f"{_MINI_STAGES}.vae_stage"),
    "latents": Stage(_MINI, "LatentsStage", f"{_MINI_STAGES}.latents_stage"),
    "backbone": Stage(_MINI, "BackboneStage", f"{_MINI_STAGES}.backbone_stage"),
    "expert": Stage(_MINI, "ExpertStage", f"{_MINI_STAGES}.expert_stage"),
    "export": Stage(_MINI, "ExportStage", f"{_MINI_STAGES}.export_stage"),
    "demo": Stage(_MINI, "DemoStage", f"{_MINI_STAGES}.demo_stage"),
}
_SHOWN, _LONGEST = 12, 100  # problems, and characters of a key


def load_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        path: YAML file of one stage, or the name of a recipe that ships with the package.
        overrides: ``"loop.steps=100"``-like changes, values in YAML.

    Raises:
        FileNotFoundError: If there is no such file.
        RecipeError: If the file is not a mapping, or a key or value is not allowed.
    """
    file = find_recipe(path)
    return parse_recipe(read_tree(file, overrides), source=str(file))


def parse_recipe(tree: dict[str, Any], source: str = "the recipe") -> Recipe:
    """Check keys and values of one stage.

    Args:
        tree: Plain values.
        source: What error messages call it.

    Raises:
        RecipeError: Naming each wrong key with the nearest valid one, and each wrong value.
    """
    stage = tree.get("stage")
    if not isinstance(stage, str) or stage not in STAGES:
        raise RecipeError(
            f"{source} is not a valid recipe: stage must be one of {', '.join(STAGES)} "
            f"(given {brief(stage)})."
        )
    kind = recipe_class(stage)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        found = error.errors()
        problems = [f"  {_explain(dict(entry), stage, kind)}" for entry in found[:_SHOWN]]
        if len(found) > _SHOWN:
            problems.append(f"  and {len(found) - _SHOWN} more")
        raise RecipeError("\n".join([f"{source} is not a valid recipe:", *problems])) from error


def recipe_class(stage: str) -> type[Recipe]:
    """The recipe class of a stage."""
    place = STAGES[stage]
    kind: type[Recipe] = getattr(importlib.import_module(place.recipes), place.recipe)
    return kind


def _explain(entry: dict[str, Any], stage: str, kind: type[Recipe]) -> str:
    keys = [str(part) for part in entry["loc"]]
    where = (".".join(keys) or stage)[:_LONGEST]
    if entry["type"] == "extra_forbidden":
        allowed = _allowed_keys(kind, keys[:-1])
        nearest = difflib.get_close_matches(keys[-1], allowed, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"allowed: {', '.join(allowed)}"
        return f"{where}: unknown key; {hint}"
    message = str(entry["msg"]).removeprefix("Value error, ")
    given = entry.get("input")
    # A problem of several keys names them; the whole section would bury it.
    return f"{where}: {message}" + ("" if isinstance(given, dict) else f" (given {brief(given)})")


def _allowed_keys(kind: type[BaseModel], parents: list[str]) -> list[str]:
    section: type[BaseModel] | None = kind
    for parent in parents:
        annotation: Any = section.model_fields[parent].annotation if section else None
        section = annotation if isinstance(annotation, type) else None
    return sorted(section.model_fields) if section else []
