"""What a run has to make: videos by system, variant, case and seed; then scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from vap.evaluation.benchmarks.base import Benchmark, case_digest, digest, media_digest
from vap.evaluation.case import Case
from vap.evaluation.metrics.base import Metric, Sample
from vap.evaluation.rows import VideoKey, VideoRow, hash_of_videos, scored_videos
from vap.evaluation.systems.base import Job, System, Variant


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated.

    Attributes:
        benchmark: The cases.
        systems: In the order of the table's rows.
        metrics: In the order of the table's columns.
        seeds: Of the noise; a case's own seed is added.
    """

    benchmark: Benchmark
    systems: Sequence[System]
    metrics: Sequence[Metric]
    seeds: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Task:
    """A video to make."""

    system: System
    job: Job
    identity: str
    file: str

    @property
    def key(self) -> VideoKey:
        """Which video."""
        return self.system.name, self.job.case.name, self.job.seed, self.job.variant


@dataclass(frozen=True, slots=True)
class Scoring:
    """A score to compute."""

    metric: Metric
    sample: Sample
    identity: str
    sha256: str


@dataclass(frozen=True)
class Plan:
    """All tasks of an evaluation in a folder.

    Attributes:
        evaluation: What is evaluated.
        output: Folder of the run.
    """

    evaluation: Evaluation
    output: Path
    _digests: dict[Path, str] = field(default_factory=dict)

    @cached_property
    def tasks(self) -> list[Task]:
        """All videos, system by system, variant by variant."""
        return [task for system in self.evaluation.systems for task in self._of_system(system)]

    @cached_property
    def system_identities(self) -> dict[str, Mapping[str, Any]]:
        """By name."""
        return {system.name: system.identity() for system in self.evaluation.systems}

    @cached_property
    def unusable(self) -> dict[str, str]:
        """Why a metric cannot run here, by its name; its column shows dashes."""
        found = {}
        for metric in self.evaluation.metrics:
            try:
                metric.check()
            except (ValueError, OSError, ImportError) as error:
                found[metric.name] = str(error)
        return found

    @property
    def metrics(self) -> list[Metric]:
        """Metrics that can run here."""
        return [each for each in self.evaluation.metrics if each.name not in self.unusable]

    @cached_property
    def metric_identities(self) -> dict[str, Mapping[str, Any]]:
        """By name, of those that can run here."""
        return {metric.name: metric.identity() for metric in self.metrics}

    @cached_property
    def case_digests(self) -> dict[str, str]:
        """By name."""
        return {case.name: case_digest(case) for case in self.evaluation.benchmark.cases}

    @cached_property
    def swapped(self) -> dict[str, Case]:
        """Whose reference a case is given, by its name: the next case's of another condition."""
        cases, found = self.evaluation.benchmark.cases, {}
        for place, case in enumerate(cases):
            others = (*cases[place + 1 :], *cases[:place])
            other = next((each for each in others if each.condition != case.condition), None)
            if other is not None:
                found[case.name] = other
        return found

    def scorings(self, videos: Mapping[Any, VideoRow]) -> Iterator[Scoring]:
        """All scores of the videos that there are."""
        for metric in self.metrics:
            for task in self.tasks:
                if task.job.variant == "own" and (found := self._scoring(metric, task, videos)):
                    yield found

    def score_identity(self, metric: Metric, case: Case) -> str:
        """Hash of all that decides a score but the videos."""
        decides: list[Any] = [self.metric_identities[metric.name], self.case_digests[case.name]]
        if "swapped" in metric.variants and case.name in self.swapped:
            decides.append(self._media(self.swapped[case.name].reference))
        return digest(decides)

    def _scoring(
        self, metric: Metric, task: Task, videos: Mapping[Any, VideoRow]
    ) -> Scoring | None:
        made = scored_videos(videos, task.key, metric.variants)
        wanted = 1 + len(metric.variants) if task.system.reads_reference else 1
        if "own" not in made or len(made) < wanted:
            return None
        name, case, seed, _ = task.key
        files = {variant: self.output / row.file for variant, row in made.items()}
        other = self.swapped[case].reference if "swapped" in made else None
        sample = Sample(task.job.case, name, seed, files, swapped_reference=other)
        if not metric.applies(sample):
            return None
        identity = self.score_identity(metric, task.job.case)
        return Scoring(metric, sample, identity, hash_of_videos(made))

    def _of_system(self, system: System) -> Iterator[Task]:
        wanted = {variant for metric in self.metrics for variant in metric.variants}
        variants: list[Variant] = ["own"]
        if system.reads_reference:
            others: tuple[Variant, ...] = ("none", "swapped")
            variants += [variant for variant in others if variant in wanted]
        identity = self.system_identities[system.name]
        for variant in variants:
            for case in self.evaluation.benchmark.cases:
                if system.covers(case) and not (
                    variant == "swapped" and case.name not in self.swapped
                ):
                    for seed in self.evaluation.seeds:
                        yield self._task(system, identity, case, seed + case.seed, variant)

    def _task(
        self,
        system: System,
        identity: Mapping[str, Any],
        case: Case,
        seed: int,
        variant: Variant,
    ) -> Task:
        exact = self.evaluation.benchmark.exact
        name = f"{case.name}-s{seed}" + ("" if variant == "own" else f"-{variant}")
        file = f"videos/{system.name}/{name}" + ("" if exact else ".mp4")
        source = {"own": case, "none": None, "swapped": self.swapped.get(case.name)}[variant]
        job = Job(
            case,
            seed,
            self.output / file,
            reference=None if source is None else source.reference,
            reference_prompt="" if source is None else source.reference_prompt,
            reference_scene_prompt="" if source is None else source.reference_scene_prompt,
            variant=variant,
        )
        decides = [identity, self.case_digests[case.name], seed, variant, exact]
        if variant == "swapped" and source is not None:
            texts = [source.reference_prompt, source.reference_scene_prompt]
            decides += [self._media(source.reference), texts]
        return Task(system, job, digest(decides), file)

    def _media(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = media_digest(path)
        return self._digests[path]
