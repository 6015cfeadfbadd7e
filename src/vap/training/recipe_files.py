"""Recipe files: found by path or by name, derived from a base, changed from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vap.files.yaml_text import LARGEST, brief, parse_yaml

_PACKAGED = Path(__file__).parent / "recipes"
_MINI = "vap-mini"
_PACKAGED_MINI = Path(__file__).parents[1] / "mini" / "recipes"
_BASE = "base"
_DEEPEST = 8


class RecipeError(ValueError):
    """A recipe cannot be used; the message lists every problem and where it is."""


def packaged_recipes() -> list[str]:
    """Names of the recipes that ship with the package."""
    full = [str(path.relative_to(_PACKAGED).with_suffix("")) for path in _PACKAGED.rglob("*.yaml")]
    return sorted(full + [f"{_MINI}/{path.stem}" for path in _PACKAGED_MINI.glob("*.yaml")])


def find_recipe(name: Path) -> Path:
    """A recipe file by its path, or by the name of one that ships with the package."""
    if name.is_file():
        return name
    if str(name.with_suffix("") if name.name else name) in packaged_recipes():
        folder = _PACKAGED_MINI if name.parts[0] == _MINI else _PACKAGED / name.parent
        return folder / f"{name.stem}.yaml"
    raise FileNotFoundError(
        f"There is no recipe {str(name)!r}. Give the path of a YAML file, or one of: "
        f"{', '.join(packaged_recipes())}."
    )


def read_tree(path: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Keys and values of a recipe file, its base's below its own, then the overrides."""
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
        raise RecipeError(f"{path} holds {type(tree).__name__}, not a mapping of recipe keys.")
    base = tree.pop(_BASE, None)
    if base is None:
        return tree
    if not isinstance(base, str) or not deeper:
        raise RecipeError(
            f"{path}: base={brief(base)} must name a recipe file that does not lead back here."
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
                f"The override {brief(override)} goes through {brief(parent)}, which is no section."
            )
    try:
        node[last] = parse_yaml(value)
    except ValueError as error:
        raise RecipeError(
            f"The override {brief(override)} has no readable value: {error}"
        ) from error
