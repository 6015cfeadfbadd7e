import pytest

from tests.cli.running import vap, vap_json
from vap.cost import EFFICIENCY
from vap.hub import RELEASED, known_models


@pytest.fixture(scope="module")
def found():
    return vap_json("doctor")


def test_every_known_model_is_sized(found):
    assert [each["name"] for each in found["models"]] == [each.name for each in known_models()]
    assert vap_json("models")[-1]["name"] == RELEASED["cogvideox"]


def test_machine_is_described(found):
    machine = found["machine"]
    assert 0 < machine["free_memory_gib"] <= machine["memory_gib"]
    assert machine["teraflop_per_second"] > 0
    assert machine["video_encoders"]["mp4 (H.264)"] is True


def test_predictions_follow_from_the_released_counts(found):
    reports = {report["name"]: report for report in found["models"]}
    rate = found["machine"]["teraflop_per_second"] * 1e12
    for name, flop in ((RELEASED["wan"], 1.2e17), (RELEASED["cogvideox"], 9.7e16)):
        report = reports[name]
        assert report["seconds"] == pytest.approx(flop / rate / EFFICIENCY, rel=0.02)
        assert report["memory_gib"] > report["offloaded_gib"] > report["parameters"] / 2**30


def test_text_is_never_cut_at_80_columns(found):
    for command in ("doctor", "models"):
        shown = vap(command).stdout
        assert all(name in shown for name in RELEASED.values())
        assert max(map(len, shown.splitlines())) <= 80
        assert "…" not in shown
