import errno
import json
import os
import shutil

import pytest

from tests.cli.running import COGVIDEOX, refusal, vap, vap_json
from vap.acceleration import plan
from vap.media import read_run, write_run


@pytest.fixture
def alone(made, here):
    """The video without the JSON beside it."""
    return shutil.copy(made.video, here / "alone.mp4")


@pytest.fixture
def moved(media, here):
    """Options for inputs that are somewhere else, under other names."""
    image = shutil.copy(media.image, here / "moved.png")
    clip = shutil.copy(media.clip, here / "moved.mp4")
    return ("--image", image, "--reference", clip)


@pytest.mark.parametrize("suffix", ["", ".json"])
def test_video_or_its_json_make_the_same_bytes(suffix, made, here):
    vap("generate", "--repeat", f"{made.video}{suffix}", "-o", "again.mp4")
    assert (here / "again.mp4").read_bytes() == made.video.read_bytes()
    assert read_run("again.mp4").embedded() == read_run(made.video).embedded()


def test_video_alone_knows_all_but_where_the_inputs_are(alone, moved, here):
    message = refusal("generate", "--repeat", alone, "-o", "again.mp4")
    assert "image.png, is somewhere that is not recorded. Give it with --image" in message
    vap("generate", "--repeat", alone, *moved, "--model", COGVIDEOX, "-o", "again.mp4")
    # The names of inputs are part of the record, so only the frames are the same.
    vap("generate", "--repeat", "again.mp4", "-o", "third.mp4")
    assert (here / "again.mp4").read_bytes() == (here / "third.mp4").read_bytes()
    inside = vap_json("generate", "--repeat", "again.mp4", "-o", "fourth.mp4")["record"]
    assert [each["name"] for each in inside["inputs"]] == ["moved.png", "moved.mp4"]


@pytest.mark.parametrize("name", ["out.gif", "out"])
def test_other_formats_carry_their_record_too(name, media, short, here):
    vap(*short, "-o", name)
    (here / f"{name}.json").unlink()
    again = f"again{(here / name).suffix}"
    options = ("--image", media.image, "--model", COGVIDEOX)
    vap("generate", "--repeat", name, *options, "-o", again)
    assert read_run(again).arguments["num_inference_steps"] == 2


def test_references_are_told_apart_by_content(media, short, here):
    clips = ("--reference", media.clip, "--reference", media.second)
    vap(*short, *clips, "-o", "two.mp4")
    (here / "two.mp4.json").unlink()
    swapped = ("--reference", media.second, "--reference", media.clip)
    options = ("--image", media.image, *swapped, "--model", COGVIDEOX)
    vap("generate", "--repeat", "two.mp4", *options, "-o", "again.mp4")
    assert (here / "two.mp4").read_bytes() == (here / "again.mp4").read_bytes()


def test_changed_input_is_refused(media, made, alone, here):
    options = ("--image", media.image, "--reference", media.second, "--model", COGVIDEOX)
    message = refusal("generate", "--repeat", alone, *options, "-o", "again.mp4")
    assert "second.mp4 is not the reference that made this video (clip.mp4)" in message
    assert "--reference" in message
    assert sorted(path.name for path in here.iterdir()) == ["alone.mp4"]


def test_options_that_would_change_the_video_are_refused(made, here):
    idle = ("--steps", 3, "--prompt", "x", "--dynamic-guidance")
    message = refusal("generate", "--repeat", made.video, *idle, "-o", "again.mp4")
    assert "Leave out --dynamic-guidance, --prompt, --steps." in message
    assert "exclude" in refusal("generate", "--repeat", made.video, "--demo", "-o", "again.mp4")


def test_device_may_be_another_than_then(made, here):
    record = json.loads(made.video.with_name("out.mp4.json").read_text())
    record["arguments"] |= {"device": "cuda", "offload": "model"}
    (here / "elsewhere.json").write_text(json.dumps(record))
    assert "'cuda'" in refusal("generate", "--repeat", "elsewhere.json", "-o", "again.mp4")
    vap("generate", "--repeat", "elsewhere.json", "--device", "cpu", "-o", "again.mp4")
    assert (here / "again.mp4").read_bytes() == made.video.read_bytes()


@pytest.fixture
def eight_bits(monkeypatch):
    """Memory in which the weights have room in eight bits alone."""
    with monkeypatch.context() as patched:
        patched.setattr(plan, "CPU_PLANS", plan.CPU_PLANS[-1:])
        yield patched


def test_eight_bits_that_memory_chose_are_kept(short, eight_bits, here):
    vap(*short, "--memory", "2GB", "-o", "out.mp4")
    vap("generate", "--repeat", "out.mp4", "-o", "again.mp4")
    assert (here / "again.mp4").read_bytes() == (here / "out.mp4").read_bytes()
    eight_bits.undo()
    options = (("--memory", "2GB"), ("--device", "cpu"))
    for number, holding in enumerate(options):
        repeated = vap("generate", "--repeat", "out.mp4", *holding, "-o", f"{number}.mp4")
        assert read_run(f"{number}.mp4").arguments["quantize"] == "int8"
        assert "precision" not in repeated.stderr


def test_eight_bits_that_memory_chooses_only_now_are_pointed_out(short, eight_bits, here):
    vap(*short, "-o", "out.mp4")
    repeated = vap("generate", "--repeat", "out.mp4", "--memory", "2GB", "-o", "again.mp4")
    assert (
        "the video was made with weights in full precision; this run uses int8" in repeated.stderr
    )


def test_other_versions_are_pointed_out(made, here):
    record = json.loads(made.video.with_name("out.mp4.json").read_text())
    record["versions"]["torch"] = "1.0"
    (here / "old.json").write_text(json.dumps(record))
    result = vap("generate", "--repeat", "old.json", "-o", "again.mp4")
    assert "note: made with torch 1.0, here is " in result.stderr


def test_video_to_repeat_is_not_overwritten(made, here):
    kept = shutil.copy(made.video, here / "kept.mp4")
    write_run(kept, read_run(made.video))
    before = (here / "kept.mp4").read_bytes()
    for named in (kept, f"{kept}.json"):
        assert "Choose another name" in refusal("generate", "--repeat", named, "-o", kept)
    (here / "kept.json").write_text(read_run(kept).to_json())
    message = refusal("generate", "--repeat", "kept.json", "-o", "kept")
    assert "would overwrite the input kept" in message
    assert (here / "kept.mp4").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arguments": {"num_inference_steps": "many"}}, "num_inference_steps"),
        ({"arguments": {"shape": 3}}, "does not know: ['shape']"),
        ({"seed": -1}, "seed -1"),
        ({"inputs": []}, "damaged: image"),
        ({"format": 9}, "record format is 9"),
        ({"arguments": {"model": "owner/name"}}, "['model'] are not arguments"),
    ],
)
def test_damaged_records_are_refused(change, message, made, here):
    record = json.loads(made.video.with_name("out.mp4.json").read_text())
    (here / "damaged.json").write_text(json.dumps(record | change))
    assert message in refusal("generate", "--repeat", "damaged.json", "-o", "again.mp4")
    assert not (here / "again.mp4").exists()


def test_a_model_that_only_a_record_names_is_not_downloaded(made, here, monkeypatch):
    monkeypatch.setattr("vap.files.names._download", lambda _: pytest.fail("downloaded"))
    record = json.loads(made.video.with_name("out.mp4.json").read_text())
    for change in ({"model_path": "owner/name"}, {"model_path": None, "model": "owner/name"}):
        (here / "hub.json").write_text(json.dumps(record | change))
        message = refusal("generate", "--repeat", "hub.json", "-o", "again.mp4")
        assert "--model owner/name" in message


def test_devices_and_pipes_are_neither_records_nor_inputs(made, here):
    os.mkfifo(here / "pipe.json")
    assert "the run record does not exist" in refusal(
        "generate", "--repeat", "pipe.json", "-o", "again.mp4"
    )
    record = json.loads(made.video.with_name("out.mp4.json").read_text())
    for place in ("/dev/zero", str(here / "pipe.json")):
        for entry in record["inputs"]:
            entry["path"] = place
        (here / "device.json").write_text(json.dumps(record))
        message = refusal("generate", "--repeat", "device.json", "-o", "again.mp4")
        assert f"is not at {place}" in message


def test_escape_sequences_of_a_record_are_spelled_out(made, here):
    record = json.loads(made.video.with_name("out.mp4.json").read_text())
    record["versions"] = {"[/]\\[/x]": "\x1b]0;title\x07"}
    (here / "escape.json").write_text(json.dumps(record))
    result = vap("generate", "--repeat", "escape.json", "-o", "again.mp4")
    assert r"note: made with [/]\[/x] \x1b]0;title\x07" in result.stderr
    assert "\x1b" not in result.stderr


def test_no_new_video_without_its_record_when_the_disk_is_full(short, here, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("vap.media.records.RunRecord.to_json", full)
        assert "No space left" in vap(*short, "-o", "out.mp4", code=2).stderr
    assert [*here.iterdir()] == []


def test_videos_of_others_say_nothing_of_how_they_were_made(media, here):
    message = refusal("generate", "--repeat", media.clip, "-o", "again.mp4")
    assert "contains no record" in message
    assert "nix.mp4" in refusal("generate", "--repeat", "nix.mp4", "-o", "again.mp4")
    assert "nix.json" in refusal("generate", "--repeat", "nix.json", "-o", "again.mp4")
