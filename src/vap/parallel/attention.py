"""Self-attention over tokens that are spread over processes: Ulysses, ring, or both.

In place of diffusers' context parallelism, which takes twice the collectives where tokens do not
divide, gathers all keys before a ring starts, and has no ring on a CPU (docs/notes/performance.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist

from vap.models.attention import SharedAttention, attention_kernel
from vap.parallel.blockwise import Part, attend_part
from vap.parallel.mesh import Group, Groups
from vap.parallel.tokens import TokenCounts, shares


class ContextAttention(SharedAttention):
    """This process's queries attend to the keys of all that share its video.

    Ulysses (Jacobs et al., arXiv 2309.14509): processes exchange heads for tokens, so that each
    has some heads of every token. Ring (Liu et al., arXiv 2310.01889): keys and values go around,
    each process attends to what it has meanwhile. Both: each ring stands for the tokens of one
    exchange.
    """

    def __init__(self, groups: Groups, counts: TokenCounts) -> None:
        self._ulysses = groups.ulysses
        self._ring = groups.ring
        self._counts = counts

    @torch.compiler.disable
    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, backend: Any
    ) -> torch.Tensor:
        """Attention over all tokens; see :class:`vap.models.attention.SharedAttention`."""
        heads, width = query.shape[2], self._ulysses.size
        queries = self._by_ring(query.shape[1])[self._ring.place]
        keys = self._by_ring(key.shape[1])
        query = heads_for_tokens(query, queries, self._ulysses)
        key = heads_for_tokens(key, keys[self._ring.place], self._ulysses)
        value = heads_for_tokens(value, keys[self._ring.place], self._ulysses)
        if self._ring.size == 1:
            output = attention_kernel(backend)(query, key, value)
        else:
            output = around_the_ring(query, key, value, list(map(sum, keys)), self._ring, backend)
        return tokens_for_heads(output, queries, shares(heads, width), self._ulysses)

    def _by_ring(self, mine: int) -> list[tuple[int, ...]]:
        """Tokens of the processes of each exchange, in the ring's order."""
        counts, width = self._counts.of(mine), self._ulysses.size
        return [counts[start : start + width] for start in range(0, len(counts), width)]


def heads_for_tokens(tensor: torch.Tensor, tokens: Sequence[int], group: Group) -> torch.Tensor:
    """Give away this process's tokens of other heads for other processes' tokens of its heads.

    ``[B, N, heads, d]`` to ``[B, ΣN, its heads, d]``; ``tokens`` are the N of each process.
    """
    if group.size == 1:
        return tensor
    batch, mine, heads, width = tensor.shape
    heads_of = shares(heads, group.size)
    received = _exchange(
        tensor.permute(2, 1, 0, 3),
        [count * mine * batch * width for count in heads_of],
        [heads_of[group.place] * count * batch * width for count in tokens],
        group,
    )
    parts = [
        part.view(heads_of[group.place], count, batch, width)
        for part, count in zip(received, tokens, strict=True)
    ]
    return torch.cat(parts, dim=1).permute(2, 1, 0, 3)


def tokens_for_heads(
    tensor: torch.Tensor, tokens: Sequence[int], heads: Sequence[int], group: Group
) -> torch.Tensor:
    """The way back: ``[B, ΣN, its heads, d]`` to ``[B, N, heads, d]``."""
    if group.size == 1:
        return tensor
    batch, _, own_heads, width = tensor.shape
    mine = tokens[group.place]
    received = _exchange(
        tensor.permute(1, 2, 0, 3),
        [count * own_heads * batch * width for count in tokens],
        [mine * count * batch * width for count in heads],
        group,
    )
    parts = [
        part.view(mine, count, batch, width) for part, count in zip(received, heads, strict=True)
    ]
    return torch.cat(parts, dim=1).permute(2, 0, 1, 3)


def around_the_ring(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    tokens: Sequence[int],
    group: Group,
    backend: Any = None,
) -> torch.Tensor:
    """Attend to the keys of all in the ring while they go around.

    Queries ``[B, N, heads, d]``, keys ``[B, M, heads, d]``; ``tokens`` are the M of each process.
    """
    following = group.ranks[(group.place + 1) % group.size]
    preceding = group.ranks[group.place - 1]
    here = torch.stack([key, value])
    whole: Part | None = None
    for step in range(group.size):
        coming, transfers = None, []
        if step < group.size - 1:
            # What the process before has now came from this many places before this one.
            count = tokens[group.place - step - 1]
            coming = here.new_empty(2, here.shape[1], count, *here.shape[3:])
            transfers = dist.batch_isend_irecv(
                [
                    dist.P2POp(dist.isend, here, following, group.channel),
                    dist.P2POp(dist.irecv, coming, preceding, group.channel),
                ]
            )
        part = attend_part(query, here[0], here[1], backend)
        whole = part if whole is None else whole.joined(part)
        for transfer in transfers:
            transfer.wait()
        if coming is not None:
            here = coming
    assert whole is not None
    return whole.output.to(query.dtype)


def _exchange(
    tensor: torch.Tensor, given: Sequence[int], taken: Sequence[int], group: Group
) -> Sequence[torch.Tensor]:
    """All-to-all of a tensor whose first axis is in the order of the receivers."""
    received = tensor.new_empty(sum(taken))
    dist.all_to_all_single(
        received, tensor.reshape(-1), list(taken), list(given), group=group.channel
    )
    return received.split(list(taken))
