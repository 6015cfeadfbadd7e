"""Encoding of clips that stand still, such as the frames of zeros after an image condition.

Wan's encoder takes four frames at a time, and each of its layers remembers the end of what it saw
before. Once a layer has seen nothing but zeros for as far back as it looks, it returns the same
for every further four frames. The whole encoder looks back further than a video is long, so its
latents never quite repeat; but its first layers, which see the full resolution and take most of
the time, look back 2 to 18 frames only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch


@contextmanager
def answered_once(encoder: Any) -> Iterator[None]:
    """Let every layer of a Wan encoder answer what it was just asked without computing it again.

    The result has the same bits. Each layer's last output is kept until the end.
    """
    layers: list[Any] = list(encoder.down_blocks)
    own = [layer.__dict__.get("forward") for layer in layers]
    for layer in layers:
        layer.forward = _Repeating(layer.forward)
    try:
        yield
    finally:
        for layer, forward in zip(layers, own, strict=True):
            if forward is None:
                del layer.forward
            else:
                layer.forward = forward


@dataclass(frozen=True, eq=False, slots=True)
class _Call:
    """One call of a layer: what it was given and remembered, what it returned and remembers."""

    given: torch.Tensor
    before: list[Any]
    returned: torch.Tensor
    after: list[Any]


class _Repeating:
    """A layer's forward that caches its last call."""

    def __init__(self, forward: Any) -> None:
        self._forward = forward
        self._last: _Call | None = None

    def __call__(
        self, x: torch.Tensor, feat_cache: list[Any] | None = None, feat_idx: Any = None
    ) -> torch.Tensor:
        """As in diffusers: ``feat_idx[0]`` is the start of this layer's cache."""
        if feat_cache is None:
            return self._forward(x)
        start, last = feat_idx[0], self._last
        if last is not None:
            end = start + len(last.before)
            now = [x, *feat_cache[start:end]]
            if all(map(_equal, now, [last.given, *last.before])):
                feat_cache[start:end] = last.after
                feat_idx[0] = end
                return last.returned
        before = list(feat_cache)
        returned = self._forward(x, feat_cache=feat_cache, feat_idx=feat_idx)
        seen = slice(start, feat_idx[0])
        self._last = _Call(x, before[seen], returned, feat_cache[seen])
        return returned


def _equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
        return False
    return one.shape == other.shape and torch.equal(one, other)
