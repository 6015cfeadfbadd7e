from collections import Counter

import numpy as np
import pytest

from vap.evaluation.benchmarks.read import read_benchmark
from vap.evaluation.benchmarks.synth import (
    SEED,
    SPLITS,
    CaseSpec,
    choose_cases,
    render_benchmark,
    render_pair,
)
from vap.media import read_clip, read_image
from vap.shapes import PixelShape
from vap.synth import CONDITIONS, conditions_of
from vap.synth.backgrounds import SCENIC_BACKGROUNDS
from vap.synth.subjects import DRAWINGS, UNSEEN_SUBJECTS

SHAPE = PixelShape(5, 32, 64)
NAMES = ("sepia", "invert", "spiral_zoom")


def test_every_condition_of_a_split_is_equally_frequent():
    specs = choose_cases(240, seed=SEED)
    for split in SPLITS:
        counts = Counter(spec.condition for spec in specs if spec.split == split)
        assert set(counts) == set(conditions_of(split))
        assert set(counts.values()) == {80 // len(conditions_of(split))}


def test_fewer_cases_are_the_first_of_more():
    assert choose_cases(20, seed=1) == choose_cases(50, seed=1)[:20]


def test_the_first_cases_are_of_several_categories():
    first = [spec for spec in choose_cases(48, seed=SEED) if spec.split == "seen"]
    assert len({CONDITIONS[spec.condition].category for spec in first}) == 4


def test_only_the_conditions_asked_for_and_the_splits_that_have_them():
    specs = choose_cases(4, seed=0, conditions=["sepia", "invert"])
    assert {(spec.split, spec.condition) for spec in specs} == {
        ("seen", "sepia"),
        ("heldout", "invert"),
    }


def test_fewer_cases_than_splits_are_those_of_the_first_splits():
    assert [spec.split for spec in choose_cases(2, seed=0)] == ["seen", "heldout"]
    assert choose_cases(2, seed=0) == choose_cases(3, seed=0)[:2]


@pytest.mark.parametrize(
    ("count", "conditions", "named"), [(0, (), "cases=0"), (9, ("sepai",), "sepia")]
)
def test_impossible_choices_are_refused(count, conditions, named):
    with pytest.raises(ValueError, match=named):
        choose_cases(count, seed=0, conditions=conditions)


def test_media_are_the_rendered_pixels_and_are_written_once(tmp_path):
    benchmark = render_benchmark(tmp_path, 3, conditions=NAMES, seed=0, shape=SHAPE)
    specs = choose_cases(3, seed=0, conditions=NAMES)
    assert benchmark.exact
    assert [case.name for case in benchmark.cases] == ["seen-000", "heldout-000", "unknown-000"]
    for case, spec in zip(benchmark.cases, specs, strict=True):
        pair = render_pair(spec, SHAPE, 0)
        assert pair.target.composition.subject in UNSEEN_SUBJECTS
        np.testing.assert_array_equal(read_clip(case.truth).frames, pair.target.frames)
        np.testing.assert_array_equal(read_clip(case.reference).frames, pair.reference.frames)
        np.testing.assert_array_equal(np.asarray(read_image(case.image)), pair.target.frames[0])
        assert (case.prompt, case.scene_prompt) == (pair.target.caption, pair.target.scene_caption)
        assert (case.group, case.seed) == (spec.split, spec.index)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    again = render_benchmark(tmp_path, 3, conditions=NAMES, seed=0, shape=SHAPE)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")} == times
    assert again.identity == benchmark.identity


def test_a_case_that_was_cut_off_is_rendered_again(tmp_path):
    first = render_benchmark(tmp_path, 1, conditions=["sepia"], seed=0, shape=SHAPE)
    (captions,) = tmp_path.rglob("captions.json")
    captions.unlink()
    (first.cases[0].truth / "frame_00003.png").unlink()
    again = render_benchmark(tmp_path, 1, conditions=["sepia"], seed=0, shape=SHAPE)
    assert again.identity == first.identity


def test_another_seed_or_size_has_files_of_its_own(tmp_path):
    settings = [(0, SHAPE), (1, SHAPE), (0, PixelShape(5, 32, 48))]
    made = [
        render_benchmark(tmp_path, 1, conditions=["sepia"], seed=seed, shape=shape)
        for seed, shape in settings
    ]
    assert len({benchmark.cases[0].truth for benchmark in made}) == 3
    assert len({benchmark.identity for benchmark in made}) == 3


def test_the_drawn_world_has_cases_and_files_of_its_own(tmp_path):
    made = [
        read_benchmark(name, folder=tmp_path, cases=1, conditions=["sepia"])
        for name in ("synth", "synth-drawn")
    ]
    assert [benchmark.name for benchmark in made] == ["synth", "synth-drawn"]
    assert made[0].cases[0].truth != made[1].cases[0].truth
    for index in range(8):
        spec = CaseSpec("seen", index, "sepia")
        shown = render_pair(spec, SHAPE, SEED, drawn=True).target.composition
        assert (shown.subject in DRAWINGS, shown.background in SCENIC_BACKGROUNDS) == (True, True)
