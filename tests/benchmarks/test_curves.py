from xml.etree import ElementTree as ET

import pytest
from benchmarks.curves import Point, fit, picture, plans
from benchmarks.sizes import SIZES
from benchmarks.svg import Line, Panel, draw
from hypothesis import given
from hypothesis import strategies as st

POSITIVE = st.floats(1e-6, 1e9)


def points(axis, exponent):
    return [
        Point(axis, work, 3 * work**exponent, 4 * work, 1 << 30, 1e12 * work**2)
        for work in (1, 2, 4, 8)
    ]


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.7])
def test_exponents_are_found(exponent):
    (fitted,) = fit(points("tokens", exponent)).values()
    assert fitted == pytest.approx(
        {"denoise": exponent, "seconds": 1.0, "peak_memory_bytes": 0.0, "flop": 2.0}, abs=1e-9
    )


@pytest.mark.parametrize("name", ["cpu-mid-wan", "cpu-mid-cogvideox"])
def test_every_axis_has_four_amounts_and_the_model_takes_each(name):
    planned = plans(SIZES[name], "float32", 1)
    assert [axis for axis, _ in planned[::4]] == ["tokens", "references", "steps", "batch"]
    assert [plan.tokens for _, plan in planned[:4]] == [640, 1200, 1760, 2400]
    for _, plan in planned:
        plan.size.compression.check(plan.size.shape)
        transformer = plan.size.transformer
        assert transformer.get("sample_height", plan.size.shape.height // 8) * 8 == (
            plan.size.shape.height
        )


def test_a_picture_has_a_dot_for_every_point():
    drawn = [*points("tokens", 1.0), *points("steps", 1.0)]
    root = ET.fromstring(picture(drawn, fit(drawn)))  # noqa: S314 - our own
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) == 2 * len(drawn)


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=5), st.text("ab<&>\"'"))
def test_any_points_and_words_give_well_formed_pictures_within_their_bounds(places, words):
    root = ET.fromstring(  # noqa: S314 - our own
        draw([[Panel(words, words, words, [Line(words, places)])]])
    )
    for dot in root.iter("{http://www.w3.org/2000/svg}circle"):
        assert 0 <= float(dot.get("cx")) <= 300
        assert 0 <= float(dot.get("cy")) <= 220
