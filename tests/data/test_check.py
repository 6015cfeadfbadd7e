from __future__ import annotations

import pytest

from tests.data.rows import clip
from vap.data.check import check_table, load_table
from vap.data.rows import ProblemKind, TableError
from vap.data.table import Table, write_table


def checked(*rows, **options):
    numbered = tuple(clip(**row, number=i) for i, row in enumerate(rows, start=1))
    return check_table(Table(numbered), **options)


def found(table):
    return [(fault.row, fault.kind, fault.drops_row) for fault in table.problems]


def test_the_first_of_two_rows_with_one_path_stays():
    table = checked({"video": "a", "score": 1.0}, {"video": "a", "score": 2.0})
    assert found(table) == [(2, ProblemKind.DUPLICATE_PATH, True)]
    assert [row.score for row in table.rows] == [1.0]


def test_unknown_splits_go_unless_allowed():
    rows = ({"video": "a", "split": "holdout"}, {"video": "b"})
    assert found(checked(*rows)) == [(1, ProblemKind.UNKNOWN_SPLIT, True)]
    assert found(checked(*rows, splits={"train", "holdout"})) == []


def test_files_are_looked_for_only_when_a_root_is_given(tmp_path):
    (tmp_path / "a").touch()
    rows = ({"video": "a", "references": ("b",)}, {"video": "b"})
    assert found(checked(*rows)) == []
    table = checked(*rows, root=tmp_path)
    assert found(table) == [
        (1, ProblemKind.UNKNOWN_REFERENCE, False),
        (2, ProblemKind.MISSING_FILE, True),
    ]
    assert [row.references for row in table.rows] == [()]


def test_a_name_that_no_file_can_have_is_a_missing_file(tmp_path):
    table = check_table(Table((clip(f"{'a' * 300}.mp4"),)), root=tmp_path)
    assert found(table) == [(0, ProblemKind.MISSING_FILE, True)]


def test_a_faulty_reference_goes_and_its_row_stays():
    table = checked(
        {"video": "a", "references": ("a", "b", "gone", "other")},
        {"video": "b"},
        {"video": "other", "condition": "freeze"},
    )
    assert found(table) == [
        (1, ProblemKind.SELF_REFERENCE, False),
        (1, ProblemKind.UNKNOWN_REFERENCE, False),
        (1, ProblemKind.OTHER_CONDITION, False),
    ]
    assert table.rows[0].references == ("b",)
    assert len(table.rows) == 3


def test_a_sound_table_comes_back_as_it_was():
    table = checked({"video": "a", "references": ("b",)}, {"video": "b", "references": ("a",)})
    assert table.rows[0].references == ("b",)
    assert table.problems == ()


def test_loading_refuses_or_skips(tmp_path):
    path = tmp_path / "table.csv"
    write_table(Table((clip("a", references=("a",)), clip("b"))), path)
    with pytest.raises(TableError, match="row 1: self-reference"):
        load_table(path)
    assert [row.references for row in load_table(path, on_error="skip").rows] == [(), ()]


def test_a_root_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        check_table(Table(()), root=tmp_path / "nowhere")
