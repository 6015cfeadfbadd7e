"""Pairs: repeatable, sharing the effect and nothing else, and true to their split."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vap.synth import CONDITIONS, SPLITS, conditions_of, pair_spec, sample_clip, sample_pair
from vap.synth.backgrounds import SCENIC_BACKGROUNDS, UNSEEN_BACKGROUNDS
from vap.synth.registry import HELD_OUT, UNKNOWN
from vap.synth.subjects import DRAWINGS, SUBJECTS, UNSEEN_SUBJECTS

TINY = {"height": 24, "width": 32, "frames": 3}


def digest(seed, index):
    pair = sample_pair(seed, index, **TINY)
    return hashlib.sha256(
        pair.reference.frames.tobytes() + pair.target.frames.tobytes()
    ).hexdigest()


def test_equal_seed_and_index_give_equal_bytes_in_another_process():
    program = (
        "import hashlib; from vap.synth import sample_pair\n"
        f"p = sample_pair(3, 11, **{TINY})\n"
        "both = p.reference.frames.tobytes() + p.target.frames.tobytes()\n"
        "print(hashlib.sha256(both).hexdigest())"
    )
    other = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == digest(3, 11) == digest(3, 11)


def test_importing_needs_no_optional_dependency_and_no_torch():
    program = (
        "import sys, vap.synth as synth; synth.pair_spec(0, 0)\n"
        "print({'cv2', 'skimage', 'torch', 'av'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_specs_stay_what_they_are():
    # Anything measured on a seed is comparable only as long as these do not change.
    reference, target = pair_spec(0, 0, split="train")
    assert (reference.condition, reference.composition.subject) == ("burn", "tabby cat")
    assert (target.composition.subject, target.composition.background) == ("star", "mountains")


def test_other_index_seed_and_split_give_other_pairs():
    drawn = [pair_spec(0, 1), pair_spec(0, 2), pair_spec(1, 1), pair_spec(0, 1, split="seen")]
    assert len({repr(pair) for pair in drawn}) == len(drawn)


@given(index=st.integers(0, 2**40), split=st.sampled_from(SPLITS))
@settings(max_examples=60, deadline=None)
def test_a_pair_shares_the_effect_and_nothing_else(index, split):
    reference, target = pair_spec(0, index, split=split)
    assert reference.condition == target.condition
    assert reference.parameters == target.parameters
    assert reference.composition.subject != target.composition.subject
    assert reference.composition.background != target.composition.background


def test_splits_keep_conditions_and_subjects_apart():
    unseen = {"seen", "heldout", "unknown"}
    for split in SPLITS:
        for index in range(400):
            for spec in pair_spec(7, index, split=split):
                assert spec.condition in conditions_of(split)
                assert (spec.composition.subject in UNSEEN_SUBJECTS) == (split in unseen)
                if split not in unseen:
                    assert spec.composition.background not in UNSEEN_BACKGROUNDS


def test_conditions_of_the_splits():
    assert not HELD_OUT & set(conditions_of("train"))
    assert conditions_of("train") == conditions_of("seen")
    assert set(conditions_of("heldout")) == HELD_OUT - UNKNOWN
    assert set(conditions_of("unknown")) == UNKNOWN
    assert set(conditions_of("backbone")) == set(CONDITIONS) - UNKNOWN


@pytest.mark.parametrize("split", SPLITS)
def test_a_drawn_pair_has_no_photographs_and_no_noise(split):
    for index in range(100):
        plain, drawn = (pair_spec(7, index, split=split, drawn=share) for share in (0.0, 1.0))
        assert drawn[0].parameters == plain[0].parameters
        for spec in drawn:
            assert spec.composition.subject in DRAWINGS
            assert spec.composition.background in SCENIC_BACKGROUNDS


def test_pairs_that_are_not_drawn_stay_what_they_are():
    plain, some = ([pair_spec(0, i, drawn=share) for i in range(200)] for share in (0.0, 0.75))
    assert 30 < sum(a == b for a, b in zip(plain, some, strict=True)) < 70


def test_enough_subjects_on_both_sides():
    assert set(SUBJECTS) >= UNSEEN_SUBJECTS
    assert len(UNSEEN_SUBJECTS) >= 10
    assert len(SUBJECTS) - len(UNSEEN_SUBJECTS) >= 30


def test_captions_tell_the_effect_only_when_asked():
    for index in range(300):
        silent, _ = pair_spec(0, index, effect_in_caption=0.0)
        telling, _ = pair_spec(0, index, effect_in_caption=1.0)
        phrase = CONDITIONS[telling.condition].phrase
        assert silent.caption == silent.composition.caption
        assert phrase in telling.caption
        assert telling.caption.startswith(silent.caption)


def test_share_of_captions_that_tell_the_effect():
    told = sum(pair_spec(0, index, effect_in_caption=0.25)[0].tells_effect for index in range(400))
    assert 70 < told < 130


def test_thousands_of_pairs_are_all_different():
    pairs = {repr(pair_spec(0, index)) for index in range(3000)}
    assert len(pairs) == 3000


def test_first_frame_is_the_untouched_picture():
    pair = sample_pair(0, 5, **TINY)
    _, spec = pair_spec(0, 5)
    scene = spec.composition.render(TINY["height"], TINY["width"])
    untouched = np.clip(scene.image * 255 + 0.5, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(pair.target.frames[0], untouched)
    assert (pair.target.frames[0] != pair.target.frames[1:]).any()


def test_a_clip_is_the_target_of_its_pair():
    np.testing.assert_array_equal(
        sample_clip(2, 9, **TINY).frames, sample_pair(2, 9, **TINY).target.frames
    )


def test_conditions_can_be_narrowed():
    drawn = {pair_spec(0, i, conditions=("jump", "pan"))[0].condition for i in range(40)}
    assert drawn == {"jump", "pan"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"split": "test"}, "use one of train, seen"),
        ({"conditions": ("invert",)}, r"\['invert'\] cannot be drawn in split 'train'"),
        ({"conditions": ()}, "an empty list"),
        ({"effect_in_caption": 1.5}, "shares from 0 to 1"),
        ({"seed": -1}, "at least 0"),
    ],
)
def test_bad_arguments_are_refused_in_words(arguments, said):
    with pytest.raises(ValueError, match=said):
        pair_spec(**{"seed": 0, "index": 0, **arguments})


@pytest.mark.parametrize("size", [{"height": 8}, {"width": 8}, {"frames": 1}])
def test_sizes_that_cannot_show_an_effect_are_refused(size):
    with pytest.raises(ValueError, match="cannot show an effect"):
        sample_clip(0, 0, **size)


@pytest.mark.parametrize("size", [{"height": 480, "width": 64}, {"height": 16, "width": 65}])
def test_extreme_proportions_are_refused(size):
    with pytest.raises(ValueError, match="at most 4 times the other"):
        sample_clip(0, 0, **size)


def test_a_frame_of_four_times_its_width_shows_its_subject():
    assert sample_clip(0, 0, height=64, width=16, frames=2).frames.shape == (2, 64, 16, 3)
