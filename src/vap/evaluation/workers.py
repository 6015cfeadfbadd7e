"""Who does the work of a run: this process, several of this machine, or a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TypeAlias

from vap.evaluation.rows import ScoreRow, VideoRow
from vap.evaluation.units import Unit, VideoUnit
from vap.files.errors import MachineError

Rows: TypeAlias = list[VideoRow] | list[ScoreRow]

_PURPOSE = "evaluate on several machines (one works without: leave out --ray)"


@dataclass(frozen=True, slots=True)
class Workers:
    """Who does the work.

    Attributes:
        count: Processes.
        ray: Address of a Ray cluster, ``local`` for one on this machine; None for none.
    """

    count: int = 1
    ray: str | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"workers={self.count}: at least one is needed.")

    @property
    def several(self) -> bool:
        """Whether other processes do the work."""
        return self.count > 1 or self.ray is not None

    def address(self) -> str | None:
        """Address of the Ray cluster to use: it also gives each process a GPU of its own."""
        if self.ray is None and self.count > 1:
            import torch

            return "local" if torch.accelerator.is_available() else None
        return self.ray


def work(units: Sequence[Unit], workers: Workers) -> Iterator[Rows]:
    """Do the units, remote systems beside local work; yield rows as they come."""
    remote: dict[str, list[Unit]] = {}
    local = []
    for unit in units:
        if isinstance(unit, VideoUnit) and unit.system.remote:
            remote.setdefault(unit.system.name, []).append(unit)
        else:
            local.append(unit)
    # A remote system's units follow each other: it has one ledger of paid tasks.
    streams: list[Iterator[Rows]] = [_here(of_system) for of_system in remote.values()]
    if local:
        streams.append(_local(local, workers))
    yield from streams[0] if len(streams) == 1 else _merged(streams)


def _here(units: Sequence[Unit]) -> Iterator[Rows]:
    for unit in units:
        yield from unit.results()


def _local(units: Sequence[Unit], workers: Workers) -> Iterator[Rows]:
    if address := workers.address():
        from vap.parallel.ray_cluster import each_on_ray

        count = workers.count if workers.count > 1 else None
        return each_on_ray(
            _units, (units,), len(units), address=address, purpose=_PURPOSE, workers=count
        )
    if min(workers.count, len(units)) > 1:
        return _in_processes(units, min(workers.count, len(units)))
    return _here(units)


def _all(unit: Unit) -> Rows:
    return [row for rows in unit.results() for row in rows]  # type: ignore[return-value]


def _in_processes(units: Sequence[Unit], count: int) -> Iterator[Rows]:
    threads = max(1, (os.cpu_count() or 1) // count)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, _set_up, (threads,))
    try:
        for future in as_completed([pool.submit(_all, unit) for unit in units]):
            yield future.result()
    except BrokenProcessPool as error:
        raise MachineError(
            f"One of {count} processes ended unexpectedly; the memory may not suffice. Run the "
            "same command again, with fewer --workers."
        ) from error
    finally:
        # Ctrl-C must not wait for the rest.
        pool.shutdown(cancel_futures=True)


def _set_up(threads: int) -> None:
    """Prepare a process of the pool, which must not outlive a run that is killed."""
    import torch

    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "it was started by the pool"
    parent.join()
    os._exit(1)


def _units(units: Sequence[Unit]) -> Callable[[int], Rows]:
    """Do units by their places, in a process of a cluster."""
    return lambda place: _all(units[place])


def _merged(streams: Sequence[Iterator[Rows]]) -> Iterator[Rows]:
    """Items of several iterators, each in a thread of its own, as they come."""
    items: queue.SimpleQueue[Rows | BaseException | None] = queue.SimpleQueue()

    def drain(stream: Iterator[Rows]) -> None:
        try:
            for rows in stream:
                items.put(rows)
            items.put(None)
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            items.put(error)

    for stream in streams:
        threading.Thread(target=drain, args=(stream,), daemon=True).start()
    ended = 0
    while ended < len(streams):
        item = items.get()
        if isinstance(item, BaseException):
            raise item
        if item is None:
            ended += 1
        else:
            yield item
