import pytest

from tests.batch.making import requests_of
from vap.batch.ledger import BatchFolder
from vap.batch.run_batch import Workers, run_batch
from vap.batch.worker import making


def test_a_process_of_a_cluster_makes_a_request_only_once(inputs, tmp_path):
    requests = requests_of({"name": "good"}, {"name": "bad", "image": "none.png"}, folder=inputs)
    make = making(BatchFolder(tmp_path, ".mp4", "run"), requests)
    good, bad, again = map(make, (0, 1, 0))
    assert (good.name, good.status, good.output) == ("good", "done", "good.mp4")
    assert (bad.name, bad.status) == ("bad", "failed")
    assert again == good


@pytest.mark.slow
@pytest.mark.timeout(900)  # starting a cluster takes minutes where all cores are busy
def test_two_workers_of_a_cluster_write_the_videos_of_one_process(inputs, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    lines = [{"name": f"v{seed}", "seed": seed, "references": ["clip.mp4"]} for seed in range(3)]
    (tmp_path / "text.png").write_text("non-finite values")
    lines.append({"name": "bad", "image": str(tmp_path / "text.png")})
    requests = requests_of(*lines, folder=inputs)
    alone = run_batch(requests, tmp_path / "alone")
    names: list[str] = []
    shared = run_batch(
        requests,
        tmp_path / "shared",
        workers=Workers(2, ray="local"),
        on_outcome=lambda outcome: names.append(outcome.name),
    )
    assert (shared.done, shared.failed) == (alone.done, alone.failed) == (3, 1)
    assert sorted(names) == ["bad", "v0", "v1", "v2"]
    for name in names[:3]:
        if name != "bad":
            video = f"{name}.mp4"
            assert (tmp_path / "shared" / video).read_bytes() == (
                tmp_path / "alone" / video
            ).read_bytes()
