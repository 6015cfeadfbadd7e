"""The tasks that a system has paid for, written down before and after each step."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

State = Literal["submitted", "accepted", "refused", "lost", "failed", "done"]
"""``submitted``: sent, no answer known. ``lost``: may have been paid for, cannot be asked."""

_FILE = "ledger.jsonl"


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Entry:
    """One submission of a job.

    Attributes:
        job: Digest of all that is asked for.
        case: Case, seed and variant, for a reader.
        id: Our own id of the submission.
        state: How far it is.
        price: What it is expected to cost.
        at: When it was submitted, in seconds since 1970.
        task: The service's id.
        cost: What the service says that it cost; None if it says nothing.
        error: Why it has ended without a video.
        sha256: Of the video.
        seconds: From the submission to the video.
    """

    job: str
    case: str
    id: str
    state: State
    price: float
    at: float
    task: str = ""
    cost: float | None = None
    error: str = ""
    sha256: str = ""
    seconds: float = 0.0

    @property
    def paid(self) -> float:
        """What counts in the budget: also what may have been paid."""
        if self.state == "refused":
            return 0.0
        return self.price if self.cost is None else self.cost


class Ledger:
    """All submissions of a system; the last line of an id is its state."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, Entry] = {}
        if path.exists():
            self._read()

    def of(self, job: str) -> Entry | None:
        """The newest submission of a job that was not refused."""
        entries = (entry for entry in self._entries.values() if entry.job == job)
        return next((e for e in reversed(list(entries)) if e.state != "refused"), None)

    @property
    def paid(self) -> float:
        """The sum of what was paid, or may have been."""
        return math.fsum(entry.paid for entry in self._entries.values())

    def write(self, entry: Entry, **changes: object) -> Entry:
        """Write the new state of a submission; it is on the disk when this returns."""
        entry = replace(entry, **changes)  # type: ignore[arg-type]
        line = json.dumps(asdict(entry)) + "\n"
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._entries[entry.id] = entry
        return entry

    def _read(self) -> None:
        *lines, torn = self._path.read_bytes().split(b"\n")
        if torn:
            # A kill while writing: what follows such a line was not begun.
            os.truncate(self._path, self._path.stat().st_size - len(torn))
        for number, line in enumerate(lines, 1):
            try:
                entry = TypeAdapter(Entry).validate_json(line)
            except ValidationError as error:
                raise ValueError(
                    f"{self._path}, line {number} is no entry of a ledger of paid tasks. Restore "
                    "the file: without it, tasks may be paid for twice."
                ) from error
            self._entries[entry.id] = entry


@contextmanager
def opened_ledger(folder: Path) -> Iterator[Ledger]:
    """Open the ledger of a system's folder, for one process at a time.

    Raises:
        ValueError: If another run uses it, or it is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "ledger.lock", timeout=0):
            yield Ledger(folder / _FILE)
    except Timeout:
        raise ValueError(
            f"Another run submits tasks with {folder / _FILE}. Wait for it, or stop it."
        ) from None
