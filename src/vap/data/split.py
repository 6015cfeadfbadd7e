"""Splitting a dataset by the hash of its names: the same rows always fall the same way."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from vap.data.pairing import seeded
from vap.data.rows import TRAIN, ClipRow

SplitBy = Literal["clip", "condition"]


def split_rows(
    rows: Sequence[ClipRow], shares: Mapping[str, float], *, by: SplitBy = "clip", seed: int = 0
) -> tuple[ClipRow, ...]:
    """Give every row a split, whatever its present one.

    Args:
        rows: The rows.
        shares: Share of each split other than ``train``, which takes the rest.
        by: ``"clip"`` takes the shares from every condition's clips, so that each split shows all
            conditions; ``"condition"`` takes whole conditions, so that none is in two splits and
            held-out ones measure zero-shot use.
        seed: Another seed gives another split.
    """
    _check_shares(shares)
    if by == "condition":
        placed = _place(sorted({row.condition for row in rows}), shares, seed)
        return tuple(replace(row, split=placed[row.condition]) for row in rows)
    conditions: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        conditions[row.condition].append(row.video)
    placed = {}
    for paths in conditions.values():
        # By chance: rounded to the nearest, a tenth of each of a hundred conditions' four clips
        # would be none of four hundred.
        up = seeded(seed, "round", min(paths)).random()
        placed.update(_place(paths, shares, seed, up=up))
    return tuple(replace(row, split=placed[row.video]) for row in rows)


def _check_shares(shares: Mapping[str, float]) -> None:
    if TRAIN in shares:
        raise ValueError(
            f"The split {TRAIN!r} gets the remaining share: give only the shares of the other "
            "splits."
        )
    bad = {name: share for name, share in shares.items() if not (name and 0 <= share <= 1)}
    if bad or math.fsum(shares.values()) > 1:
        raise ValueError(
            f"shares={dict(shares)}: give names and shares from 0 to 1, together at most 1."
        )


def _place(
    names: Sequence[str], shares: Mapping[str, float], seed: int, *, up: float = 0.5
) -> dict[str, str]:
    """Cut the names, in the order of their hashes, into runs of the shares' lengths."""
    order = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    placed = dict.fromkeys(order, TRAIN)
    start, total = 0, 0.0
    for split, share in shares.items():
        total += share
        # Products such as 0.29 × 100 fall just below the whole number that they stand for.
        end = math.floor(round(total * len(order), 9) + up)
        placed.update(dict.fromkeys(order[start:end], split))
        start = end
    return placed
