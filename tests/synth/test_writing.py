"""Pairs on disk: VAP-Data's layout, continued runs, refusals."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vap.data.benchmark import check_benchmark, read_benchmark
from vap.data.check import check_table
from vap.data.table import read_table
from vap.media import read_clip
from vap.synth import pair_spec
from vap.synth.writing import SynthSettings, write_pairs

TINY = SynthSettings(split="heldout", seed=4, height=32, width=48, frames=3)


def test_tables_and_videos_fit_together(tmp_path):
    path = write_pairs(2, tmp_path, TINY)
    table = read_table(path)
    assert check_table(table, root=tmp_path).problems == ()
    cases = check_benchmark(read_benchmark(tmp_path / "benchmark/benchmark.csv"), tmp_path)
    assert cases.problems == ()
    assert [case.video for case in cases.cases] == [row.video for row in table.rows[1::2]]
    reference, target = pair_spec(4, 0, split="heldout")
    first, second = table.rows[:2]
    assert first.references == (second.video,)
    assert (first.condition, first.split, first.score) == (reference.condition, "test", 100)
    assert json.loads(first.extras[0]) == target.parameters


def test_videos_hold_the_rendered_frames(tmp_path):
    write_pairs(1, tmp_path, TINY)
    case = read_benchmark(tmp_path / "benchmark/benchmark.csv").cases[0]
    written = read_clip(tmp_path / case.video).frames.astype(float)
    reference, target = (spec.render(32, 48, 3).frames for spec in pair_spec(4, 0, split="heldout"))
    assert written.shape == target.shape
    # Compression blurs colours; it does not turn one clip into another.
    assert abs(written - target).mean() < 0.25 * abs(written - reference).mean()


def test_a_second_run_adds_and_keeps_what_is_there(tmp_path):
    write_pairs(1, tmp_path, TINY)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4")}
    told = []
    path = write_pairs(2, tmp_path, TINY, progress=lambda *step: told.append(step))
    assert len(read_table(path).rows) == 4
    assert told == [("pairs", 1, 2), ("pairs", 2, 2)]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


@pytest.mark.parametrize("change", [{"height": 0}, {"fps": 0.0}, {"width": 99999999999}])
def test_what_is_refused_leaves_nothing(tmp_path, change):
    with pytest.raises(ValueError, match=r"16x16|rate|narrow"):
        write_pairs(1, tmp_path / "new", replace(TINY, **change))
    assert [*tmp_path.iterdir()] == []


def test_each_varied_pair_is_a_condition_of_its_own(tmp_path):
    settings = SynthSettings(seed=4, height=32, width=48, frames=3, varied=1.0)
    rows = read_table(write_pairs(3, tmp_path, settings)).rows
    assert len({row.condition for row in rows}) == 3
    for number, row in enumerate(rows):
        spec = pair_spec(4, number // 2, varied=1.0)[number % 2]
        assert row.condition == f"{spec.condition}_varied_{number // 2:06}"
        told = json.loads(row.extras[0])["variation"]
        assert told["returns"] == spec.variation.returns
        assert told["symmetry"]["channels"] == list(spec.variation.symmetry.channels)


def test_a_folder_from_before_a_setting_existed_is_continued(tmp_path):
    write_pairs(1, tmp_path, TINY)
    path = tmp_path / "synth.json"
    older = json.loads(path.read_text())
    del older["varied"]
    path.write_text(json.dumps(older))
    assert len(read_table(write_pairs(2, tmp_path, TINY)).rows) == 4


def test_other_settings_are_refused(tmp_path):
    write_pairs(1, tmp_path, TINY)
    with pytest.raises(ValueError, match="other settings"):
        write_pairs(1, tmp_path, SynthSettings(seed=5))


def test_what_was_refused_before_its_first_pair_leaves_the_folder_free(tmp_path):
    with pytest.raises(ValueError, match="cannot show an effect"):
        write_pairs(1, tmp_path, replace(TINY, height=8))
    assert len(read_table(write_pairs(1, tmp_path, TINY)).rows) == 2


def test_no_pairs_are_refused(tmp_path):
    with pytest.raises(ValueError, match="count=0"):
        write_pairs(0, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["vap_data.csv", "photo.jpg"])
def test_a_folder_of_something_else_is_left_alone(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match="new or empty folder"):
        write_pairs(1, tmp_path, TINY)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


@given(text=st.text(max_size=40))
@settings(max_examples=30, deadline=None)
def test_damaged_settings_are_refused(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "synth.json").write_text(text, encoding="utf-8")
    (folder / "vfx_videos").mkdir()
    with pytest.raises(ValueError, match="other settings"):
        write_pairs(1, folder, TINY)
