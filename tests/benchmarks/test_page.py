import json

import pytest
from benchmarks.page import PAGE, RESULTS, rendered


def test_the_page_shows_what_the_runs_wrote():
    page = PAGE.read_text()
    assert rendered(page, RESULTS) == page


@pytest.mark.parametrize("name", ["cpu-mid-wan", "cpu-mid-cogvideox", "curves-wan"])
def test_the_page_has_this_table(name):
    assert f"<!-- table: {name}.json -->\n| " in PAGE.read_text()


def test_a_table_is_made_anew_and_the_text_around_it_stays():
    name = "cpu-mid-wan.json"
    around = f"before\n<!-- table: {name} -->\nold\n<!-- end of table -->\nafter\n"
    made = rendered(around, RESULTS)
    assert made.startswith(f"before\n<!-- table: {name} -->\n| ")
    assert made.endswith("\n<!-- end of table -->\nafter\n")
    assert "old" not in made


def test_a_missing_file_is_no_empty_table(tmp_path):
    with pytest.raises(FileNotFoundError):
        rendered("<!-- table: gone.json -->\n<!-- end of table -->", tmp_path)


def test_each_system_is_said_to_have_run_with_its_own_torch(tmp_path):
    found = json.loads((RESULTS / "cpu-mid-wan.json").read_text())
    for row in found["rows"]:
        row["torch"] = {"peer": "2.5.1", "exact": "2.13.0"}[row["system"]]
    (tmp_path / "run.json").write_text(json.dumps(found))
    made = rendered("<!-- table: run.json -->\n<!-- end of table -->", tmp_path)
    assert "torch 2.5.1 (peer), 2.13.0 (exact); ceiling" in made
