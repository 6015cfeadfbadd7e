import pytest

from tests.data.encoding import job_of, written_rows
from vap.data.encode import run_job

pytest.importorskip("ray")


@pytest.mark.slow
def test_two_workers_of_a_cluster_write_the_shards_of_one_process(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    rows = written_rows(tmp_path / "clips")
    alone = job_of(rows, tmp_path / "clips", tmp_path / "alone")
    run_job(alone)
    shared = job_of(rows, tmp_path / "clips", tmp_path / "shared")
    run_job(shared, ray="local", workers=2)
    expected = {path.name: path.read_bytes() for path in alone.output.iterdir()}
    assert {path.name: path.read_bytes() for path in shared.output.iterdir()} == expected
