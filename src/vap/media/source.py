"""The contract between readers and sampler: frames with times, decoded only when asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from vap.media.pixels import RGB
from vap.media.timing import Timeline


@dataclass(frozen=True, slots=True)
class Shot:
    """One source frame: its start in ticks, and how to get its pixels [H, W, 3]."""

    start: int
    load: Callable[[], RGB]


@dataclass(frozen=True, slots=True)
class Source:
    """A clip that has been looked at but not decoded.

    Attributes:
        name: File name, or a word for frames without a file.
        kind: Container or form, for example ``"mov"`` or ``"array"``.
        width: Width in pixels as displayed (upright, square pixels).
        height: Height in pixels as displayed.
        timeline: When its frames are shown.
        open: Starts decoding: yields every frame, in order of time.
        file_bytes: Bytes of its files; None for frames in memory.
        digest: SHA-256 of its bytes, or of its pixels where it has no file.
    """

    name: str
    kind: str
    width: int
    height: int
    timeline: Timeline
    open: Callable[[], Iterator[Shot]]
    digest: Callable[[], str]
    file_bytes: int | None = None

    def pixels_until(self, target: Fraction) -> int:
        """Pixels to decode for the frame that is on the screen at a time in ticks."""
        frames = bisect_right(self.timeline.starts, target) + 1  # the next one says that it ends
        return min(frames, len(self.timeline.starts)) * self.width * self.height


def sample(source: Source, targets: Sequence[Fraction]) -> Iterator[tuple[int, Shot]]:
    """Find the frame that is on the screen at each of the given times.

    Args:
        source: The clip; decoded only as far as the last time needs.
        targets: Times in ticks, ascending.

    Yields:
        Position in ``targets`` and the frame; one frame may serve several times.
    """
    shots = source.open()
    current = next(shots, None)
    position = 0
    while current is not None and position < len(targets):
        following = next(shots, None)
        while position < len(targets) and (
            following is None or targets[position] < following.start
        ):
            yield position, current
            position += 1
        current = following
