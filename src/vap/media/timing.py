"""Frame rates and times: exact rates, and frames of any timing sampled at a constant rate."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from statistics import median_low

from vap.media.pixels import RGB

# Far slower, and times no longer fit into the numbers that containers have.
MIN_FPS = Fraction(1, 100)
MAX_FPS = 1000
_NTSC = Fraction(1000, 1001)
_NTSC_BASES = (24, 30, 48, 60, 120)
_JITTER = Fraction(2, 100)  # recorders miss their rate by this share; 33 ms ticks make 30 fps 30.3
_NTSC_ROUNDING = 0.006  # 29.97 and 23.98 are what people write for 30000/1001 and 24000/1001


def exact_rate(fps: float | Fraction) -> Fraction:
    """Turn frames per second as people write them, 0.01 to 1000, into the exact rate.

    23.976, 29.97 and their like mean the NTSC rates 24000/1001, 30000/1001, ...
    """
    if not MIN_FPS <= fps <= MAX_FPS:  # also catches NaN
        raise ValueError(
            f"fps={str(fps)[:40]} is not a frame rate that can be written. Use a number from "
            f"{float(MIN_FPS)} to {MAX_FPS}, such as 16."
        )
    if isinstance(fps, Fraction):
        return fps
    for base in _NTSC_BASES:
        if abs(fps - base * _NTSC) < _NTSC_ROUNDING:
            return base * _NTSC
    return Fraction(fps).limit_denominator(1001)


def _common_rates(near: Fraction) -> list[Fraction]:
    """Whole and NTSC rates, the nearest first."""
    rates = [Fraction(max(1, round(near))), *(base * _NTSC for base in _NTSC_BASES)]
    return sorted(rates, key=lambda rate: abs(rate - near))


@dataclass(frozen=True)
class Timeline:
    """When the frames of a source are shown."""

    starts: tuple[int, ...]  # in ticks, ascending
    end: int  # of the last frame, in ticks
    tick: Fraction  # in seconds
    nominal: Fraction | None = None  # rate that the container states

    @classmethod
    def regular(cls, count: int, rate: Fraction) -> Timeline:
        """Frames without times of their own, shown at a constant rate."""
        return cls(tuple(range(count)), count, 1 / rate, rate)

    @property
    def seconds(self) -> Fraction:
        """Length of the clip."""
        return (self.end - self.starts[0]) * self.tick if self.starts else Fraction(0)

    @cached_property
    def constant_rate(self) -> Fraction | None:
        """The rate that explains every time stamp, or None if the timing is variable.

        Containers round times to ticks (1 ms in WebM, 10 ms in GIF): the frames at a constant rate
        may each be less than a tick off. Rates above ``MAX_FPS`` come from damaged stamps.
        """
        count = len(self.starts)
        if count < 2 or self.seconds <= 0:  # noqa: PLR2004  (a rate needs two frames)
            return self.nominal if self.nominal and self.nominal <= MAX_FPS else None
        average = count / self.seconds
        common = _common_rates(average)[:2]
        # A stated rate is exact in MP4 and WebM, but a mere average of rounded delays in GIF.
        stated = [self.nominal] if self.nominal in common else []
        candidates = [*stated, *common, self.nominal, average]
        usable = (rate for rate in candidates if rate and rate <= MAX_FPS)
        return next((rate for rate in usable if self._explains(rate)), None)

    @property
    def rate(self) -> Fraction:
        """The constant rate; for variable timing, the common rate nearest the median frame's."""
        if self.constant_rate is not None:
            return self.constant_rate
        stops = (*self.starts[1:], self.end)
        gaps = [after - before for before, after in zip(self.starts, stops, strict=True)]
        step = median_low([gap for gap in gaps if gap > 0] or [1]) * self.tick
        rate = min(1 / step, Fraction(MAX_FPS))
        common = _common_rates(rate)[0]
        return common if abs(common - rate) <= _JITTER * rate else rate

    def count(self, rate: Fraction) -> int:
        """Frames of the clip at a constant rate, at least one."""
        if rate == self.constant_rate:
            return len(self.starts)
        return max(1, round(self.seconds * rate))

    def targets(self, indices: Iterable[int], rate: Fraction) -> list[Fraction]:
        """Times in ticks at which to sample the frames of a constant rate.

        Frame k shows what is on the screen at (k + ½) / rate, in the middle of its slot, where
        rounded time stamps do not matter.
        """
        first = self.starts[0] if self.starts else 0
        slot = 1 / (rate * self.tick)
        return [first + (index + Fraction(1, 2)) * slot for index in indices]

    def _explains(self, rate: Fraction) -> bool:
        slot = 1 / (rate * self.tick)
        first = self.starts[0]
        # The end is a sum of two rounded numbers; only a last frame shown longer counts against.
        return abs(self.end - first - len(self.starts) * slot) < max(slot / 2, Fraction(2)) and all(
            abs(start - first - index * slot) < 1 for index, start in enumerate(self.starts)
        )


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
