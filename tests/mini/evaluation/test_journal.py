import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vap.mini.evaluation.journal import Journal

SETTINGS = {"model": "vap-mini", "seed": 1, "systems": ["vap"]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "cases.jsonl"


def test_what_was_added_is_there_again(path, score):
    Journal(path, SETTINGS, resume=False).add([score("vap", 0.1), score("vap", 0.2, 1)])
    again = Journal(path, SETTINGS, resume=True)
    again.add([score("vae", 0.3)])
    assert [s.error for s in Journal(path, SETTINGS, resume=True).scores] == [0.1, 0.2, 0.3]


def test_a_line_that_a_crash_cut_off_is_done_again(path, score):
    Journal(path, SETTINGS, resume=False).add([score("vap", 0.1), score("vap", 0.2, 1)])
    path.write_text(path.read_text()[:-20])
    again = Journal(path, SETTINGS, resume=True)
    again.add([score("vap", 0.4, 1)])
    assert [s.error for s in Journal(path, SETTINGS, resume=True).scores] == [0.1, 0.4]


def test_a_new_beginning_forgets_when_it_has_scores_of_its_own(path, score):
    Journal(path, SETTINGS, resume=False).add([score("vap", 0.1)])
    before = path.read_bytes()
    anew = Journal(path, SETTINGS, resume=False)
    assert anew.scores == []
    assert path.read_bytes() == before
    anew.add([score("vap", 0.2)])
    anew.add([score("vap", 0.3, 1)])
    assert [s.error for s in Journal(path, SETTINGS, resume=True).scores] == [0.2, 0.3]


def test_what_is_resumed_is_rewritten_whole_or_not_at_all(path, score, monkeypatch):
    Journal(path, SETTINGS, resume=False).add([score("vap", 0.1)])
    before = path.read_bytes()
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: 1 / 0)
    monkeypatch.setattr("os.replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Journal(path, SETTINGS, resume=True)
    assert path.read_bytes() == before


def test_other_settings_are_not_mixed(path):
    Journal(path, SETTINGS, resume=False).add([])
    with pytest.raises(ValueError, match="other settings"):
        Journal(path, {**SETTINGS, "seed": 2}, resume=True)


def test_nothing_to_resume_is_said(path):
    with pytest.raises(FileNotFoundError, match="without --resume"):
        Journal(path, SETTINGS, resume=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.text(), st.booleans())
def test_any_file_is_read_or_refused(path, text, headed):
    path.parent.mkdir(exist_ok=True)
    head = json.dumps({"settings": SETTINGS}) + "\n" if headed else ""
    path.write_text(head + text, encoding="utf-8", errors="replace")
    with suppress(ValueError):
        assert Journal(path, SETTINGS, resume=True).scores == []


@pytest.mark.parametrize("line", ["{}", "[]", "null", "\x00", '{"system": "vap"}'])
def test_a_damaged_line_is_refused_with_the_remedy(path, line):
    Journal(path, SETTINGS, resume=False).add([])
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    with pytest.raises(ValueError, match=r"damaged.*without --resume"):
        Journal(path, SETTINGS, resume=True)


def test_scores_of_a_run_with_other_settings_are_passed_over(path, score):
    first = Journal(path, SETTINGS, resume=False)
    first.add([score("vap", 0.1)])
    second = Journal(path, {**SETTINGS, "seed": 2}, resume=False)
    second.add([score("vap", 0.2)])
    first.add([score("vap", 0.3, 1)])  # into the file that the second has begun anew
    assert [s.error for s in Journal(path, second._settings, resume=True).scores] == [0.2]
    second.add([score("vap", 0.4, 1)])
    assert [s.error for s in Journal(path, second._settings, resume=True).scores] == [0.2, 0.4]


def test_what_two_runs_made_at_once_counts_once(path, score):
    Journal(path, SETTINGS, resume=False).add([score("vap", 0.1)])
    runs = [Journal(path, SETTINGS, resume=True) for _ in range(2)]
    for run in runs:
        run.add([score("vap", 0.2, 1)])
    runs[0].add([score("vap", 0.3, 1, split="unknown")])
    assert [s.error for s in Journal(path, SETTINGS, resume=True).scores] == [0.1, 0.2, 0.3]


def test_lines_that_do_not_say_whose_they_are_are_those_of_the_head(path, score):
    Journal(path, SETTINGS, resume=False).add([score("vap", 0.1)])
    head, line, _ = path.read_text().split("\n")
    value = json.loads(line)
    del value["settings"]
    path.write_text(f"{head}\n{json.dumps(value)}\n")
    assert [s.error for s in Journal(path, SETTINGS, resume=True).scores] == [0.1]
