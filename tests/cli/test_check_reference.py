from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tests.cli.running import refusal, vap, vap_json
from vap.media import read_clip, write_video
from vap.media.cuts import find_cuts
from vap.pipelines import reference_report

CHECK = ("--check-reference",)


@pytest.fixture(autouse=True)
def without_network(monkeypatch):
    """TransNet V2, where it is installed, takes seconds for each report."""
    monkeypatch.setattr(reference_report, "find_cuts", partial(find_cuts, by_network=False))


@pytest.fixture
def referenced(short, media):
    return (*short, "--reference", media.clip)


@pytest.fixture
def other(media, tmp_path):
    return write_video(read_clip(media.clip).frames[::-1], tmp_path / "other.mp4", 16)


def test_a_check_makes_the_same_video_and_compares_it(referenced, other, here):
    vap(*referenced, "-o", "plain.mp4")
    checked = vap_json(*referenced, *CHECK, "--other-reference", other, "-o", "out.mp4")
    assert np.array_equal(read_clip("out.mp4").frames, read_clip("plain.mp4").frames)
    report = checked["reference_report"]
    for kind in ("motion", "appearance"):
        assert 0 <= report[kind]["difference"] <= 1
        assert -1 <= report[kind]["use"] <= 1
    assert report["cuts"] == []


def test_a_check_is_told_in_sentences_and_a_strength_of_zero_is_no_use(referenced, here):
    result = vap(*referenced, "--check-reference", "--strength", 0, "-o", "out.mp4")
    assert "motion differs by 0%" in result.stderr
    assert "strength" in result.stderr


def test_what_cannot_be_compared_is_refused_before_anything_is_loaded(referenced, media, here):
    other = ("--other-reference", media.clip, "-o", "o.mp4")
    assert "--other-reference" in refusal(*referenced, *other)
    alone = ["generate", "--image", media.image, "--check-reference", "-o", "o.mp4"]
    assert "--reference" in refusal(*alone)
    missing = refusal(*referenced, *CHECK, "--other-reference", "no.mp4", "-o", "o.mp4")
    assert "no.mp4" in missing
