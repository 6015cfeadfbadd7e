"""The passes of guidance on different processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist

from vap.parallel.mesh import Group
from vap.pipelines.denoiser import Pass


@dataclass(frozen=True, eq=False, slots=True)
class SplitPasses:
    """Each process runs its share of the passes, then all tell each other what came out.

    A single pass, without guidance, is run by all.
    """

    group: Group

    def arrange(self, passes: Sequence[Pass]) -> tuple[Pass, ...]:
        """This process's passes."""
        if len(passes) == 1:
            return tuple(passes)
        return tuple(passes[self.group.place :: self.group.size])

    def collect(self, predictions: Sequence[torch.Tensor], passes: int) -> Sequence[torch.Tensor]:
        """The predictions of all, in the order of the passes."""
        if passes == 1:
            return predictions
        collected: list[torch.Tensor] = []
        while len(collected) < passes:
            # Who has no pass left in the last round sends one that nobody keeps.
            turn = min(len(collected) // self.group.size, len(predictions) - 1)
            mine = predictions[turn].contiguous()
            round_ = [torch.empty_like(mine) for _ in range(self.group.size)]
            dist.all_gather(round_, mine, group=self.group.channel)
            collected += round_
        return collected[:passes]
