"""Recipe files: found by path or by name, derived from a base, changed from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

PACKAGED = Path(__file__).parent / "configs"
_BASE = "base"
_DEEPEST = 8


class RecipeError(ValueError):
    """A recipe cannot be used; the message lists every problem and where it is."""


def packaged_recipes() -> list[str]:
    """Names of the recipes that ship with the package."""
    return sorted(
        str(path.relative_to(PACKAGED).with_suffix("")) for path in PACKAGED.rglob("*.yaml")
    )


def find_recipe(name: Path) -> Path:
    """A recipe file by its path, or by the name of one that ships with the package.

    Raises:
        FileNotFoundError: If there is none.
    """
    if name.is_file():
        return name
    # A folder such as "." has no name that a suffix could be put to.
    packaged = PACKAGED / name.with_suffix(".yaml") if name.name else PACKAGED
    if not name.is_absolute() and packaged.is_file():
        return packaged
    message = (
        f"There is no recipe {str(name)!r}. Give the path of a YAML file, or one of: "
        f"{', '.join(packaged_recipes())}."
    )
    raise FileNotFoundError(message)


def read_tree(path: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Keys and values of a recipe file, its base's below its own, then the overrides.

    Args:
        path: YAML file. Its key ``base`` names another file, relative to it.
        overrides: ``"loop.steps=100"``-like changes, values in YAML.

    Raises:
        FileNotFoundError: If the file or a base is missing.
        RecipeError: If a file is not a mapping, or an override is not of that form.
    """
    tree = _read(path, _DEEPEST)
    for override in overrides:
        _apply(tree, override)
    return tree


def _read(path: Path, deeper: int) -> dict[str, Any]:
    if not path.is_file():
        message = f"There is no recipe {str(path)!r}. Give the path of a YAML file."
        raise FileNotFoundError(message)
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        message = f"{path} is not a YAML file: {error}"
        raise RecipeError(message) from error
    if not isinstance(tree, dict):
        message = f"{path} holds {type(tree).__name__}, not a mapping of recipe keys."
        raise RecipeError(message)
    base = tree.pop(_BASE, None)
    if base is None:
        return tree
    if not isinstance(base, str) or not deeper:
        message = f"{path}: base={base!r} must name a recipe file that does not lead back here."
        raise RecipeError(message)
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
        message = f"The override {override!r} is not of the form key.subkey=value."
        raise RecipeError(message)
    *parents, last = key.split(".")
    node = tree
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            message = f"The override {override!r} goes through {parent!r}, which is not a section."
            raise RecipeError(message)
    try:
        node[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        message = f"The override {override!r} has no readable value: {error}"
        raise RecipeError(message) from error
