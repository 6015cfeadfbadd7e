import numpy as np
import pytest

from tests.mini.evaluation.denoised import latents
from vap.mini.evaluation.systems import Autoencoded, Generated, Generation, Static, Truth

ONE_STEP = Generation(1, 1.0)


@pytest.mark.parametrize("reference", [False, True])
def test_a_batch_makes_what_its_cases_make_alone(model, cases, reference):
    system = Generated(model, ONE_STEP, reference=reference)
    together = latents(system, cases)
    alone = np.concatenate([latents(system, [case]) for case in cases])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_each_reference_reaches_its_own_video_alone(model, cases):
    system = Generated(model, ONE_STEP, reference=True)
    first, second, _ = cases
    mixed = type(second)(second.spec, type(second.pair)(first.pair.target, second.pair.target))
    before, after = latents(system, [first, second]), latents(system, [first, mixed])
    np.testing.assert_allclose(before[0], after[0], rtol=1e-4, atol=1e-5)
    assert not np.allclose(before[1], after[1], rtol=1e-3, atol=1e-3)


def test_the_caption_tells_the_effect_only_where_it_should(model, cases, monkeypatch):
    told = []
    encode = model.encode_prompt
    monkeypatch.setattr(
        model,
        "encode_prompt",
        lambda prompts, *a, **k: (told.append(prompts), encode(prompts, *a, **k))[1],
    )
    for effect in (False, True):
        Generated(model, ONE_STEP, effect=effect).videos(cases[:1])
    clip = cases[0].pair.target
    assert told == [[clip.scene_caption], [clip.caption]]


def test_a_told_effect_guides_as_strongly_as_a_reference(model, cases, monkeypatch):
    given = []

    def asked(_pipeline, *_inputs, **arguments):
        given.append(arguments)
        raise StopIteration

    monkeypatch.setattr(type(model), "__call__", asked)
    guided = Generation(1, reference_guidance_scale=3.0)
    for settings in (guided, Generation(1), Generation(1, 2.0, 3.0)):
        with pytest.raises(StopIteration):
            Generated(model, settings, effect=True).videos(cases[:2])
    by_effect, by_default, by_text = given
    assert by_effect["guidance_scale"] == 3.0
    scenes = [case.pair.target.scene_caption for case in cases[:2]]
    assert by_effect["negative_prompt"] == scenes
    assert by_default["guidance_scale"] is None
    assert (by_text["guidance_scale"], by_text["negative_prompt"]) == (2.0, "")


def test_bounds_are_stills_truths_and_reconstructions(model, cases):
    stills, truths = Static().videos(cases), Truth().videos(cases)
    decoded = Autoencoded(model).videos(cases)
    for case, still, truth, video in zip(cases, stills, truths, decoded, strict=True):
        np.testing.assert_array_equal(still, np.stack([case.truth[0]] * len(case.truth)))
        np.testing.assert_array_equal(truth, case.truth)
        assert video.shape == truth.shape
        assert 0 <= video.min() <= video.max() <= 1


def test_as_many_references_as_videos(model, cases):
    prompt = model.encode_video_prompt([case.pair.reference.frames for case in cases])
    with pytest.raises(ValueError, match="3 references for 1 videos"):
        model(cases[0].image, "", video_prompt=prompt)


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_are_refused(steps):
    with pytest.raises(ValueError, match=f"steps={steps}; at least one"):
        Generation(steps)
