"""Calibrations that others have published."""

import pytest

from tests.pipelines.golden import golden, load, relative_error
from vap.acceleration.published import published_mag_cache


def test_the_ratios_are_those_of_the_conditional_pass() -> None:
    ratios = published_mag_cache(40).mag_ratios.tolist()
    assert ratios[:3] + ratios[-2:] == pytest.approx([1.0, 0.98783, 0.97559, 0.90955, 0.92617])
    assert len(published_mag_cache(50).mag_ratios) == 50


def test_mag_cache_skips_steps_of_a_generation() -> None:
    case, pipeline = golden("wan"), load("wan")
    arguments, ran = case.prompted(num_inference_steps=10), []
    pipeline.transformer.blocks[1].attn1.to_q.register_forward_hook(lambda *_: ran.append(1))
    expected = case.run(arguments, pipeline)
    every = len(ran)
    pipeline.transformer.enable_cache(published_mag_cache(10))
    found = case.run(arguments, pipeline)
    assert len(ran) - every < every
    assert relative_error(found, expected) < 1
