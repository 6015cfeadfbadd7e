"""The 100 conditions: how many there are, who may train on them, and that each one shows."""

from collections import Counter

import numpy as np
import pytest

from vap.synth import CONDITIONS, ClipSpec
from vap.synth.composition import compose
from vap.synth.condition import TIMING, Choice, Range
from vap.synth.fields import generator
from vap.synth.registry import HELD_OUT, UNKNOWN

NAMES = list(CONDITIONS)


def test_a_hundred_conditions_in_four_categories():
    counts = Counter(condition.category for condition in CONDITIONS.values())
    assert counts == {"concept": 35, "style": 20, "motion": 25, "camera": 20}


def test_five_of_each_category_are_held_out_and_one_of_these_is_unknown():
    held_out = Counter(CONDITIONS[name].category for name in HELD_OUT)
    unknown = Counter(CONDITIONS[name].category for name in UNKNOWN)
    assert held_out == dict.fromkeys(("concept", "style", "motion", "camera"), 5)
    assert unknown == dict.fromkeys(("concept", "style", "motion", "camera"), 1)
    exposures = Counter(condition.exposure for condition in CONDITIONS.values())
    assert exposures == {"train": 80, "heldout": 16, "unknown": 4}


def test_phrases_tell_conditions_apart():
    assert len({condition.phrase for condition in CONDITIONS.values()}) == len(CONDITIONS)


@pytest.mark.parametrize("name", NAMES)
def test_drawn_parameters_are_allowed(name):
    condition = CONDITIONS[name]
    drawn = condition.draw(generator(1, NAMES.index(name)))
    assert drawn.keys() == condition.parameters.keys() >= TIMING.keys()
    for key, value in drawn.items():
        parameter = condition.parameters[key]
        if isinstance(parameter, Choice):
            assert value in parameter.options
        else:
            size = abs(value) if parameter.signed else value
            assert parameter.low <= size <= parameter.high


@pytest.mark.parametrize("name", NAMES)
def test_effect_unfolds_from_the_untouched_picture_and_changes_it(name):
    condition = CONDITIONS[name]
    number = NAMES.index(name)
    scene = compose(generator(2, number), unseen=False).render(40, 64)
    parameters = condition.draw(generator(3, number))
    start = np.abs(condition.frame(scene, 0.0, parameters) - scene.image)
    changes = [
        np.abs(condition.frame(scene, time, parameters) - scene.image).mean()
        for time in (0.3, 0.45, 0.6, 0.75)
    ]
    assert start.mean() < 0.005
    assert max(changes) > 0.006
    assert np.isfinite(changes).all()


@pytest.mark.parametrize("name", NAMES)
def test_size_changes_the_sharpness_only(name):
    number = NAMES.index(name)
    spec = ClipSpec(
        name,
        CONDITIONS[name].draw(generator(4, number)),
        compose(generator(5, number), unseen=True),
    )
    small = spec.render(48, 80, 3).frames.astype(float)
    large = spec.render(96, 160, 3).frames.astype(float)
    assert small.shape == (3, 48, 80, 3)
    halved = large.reshape(3, 48, 2, 80, 2, 3).mean(axis=(2, 4))
    # Brightness of quarters of the frame: patterns finer than a pixel average out.
    quarters = [clip.reshape(3, 2, 24, 2, 40, 3).mean(axis=(2, 4)) for clip in (small, halved)]
    assert np.abs(quarters[0] - quarters[1]).mean() < 14


def test_parameters_shape_the_effect():
    scene = compose(generator(6), unseen=False).render(40, 64)
    timing = {"start": 0.0, "finish": 1.0}
    left = CONDITIONS["pan"].frame(scene, 1.0, {**timing, "side": "left", "reach": 0.5})
    right = CONDITIONS["pan"].frame(scene, 1.0, {**timing, "side": "right", "reach": 0.5})
    assert np.abs(left - right).mean() > 0.02


def test_timing_delays_and_completes_the_effect():
    scene = compose(generator(6), unseen=False).render(40, 64)
    parameters = {"start": 0.15, "finish": 0.8, "arrival": "everywhere"}
    invert = CONDITIONS["invert"]
    np.testing.assert_array_equal(invert.frame(scene, 0.15, parameters), scene.image)
    np.testing.assert_allclose(invert.frame(scene, 0.8, parameters), 1 - scene.image, atol=1e-6)


def test_signed_ranges_draw_both_signs_and_no_less_than_their_low_end():
    drawn = [Range(0.5, 1.0, signed=True).draw(generator(8, number)) for number in range(40)]
    assert min(map(abs, drawn)) >= 0.5
    assert min(drawn) < 0 < max(drawn)
