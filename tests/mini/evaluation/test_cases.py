from collections import Counter

import numpy as np
import pytest

from tests.mini.conftest import SHAPE
from vap.mini.evaluation.cases import CASES, SEED, SPLITS, choose_cases, render_case
from vap.synth import CONDITIONS, conditions_of
from vap.synth.subjects import UNSEEN_SUBJECTS


def test_the_default_shows_every_condition_of_a_split_equally_often():
    specs = choose_cases(CASES, seed=SEED)
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


@pytest.mark.parametrize(
    ("count", "conditions", "said"), [(2, (), "at least 3"), (9, ("sepai",), "sepai")]
)
def test_impossible_choices_are_refused(count, conditions, said):
    with pytest.raises(ValueError, match=said):
        choose_cases(count, seed=0, conditions=conditions)


def test_a_case_repeats_and_shows_unseen_subjects_and_the_condition(cases):
    for case in cases:
        again = render_case(case.spec, SHAPE, 0)
        clips = (case.pair.reference, case.pair.target)
        np.testing.assert_array_equal(again.pair.target.frames, case.pair.target.frames)
        assert all(clip.condition == case.spec.condition for clip in clips)
        assert all(clip.composition.subject in UNSEEN_SUBJECTS for clip in clips)
        assert case.pair.target.caption != case.pair.target.scene_caption
        np.testing.assert_array_equal(case.image / 255, case.truth[0])
