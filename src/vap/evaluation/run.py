"""Run an evaluation: make what is missing, score it, record all."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vap.evaluation.benchmarks.base import Benchmark, digest, media_digest
from vap.evaluation.case import Case
from vap.evaluation.journal import Journal
from vap.evaluation.metrics.base import Metric
from vap.evaluation.plan import Evaluation, Plan, Scoring, Task
from vap.evaluation.registry import Registry, described
from vap.evaluation.rows import ScoreKey, ScoreRow, VideoRow
from vap.evaluation.systems.base import System
from vap.evaluation.systems.kept import free_kept
from vap.evaluation.units import ScoreUnit, Unit, VideoUnit
from vap.evaluation.workers import Workers, work
from vap.files.atomic import check_makeable
from vap.files.errors import MediaError
from vap.files.json_files import write_json

RUN, VIDEOS, SCORES = "run.json", "videos.jsonl", "scores.jsonl"
_LOCK = ".lock"
_LIBRARIES = ("video-as-prompt", "torch", "diffusers", "transformers", "numpy", "av")
_SCORES_OF_A_UNIT = 16

Progress = Callable[[str, int, int], None]
"""Told what is made (videos or scores), how many are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What came of a run.

    Attributes:
        videos: Videos that are there.
        failed_videos: Videos that could not be made.
        scores: Scores that are there.
        failed_scores: Scores that could not be computed.
    """

    videos: int
    failed_videos: int
    scores: int
    failed_scores: int


def run(
    evaluation: Evaluation,
    output: Path,
    *,
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Make and score every video of an evaluation that is not there yet.

    After a kill at any moment, call it again: nothing that is recorded is made twice. What failed
    is tried again. A metric that cannot run here has no scores; the report says why.

    Args:
        evaluation: What.
        output: Folder of the run; it is made if it is missing.
        workers: Who does the work; by default this process.
        progress: Told how far the work is.

    Raises:
        ValueError: If a system cannot start, or another run writes to the folder.
    """
    check_makeable(output)
    output.mkdir(parents=True, exist_ok=True)
    with _alone(output):
        for system in evaluation.systems:
            system.check()
        plan = Plan(evaluation, output)
        report = progress or (lambda _, __, ___: None)
        write_json(output / RUN, run_record(plan))
        scores = _current_scores(plan)
        videos = _make_videos(plan, workers or Workers(), report)
        free_kept()  # metrics need the memory
        scored = _make_scores(plan, scores, videos, workers or Workers(), report)
    made = [videos.rows[task.key] for task in plan.tasks]
    return Summary(
        sum(row.error is None for row in made),
        sum(row.error is not None for row in made),
        sum(row.error is None for row in scored),
        sum(row.error is not None for row in scored),
    )


def run_record(plan: Plan) -> dict[str, Any]:
    """What is evaluated, as :data:`RUN` holds it. JSON values."""
    evaluation = plan.evaluation
    return {
        "benchmark": {
            "name": evaluation.benchmark.name,
            "identity": digest(plan.case_digests),
            "exact": evaluation.benchmark.exact,
            "cases": [_case(case, plan) for case in evaluation.benchmark.cases],
        },
        "systems": [
            {**described(each), "identity": dict(plan.system_identities[each.name])}
            for each in evaluation.systems
        ],
        "metrics": [
            {
                **described(each),
                "identity": dict(plan.metric_identities.get(each.name, {})),
                "unusable": plan.unusable.get(each.name),
            }
            for each in evaluation.metrics
        ],
        "seeds": list(evaluation.seeds),
        "versions": {name: version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _case(case: Case, plan: Plan) -> dict[str, Any]:
    """A case with its paths as texts, inside the run's folder relative to it."""
    output = plan.output.resolve()

    def shown(value: Any) -> Any:
        if not isinstance(value, Path):
            return value
        path = value.resolve()
        return str(path.relative_to(output) if path.is_relative_to(output) else path)

    values = {name: shown(value) for name, value in asdict(case).items()}
    return {**values, "digest": plan.case_digests[case.name]}


def _make_videos(plan: Plan, workers: Workers, report: Progress) -> Journal[VideoRow]:
    """Make the videos that are missing, changed or failed."""
    journal = Journal(plan.output / VIDEOS, VideoRow)
    wanted = {task.key: task for task in plan.tasks}

    def is_current(row: VideoRow) -> bool:
        return row.key not in wanted or _is_there(plan.output, row, wanted[row.key])

    journal.rewrite(is_current, wanted)
    missing = [task for key, task in wanted.items() if key not in journal.rows]
    units = _video_units(missing, plan.output, workers)
    _carry_out(units, journal, wanted, workers, partial(report, "videos"))
    return journal


def _carry_out(
    units: Sequence[Unit],
    journal: Journal[Any],
    wanted: Mapping[Any, object],
    workers: Workers,
    report: Callable[[int, int], None],
) -> None:
    """Do the units, and record their rows in the order of what is wanted."""
    done = len(wanted.keys() & journal.rows.keys())
    report(done, len(wanted))
    for rows in work(units, workers):
        journal.add(rows)
        done += len(rows)
        report(done, len(wanted))
    journal.rewrite(lambda _: True, wanted)


def _is_there(output: Path, row: VideoRow, task: Task) -> bool:
    """Whether a row's video is the one that is wanted, unchanged."""
    if row.identity != task.identity or row.sha256 is None or row.file != task.file:
        return False
    try:
        return media_digest(output / row.file) == row.sha256
    except (OSError, MediaError):
        return False


def _video_units(missing: Sequence[Task], output: Path, workers: Workers) -> list[Unit]:
    """Units of one system and variant; of a batch, where several processes share the work."""
    groups: dict[tuple[str, str], list[Task]] = {}
    for task in missing:
        groups.setdefault((task.system.name, task.job.variant), []).append(task)
    units: list[Unit] = []
    for tasks in groups.values():
        system = tasks[0].system
        folder = output / "systems" / system.name
        size = len(tasks) if system.remote or not workers.several else system.jobs_at_once
        units += [VideoUnit(system, tuple(part), folder) for part in _parts(tasks, size)]
    return units


def _current_scores(plan: Plan) -> Journal[ScoreRow]:
    """The scores so far, without those of other settings or cases."""
    identities = {
        (system.name, case.name, metric.name): plan.score_identity(metric, case)
        for system in plan.evaluation.systems
        for case in plan.evaluation.benchmark.cases
        for metric in plan.metrics
    }
    journal = Journal(plan.output / SCORES, ScoreRow)

    def is_current(row: ScoreRow) -> bool:
        place = (row.system, row.case, row.metric)
        return identities.get(place, row.identity) == row.identity

    journal.rewrite(is_current)
    return journal


def _make_scores(
    plan: Plan,
    journal: Journal[ScoreRow],
    videos: Journal[VideoRow],
    workers: Workers,
    report: Progress,
) -> list[ScoreRow]:
    """Compute the scores that are missing, changed or failed."""
    wanted = {_score_key(each): each for each in plan.scorings(videos.rows)}

    def is_current(row: ScoreRow) -> bool:
        each = wanted.get(row.key)
        return each is None or (row.sha256 == each.sha256 and row.error is None)

    journal.rewrite(is_current, wanted)
    missing = [each for key, each in wanted.items() if key not in journal.rows]
    _carry_out(_score_units(missing, workers), journal, wanted, workers, partial(report, "scores"))
    return [journal.rows[key] for key in wanted]


def _score_key(each: Scoring) -> ScoreKey:
    return each.sample.system, each.sample.case.name, each.sample.seed, each.metric.name


def _score_units(missing: Sequence[Scoring], workers: Workers) -> list[Unit]:
    groups: dict[str, list[Scoring]] = {}
    for each in missing:
        groups.setdefault(each.metric.name, []).append(each)
    units: list[Unit] = []
    for group in groups.values():
        size = _SCORES_OF_A_UNIT if workers.several else len(group)
        units += [ScoreUnit(group[0].metric, tuple(part)) for part in _parts(group, size)]
    return units


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Refuse a folder that another run writes to."""
    lock = FileLock(output / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ValueError(
            f"Another run writes to {output}. Wait for it, or choose another folder."
        ) from error
    try:
        yield
    finally:
        lock.release()


def with_bounds(
    systems: Sequence[System],
    metrics: Sequence[Metric],
    benchmark: Benchmark,
    registry: Registry[System],
) -> list[System]:
    """Add the systems that metrics compare with, where none of their kind is there."""
    every = list(systems)
    if not any(case.truth is not None for case in benchmark.cases):
        return every  # nothing to compare with
    for kind in dict.fromkeys(kind for metric in metrics for kind in metric.bounds):
        if kind not in {system.kind for system in every}:
            every.append(registry.read(kind))
    return every
