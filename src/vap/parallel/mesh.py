"""How many processes share what, and which processes those are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Self

import torch.distributed as dist

_PASSES = 2


@dataclass(frozen=True, slots=True)
class Mesh:
    """Processes laid out along three axes; the last varies fastest over the ranks.

    Neighboring ranks thus exchange heads, the heaviest traffic; guidance, the lightest, may
    cross machines.

    Attributes:
        guidance: 2 for the two passes of guidance apart, 1 for both everywhere.
        ring: Processes that pass keys and values around.
        ulysses: Processes that exchange heads for tokens.
    """

    guidance: int = 1
    ring: int = 1
    ulysses: int = 1

    def __post_init__(self) -> None:
        for name, degree in asdict(self).items():
            if degree < 1:
                raise ValueError(f"{name}={degree}: a degree must be at least 1 (not shared).")
        if self.guidance > _PASSES:
            raise ValueError(f"guidance={self.guidance}: guidance has two passes. Use 1 or 2.")

    @property
    def size(self) -> int:
        """Processes of the whole mesh."""
        return self.guidance * self.context

    @property
    def context(self) -> int:
        """Processes that share the tokens of one pass."""
        return self.ring * self.ulysses

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``"guidance=2,ulysses=4"``; what is not named is 1."""
        allowed = [field.name for field in fields(cls)]
        degrees: dict[str, int] = {}
        for part in text.split(","):
            name, _, number = (piece.strip() for piece in part.partition("="))
            if name not in allowed or name in degrees or not number.isdecimal():
                raise ValueError(
                    f"{text!r} is not a valid mesh. Write degrees of {', '.join(allowed)}, "
                    "each at most once, for example guidance=2,ulysses=4."
                )
            degrees[name] = int(number)
        return cls(**degrees)

    @classmethod
    def choose(cls, processes: int, heads: int, *, guided: bool) -> Self:
        """Choose guidance first, then Ulysses as far as heads divide, then ring."""
        guidance = _PASSES if guided and processes % _PASSES == 0 else 1
        context = processes // guidance
        even = (n for n in range(min(context, heads), 0, -1) if context % n == 0 == heads % n)
        ulysses = next(even)
        return cls(guidance, context // ulysses, ulysses)

    def check(self, processes: int, heads: int | None = None) -> None:
        """Refuse what does not fit the processes or the model."""
        if self.size != processes:
            raise ValueError(
                f"{self} needs {self.size} processes, and {processes} were started. Start "
                f"{self.size}, or choose degrees whose product is {processes}."
            )
        if heads is not None and self.ulysses > heads:
            raise ValueError(
                f"ulysses={self.ulysses}, but the model has {heads} attention heads, and each "
                f"process needs at least one. Use ulysses={heads} or less, and ring for the rest."
            )

    def __str__(self) -> str:
        return ",".join(f"{name}={degree}" for name, degree in asdict(self).items())


@dataclass(frozen=True, eq=False)
class Group:
    """Processes that talk to each other, and this one's place; no channel for a process alone."""

    ranks: tuple[int, ...]
    place: int
    channel: dist.ProcessGroup | None

    @property
    def size(self) -> int:
        """Processes of the group."""
        return len(self.ranks)


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups of a mesh that this process is in; ``context`` shares the tokens of one pass."""

    guidance: Group
    ring: Group
    ulysses: Group
    context: Group

    @classmethod
    def of(cls, mesh: Mesh) -> Self:
        """Make the groups; every process of the mesh must call this."""
        guidance, ring, ulysses = mesh.guidance, mesh.ring, mesh.ulysses

        def rank(g: int, r: int, u: int) -> int:
            return (g * ring + r) * ulysses + u

        gs, rs, us = range(guidance), range(ring), range(ulysses)
        return cls(
            guidance=_group([[rank(g, r, u) for g in gs] for r in rs for u in us]),
            ring=_group([[rank(g, r, u) for r in rs] for g in gs for u in us]),
            ulysses=_group([[rank(g, r, u) for u in us] for g in gs for r in rs]),
            context=_group([[rank(g, r, u) for r in rs for u in us] for g in gs]),
        )


def _group(parts: Sequence[Sequence[int]]) -> Group:
    """This process's part of a division of all processes."""
    mine = dist.get_rank()
    (ranks,) = (tuple(part) for part in parts if mine in part)
    if len(ranks) == 1:
        return Group(ranks, 0, None)
    channel, _ = dist.new_subgroups_by_enumeration([list(part) for part in parts])
    return Group(ranks, ranks.index(mine), channel)
