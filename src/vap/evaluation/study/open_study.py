"""Open the study of a run: its items, its answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vap.evaluation.study.store import NAME, Answer, Store

if TYPE_CHECKING:
    from vap.evaluation.run_folder import RunFolder
    from vap.evaluation.study.server import Study

_FOLDER = "study"


def open_study(run: RunFolder, systems: Sequence[str] = ()) -> Study:
    """Make what raters see of a run, and open their answers.

    Args:
        run: The run.
        systems: Only these; all by default.

    Raises:
        ValueError: If a system is unknown, or no case has videos of two systems.
    """
    from vap.evaluation.study.items import make_items
    from vap.evaluation.study.server import Study

    folder = run.folder / _FOLDER
    store = Store(folder / NAME)
    return Study(make_items(run, folder / "media", store.secret, systems=systems), store)


def stored_answers(folder: Path) -> list[Answer]:
    """Return all answers of the study of a run.

    Raises:
        FileNotFoundError: If there has been no study.
    """
    path = folder / _FOLDER / NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no study in {folder}. Start one with `vap eval study serve {folder}`."
        )
    return Store(path).answers()
