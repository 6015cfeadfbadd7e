import json

import pytest

from vap.mini.evaluation.report import report

NAMES = ["static", "lora", "vap", "vae"]


@pytest.fixture
def found(score):
    scores = [
        *(score("static", 1.0, index) for index in range(2)),
        *(score("vap", error, index) for index, error in enumerate((0.6, 0.1))),
        *(score("vae", 0.0, index) for index in range(2)),
        score("lora", 0.25, 1, recognized="jump"),
    ]
    return report(NAMES, scores, {"seed": 1}, ["a note"])


def test_rows_have_the_agreed_keys(found):
    rows = found.as_json()["rows"]
    assert [(row["system"], row["split"]) for row in rows] == [(name, "seen") for name in NAMES]
    assert {"system", "split", "gap_closed", "recognized", "first_frame"} <= set(rows[0])
    assert [row["gap_closed"] for row in rows] == [0, 0.75, 0.65, 1]
    assert [row["recognized"] for row in rows] == [1, 0, 1, 1]


def test_a_system_on_few_cases_is_set_beside_ours_on_the_same(found):
    lora, ours = (row for row in found.as_json()["rows"] if row["system"] in {"lora", "vap"})
    assert lora["vap_on_same"] == 0.9
    assert "vap_on_same" not in ours
    assert any("0.90 on the same" in note for note in found.notes)


def test_conditions_have_rows_of_their_own(found):
    rows = found.as_json()["conditions"]
    assert {row["condition"] for row in rows} == {"sepia"}
    assert len(rows) == len(NAMES)


def test_the_table_has_a_line_for_each_system_and_no_split_without_cases(found):
    lines = found.table().splitlines()
    assert lines[0] == "| system | seen: gap closed | seen: recognized | seen: first frame |"
    assert "| **VAP** | 0.65 | 100 % | 30.0 dB |" in lines
    assert "a note" in lines


def test_files_are_written(found, tmp_path):
    found.write(tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == json.loads(
        json.dumps(found.as_json())
    )
    assert (tmp_path / "table.md").read_text() == found.table()
