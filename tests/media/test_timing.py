from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vap.media.timing import Timeline, exact_rate


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (16, Fraction(16)),
        (16.0, Fraction(16)),
        (23.976, Fraction(24000, 1001)),
        (23.98, Fraction(24000, 1001)),
        (24000 / 1001, Fraction(24000, 1001)),
        (29.97, Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (24, Fraction(24)),
        (12.5, Fraction(25, 2)),
        (Fraction(7, 3), Fraction(7, 3)),
    ],
)
def test_rates_are_exact(written, meant):
    assert exact_rate(written) == meant


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 5000, 0.0001])
def test_impossible_rates_are_refused(fps):
    with pytest.raises(ValueError, match="not a frame rate"):
        exact_rate(fps)


@given(
    st.sampled_from([8, 10, 12, 15, 16, 24, 25, 30, 50, Fraction(24000, 1001)]),
    st.integers(20, 100),
    st.sampled_from([Fraction(1, 100), Fraction(1, 1000)]),
)
def test_rounded_times_still_show_the_rate(rate, count, tick):
    times = [round(index / rate / tick) for index in range(count + 1)]
    timeline = Timeline(tuple(times[:-1]), times[-1], tick, None)
    found = timeline.constant_rate
    assert found is not None
    assert abs(found - rate) < Fraction(1, 20)
    assert timeline.count(timeline.rate) == count


def test_stated_rate_is_taken_where_rounding_hides_it():
    rate = Fraction(24000, 1001)
    times = [round(index * 1000 / rate) for index in range(5)]
    assert Timeline(tuple(times[:4]), times[4], Fraction(1, 1000), rate).rate == rate


def test_two_frames_at_an_ntsc_rate_are_not_taken_for_24():
    timeline = Timeline((0, 1001), 2002, Fraction(1, 24000), Fraction(24000, 1001))
    assert timeline.rate == Fraction(24000, 1001)


def test_a_held_frame_makes_the_timing_variable_at_the_rate_of_the_others():
    timeline = Timeline((0, 100, 200, 1000), 1100, Fraction(1, 1000), Fraction(40, 11))
    assert timeline.constant_rate is None
    assert timeline.rate == 10
    assert timeline.count(timeline.rate) == 11


def test_a_recorders_jitter_rounds_to_the_common_rate():
    starts = (0, 33, 66, 100, 133, 300, 333, 366)
    assert Timeline(starts, 399, Fraction(1, 1000)).rate == 30


@example([0, 1], 0)  # 90,000 frames a second, if one believed it
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=20, unique=True), st.integers(0, 10**9))
def test_any_times_give_a_usable_rate(starts, rest):
    starts = tuple(sorted(starts))
    timeline = Timeline(starts, starts[-1] + rest + 1, Fraction(1, 90000))
    assert 0 < timeline.rate <= 1000
    assert timeline.count(timeline.rate) >= 1
