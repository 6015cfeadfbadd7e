from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.rows import CLIPS
from vap.data.exports import write_preferences, write_samples
from vap.data.pairing import Sample
from vap.data.preferences import PreferencePair

SHARED_FOLDER = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def lines_of(path):
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


@SHARED_FOLDER
@given(target=CLIPS, references=st.lists(CLIPS, min_size=1, max_size=3))
def test_a_sample_is_one_line_whatever_its_texts(tmp_path, target, references):
    captions = tuple(row.caption for row in references)
    sample = Sample(target, tuple(references), target.caption, captions)
    assert write_samples([sample, sample], tmp_path / "samples.jsonl") == 2
    [line, _] = lines_of(tmp_path / "samples.jsonl")
    assert line == {
        "video": target.video,
        "caption": target.caption,
        "references": [row.video for row in references],
        "reference_captions": list(captions),
        "condition": target.condition,
    }


@SHARED_FOLDER
@given(rows=st.tuples(CLIPS, CLIPS, CLIPS), weight=st.floats(0, 1e6))
def test_a_preference_pair_is_one_line_with_its_exact_weight(tmp_path, rows, weight):
    winner, loser, reference = rows
    pair = PreferencePair(winner, loser, reference, weight)
    assert write_preferences([pair], tmp_path / "pairs.jsonl") == 1
    [line] = lines_of(tmp_path / "pairs.jsonl")
    assert (line["winner"], line["loser"]) == (winner.video, loser.video)
    assert (line["reference"], line["reference_caption"]) == (reference.video, reference.caption)
    assert (line["winner_score"], line["loser_score"]) == (winner.score, loser.score)
    assert line["weight"] == weight
