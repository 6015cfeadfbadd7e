"""Systems and metrics by name: ready-made settings, and YAML files of the user's own."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from vap.files.names import did_you_mean
from vap.files.yaml_text import LARGEST, parse_yaml

Item = TypeVar("Item", bound=BaseModel)

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Registry(Generic[Item]):
    """Kinds of systems or metrics; classes are imported when they are used.

    Attributes:
        what: ``system`` or ``metric``, for messages.
        kinds: ``module:Class`` by the name of the kind.
        folders: Where ready-made ``NAME.yaml`` are.
    """

    what: str
    kinds: Mapping[str, str]
    folders: tuple[Path, ...]

    def extended(self, kinds: Mapping[str, str], *folders: Path) -> Registry[Item]:
        """Add kinds and ready-made settings of a higher layer."""
        return replace(self, kinds={**self.kinds, **kinds}, folders=(*self.folders, *folders))

    def names(self) -> list[str]:
        """Names of the ready-made settings, in alphabetical order."""
        return sorted({path.stem for folder in self.folders for path in folder.glob("*.yaml")})

    def read(self, text: str) -> Item:
        """Read ready-made settings by their name, or a YAML file by its path.

        Raises:
            FileNotFoundError: If there is neither.
            ValueError: If the settings are not valid.
        """
        path = self._path(text)
        try:
            with path.open(encoding="utf-8") as file:
                content = parse_yaml(file.read(LARGEST + 1))
        except ValueError as error:
            raise ValueError(f"{path} is not YAML: {error}") from error
        if not isinstance(content, dict):
            raise ValueError(f"{path} must be a mapping such as 'kind: {next(iter(self.kinds))}'.")
        return self.build({"name": path.stem, **content}, str(path))

    def read_all(self, texts: Iterable[str]) -> list[Item]:
        """Read several, whose names must differ."""
        items = [self.read(text) for text in dict.fromkeys(texts)]
        names = [self.name_of(item) for item in items]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(
                f"Several {self.what}s are called {', '.join(twice)}. Give each a name of its own."
            )
        return items

    def build(self, config: Mapping[str, Any], source: str) -> Item:
        """Make an item of its settings, the kind among them; errors name the source."""
        settings = dict(config)
        kind = settings.pop("kind", None)
        if not isinstance(kind, str) or kind not in self.kinds:
            raise ValueError(
                f"{source}: {kind!r} is no kind of {self.what}."
                f"{did_you_mean(str(kind), self.kinds)} Use one of: "
                f"{', '.join(sorted(self.kinds))}."
            )
        module, _, name = self.kinds[kind].partition(":")
        made: type[Item] = getattr(importlib.import_module(module), name)
        try:
            return made.model_validate(settings)
        except ValidationError as error:
            raise ValueError(f"{source}: {self._explained(made, error)}") from error

    @staticmethod
    def name_of(item: BaseModel) -> str:
        """The name that every item has."""
        name: str = getattr(item, "name")  # noqa: B009 - of both Item types, not of BaseModel
        return name

    def _path(self, text: str) -> Path:
        for folder in self.folders:
            # The names that there are: no name leads out of the folder.
            if text in {path.stem for path in folder.glob("*.yaml")}:
                return folder / f"{text}.yaml"
        path = Path(text)
        if path.suffix in _SUFFIXES and path.is_file():
            return path
        names = self.names()
        raise FileNotFoundError(
            f"There is no {self.what} {text!r}.{did_you_mean(text, names)} Give the path of a "
            f".yaml file, or one of: {', '.join(names)}."
        )

    @staticmethod
    def _explained(made: type[BaseModel], error: ValidationError) -> str:
        """What is wrong with the settings, in one line."""
        said = []
        for fault in error.errors(include_url=False, include_context=False):
            where = ".".join(map(str, fault["loc"]))
            if fault["type"] == "extra_forbidden":
                known = [name for name in made.model_fields if name != "name"]
                hint = did_you_mean(where, known) or f" Known are: {', '.join(known)}."
                said.append(f"{where!r} is no setting.{hint}")
            else:
                said.append(f"{where}: {fault['msg']}." if where else f"{fault['msg']}.")
        return " ".join(said)


def described(item: BaseModel) -> dict[str, Any]:
    """Settings that :meth:`Registry.build` makes an equal item of. JSON values."""
    kind: str = getattr(item, "kind")  # noqa: B009 - of both Item types, not of BaseModel
    return {"kind": kind, **item.model_dump(mode="json")}
