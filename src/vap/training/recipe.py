"""Training recipes: YAML files of one stage, found, read and checked before anything is built."""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from vap.files.yaml_text import LARGEST, brief, parse_yaml
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
    "clips": Stage(_MINI, "ClipsStage", f"{_MINI_STAGES}.clips_stage"),
    "detail": Stage(_MINI, "DetailStage", f"{_MINI_STAGES}.detail_stage"),
    "demo": Stage(_MINI, "DemoStage", f"{_MINI_STAGES}.demo_stage"),
}
_PACKAGED = {
    "": Path(__file__).parent / "recipes",
    "vap-mini/": Path(__file__).parents[1] / "mini" / "recipes",
}
_BASE, _DEEPEST = "base", 8
_PROBLEMS, _LONGEST = 12, 100  # of a message: problems, and characters of a key


class RecipeError(ValueError):
    """A recipe cannot be used; the message lists every problem and where it is."""


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
        problems = [f"  {_explain(dict(entry), stage, kind)}" for entry in found[:_PROBLEMS]]
        if len(found) > _PROBLEMS:
            problems.append(f"  and {len(found) - _PROBLEMS} more")
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
    section: Any = kind
    for parent in parents:
        section = section.model_fields[parent].annotation
    return sorted(section.model_fields)


def packaged_recipes() -> dict[str, Path]:
    """Files of the recipes that ship with the package, by their names."""
    files = {
        above + str(path.relative_to(folder).with_suffix("")): path
        for above, folder in _PACKAGED.items()
        for path in folder.rglob("*.yaml")
    }
    return dict(sorted(files.items()))


def find_recipe(name: Path) -> Path:
    """A recipe file by its path, or by the name of one that ships with the package."""
    if name.is_file():
        return name
    packaged = packaged_recipes()
    if file := packaged.get(name.as_posix().removesuffix(".yaml")):
        return file
    raise FileNotFoundError(
        f"There is no recipe {str(name)!r}. Give the path of a YAML file, or one of: "
        f"{', '.join(packaged)}."
    )


def read_tree(path: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Keys and values of a recipe file over those of its base, then the overrides."""
    tree = _read(path, _DEEPEST)
    for override in overrides:
        _apply(tree, override)
    return tree


def _read(path: Path, deeper: int) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"There is no recipe {str(path)!r}. Give the path of a YAML file.")
    try:
        with path.open(encoding="utf-8") as file:
            tree = parse_yaml(file.read(LARGEST + 1))
    except ValueError as error:
        raise RecipeError(f"{path} is not a recipe in YAML: {error}") from error
    if not isinstance(tree, dict):
        raise RecipeError(f"{path} contains {type(tree).__name__}, not a mapping of recipe keys.")
    base = tree.pop(_BASE, None)
    if base is None:
        return tree
    if not isinstance(base, str) or not deeper:
        raise RecipeError(
            f"{path}: base={brief(base)} must name another recipe file, without a cycle."
        )
    return _merged(_read(path.parent / base, deeper - 1), tree)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Sections are merged key by key; every other value replaces the one below."""
    merged = dict(below)
    for key, value in above.items():
        mine = merged.get(key)
        both = isinstance(mine, dict) and isinstance(value, dict)
        merged[key] = _merged(mine, value) if both else value  # type: ignore[arg-type]
    return merged


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"The override {brief(override)} is not of the form key.subkey=value.")
    *parents, last = key.split(".")
    node = tree
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise RecipeError(
                f"The override {brief(override)} is invalid: {brief(parent)} is not a section."
            )
    try:
        node[last] = parse_yaml(value)
    except ValueError as error:
        raise RecipeError(
            f"The override {brief(override)} has no readable value: {error}"
        ) from error
