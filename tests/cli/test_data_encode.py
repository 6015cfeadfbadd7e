import json

from typer.testing import CliRunner

from tests.data.encoding import GOLDEN, written_rows
from vap.cli.app import app
from vap.data.encoded import EncodedClips
from vap.data.table import Table, write_table

RUNNER = CliRunner()


def encode(folder, *options, size="5x32x48"):
    paths = [str(folder / "table.csv"), str(folder / "out")]
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
