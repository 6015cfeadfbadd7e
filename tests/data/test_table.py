from __future__ import annotations

import csv
import json
from datetime import timedelta

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tests.data.rows import CLIPS, TEXT, clip
from vap.data import table_files as records
from vap.data.check import check_table
from vap.data.rows import CLIP_COLUMNS, ProblemKind, TableError
from vap.data.table import Table, read_table, write_table

SHARED_FOLDER = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write_csv(path, *rows, columns=CLIP_COLUMNS):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def good(**changes):
    cells = dict(
        zip(CLIP_COLUMNS, ["a.mp4", '["b.mp4"]', "a cat", "melt", "train", "85"], strict=True)
    )
    return list((cells | changes).values())


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@SHARED_FOLDER
@given(rows=st.lists(CLIPS, max_size=4))
def test_reading_back_a_written_table_gives_equal_rows(tmp_path, suffix, rows):
    path = tmp_path / f"table{suffix}"
    write_table(Table(tuple(rows)), path)
    assert read_table(path) == Table(tuple(rows))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@SHARED_FOLDER
@given(cell=TEXT)
def test_columns_that_are_not_ours_are_carried_along(tmp_path, suffix, cell):
    table = Table((clip("a.mp4", extras=(cell, "x")),), ("seed", "model"))
    write_table(table, tmp_path / f"table{suffix}")
    assert read_table(tmp_path / f"table{suffix}") == table


EXTRAS = ({"p": 1, "q": [True, None]}, ["p", "q"], [], 7, 2.5, False, None, "text")


def test_values_of_other_columns_stay_what_they_are_in_parquet(tmp_path):
    names = tuple(f"extra {number}" for number in range(len(EXTRAS)))
    nothing = (None,) * len(EXTRAS)
    table = Table((clip("a.mp4", extras=EXTRAS), clip("b.mp4", extras=nothing)), names)
    write_table(table, tmp_path / "table.parquet")
    assert read_table(tmp_path / "table.parquet") == table
    write_table(read_table(tmp_path / "table.parquet"), tmp_path / "table.csv")
    first, second = read_table(tmp_path / "table.csv").rows
    assert [json.loads(cell or "null") for cell in first.extras[:7]] == list(EXTRAS[:7])
    assert first.extras[7] == "text"
    assert set(second.extras) == {""}


def test_a_column_of_several_types_is_written_as_text(tmp_path):
    cells = (["p"], 1, "text", None, {"q": b"\x01"})
    rows = [clip(f"{number}.mp4", extras=(cell,)) for number, cell in enumerate(cells)]
    write_table(Table(tuple(rows), ("extra",)), tmp_path / "table.parquet")
    read = [row.extras[0] for row in read_table(tmp_path / "table.parquet").rows]
    assert read == ['["p"]', "1", "text", None, '{"q": "01"}']


@pytest.mark.parametrize(
    ("given", "path"),
    [("./a.mp4", "a.mp4"), ("b//a.mp4", "b/a.mp4"), ("b/./a.mp4", "b/a.mp4"), ("b/", "b")],
)
def test_spellings_of_a_path_are_one_clip(tmp_path, given, path):
    rows = [good(video_paths=given, ref_video_paths=f'["{given}"]'), good(video_paths=path)]
    table = read_table(write_csv(tmp_path / "table.csv", *rows))
    assert [row.video for row in table.rows] == [path, path]
    assert table.rows[0].references == (path,)
    assert [str(problem.kind) for problem in check_table(table).problems] == [
        "self-reference",
        "duplicate-path",
    ]


@pytest.mark.parametrize("path", [".", "./", "./..", "./C:/a.mp4", "//a.mp4", "/./a.mp4"])
def test_no_spelling_of_a_path_leaves_the_dataset(tmp_path, path):
    with pytest.raises(TableError, match="does not stay inside"):
        read_table(write_csv(tmp_path / "table.csv", good(video_paths=path)))


@SHARED_FOLDER
@given(text=st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_arbitrary_text_is_read_or_refused_as_a_table_error(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(
        ",".join(CLIP_COLUMNS) + "\n" + text, encoding="utf-8", errors="replace", newline=""
    )
    try:
        table = read_table(path, on_error="skip")
    except TableError:
        return
    assert all(0 <= row.score <= 100 for row in table.rows)


@SHARED_FOLDER
@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_as_a_table_error(tmp_path, data):
    for name in ("table.csv", "table.parquet"):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(TableError):
            read_table(path, on_error="skip")


@SHARED_FOLDER
@given(
    cells=st.lists(
        TEXT | st.sampled_from(["[", "[1]", "nan", "1e999", "1_0", "../a"]), min_size=6, max_size=6
    )
)
def test_every_row_is_either_read_or_reported(tmp_path, cells):
    path = write_csv(tmp_path / "table.csv", cells, good())
    table = read_table(path, on_error="skip")
    numbers = sorted([row.number for row in table.rows] + [fault.row for fault in table.problems])
    assert numbers == [1, 2]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        # As numpy prints two names: to Python it is a list of one.
        (good(ref_video_paths="['b.mp4' 'c.mp4']"), ProblemKind.BAD_JSON),
        (good(ref_video_paths="('b.mp4',)"), ProblemKind.BAD_JSON),
        (good(ref_video_paths='{"a": 1}'), ProblemKind.BAD_JSON),
        (good(ref_video_paths="[" * 100_000), ProblemKind.BAD_JSON),
        (good(ref_video_paths='["../b.mp4"]'), ProblemKind.BAD_PATH),
        (good(ref_video_paths='["\\ud800"]'), ProblemKind.BAD_TEXT),
        (good(ref_video_paths="[7]"), ProblemKind.BAD_TEXT),
        (good(video_paths="/etc/a.mp4"), ProblemKind.BAD_PATH),
        (good(video_paths="C:/a.mp4"), ProblemKind.BAD_PATH),
        (good(video_paths=" "), ProblemKind.MISSING_VALUE),
        (good(kind=""), ProblemKind.MISSING_VALUE),
        (good(reference_alignment_score="101"), ProblemKind.BAD_SCORE),
        (good(reference_alignment_score="nan"), ProblemKind.BAD_SCORE),
        (good(reference_alignment_score=""), ProblemKind.BAD_SCORE),
        (good()[:-1], ProblemKind.WRONG_COLUMNS),
    ],
)
def test_a_faulty_row_is_reported_by_number_and_skipped(tmp_path, cells, kind):
    path = write_csv(tmp_path / "table.csv", good(), cells, good(video_paths="c.mp4"))
    table = read_table(path, on_error="skip")
    assert [(fault.row, fault.kind) for fault in table.problems] == [(2, kind)]
    assert [row.video for row in table.rows] == ["a.mp4", "c.mp4"]


def test_a_faulty_table_is_refused_with_its_first_faults_and_the_remedy(tmp_path):
    path = write_csv(tmp_path / "table.csv", *[good(reference_alignment_score="x")] * 7)
    with pytest.raises(
        TableError, match=r"(?s)7 faults:\n  row 1: bad-score.*2 more.*--on-error skip.*on_error="
    ) as caught:
        read_table(path)
    assert len(caught.value.problems) == 7


def test_valid_column_reads_numbers_and_truth_values(tmp_path):
    cells = ["1", "0", "-1.5", "True", "False", ""]
    rows = [[*good(video_paths=f"{i}.mp4"), cell] for i, cell in enumerate(cells)]
    table = read_table(write_csv(tmp_path / "t.csv", *rows, columns=(*CLIP_COLUMNS, "_valid")))
    assert [row.usable for row in table.rows] == [True, False, False, True, False, True]


def test_columns_are_found_by_name_in_any_order_and_after_a_byte_order_mark(tmp_path):
    path = write_csv(tmp_path / "t.csv", good()[::-1], columns=CLIP_COLUMNS[::-1])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    [row] = read_table(path).rows
    assert (row.video, row.references, row.score, row.number) == ("a.mp4", ("b.mp4",), 85.0, 1)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_separators_of_spreadsheets_are_found(tmp_path, separator):
    row = good(tar_video_caption='he said "a, b; c"\tor\nnot', reference_alignment_score="85,5")
    with (tmp_path / "t.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, delimiter=separator).writerows([CLIP_COLUMNS, row])
    [read] = read_table(tmp_path / "t.csv").rows
    assert (read.references, read.caption, read.score) == (("b.mp4",), row[2], 85.5)


def test_lists_with_single_quotes_are_read(tmp_path):
    path = write_csv(tmp_path / "t.csv", good(ref_video_paths="""['b.mp4', "it's.mp4"]"""))
    assert read_table(path).rows[0].references == ("b.mp4", "it's.mp4")


def test_a_parquet_file_that_claims_too_many_cells_or_breaks_the_library_is_refused(
    tmp_path, monkeypatch
):
    path = tmp_path / "table.parquet"
    write_table(Table((clip("a.mp4"),)), path)
    monkeypatch.setattr(records, "_MOST_CELLS", 5)
    with pytest.raises(TableError, match=r"6 cells"):
        read_table(path)
    monkeypatch.undo()
    column = pa.array([timedelta.max.days * 86400], type=pa.timestamp("s"))
    parquet.write_table(pa.table({"time": column}), path)
    with pytest.raises(TableError, match=r"table.parquet is not a readable"):
        read_table(path)


def test_a_table_of_many_columns_costs_no_more_than_its_cells(tmp_path):
    extra = tuple(f"c{number}" for number in range(20_000))
    path = write_csv(tmp_path / "t.csv", [*good(), *extra], columns=(*CLIP_COLUMNS, *extra))
    assert read_table(path).rows[0].extras == extra
    with pytest.raises(TableError, match=r"and 19980 more and lacks") as caught:
        read_table(write_csv(tmp_path / "t.csv", columns=extra))
    assert len(str(caught.value)) < 1000


def test_a_missing_or_repeated_column_is_named(tmp_path):
    with pytest.raises(TableError, match=r"lacks .*'kind'"):
        read_table(write_csv(tmp_path / "t.csv", columns=CLIP_COLUMNS[:3]))
    with pytest.raises(TableError, match=r"\['split'\] more than once"):
        read_table(write_csv(tmp_path / "t.csv", columns=(*CLIP_COLUMNS, "split")))


def test_other_file_types_and_missing_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must end in .csv or .parquet"):
        read_table(tmp_path / "table.json")
    with pytest.raises(FileNotFoundError, match=r"no table at .*table.csv"):
        read_table(tmp_path / "table.csv")


def test_a_failed_write_leaves_the_old_table_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    write_table(Table((clip("a.mp4"),)), path)
    before = path.read_bytes()
    with pytest.raises(UnicodeEncodeError):
        write_table(Table((clip("a.mp4", caption="\ud800"),)), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]
