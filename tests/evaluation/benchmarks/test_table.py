"""Tables of cases: VAP-Data's benchmark.csv, and others with the same columns."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.media.making import moving
from vap.data.rows import BENCHMARK_COLUMNS, TableError
from vap.data.table_files import write_records
from vap.evaluation.benchmarks.read import read_benchmark
from vap.media import read_clip, read_image, write_video

ROWS = [
    ["vfx/melt/a.mp4", "vfx/melt/b.mp4", "a dog melts", "a cat melts"],
    ["vfx/pan/c.mp4", "vfx/pan/d.mp4", "pan over a lake", "pan over a town"],
    ["vfx/melt/b.mp4", "vfx/melt/a.mp4", "a cat melts", "a dog melts"],
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """The layout of VAP-Data: the table lies in a folder beside that of the videos."""
    root = tmp_path_factory.mktemp("vap-data")
    for number, path in enumerate(sorted({path for row in ROWS for path in row[:2]})):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        write_video(moving(3)[:, ::-1] if number % 2 else moving(3), root / path, 16)
    (root / "benchmark").mkdir()
    for suffix in ("csv", "parquet"):
        write_records(root / f"benchmark/benchmark.{suffix}", BENCHMARK_COLUMNS, ROWS)
    return root


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_image_is_the_first_frame_of_the_target(suffix, dataset, tmp_path):
    table = dataset / f"benchmark/benchmark.{suffix}"
    benchmark = read_benchmark(str(table), folder=tmp_path)
    assert not benchmark.exact
    names = [(case.name, case.condition) for case in benchmark.cases]
    assert names == [("001-melt", "melt"), ("002-pan", "pan"), ("003-melt", "melt")]
    case = benchmark.cases[1]
    frame = read_clip(dataset / "vfx/pan/c.mp4", max_frames=1).frames[0]
    np.testing.assert_array_equal(np.asarray(read_image(case.image)), frame)
    assert (case.prompt, case.reference_prompt) == ("pan over a lake", "pan over a town")
    assert case.reference == dataset / "vfx/pan/d.mp4"
    assert case.truth == dataset / "vfx/pan/c.mp4"


def test_further_columns_name_image_condition_group_and_scene(dataset, tmp_path):
    Image.fromarray(np.full((8, 8, 3), 77, np.uint8)).save(dataset / "own.png")
    columns = [*BENCHMARK_COLUMNS, "image", "condition", "category", "scene_caption", "unknown"]
    write_records(
        dataset / "more.csv", columns, [[*ROWS[0], "own.png", "dissolve", "concept", "a dog", 5]]
    )
    (case,) = read_benchmark(str(dataset / "more.csv"), folder=tmp_path).cases
    assert case.image == dataset / "own.png"
    assert (case.condition, case.group, case.scene_prompt) == ("dissolve", "concept", "a dog")
    assert case.name == "001-dissolve"


def test_cases_are_chosen_by_number_and_condition(dataset, tmp_path):
    table = str(dataset / "benchmark/benchmark.csv")
    melts = read_benchmark(table, folder=tmp_path, conditions=["melt"])
    assert [case.name for case in melts.cases] == ["001-melt", "003-melt"]
    assert len(read_benchmark(table, folder=tmp_path, cases=1).cases) == 1
    with pytest.raises(ValueError, match="'melt'"):
        read_benchmark(table, folder=tmp_path, conditions=["mlet"])


def test_another_root_is_named(dataset, tmp_path):
    (tmp_path / "table.csv").write_bytes((dataset / "benchmark/benchmark.csv").read_bytes())
    benchmark = read_benchmark(str(tmp_path / "table.csv"), folder=tmp_path, root=dataset)
    assert benchmark.cases[0].reference == dataset / "vfx/melt/b.mp4"


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (["vfx/melt/gone.mp4", "vfx/melt/b.mp4", "", ""], "row 2: missing-file"),
        (["../a.mp4", "vfx/melt/b.mp4", "", ""], "row 2: bad-path"),
        (["", "vfx/melt/b.mp4", "", ""], "row 2: missing-value"),
        (["vfx/melt/a.mp4", "vfx/melt/b.mp4", ""], "row 2: wrong-columns"),
    ],
)
def test_faulty_rows_are_named(row, named, dataset, tmp_path):
    table = tmp_path / "table.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([BENCHMARK_COLUMNS, ROWS[0], row])
    with pytest.raises(TableError, match=named) as refused:
        read_benchmark(str(table), folder=tmp_path, root=dataset)
    assert "--on-error" not in str(refused.value)  # not an option here


@given(st.lists(st.lists(st.text(max_size=12), min_size=1, max_size=6), max_size=4))
@settings(max_examples=60, deadline=None)
def test_any_table_is_read_or_refused(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("table")
    with (folder / "table.csv").open("w", newline="", encoding="utf-8", errors="replace") as file:
        csv.writer(file).writerows([BENCHMARK_COLUMNS, *rows])
    with pytest.raises((ValueError, OSError)):
        read_benchmark(str(folder / "table.csv"), folder=folder)
    assert not (folder / "benchmark").exists()


def test_a_name_that_is_no_benchmark_is_answered_with_what_there_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="'synth'"):
        read_benchmark("synht", folder=tmp_path)
    with pytest.raises(ValueError, match="seed=1"):
        read_benchmark("table.csv", folder=tmp_path, seed=1)
