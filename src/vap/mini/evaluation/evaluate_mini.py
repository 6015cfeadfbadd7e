"""The evaluation: every system on every case, batch by batch."""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vap.evaluation.metrics.recognized import RECOGNIZER
from vap.files.atomic import check_makeable
from vap.files.folders import generation_defaults_of
from vap.files.names import DEFAULT_MODEL
from vap.mini.evaluation.cases import CASES, SEED, Case, CaseSpec, choose_cases, render_case
from vap.mini.evaluation.journal import Journal
from vap.mini.evaluation.report import RESULT_FILES, Report, report
from vap.mini.evaluation.scores import Score, Scorer
from vap.mini.evaluation.strips import SHEETS, Strips
from vap.mini.evaluation.systems import BOUNDS, TITLES, Generation, System
from vap.mini.evaluation.trained import (
    Weights,
    available,
    build_systems,
    check_model,
    covers,
    load_model,
)
from vap.mini.evaluation.weight_hashes import settings_hash, short_hash, weights_hashes
from vap.shapes import PixelShape

_BATCH = 8

Progress = Callable[[int, int], None]
"""Told how many videos are done, and how many there are."""


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated.

    Attributes:
        model: Pipeline folder or name of a Wan model.
        systems_from: Folder of the systems with weights of their own, see :mod:`.trained`.
        systems: Which to compare, of :data:`.systems.TITLES`; empty for all.
        cases: Pairs in all, shared out over the splits.
        conditions: Only these conditions; empty for all.
        seed: Of the pairs.
        generation: Steps and guidance.
    """

    model: str = DEFAULT_MODEL
    systems_from: Path | None = None
    systems: tuple[str, ...] = ()
    cases: int = CASES
    conditions: tuple[str, ...] = ()
    seed: int = SEED
    generation: Generation = field(default_factory=Generation)

    @property
    def weights(self) -> Weights:
        """Where all weights are."""
        return Weights(self.model, self.systems_from)

    def system_names(self) -> list[str]:
        """The systems that are wanted, in their order, always with the two bounds."""
        unknown = sorted(set(self.systems) - set(TITLES))
        if unknown:
            raise ValueError(
                f"No such systems: {', '.join(unknown)}. Choose from: {', '.join(TITLES)}."
            )
        wanted = {*self.systems, *BOUNDS} if self.systems else set(TITLES)
        return [name for name in TITLES if name in wanted]


def evaluate(
    evaluation: Evaluation,
    output: Path,
    *,
    resume: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
) -> Report:
    """Evaluate, and write ``cases.jsonl``, ``results.json``, ``table.md`` and contact sheets.

    Args:
        evaluation: What.
        output: Folder to write to.
        resume: Keep what the folder's journal holds of the same settings and weights, also of
            other systems and more cases; else restart.
        workers: Processes that share the work, at least 1.
        progress: Told now and then.

    Returns:
        The results.

    Raises:
        ValueError: If the evaluation asks for what does not exist or fit, the journal to be
            resumed is of another one, or a system makes what has no score.
        FileNotFoundError: If weights are missing, or there is nothing to resume.
        MediaError: If the folder cannot be made or written to.
    """
    if workers < 1:
        raise ValueError(f"workers={workers}; at least one process has to do the work.")
    check_makeable(output)
    folder = check_model(evaluation.model)
    specs = choose_cases(evaluation.cases, seed=evaluation.seed, conditions=evaluation.conditions)
    names, notes = available(
        evaluation.system_names(), evaluation.weights, asked=evaluation.systems
    )
    hashes = weights_hashes(evaluation.weights, names)
    settings = _settings(evaluation, generation_defaults_of(folder))
    journal = Journal(output / "cases.jsonl", settings, resume=resume)
    wanted = {(spec.split, spec.index) for spec in specs}
    scores = [
        score
        for score in journal.scores
        if hashes.get(score.system) == score.weights and (score.split, score.index) in wanted
    ]
    jobs = _jobs(names, specs, evaluation.weights, scores)
    total = len(scores) + sum(len(job.specs) for job in jobs)
    made_by = {name: settings_hash({**settings, "weights": hashes[name]}) for name in names}
    strips = Strips(output / "strips", specs, made_by)
    for fresh in _run(jobs, _Bench(evaluation, hashes, strips), workers):
        if not resume and not journal.scores:
            _forget_results(output)
        journal.add(fresh)
        scores += fresh
        if progress is not None:
            progress(len(scores), total)
    made_of = {"model": Path(evaluation.model).name, "cases": len(specs), "weights": hashes}
    results = report(names, scores, {**made_of, **settings}, notes)
    results.write(output)
    strips.write_sheets(output, names)
    return results


def _forget_results(folder: Path) -> None:
    """Remove what an earlier run came to: the scores that it is of are about to be forgotten."""
    for name in (*RESULT_FILES, *SHEETS):
        (folder / name).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Job:
    """Some cases for one system."""

    system: str
    specs: tuple[CaseSpec, ...]


class _Bench:
    """Where jobs are done; models are loaded when the first job comes."""

    def __init__(self, evaluation: Evaluation, hashes: Mapping[str, str], strips: Strips) -> None:
        self._evaluation, self._hashes, self._strips = evaluation, hashes, strips
        self._loaded: tuple[Mapping[str, System], PixelShape, Scorer] | None = None
        self._rendered: dict[CaseSpec, Case] = {}

    def do(self, job: _Job) -> list[Score]:
        """Make the videos of a job and score them."""
        if self._loaded is None:
            self._loaded = self._load()
        systems, shape, scorer = self._loaded
        # The next system's job is about the same cases.
        self._rendered = {
            spec: self._rendered.get(spec) or render_case(spec, shape, self._evaluation.seed)
            for spec in job.specs
        }
        cases = list(self._rendered.values())
        started = time.perf_counter()
        videos = systems[job.system].videos(cases)
        seconds = time.perf_counter() - started
        weights = self._hashes[job.system]
        scores = scorer.score(job.system, cases, videos, seconds=seconds, weights=weights)
        self._strips.keep(cases, job.system, videos)
        return scores

    def _load(self) -> tuple[Mapping[str, System], PixelShape, Scorer]:
        evaluation = self._evaluation
        model = load_model(evaluation.model)
        native = model.defaults
        systems = build_systems(
            list(self._hashes), model, evaluation.weights, evaluation.generation
        )
        shape = PixelShape(native.num_frames, native.height, native.width)
        return systems, shape, Scorer()


def _settings(evaluation: Evaluation, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides the scores, besides the weights; what was not asked for is the model's."""
    asked = {
        "num_inference_steps": evaluation.generation.steps,
        "guidance_scale": evaluation.generation.guidance_scale,
        "reference_guidance_scale": evaluation.generation.reference_guidance_scale,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    return {
        "conditions": sorted(evaluation.conditions),
        "seed": evaluation.seed,
        "generation": {**defaults, **given},
        "classifier": short_hash(RECOGNIZER),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def _jobs(
    names: Sequence[str], specs: Sequence[CaseSpec], weights: Weights, scores: Sequence[Score]
) -> list[_Job]:
    """What is left to do: batch by batch, so that an unfinished run compares like with like."""
    done = {(score.system, score.split, score.index) for score in scores}
    jobs = []
    for start in range(0, len(specs), _BATCH):
        for name in names:
            left = tuple(
                spec
                for spec in specs[start : start + _BATCH]
                if (name, spec.split, spec.index) not in done and covers(name, spec, weights)
            )
            if left:
                jobs.append(_Job(name, left))
    return jobs


def _run(jobs: Sequence[_Job], bench: _Bench, workers: int) -> Iterator[list[Score]]:
    """Scores of each job, as they come."""
    if min(workers, len(jobs)) <= 1:
        yield from map(bench.do, jobs)
        return
    threads = max(1, (os.cpu_count() or 1) // workers)
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _set_up, (bench, threads)
    )
    try:
        for future in as_completed([pool.submit(_do, job) for job in jobs]):
            yield future.result()
    finally:
        # Ctrl-C, or a job that failed, must not wait for the rest.
        pool.shutdown(cancel_futures=True)


_bench: _Bench | None = None


def _set_up(bench: _Bench, threads: int) -> None:
    """Give a worker its bench."""
    global _bench  # noqa: PLW0603 - a process of a pool has no other place for what it keeps
    torch.set_num_threads(threads)
    _bench = bench


def _do(job: _Job) -> list[Score]:
    assert _bench is not None
    return _bench.do(job)
