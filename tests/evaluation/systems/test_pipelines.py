"""What pipelines are asked for, and what comes of it, alone and in batches."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.cli.running import COGVIDEOX
from vap.evaluation.benchmarks.synth import render_benchmark
from vap.evaluation.systems.base import Job
from vap.evaluation.systems.pipelines import VideoAsPrompt, WithoutReference
from vap.evaluation.systems.registry import SYSTEMS
from vap.media import read_clip
from vap.shapes import PixelShape

SHAPE = PixelShape(5, 32, 64)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    names = ("sepia", "invert", "spiral_zoom")
    return render_benchmark(folder, 3, conditions=names, seed=0, shape=SHAPE).cases


@pytest.fixture
def jobs(cases, tmp_path):
    def make(variant="own"):
        return [
            Job(
                case,
                place,
                tmp_path / f"{case.name}-{variant}",
                None if variant == "none" else case.reference,
                case.reference_prompt,
                case.reference_scene_prompt,
                variant,
            )
            for place, case in enumerate(cases)
        ]

    return make


def vap(tiny, **settings):
    return VideoAsPrompt.model_validate(
        {"name": "vap", "model": str(tiny), "device": "cpu", "captions": "scene", **settings}
    )


def made(system, jobs, folder):
    outcomes = list(system.run(jobs, folder))
    assert [outcome.error for outcome in outcomes] == [None] * len(jobs)
    return [read_clip(job.output).frames for job in jobs]


@pytest.mark.parametrize("variant", ["own", "none"])
def test_a_batch_makes_what_its_cases_make_alone(variant, tiny, jobs, tmp_path):
    alone = made(vap(tiny), jobs(variant), tmp_path)
    together = made(vap(tiny, batch=3), jobs(variant), tmp_path)
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 1  # rounding


@pytest.mark.parametrize("variant", ["own", "none"])
def test_the_other_variant_makes_videos_too(variant, jobs, tmp_path):
    settings = {"height": 48, "width": 64, "num_frames": 9, "num_inference_steps": 1}
    system = vap(COGVIDEOX, dtype="float32", **settings)
    (frames,) = made(system, jobs(variant)[:1], tmp_path)
    assert frames.shape == (9, 48, 64, 3)


def test_each_reference_reaches_its_own_video_alone(tiny, jobs, tmp_path):
    system = vap(tiny, batch=3, reference_guidance_scale=500.0)
    first = made(system, jobs(), tmp_path)
    changed = jobs()
    changed[1] = replace(changed[1], reference=changed[1].case.truth)
    second = made(system, changed, tmp_path)
    assert [np.array_equal(a, b) for a, b in zip(first, second, strict=True)] == [True, False, True]


def test_captions_tell_the_effect_only_where_they_should(tiny, jobs, cases):
    job, case = jobs()[0], cases[0]
    told = {captions: vap(tiny, captions=captions).ask(job) for captions in ("scene", "effect")}
    assert (told["scene"].prompt, told["effect"].prompt) == (case.scene_prompt, case.prompt)
    assert told["scene"].reference_prompts == (case.reference_scene_prompt,)
    assert told["effect"].reference_prompts == (case.reference_prompt,)
    silent = replace(job, case=replace(case, scene_prompt=""), reference_scene_prompt="")
    assert vap(tiny).ask(silent).prompt == case.prompt  # there is no other


def test_without_a_reference_none_is_given(tiny, jobs):
    request = vap(tiny).ask(jobs("none")[0])
    assert (request.references, request.reference_prompts) == ((), ())


def test_an_effect_in_the_caption_guides_as_strongly_as_a_reference(tiny, jobs, cases):
    class Defaults:
        reference_guidance_scale = 2.0

    def guided(**settings):
        system = WithoutReference.model_validate({"name": "i2v", "model": str(tiny), **settings})
        return system.guided(jobs()[0], Defaults)

    scene = cases[0].scene_prompt
    assert guided() == {"negative_prompt": scene, "guidance_scale": 2.0}
    assert guided(reference_guidance_scale=3.0)["guidance_scale"] == 3.0
    assert guided(guidance_scale=5.0) == guided(captions="scene") == {}
    assert guided(reference_guidance_scale=1.0) == {}


def test_settings_weights_and_captions_decide_the_identity(tiny):
    plain = vap(tiny).identity()
    assert plain["settings"] == {}  # settings of later versions do not change it
    assert vap(tiny, device=None, offload=None).identity() == plain
    for change in ({"num_inference_steps": 3}, {"captions": "effect"}, {"profile": "fast"}):
        assert vap(tiny, **change).identity() != plain


def test_the_model_decides_the_identity_not_its_place(tiny, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(tiny, other, symlinks=True)
    assert vap(other).identity() == vap(tiny).identity()
    index = json.loads((other / "model_index.json").read_text())
    index["generation_defaults"]["num_inference_steps"] = 2
    (other / "model_index.json").write_text(json.dumps(index))
    assert vap(other).identity() != vap(tiny).identity()


def test_a_case_that_fails_does_not_end_the_others(tiny, jobs, tmp_path):
    broken = jobs()
    broken[1] = replace(broken[1], reference=tmp_path / "missing.mp4")
    outcomes = list(vap(tiny).run(broken, tmp_path))
    assert [outcome.error is None for outcome in outcomes] == [True, False, True]


def test_what_no_model_can_do_is_refused_before_anything_is_loaded(tiny, tmp_path):
    with pytest.raises(ValueError, match="num_inference_steps=0"):
        vap(tiny, num_inference_steps=0).check()
    with pytest.raises(FileNotFoundError, match=r"expert\.safetensors"):
        vap(tiny, expert=tmp_path / "expert.safetensors").check()
    with pytest.raises(ValueError, match="batch=2"):
        vap(tiny, model=str(COGVIDEOX), batch=2).check()


def test_unknown_settings_are_named_with_the_nearest(tiny):
    with pytest.raises(ValueError, match=r"'captoins'.*'captions'"):
        SYSTEMS.build({"kind": "vap", "name": "x", "captoins": "scene"}, "x.yaml")
