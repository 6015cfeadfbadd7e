from __future__ import annotations

import pytest

from tests.data.clips_on_disk import inspected, made_clip
from vap.data.judge import AgreementJudge, ConstantJudge, SidecarJudge


def test_agreement_ranks_the_clip_in_which_something_else_happens_last(tmp_path):
    clips = [inspected(made_clip(tmp_path / f"{seed}.mp4", seed=seed)) for seed in range(4)]
    still = inspected(made_clip(tmp_path / "still.mp4", seed=9, speed=0))
    scores = [AgreementJudge().score(clip, [*clips, still]) for clip in [*clips, still]]
    assert min(scores[:4]) > 70
    assert scores[4] < 10


def test_agreement_is_full_for_equal_change_and_for_shared_stillness(tmp_path):
    still = [inspected(made_clip(tmp_path / f"s{i}.mp4", seed=5, speed=0)) for i in range(2)]
    moving = [inspected(made_clip(tmp_path / f"m{i}.mp4")) for i in range(2)]
    assert AgreementJudge().score(moving[0], moving) == 100
    assert AgreementJudge().score(still[0], still) == 100
    assert AgreementJudge().score(still[0], still[:1]) == 0


@pytest.mark.parametrize("text", ["high", "-1", "100.5", "nan"])
def test_a_sidecar_without_a_score_is_named(tmp_path, text):
    clip = inspected(made_clip(tmp_path / "a.mp4"))
    with pytest.raises(ValueError, match=r"a.score with its score is missing"):
        SidecarJudge().score(clip, [clip])
    clip.path.with_suffix(".score").write_text(text)
    with pytest.raises(ValueError, match=r"in a.score is"):
        SidecarJudge().score(clip, [clip])


def test_sidecar_and_constant_scores_are_given_as_they_are(tmp_path):
    clip = inspected(made_clip(tmp_path / "a.mp4"))
    clip.path.with_suffix(".score").write_text(" 62.5\n")
    assert SidecarJudge().score(clip, [clip]) == 62.5
    assert ConstantJudge(80.0).score(clip, [clip]) == 80
    with pytest.raises(ValueError, match="101"):
        ConstantJudge(101.0)
