"""Read what a run has written."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from vap.evaluation.case import Case
from vap.evaluation.journal import Journal
from vap.evaluation.metrics.base import Metric
from vap.evaluation.registry import Registry
from vap.evaluation.rows import (
    ScoreRow,
    VideoKey,
    VideoRow,
    hash_of_videos,
    scored_videos,
)
from vap.evaluation.run import RUN, SCORES, VIDEOS
from vap.evaluation.systems.base import System, Variant

_NOT_SETTINGS = {"identity", "unusable"}


@dataclass(frozen=True)
class RunFolder:
    """A run as its folder tells it.

    Attributes:
        folder: The folder.
        record: What ``run.json`` holds.
        cases: Cases in their order, with paths that exist from here.
        systems: In the order of the rows.
        metrics: In the order of the columns.
        videos: Rows of the run's systems and cases.
        scores: Rows of the run's systems, cases and metrics.
    """

    folder: Path
    record: dict[str, Any]
    cases: tuple[Case, ...]
    systems: tuple[System, ...]
    metrics: tuple[Metric, ...]
    videos: tuple[VideoRow, ...]
    scores: tuple[ScoreRow, ...]

    @property
    def unusable(self) -> dict[str, str]:
        """Why a metric could not run, by its name."""
        metrics = self.record["metrics"]
        return {each["name"]: each["unusable"] for each in metrics if each.get("unusable")}

    def video(self, system: str, case: Case, variant: Variant = "own") -> Path | None:
        """A system's video of a case, of the first seed; None if there is none."""
        for row in self.videos:
            place = (row.system, row.case, row.variant)
            if place == (system, case.name, variant) and row.sha256 is not None:
                return self.folder / row.file
        return None


def read_run_folder(
    folder: Path, systems: Registry[System], metrics: Registry[Metric]
) -> RunFolder:
    """Read a run.

    Raises:
        FileNotFoundError: If the folder has no run.
        ValueError: If the record is damaged or of another version.
    """
    path = folder / RUN
    if not path.is_file():
        raise FileNotFoundError(f"There is no run in {folder}. Start one with `vap eval run`.")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        cases = tuple(_case(each, folder) for each in record["benchmark"]["cases"])
        own_systems = tuple(_built(systems, each, path) for each in record["systems"])
        own_metrics = tuple(_built(metrics, each, path) for each in record["metrics"])
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}). Run the evaluation again.") from error
    names, kinds = {case.name for case in cases}, {each.name for each in own_systems}
    videos = {
        row.key: row
        for row in Journal(folder / VIDEOS, VideoRow).rows.values()
        if row.system in kinds and row.case in names
    }
    variants = {metric.name: metric.variants for metric in own_metrics}

    def is_current(row: ScoreRow) -> bool:
        """Whether a score is of this run, and of the videos that are there now."""
        if row.system not in kinds or row.case not in names or row.metric not in variants:
            return False
        key: VideoKey = (row.system, row.case, row.seed, "own")
        made = scored_videos(videos, key, variants[row.metric])
        return bool(made) and hash_of_videos(made) == row.sha256

    scores = Journal(folder / SCORES, ScoreRow).rows.values()
    return RunFolder(
        folder,
        record,
        cases,
        own_systems,
        own_metrics,
        tuple(videos.values()),
        tuple(row for row in scores if is_current(row)),
    )


def _built(registry: Registry[Any], config: dict[str, Any], path: Path) -> Any:
    settings = {name: value for name, value in config.items() if name not in _NOT_SETTINGS}
    return registry.build(settings, str(path))


def _case(values: dict[str, Any], folder: Path) -> Case:
    known = {field.name for field in fields(Case)}
    paths = {"image", "reference", "truth"}
    return Case(
        **{
            name: folder / value if name in paths and value is not None else value
            for name, value in values.items()
            if name in known
        }
    )
