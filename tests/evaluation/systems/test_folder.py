from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from vap.evaluation.systems.folder import Folder
from vap.evaluation.systems.registry import SYSTEMS
from vap.media import probe_clip, write_video


@pytest.fixture
def made(tmp_path, video):
    folder = tmp_path / "made"
    (folder / "melt").mkdir(parents=True)
    (folder / "cat.mp4").write_bytes(video)
    (folder / "melt" / "cat-7.mp4").write_bytes(video)
    return folder


def run(system, *jobs):
    return list(system.run(jobs, system.path))


def test_videos_are_found_by_the_case(made, job, video):
    (outcome,) = run(Folder(name="f", path=made), job())
    assert outcome.error is None
    assert outcome.job.output.read_bytes() == video


def test_a_pattern_may_tell_condition_and_seed(made, job):
    system = Folder(name="f", path=made, pattern="{condition}/{case}-{seed}.mp4")
    outcomes = run(system, job(seed=7), job(seed=8))
    assert [o.error is None for o in outcomes] == [True, False]
    assert str(made / "melt" / "cat-8.mp4") in outcomes[1].error


def test_what_is_no_video_is_an_error_of_its_case(made, job):
    (made / "dog.mp4").write_text("no video")
    outcomes = run(Folder(name="f", path=made), job("dog"), job("cat"))
    assert "dog.mp4" in outcomes[0].error
    assert outcomes[1].error is None
    assert not outcomes[0].job.output.exists()


def test_frames_and_other_formats_are_converted(made, job, tmp_path):
    write_video(np.zeros((3, 16, 16, 3), np.uint8), made / "frames-dog", 8)
    system = Folder(name="f", path=made, pattern="frames-{case}")
    (outcome,) = run(system, job("dog"))
    assert probe_clip(outcome.job.output).frames == 3
    whole = Folder(name="f", path=made)
    (outcome,) = run(whole, replace(job(), output=tmp_path / "frames"))
    assert len(list((tmp_path / "frames").glob("*.png"))) == 4


@pytest.mark.parametrize("pattern", ["all.mp4", "{name}.mp4", "../{case}.mp4", "/x/{case}", "{"])
def test_patterns_are_checked(pattern, made):
    with pytest.raises(ValidationError):
        Folder(name="f", path=made, pattern=pattern)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        Folder(name="f", path=tmp_path / "nowhere").check()


def test_the_registry_knows_the_kind():
    system = SYSTEMS.build({"kind": "folder", "name": "f", "path": "made"}, "test")
    assert isinstance(system, Folder)
