"""The two passes of guidance on different processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist

from vap.parallel.mesh import Group
from vap.pipelines.passes import Pass


@dataclass(frozen=True, eq=False, slots=True)
class SplitPasses:
    """Each process runs one pass, then both tell each other what came out.

    A single pass, without guidance, is run by both.

    Attributes:
        group: The two processes, the first pass's first.
    """

    group: Group

    def arrange(self, passes: Sequence[Pass]) -> tuple[Pass, ...]:
        """This process's pass."""
        return tuple(passes) if len(passes) == 1 else (passes[self.group.place],)

    def collect(self, predictions: Sequence[torch.Tensor], passes: int) -> Sequence[torch.Tensor]:
        """The predictions of both."""
        if passes == 1:
            return predictions
        (mine,) = predictions
        both = [
            torch.empty_like(mine, memory_format=torch.contiguous_format) for _ in range(passes)
        ]
        dist.all_gather(both, mine.contiguous(), group=self.group.channel)
        return both
