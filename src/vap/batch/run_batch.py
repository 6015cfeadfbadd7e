"""Run a batch: make what is missing, in this process or by the workers of a Ray cluster.

torch and the models are imported after all requests are checked.
"""

from __future__ import annotations

import importlib.util
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from vap.batch.ledger import MANIFEST, BatchFolder, Outcome
from vap.batch.requests import BatchRequest, check_files
from vap.generation.request import check_folder_place, check_settings

if TYPE_CHECKING:
    from vap.generation.loaded import Loading
    from vap.generation.run import OnStep

Format: TypeAlias = Literal["mp4", "webm", "gif"]
OnOutcome = Callable[[Outcome], None]
_NAMED = 20  # requests that an error names


@dataclass(frozen=True, slots=True)
class Summary:
    """Numbers of a batch after a run, and its manifest: a line for each request."""

    requests: int
    done: int
    failed: int  # in this run or, where not tried again, before
    skipped: int  # videos that were there before this run
    manifest: Path


@dataclass(frozen=True, slots=True)
class Workers:
    """Who does the work."""

    count: int | None = None  # workers; None for one a GPU with Ray, or this process alone without
    # Address of a cluster, ``local`` for one on this machine, None to decide by ``count``.
    ray: str | None = None
    cpus: int = 1  # cores of each worker that has no GPU

    def __post_init__(self) -> None:
        for name, number in (("workers", self.count), ("cpus", self.cpus)):
            if number is not None and number < 1:
                raise ValueError(f"{name}={number}: it must be at least 1.")

    def address(self) -> str | None:
        """Address of the Ray cluster to use; None for this process alone."""
        if self.ray is not None:
            return self.ray
        several = self.count > 1 if self.count is not None else _has_ray() and _gpus() > 1
        return "local" if several else None


def run_batch(
    requests: Sequence[BatchRequest],
    output: Path,
    *,
    file_format: Format = "mp4",
    workers: Workers | None = None,
    retry_failed: bool = False,
    on_start: Callable[[int], None] | None = None,
    on_outcome: OnOutcome | None = None,
    on_step: OnStep | None = None,
    loading: Loading = nullcontext,
) -> Summary:
    """Make the videos of a batch that are not there yet; after an interruption, call it again.

    Args:
        requests: From :func:`vap.batch.requests.read_requests`.
        output: Folder for videos, records, ledger and manifest; created if missing.
        file_format: Format of the videos.
        workers: Number and kind of workers; by default one Ray worker per GPU if the machine has
            several, else this process.
        retry_failed: Whether to retry requests that failed in an earlier run.
        on_start: Called with the number of skipped requests, after all are checked.
        on_outcome: Called with the outcome of each request.
        on_step: Called with the number of finished denoising steps and their total, for the steps
            of this process.
        loading: Entered while this process loads the model of the given name.

    Raises:
        MissingExtraError: If several workers are requested and Ray is not installed.
        ValueError: If the folder has videos of these names that were made from other files, or if
            some requests are invalid. The error lists them, and no model is loaded.
    """
    workers = workers or Workers()
    check_folder_place(output)
    output.mkdir(exist_ok=True)
    batch = BatchFolder(output.resolve(), f".{file_format}", secrets.token_hex(4))
    missing, skipped = _missing(batch, requests, retry_failed=retry_failed)
    _check(batch, missing)
    if on_start is not None:
        on_start(len(requests) - len(missing))
    try:
        for outcome in _outcomes(batch, missing, workers, on_step, loading):
            if on_outcome is not None:
                on_outcome(outcome)
    finally:
        batch.write_manifest(requests)
    found = filter(None, map(batch.of, requests))
    counts = Counter(outcome.status for outcome in found)
    return Summary(
        len(requests), counts["done"], counts["failed"], skipped, batch.output / MANIFEST
    )


def _missing(
    batch: BatchFolder, requests: Iterable[BatchRequest], *, retry_failed: bool
) -> tuple[list[BatchRequest], int]:
    """Requests to work on, and how many videos are there; the ledger of each is read once."""
    missing, done = [], 0
    names: list[str] = []
    for request in requests:
        try:
            outcome = batch.adopt(request)
        except FileExistsError:
            names.append(request.name)
            continue
        if batch.has_video(outcome):
            done += 1
        elif outcome is None or outcome.status != "failed" or retry_failed:
            missing.append(request)
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        raise ValueError(
            f"{batch.output} has videos with the same names that were made from different files: "
            f"{', '.join(names[:_NAMED])}{more}. Choose another folder with --output, or give "
            "these requests other names."
        )
    return missing, done


def _check(batch: BatchFolder, missing: Iterable[BatchRequest]) -> None:
    """Refuse a batch with requests that cannot be made, as far as a quick look shows."""
    problems = []
    for each in missing:
        try:
            check_settings(each.request)
            check_files(each.request, batch.place(each))
        except (ValueError, OSError) as error:
            problems.append(f"{each.name}: {error}")
    if problems:
        more = [f"… and {len(problems) - _NAMED} more"] if len(problems) > _NAMED else []
        raise ValueError("\n".join(problems[:_NAMED] + more))


def _outcomes(
    batch: BatchFolder,
    missing: list[BatchRequest],
    workers: Workers,
    on_step: OnStep | None,
    loading: Loading,
) -> Iterator[Outcome]:
    if not missing:
        return
    from vap.generation.run import model_key

    # Neighbors share a model, so that each worker seldom changes it.
    missing.sort(key=lambda request: model_key(request.request))
    address = workers.address()
    if address is None:
        yield from _one_by_one(batch, missing, on_step, loading)
    else:
        from vap.batch.worker import making
        from vap.parallel.ray_cluster import each_on_ray

        yield from each_on_ray(
            making,
            (batch, missing),
            len(missing),
            address=address,
            purpose="make videos with several workers (--workers 1 needs no Ray)",
            workers=workers.count,
            cpus=workers.cpus,
        )


def _one_by_one(
    batch: BatchFolder,
    missing: Sequence[BatchRequest],
    on_step: OnStep | None,
    loading: Loading = nullcontext,
) -> Iterator[Outcome]:
    """Make videos in this process, last those that another run of the batch has begun."""
    from vap.batch.worker import Worker

    worker = Worker(batch, loading)
    begun: list[BatchRequest] = []
    for request in missing:
        outcome = batch.of(request)
        if outcome is not None and outcome.status == "started" and outcome.run != batch.run:
            begun.append(request)
        else:
            yield worker.make_unless_done(request, on_step)
    for request in begun:
        yield worker.make_unless_done(request, on_step)


def _gpus() -> int:
    import torch

    return torch.accelerator.device_count() if torch.accelerator.is_available() else 0


def _has_ray() -> bool:
    return importlib.util.find_spec("ray") is not None
