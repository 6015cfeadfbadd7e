from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.rows import clip
from vap.data.pairing import WAN_THRESHOLD, PairingRules, pair_clips

PATHS = [f"{letter}.mp4" for letter in "abcdefgh"]


@st.composite
def tables(draw):
    paths = draw(st.lists(st.sampled_from(PATHS), unique=True))
    return [
        clip(
            path,
            condition=draw(st.sampled_from(["melt", "freeze"])),
            score=draw(st.sampled_from([0.0, 5.0, 5.5, 10.0, 100.0])),
            split=draw(st.sampled_from(["train", "test"])),
            valid=draw(st.sampled_from([None, 0.0, 1.0])),
            references=tuple(draw(st.lists(st.sampled_from(PATHS), max_size=4))),
        )
        for path in paths
    ]


def is_alive(row, threshold):
    return row.split == "train" and row.valid != 0.0 and row.score > threshold


@settings(deadline=None)
@given(rows=tables(), threshold=st.sampled_from([5.0, WAN_THRESHOLD]), seed=st.integers(0, 3))
def test_pairs_follow_the_rules_of_the_release(rows, threshold, seed):
    pairing = pair_clips(rows, PairingRules(threshold=threshold, references=3, seed=seed))
    alive = {row.video: row for row in rows if is_alive(row, threshold)}
    candidates = dict(zip((row.video for row in pairing.targets), pairing.candidates, strict=True))
    for row in alive.values():
        listed = {path for path in row.references if path in alive and path != row.video}
        others = {o.video for o in alive.values() if o.condition == row.condition and o is not row}
        found = {reference.video for reference in candidates.get(row.video, ())}
        if listed:
            assert found == listed
        elif others:
            assert len(found) == 1
            assert found <= others
        else:
            assert row.video not in candidates
    assert set(candidates) <= set(alive)
    assert sum(pairing.gone.values()) == len(rows) - len(pairing)


@settings(deadline=None)
@given(rows=tables(), epoch=st.integers(0, 2), drop=st.sampled_from([0.0, 0.3, 1.0]))
def test_draws_are_distinct_references_with_the_captions_of_their_own_rows(rows, epoch, drop):
    pairing = pair_clips(rows, PairingRules(references=3, reference_drop=drop))
    for index, candidates in enumerate(pairing.candidates):
        sample = pairing.draw(index, epoch)
        assert sample == pairing.draw(index, epoch)
        assert set(sample.references) <= set(candidates)
        assert len(set(sample.references)) == len(sample.references)
        if drop != 0.3:
            assert len(sample.references) == (1 if drop else min(3, len(candidates)))
        assert sample.caption == sample.target.caption
        assert sample.reference_captions == tuple(row.caption for row in sample.references)


def crowd(count=400, **changes):
    paths = [f"{index}.mp4" for index in range(count)]
    return [clip(path, references=tuple(paths[:4]), **changes) for path in paths]


def test_captions_are_emptied_together_with_the_given_probability():
    pairing = pair_clips(crowd(), PairingRules(references=2, caption_drop=0.1))
    samples = [pairing.draw(index) for index in range(len(pairing))]
    emptied = [sample for sample in samples if sample.caption == ""]
    assert all(set(sample.reference_captions) == {""} for sample in emptied)
    assert all("" not in sample.reference_captions for sample in samples if sample.caption)
    assert 20 <= len(emptied) <= 60


def test_each_further_reference_is_dropped_with_the_given_probability():
    pairing = pair_clips(crowd(), PairingRules(references=3, reference_drop=0.3))
    further = sum(len(pairing.draw(index).references) - 1 for index in range(len(pairing)))
    assert 0.64 <= further / (2 * len(pairing)) <= 0.76


def test_epochs_and_seeds_draw_differently():
    rows = crowd(50)

    def drawn(seed, epoch):
        pairing = pair_clips(rows, PairingRules(seed=seed))
        return [pairing.draw(index, epoch).references[0].video for index in range(len(pairing))]

    assert drawn(0, 0) != drawn(0, 1)
    assert drawn(0, 0) != drawn(1, 0)


def test_a_draw_does_not_depend_on_the_order_of_the_table():
    rows = crowd(20)
    forward, backward = pair_clips(rows, PairingRules()), pair_clips(rows[::-1], PairingRules())
    assert forward.draw(3) == backward.draw(len(rows) - 1 - 3)


def test_draws_stay_the_same_from_version_to_version():
    pairing = pair_clips(crowd(5), PairingRules(references=2, seed=7))
    assert [row.video for row in pairing.draw(4, epoch=1).references] == ["2.mp4", "3.mp4"]


def test_borrowed_references_and_lonely_rows_are_counted():
    rows = [clip("a"), clip("b"), clip("c", condition="freeze"), clip("d", score=5.0)]
    pairing = pair_clips(rows, PairingRules())
    assert [row.video for row in pairing.targets] == ["a", "b"]
    assert pairing.borrowed == 2
    assert pairing.gone == {"score ≤ 5": 1, "no reference alive in its condition": 1}


@pytest.mark.parametrize(
    "changes", [{"references": 0}, {"reference_drop": 1.5}, {"caption_drop": -0.1}]
)
def test_impossible_rules_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        replace(PairingRules(), **changes)
