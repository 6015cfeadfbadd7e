"""Rows in a file of JSON lines that survives a kill at any moment."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from vap.files.atomic import atomic_file


class _Row(Protocol):
    @property
    def key(self) -> Hashable: ...


Row = TypeVar("Row", bound=_Row)


class Journal(Generic[Row]):
    """Rows of one kind, the last of each key; one process writes at a time."""

    def __init__(self, path: Path, kind: type[Row]) -> None:
        self._path = path
        self._adapter = TypeAdapter(kind)
        self.rows: dict[Hashable, Row] = {row.key: row for row in self._read()}

    def add(self, rows: Iterable[Row]) -> None:
        """Append rows in one write; they are in the file when this returns."""
        fresh = list(rows)
        with self._path.open("a", encoding="utf-8") as file:
            file.write("".join(map(_line, fresh)))
        self.rows.update((row.key, row) for row in fresh)

    def rewrite(self, kept: Callable[[Row], bool], order: Iterable[Hashable] = ()) -> None:
        """Write the file whole, one row a key; drop rows, and what a kill cut off.

        Args:
            kept: Which rows stay.
            order: Keys whose rows come first, in this order.
        """
        keys = dict.fromkeys([*(key for key in order if key in self.rows), *self.rows])
        self.rows = {key: self.rows[key] for key in keys if kept(self.rows[key])}
        with atomic_file(self._path) as temporary:
            temporary.write_text("".join(map(_line, self.rows.values())), encoding="utf-8")

    def _read(self) -> list[Row]:
        """All whole lines; a line that a kill cut off is no row."""
        if not self._path.is_file():
            return []
        found = []
        for line in self._path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                found.append(self._adapter.validate_json(line))
            except ValidationError:
                continue
        return found


def _line(row: object) -> str:
    return json.dumps(asdict(row)) + "\n"  # type: ignore[call-overload]  # rows are dataclasses
