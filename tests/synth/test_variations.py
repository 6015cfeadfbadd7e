"""Variations: the same scene, another condition, equal on both sides of a pair."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vap.synth import (
    CONDITIONS,
    ClipSpec,
    conditions_of,
    pair_spec,
    sample_clip,
    sample_pair,
)
from vap.synth.composition import compose
from vap.synth.fields import generator
from vap.synth.variations import OVER, Beside, Symmetry, Variation, draw_variation

SIZE = {"height": 24, "width": 32}
SCENE = compose(generator(5), unseen=False)

symmetries = st.builds(
    Symmetry,
    st.permutations([0, 1, 2]).map(tuple),
    st.tuples(*[st.booleans()] * 3),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


def clip(condition: str, variation: Variation | None = None, **parameters) -> np.ndarray:
    drawn = CONDITIONS[condition].draw(generator(8))
    spec = ClipSpec(condition, {**drawn, **parameters}, SCENE, variation=variation)
    return spec.render(**SIZE, frames=5).frames


@given(symmetries)
@settings(max_examples=40, deadline=None)
def test_a_symmetry_undone_is_the_picture_again(symmetry: Symmetry) -> None:
    scene = SCENE.render(**SIZE)
    seen = symmetry.scene(scene)
    np.testing.assert_allclose(symmetry.undone(seen.image), scene.image, atol=1e-5)
    assert seen.image.min() >= -1e-6
    assert seen.image.max() <= 1 + 1e-6


@given(symmetries, st.sampled_from(sorted(CONDITIONS)))
@settings(max_examples=40, deadline=None)
def test_the_first_frame_is_the_untouched_scene(symmetry: Symmetry, condition: str) -> None:
    variation = Variation(symmetry, then=("night", CONDITIONS["night"].draw(generator(1))))
    assert np.array_equal(clip(condition, variation)[0], clip(condition)[0])


def test_without_a_change_a_variation_shows_the_condition() -> None:
    assert np.abs(clip("melt").astype(int) - clip("melt", Variation())).max() <= 1


def test_gold_becomes_another_metal_and_the_scene_stays() -> None:
    gold, blue = (
        clip("turn_to_gold", Variation(Symmetry(channels=channels)))
        for channels in ((0, 1, 2), (2, 1, 0))
    )
    red, _, least = gold[-1].astype(float).mean((0, 1)) - blue[-1].astype(float).mean((0, 1))
    assert red > 1
    assert least < -1
    corner = np.s_[:, :2, :2]
    assert np.abs(gold[corner].astype(int) - blue[corner]).max() <= 1


def test_upside_down_a_jump_goes_downwards() -> None:
    def height(*, upside_down: bool) -> float:
        frames = clip("jump", Variation(Symmetry(upside_down=upside_down)), start=0.0, finish=1.0)
        changed = np.abs(frames[2].astype(int) - frames[0]).sum((1, 2))
        return float((changed * np.arange(len(changed))).sum() / changed.sum())

    assert height(upside_down=False) + 2 < height(upside_down=True)


def test_sideways_a_pan_is_a_tilt() -> None:
    scene = SCENE.render(**SIZE)
    pan, tilt = (CONDITIONS[name] for name in ("pan", "tilt"))
    timing = {"start": 0.0, "finish": 1.0}
    seen = Variation(Symmetry(sideways=True)).frame(
        pan, scene, 0.6, {**timing, "side": "left", "reach": 0.3}
    )
    # Reaches are shares of the height, which is the width when the picture lies on its side.
    reach = 0.3 * SIZE["width"] / SIZE["height"]
    upright = tilt.frame(scene, 0.6, {**timing, "height": "up", "reach": reach})
    np.testing.assert_allclose(seen, upright, atol=0.02)
    assert np.abs(upright - scene.image).mean() > 0.02


@pytest.mark.parametrize("part", ["left", "right", "top", "bottom", "middle", "border"])
def test_beside_each_condition_keeps_to_its_part(part) -> None:
    night = CONDITIONS["night"].draw(generator(1)) | {"arrival": "everywhere"}
    alone, beside = (
        clip("sepia", variation, arrival="everywhere")[-1].astype(int)
        for variation in (None, Variation(beside=Beside("night", night, part)))
    )
    other = clip("night", **night)[-1].astype(int)
    of_other = np.abs(beside - other).max(-1) <= 1
    of_first = np.abs(beside - alone).max(-1) <= 1
    rows, columns = np.mgrid[:24, :32]
    across, down = columns / 31 - 0.5, rows / 23 - 0.5
    inside = np.hypot(across, down) - 0.3
    depth = {"left": -across, "right": across, "top": -down, "bottom": down}
    depth |= {"middle": -inside, "border": inside}
    assert of_other[depth[part] > 0.05].all()
    assert of_first[depth[part] < -0.05].all()
    assert not (of_other | of_first).all() or part in {"left", "right", "top", "bottom"}


def test_beside_in_time_the_second_follows_the_first() -> None:
    night = CONDITIONS["night"].draw(generator(1))
    both = clip("melt", Variation(beside=Beside("night", night, "later")))
    assert np.array_equal(both[:2], clip("melt")[:2])
    assert np.array_equal(both[3:], clip("night", **night)[3:])


def test_what_returns_ends_as_it_began() -> None:
    there = clip("zoom_in", Variation(returns=True), start=0.0, finish=1.0)
    assert np.array_equal(there[0], there[-1])
    assert np.array_equal(there[1], there[3])
    assert not np.array_equal(there[0], there[2])


def test_a_second_condition_goes_over_the_first() -> None:
    sepia = CONDITIONS["sepia"].draw(generator(2)) | {"arrival": "everywhere"}
    both = clip("spin", Variation(then=("sepia", sepia)))
    alone = clip("spin")
    spread = [frames[-1].astype(float).std(axis=-1).mean() for frames in (both, alone)]
    assert spread[0] != pytest.approx(spread[1], rel=0.05)
    assert np.abs(both[2].astype(int) - clip("sepia")[2]).mean() > 1


def test_both_sides_of_a_pair_share_a_variation() -> None:
    for index in range(20):
        reference, target = pair_spec(4, index, varied=1.0)
        assert reference.variation == target.variation
        assert reference.variation is not None
        assert reference.composition != target.composition


def test_the_rest_of_a_pair_does_not_depend_on_the_share() -> None:
    for index in range(20):
        (plain, _), (varied, _) = (pair_spec(4, index, varied=share) for share in (0.0, 1.0))
        assert plain.variation is None
        assert (plain.condition, plain.parameters) == (varied.condition, varied.parameters)
        assert plain.composition == varied.composition


def test_a_varied_clip_is_the_target_of_its_varied_pair() -> None:
    arguments = {**SIZE, "frames": 3, "varied": 1.0}
    target = sample_pair(2, 9, **arguments).target.frames
    assert np.array_equal(sample_clip(2, 9, **arguments).frames, target)
    assert not np.array_equal(sample_clip(2, 9, **{**arguments, "varied": 0.0}).frames, target)


def test_the_share_is_kept() -> None:
    varied = [pair_spec(4, index, varied=0.3)[0].variation is not None for index in range(400)]
    assert 0.2 < np.mean(varied) < 0.4


def test_second_conditions_are_of_those_that_a_split_may_draw() -> None:
    allowed = conditions_of("train")
    for index in range(200):
        variation = draw_variation(generator(9, index), "night", allowed)
        if variation.then is not None:
            name, parameters = variation.then
            assert name in allowed
            assert name != "night"
            assert CONDITIONS[name].category in OVER
            assert parameters.keys() == CONDITIONS[name].parameters.keys()


def test_without_a_share_of_mixtures_a_seed_gives_what_it_did() -> None:
    allowed = conditions_of("train")
    for index in range(50):
        plain, mixed = (
            draw_variation(generator(9, index), "night", allowed, mixed=share)
            for share in (0.0, 1.0)
        )
        assert plain.beside is None
        assert not plain.symmetry.sideways
        assert mixed.beside is not None or mixed.symmetry.sideways
        assert replace(mixed.symmetry, sideways=False) == plain.symmetry
        assert (mixed.returns, mixed.then) == (plain.returns, plain.then)


def test_others_beside_are_of_those_that_a_split_may_draw() -> None:
    allowed = conditions_of("train")
    drawn = [draw_variation(generator(9, i), "night", allowed, mixed=1.0) for i in range(200)]
    others = {variation.beside.name for variation in drawn if variation.beside}
    assert others <= set(allowed) - {"night"}
    assert {CONDITIONS[name].category for name in others} == {
        "concept",
        "style",
        "motion",
        "camera",
    }
    assert len({variation.beside.part for variation in drawn if variation.beside}) == 7
    alone = draw_variation(generator(9), "night", ["night"], mixed=1.0)
    assert alone.beside is None


def test_captions_name_both_conditions() -> None:
    spec = ClipSpec(
        "melt", CONDITIONS["melt"].draw(generator(1)), SCENE, True, Variation(then=("night", {}))
    )
    assert CONDITIONS["melt"].phrase in spec.caption
    assert CONDITIONS["night"].phrase in spec.caption


def test_a_share_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"varied=1\.5.*shares from 0 to 1"):
        sample_pair(0, 0, varied=1.5)
