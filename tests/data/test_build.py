from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.clips_on_disk import made_clip
from tests.data.rows import clip
from vap.data.build import BuildRules, build_table, choose_references
from vap.data.captions import SidecarCaptioner, TemplateCaptioner
from vap.data.check import check_table
from vap.data.clip_files import find_clips
from vap.data.judge import AgreementJudge, ConstantJudge


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for index in range(3):
        made_clip(folder / "slide" / f"{index}.mp4", seed=index)
    made_clip(folder / "rest" / "0.mp4", seed=7, speed=0)
    made_clip(folder / "rest" / "1.mp4", seed=8, speed=0)
    shutil.copy(folder / "slide" / "0.mp4", folder / "slide" / "copy.mp4")
    (folder / "slide" / "broken.mp4").write_bytes((folder / "slide" / "1.mp4").read_bytes()[:400])
    (folder / "notes.txt").touch()
    (folder / "slide" / ".hidden.mp4").touch()
    return folder


def test_a_folder_becomes_a_sound_table_and_a_list_of_what_was_dropped(folder):
    steps = []
    build = build_table(
        folder,
        TemplateCaptioner("{condition}"),
        AgreementJudge(),
        BuildRules(),
        progress=lambda *step: steps.append(step),
    )
    assert [row.video for row in build.table.rows] == [
        "rest/0.mp4",
        "rest/1.mp4",
        "slide/0.mp4",
        "slide/1.mp4",
        "slide/2.mp4",
    ]
    assert {row.condition: row.caption for row in build.table.rows} == {
        "rest": "rest",
        "slide": "slide",
    }
    assert set(build.table.rows[2].references) == {"slide/1.mp4", "slide/2.mp4"}
    assert check_table(build.table, root=folder).problems == ()
    reasons = {drop.video: drop.reason for drop in build.dropped}
    assert reasons["slide/copy.mp4"] == "duplicate: the same file as slide/0.mp4"
    assert reasons["slide/broken.mp4"].startswith("broken: ")
    assert len(reasons) == 2
    assert steps[-1] == ("scoring", 5, 5)


def test_paths_start_from_the_root_and_captioners_may_refuse_a_clip(folder):
    (folder / "slide" / "1.txt").write_text("it slides")
    build = build_table(
        folder, SidecarCaptioner(), ConstantJudge(), BuildRules(duplicates=None), root=folder.parent
    )
    assert [row.video for row in build.table.rows] == [f"{folder.name}/slide/1.mp4"]
    assert len(build.dropped) == 6
    with pytest.raises(ValueError, match="not inside the root"):
        build_table(folder, SidecarCaptioner(), ConstantJudge(), BuildRules(), root=folder / "rest")


def test_a_folder_without_clips_is_refused(tmp_path):
    (tmp_path / "loose.mp4").touch()
    with pytest.raises(FileNotFoundError, match="subfolder named after"):
        build_table(tmp_path, SidecarCaptioner(), ConstantJudge(), BuildRules())
    with pytest.raises(FileNotFoundError, match="no folder"):
        build_table(tmp_path / "none", SidecarCaptioner(), ConstantJudge(), BuildRules())


def test_links_to_folders_are_followed_but_not_back_up(tmp_path):
    made_clip(tmp_path / "elsewhere" / "a.mp4")
    made_clip(tmp_path / "elsewhere" / "more" / "b.mp4")
    (tmp_path / "clips" / "rest").mkdir(parents=True)
    made_clip(tmp_path / "clips" / "rest" / "c.mp4")
    (tmp_path / "clips" / "melt").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "clips" / "rest" / "up").symlink_to(tmp_path / "clips", target_is_directory=True)
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "clips", target_is_directory=True)
    found = find_clips(tmp_path / "clips", tmp_path)
    assert [(clip.video, clip.condition) for clip in found] == [
        ("clips/melt/a.mp4", "melt"),
        ("clips/melt/more/b.mp4", "melt"),
        ("clips/rest/c.mp4", "rest"),
    ]


@given(
    scores=st.lists(st.sampled_from([0.0, 5.0, 50.0, 60.0, 100.0]), max_size=14),
    choice=st.sampled_from(["random", "best"]),
    count=st.integers(0, 10),
)
def test_references_are_well_scored_others_of_the_condition(scores, choice, count):
    rows = [clip(f"{i}", "melt" if i % 3 else "freeze", score) for i, score in enumerate(scores)]
    for row in choose_references(rows, BuildRules(choice=choice, references=count)):
        pool = {
            other.video: other.score
            for other in rows
            if other.condition == row.condition and other.score > 5 and other.video != row.video
        }
        assert set(row.references) <= set(pool)
        assert len(set(row.references)) == len(row.references) == min(count, len(pool))
        if choice == "best":
            found = [pool[video] for video in row.references]
            assert found == sorted(pool.values(), reverse=True)[: len(found)]


@pytest.mark.parametrize("changes", [{"references": 11}, {"workers": 0}])
def test_impossible_rules_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        replace(BuildRules(), **changes)
