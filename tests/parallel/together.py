"""Runs checks in several processes over gloo; the first one's findings come back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.ranks import gloo_rank

Check = Callable[[], dict[str, Any]]


def _rank(rank: int, count: int, folder: str, check: Check) -> None:
    with gloo_rank(rank, count, Path(folder) / "rendezvous"):
        found = check()
        (Path(folder) / f"{rank}.json").write_text(json.dumps(found))


def found_together(check: Check, count: int, folder: Path) -> list[dict[str, Any]]:
    """What each of ``count`` processes finds, by rank."""
    torch.multiprocessing.spawn(_rank, (count, str(folder), check), nprocs=count)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(count)]
