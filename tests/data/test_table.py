from __future__ import annotations

import csv

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.rows import CLIPS, TEXT, clip
from vap.data.schema import CLIP_COLUMNS, ProblemKind, TableError
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
        (good(ref_video_paths="['b.mp4']"), ProblemKind.BAD_JSON),
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
        TableError, match=r"(?s)7 faults:\n  row 1: bad-score.*and 2 more.*on_error="
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
