import pytest

from tests.cli.running import vap, vap_json
from vap.files.folders import RELEASED
from vap.files.names import known_models

BUNDLED = known_models()[0].name


@pytest.fixture(scope="module")
def found():
    return vap_json("doctor", "--gpu", "h200", "--memory", "12GB")


def test_every_known_model_is_sized(found):
    assert [each["name"] for each in found["models"]] == [each.name for each in known_models()]
    assert vap_json("models")[-1]["name"] == RELEASED["cogvideox"]


def test_machine_is_described(found):
    machine = found["machine"]
    assert 0 < machine["free_memory_gb"] <= machine["memory_gb"]
    assert machine["teraflop_per_second"] == {}  # nothing of this machine is measured for another
    assert machine["video_encoders"]["mp4 (H.264)"] is True


def test_plans_of_released_models_follow_from_their_counts(found):
    reports = {report["name"]: report for report in found["models"]}
    for name, flop, floor in ((RELEASED["wan"], 1.2e17, 122), (RELEASED["cogvideox"], 9.7e16, 98)):
        report = reports[name]
        assert report["flop"] == pytest.approx(flop, rel=0.02)
        resident, *_, smallest = report["plans"]
        # What Wan's own code reaches of the published rate of an H200.
        assert resident["denoise_seconds"] == pytest.approx(floor / 0.37, rel=0.02)
        assert resident["device_gb"] > report["parameters"] * 2 / 1e9 > smallest["device_gb"]
        assert report["plan"].startswith("block-level offload")
        assert not report["checked"]


def test_this_machine_is_measured_without_a_gpu_to_predict_for():
    found = vap_json("doctor", "--model", BUNDLED)
    assert found["machine"]["teraflop_per_second"]["float32"] > 0
    (report,) = found["models"]
    assert report["plan"] == "resident"
    assert all(plan["seconds"] > 0 and plan["host_gb"] == 0 for plan in report["plans"])


def test_unknown_gpus_and_amounts_are_refused():
    assert "h200" in vap("doctor", "--gpu", "abacus", code=2).stderr
    assert "10GB" in vap("doctor", "--memory", "plenty", code=2).stderr


def test_text_is_never_cut_at_80_columns(found):
    for command in (("doctor", "--gpu", "4090"), ("models",)):
        shown = vap(*command).stdout
        assert all(name in shown for name in RELEASED.values())
        assert max(map(len, shown.splitlines())) <= 80
        assert "…" not in shown


def test_only_a_fast_bfloat16_is_measured(monkeypatch):
    monkeypatch.setattr("vap.cost.devices.has_fast_half", lambda _: False)
    rates = vap_json("doctor", "--model", BUNDLED)["machine"]["teraflop_per_second"]
    assert list(rates) == ["float32"]


@pytest.mark.slow
def test_the_command_says_what_was_asked():
    sizes = ("--frames", 17, "--height", 240, "--width", 416, "--steps", 20, "--profile", "fast")
    (report,) = vap_json("doctor", "--gpu", "4090", "--model", "wan", *sizes)["models"]
    assert (report["size"], report["steps"]) == ("17 frames of 240×416", 20)
    assert report["parameters"] == 20_700_000_000
    assert report["profile_measured"] is False
    command = report["command"]
    for words in ("--model wan", "--height 240", "--steps 20", "--profile fast"):
        assert words in command


def test_sizes_and_profiles_that_do_not_exist_are_refused():
    said = vap("doctor", "--gpu", "4090", "--model", "wan", "--frames", 10, code=2).stderr
    assert "--frames 9" in said
