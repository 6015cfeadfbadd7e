"""What every reader gives to the sampler: frames with times, decoded when asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from vap.media.pixels import RGB
from vap.media.timing import Timeline


@dataclass(frozen=True, slots=True)
class Shot:
    """One source frame: its start in ticks, and a function for its pixels [H, W, 3]."""

    start: int
    load: Callable[[], RGB]


@dataclass(frozen=True, slots=True)
class Source:
    """A clip with known size and frame times, not yet decoded."""

    name: str  # of the file, or a word for frames without one
    kind: str  # container or form, such as "mov" or "array"
    width: int  # as displayed: upright, square pixels
    height: int
    timeline: Timeline
    open: Callable[[], Iterator[Shot]]  # decodes every frame, in order of time
    digest: Callable[[], str]  # SHA-256 of its bytes, or of its pixels without a file
    file_bytes: int | None = None  # None for frames in memory

    def pixels_until(self, target: Fraction) -> int:
        """Pixels to decode for the frame shown at a time in ticks, and the one that ends it."""
        frames = min(bisect_right(self.timeline.starts, target) + 1, len(self.timeline.starts))
        return frames * self.width * self.height


def sample(source: Source, targets: Sequence[Fraction]) -> Iterator[tuple[int, Shot]]:
    """Find the frame that is shown at each of some ascending times in ticks.

    Decodes only as far as the last time needs; yields the position in ``targets`` and the frame,
    which may be the same for several times.
    """
    shots = source.open()
    current = next(shots, None)
    position = 0
    while current is not None and position < len(targets):
        following = next(shots, None)
        end = following.start if following else None
        while position < len(targets) and (end is None or targets[position] < end):
            yield position, current
            position += 1
        current = following
