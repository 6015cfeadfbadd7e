"""Is the reference used: the same call with it, without it and with another."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from tests.evaluation.metrics.tiny import moving, texture
from tests.pipelines.golden import Golden
from vap.media.cuts import find_cuts
from vap.pipelines import reference_report
from vap.pipelines.reference_report import Influence, ReferenceReport, report_on

RIGHT = moving(1, frames=17, height=96, width=96)
LEFT = RIGHT[::-1]
STILL = np.stack([texture(96, 96)] * 17)


@pytest.fixture(autouse=True)
def without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """TransNet V2, where it is installed, takes seconds for each report."""
    monkeypatch.setattr(reference_report, "find_cuts", partial(find_cuts, by_network=False))


def test_the_report_of_a_pipeline_compares_the_same_noise(case: Golden) -> None:
    call = case.prompted(generator=case.generator(), latents=None)
    report = case.pipeline.reference_report(other_videos=LEFT, other_prompts="left", **call)
    assert report.videos.keys() == {"own", "none", "other"}
    alone = case.run(case.alone(latents=None, output_type="np"))[0]
    assert np.abs(report.videos["none"] / 255 - alone).max() <= 0.5 / 255 + 1e-6
    again = case.run(case.prompted(latents=None, output_type="np"))[0]
    assert np.abs(report.videos["own"] / 255 - again).max() <= 0.5 / 255 + 1e-6
    for influence in (report.motion, report.appearance):
        assert 0 <= influence.difference <= 1
        assert -1 <= influence.toward <= 1
        assert -1 <= influence.use <= 1


def test_a_strength_of_zero_makes_no_difference(case: Golden) -> None:
    report = case.pipeline.reference_report(**case.prompted(strength=0.0))
    assert (report.motion.difference, report.appearance.difference) == (0, 0)
    assert not report.makes_a_difference
    assert report.is_followed is False
    assert any("strength" in line for line in report.advice)


def test_a_video_prompt_has_no_frames_to_compare_with(case: Golden) -> None:
    sizes = {"height": 48, "width": 64, "num_frames": 9}
    prompt = case.pipeline.encode_video_prompt(case.inputs["reference"], **sizes)
    report = case.pipeline.reference_report(video_prompt=prompt, **case.alone())
    assert report.motion.toward is None
    assert report.is_followed is None
    assert report.cuts == ()


def test_a_call_without_a_reference_or_with_several_videos_is_refused(case: Golden) -> None:
    with pytest.raises(ValueError, match="reference_videos"):
        case.pipeline.reference_report(**case.alone())
    with pytest.raises(ValueError, match="makes 2"):
        case.pipeline.reference_report(
            **case.prompted(num_videos_per_prompt=2, latents=None, generator=torch.Generator())
        )


def test_a_result_that_follows_its_reference_is_told_so() -> None:
    videos = {"own": RIGHT, "none": STILL, "other": LEFT}
    report = report_on(videos, reference=RIGHT, other=LEFT, captioned=True)
    assert report.motion.difference == pytest.approx(1)
    assert report.motion.toward == pytest.approx(1)
    assert report.motion.use == pytest.approx(1, abs=0.15)
    assert report.is_followed
    assert report.advice == ()
    assert len(report.lines()) == 3


def test_a_difference_that_leads_elsewhere_is_no_use_of_the_reference() -> None:
    report = report_on({"own": LEFT, "none": STILL}, reference=RIGHT, captioned=True)
    assert report.makes_a_difference
    assert report.is_followed is False
    assert any("prompt names another effect" in line for line in report.advice)
    assert any("--other-reference" in line for line in report.advice)
    videos = {"own": LEFT, "none": STILL, "other": RIGHT}
    report = report_on(videos, reference=RIGHT, other=LEFT, captioned=True)
    assert report.is_followed is False
    assert not any("--other-reference" in line for line in report.advice)


def test_a_silent_caption_and_a_cut_are_named() -> None:
    cut = np.concatenate([RIGHT[:8], 255 - moving(2, frames=9, height=96, width=96)])
    report = report_on({"own": RIGHT, "none": STILL}, reference=cut, captioned=False)
    assert report.cuts == (8,)
    assert any("caption" in line for line in report.advice)
    assert any("frame 8" in line for line in report.advice)


def test_what_is_not_known_is_not_told() -> None:
    same = Influence(0.0)
    report = ReferenceReport(same, same, (), captioned=True)
    assert report.is_followed is None
    assert not any("like that of the reference" in line for line in report.lines())


def test_a_cut_is_warned_about_when_a_reference_is_read(case: Golden) -> None:
    cut = np.concatenate([RIGHT[:8], 255 - moving(2, frames=9, height=96, width=96)])
    sizes = {"height": 48, "width": 64, "num_frames": 17}
    with pytest.warns(UserWarning, match="cut at"):
        case.pipeline.encode_video_prompt(cut, **sizes)
