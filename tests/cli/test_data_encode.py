import json

import pytest
from typer.testing import CliRunner

from tests.data.encoding import GOLDEN, written_rows
from vap.cli.app import app
from vap.data.encoded import EncodedClips
from vap.data.table import Table, write_table

RUNNER = CliRunner()


def encode(folder, *options, size="5x32x48"):
    paths = [str(folder / "table.csv"), "-o", str(folder / "out")]
    model = ["--model", str(GOLDEN / "wan"), "--size", size]
    return RUNNER.invoke(app, ["data", "encode", *paths, *model, "--json", *options])


def test_a_table_is_encoded_and_encoding_again_is_no_work(tmp_path) -> None:
    rows = written_rows(tmp_path, 3)
    write_table(Table(tuple(rows)), tmp_path / "table.csv")
    done = encode(tmp_path, "--shard-size", "2")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["shards"] == 2
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert encode(tmp_path, "--shard-size", "2").exit_code == 0
    assert before == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert list(EncodedClips(tmp_path / "out").clips) == [row.video for row in rows]


def test_a_size_that_is_none_is_refused_with_an_example(tmp_path) -> None:
    rows = written_rows(tmp_path, 1)
    write_table(Table(tuple(rows)), tmp_path / "table.csv")
    refused = encode(tmp_path, size="49x480")
    assert refused.exit_code == 2
    assert "49x480x832" in refused.stdout + refused.stderr


def test_a_table_without_its_files_is_refused_and_the_folder_stays_free(tmp_path) -> None:
    rows = written_rows(tmp_path, 3)
    elsewhere = tmp_path / "tables"
    elsewhere.mkdir()
    write_table(Table(tuple(rows)), elsewhere / "table.csv")
    refused = encode(elsewhere)
    assert refused.exit_code == 2
    problems = json.loads(refused.stdout)["error"]["problems"]
    assert {problem["kind"] for problem in problems} == {"missing-file"}
    found = json.loads(encode(elsewhere, "--root", str(tmp_path)).stdout)
    assert (found["clips"], found["dropped"], found["skipped"]) == (3, [], 0)


def test_what_is_left_out_is_counted_with_its_reasons(tmp_path) -> None:
    rows = written_rows(tmp_path, 3)
    (tmp_path / "1.mp4").write_bytes(b"no video")
    (tmp_path / "2.mp4").unlink()
    write_table(Table(tuple(rows)), tmp_path / "table.csv")
    found = json.loads(encode(tmp_path).stdout)
    assert (found["clips"], found["skipped"]) == (1, 1)
    assert [drop["video"] for drop in found["dropped"]] == ["1.mp4"]
    assert encode(tmp_path, "--on-error", "refuse").exit_code == 2


def test_clips_that_cannot_be_read_at_all_end_with_1(tmp_path) -> None:
    rows = written_rows(tmp_path, 1)
    (tmp_path / "0.mp4").write_bytes(b"no video")
    write_table(Table(tuple(rows)), tmp_path / "table.csv")
    assert encode(tmp_path).exit_code == 1
    with pytest.raises(ValueError, match="contains no clip"):
        EncodedClips(tmp_path / "out").empty_text()


def test_a_size_that_does_not_fit_leaves_the_folder_free(tmp_path) -> None:
    rows = written_rows(tmp_path, 1)
    write_table(Table(tuple(rows)), tmp_path / "table.csv")
    refused = encode(tmp_path, size="6x32x48")
    assert refused.exit_code == 2
    assert encode(tmp_path).exit_code == 0


def test_workers_make_no_fault_of_a_mistake(tmp_path) -> None:
    rows = written_rows(tmp_path, 2)
    write_table(Table(tuple(rows)), tmp_path / "table.csv")
    refused = encode(tmp_path, "--workers", "2", "--shard-size", "1", size="18x32x48")
    assert refused.exit_code == 2
    assert "Use num_frames=17" in json.loads(refused.stdout)["error"]["message"]
    assert not (tmp_path / "out").exists()


def test_a_rate_that_is_none_is_refused_as_such(tmp_path) -> None:
    rows = written_rows(tmp_path, 1)
    write_table(Table(tuple(rows)), tmp_path / "table.csv")
    refused = encode(tmp_path, "--fps", "nan")
    assert refused.exit_code == 2
    assert "fps=nan is not a frame rate" in json.loads(refused.stdout)["error"]["message"]
