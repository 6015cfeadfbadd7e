import json

import numpy as np
import pytest
from PIL import Image
from rich.progress import Progress

from tests.cli.running import COGVIDEOX, WAN, vap, vap_json
from tests.media.making import moving
from vap.cli import console
from vap.effects.library import find_effect
from vap.media import probe_clip, read_clip, read_metadata, read_run, write_video
from vap.media.files import hash_file


def pixels(path):
    return read_clip(path).frames.astype(int)


def test_json_tells_what_was_made(made):
    found = made.summary
    assert found["written"] == [str(made.video), f"{made.video}.json", str(made.sheet)]
    assert (found["frames"], found["height"], found["width"], found["fps"]) == (9, 48, 64, 16.0)
    assert list(found["seconds"]) == ["load", "encode", "generate"]
    info = probe_clip(made.video)
    assert (info.frames, info.height, info.width, info.fps) == (9, 48, 64, 16.0)


def test_record_holds_prompts_seed_settings_versions_and_hashes(made, media):
    record = read_run(made.video)
    assert (record.prompt, record.reference_prompts) == ("a red ball", ("it turns blue",))
    assert (record.seed, record.model, record.model_path) == (7, "cogvideox", str(COGVIDEOX))
    assert record.arguments["num_inference_steps"] == 2
    assert record.arguments["dtype"] == "float32"
    assert record.negative_prompt.startswith("Bright tones")
    assert "torch" in record.versions
    hashes = {entry.role: entry.sha256 for entry in record.inputs}
    assert hashes == {"image": hash_file(media.image), "reference": hash_file(media.clip)}


def test_the_same_record_is_inside_the_video_without_this_machines_folders(made):
    inside = read_metadata(made.video)
    assert inside == made.summary["record"] == read_run(made.video).embedded()
    assert str(made.video.parent) not in json.dumps(inside)


def test_same_seed_same_bytes_and_another_seed_another_video(made, here):
    vap(*made.arguments, "-o", "again.mp4")
    assert (here / "again.mp4").read_bytes() == made.video.read_bytes()
    vap(*made.arguments, "--seed", 8, "-o", "other.mp4")
    assert not np.array_equal(pixels(here / "other.mp4"), pixels(made.video))


def test_sheet_shows_reference_image_and_result(made):
    with Image.open(made.sheet) as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 8 * 64
        assert sheet.height > 3 * 48


@pytest.mark.parametrize("name", ["out.webm", "out.gif", "out"])
def test_every_format_is_written_with_its_record(name, short, here):
    vap(*short, "-o", name)
    assert probe_clip(here / name).frames == 9
    assert read_run(here / name).embedded() == read_metadata(here / name)
    assert sorted(path.name for path in here.iterdir()) == [name, f"{name}.json"]


def test_a_profile_is_recorded_and_leaves_the_steps_that_were_given(short, here):
    vap(*short, "--profile", "turbo", "-o", "out.mp4")
    arguments = read_run(here / "out.mp4").arguments
    assert (arguments["profile"], arguments["num_inference_steps"]) == ("turbo", 2)


def test_text_output_is_a_message_not_a_result(short, here):
    result = vap(*short, "--negative-prompt", "short enough", "-o", "out.mp4")
    assert result.stdout == ""
    assert result.stderr.startswith("Made 9 frames in ")
    assert result.stderr.split()[-2:] == ["out.mp4", "out.mp4.json"]


@pytest.mark.parametrize("kind", ["gif", "frames"])
def test_references_may_be_gifs_and_folders_of_frames(kind, media, short, here):
    reference = getattr(media, kind)
    vap(*short, "--reference", reference, "-o", "out.mp4")
    (entry,) = [each for each in read_run("out.mp4").inputs if each.role == "reference"]
    assert (entry.name, entry.path) == (reference.name, str(reference))


@pytest.mark.parametrize("model", [WAN, COGVIDEOX], ids=["wan", "cogvideox"])
def test_several_references_with_their_captions(model, media, short, here):
    references = ("--reference", media.clip, "--reference", media.second)
    captions = ("--reference-prompt", "one", "--reference-prompt", "two")
    arguments = (*short, "--model", model, *references, *captions)
    record = vap_json(*arguments, "-o", "two.mp4", "--sheet", "two.png")["record"]
    assert record["reference_prompts"] == ["one", "two"]
    names = [each["name"] for each in record["inputs"] if each["role"] == "reference"]
    assert names == ["clip.mp4", "second.mp4"]
    vap(*short, "--model", model, "--reference", media.clip, "-o", "one.mp4", "--sheet", "one.png")
    if model == COGVIDEOX:
        assert not np.array_equal(pixels("two.mp4"), pixels("one.mp4"))
    with Image.open("one.png") as one, Image.open("two.png") as two:
        assert two.height > one.height


def test_native_size_frames_and_rate_are_the_models(media, here):
    arguments = ("--model", COGVIDEOX, "--image", media.image, "--steps", 1, "--guidance", 1)
    found = vap_json("generate", *arguments, "-o", "out.mp4")
    shape = (found["frames"], found["height"], found["width"], found["fps"])
    assert shape == (9, 48, 64, 16.0)


def test_rate_of_the_result_can_be_chosen(short, here):
    vap(*short, "--fps", 23.976, "-o", "out.mp4")
    assert probe_clip("out.mp4").fps == pytest.approx(24000 / 1001)


def test_strength_zero_is_no_reference_and_one_is_not(media, short, here):
    vap(*short, "-o", "without.mp4")
    for strength in (0, 1):
        place = f"strength{strength}.mp4"
        vap(*short, "--reference", media.clip, "--strength", strength, "-o", place)
    assert np.array_equal(pixels("without.mp4"), pixels("strength0.mp4"))
    assert not np.array_equal(pixels("without.mp4"), pixels("strength1.mp4"))


def test_dynamic_guidance_changes_the_cogvideox_video(short, here):
    for option in ("--dynamic-guidance", "--fixed-guidance"):
        vap(*short, option, "-o", f"{option[2:]}.mp4")
    assert not np.array_equal(pixels("dynamic-guidance.mp4"), pixels("fixed-guidance.mp4"))


def test_fit_crops_or_distorts_a_wide_image(short, here):
    Image.fromarray(moving(1, 32, 128)[0]).save("wide.png")
    for fit in ("cover", "stretch"):
        vap(*short, "--image", "wide.png", "--fit", fit, "-o", f"{fit}.mp4")
    assert not np.array_equal(pixels("cover.mp4"), pixels("stretch.mp4"))


def test_last_image_is_recorded(media, short_wan, here):
    record = vap_json(*short_wan, "--last-image", media.image, "-o", "out.mp4")["record"]
    assert [each["role"] for each in record["inputs"]] == ["image", "last_image"]


def test_frames_selected_first_are_those_of_a_shorter_clip(media, short, here):
    write_video(moving(12)[:9], "start", 16)
    write_video(moving(12), "whole", 16)
    for name in ("start", "whole"):
        vap(*short, "--reference", name, "--selection", "first", "-o", f"{name}.mp4")
    assert np.array_equal(pixels("start.mp4"), pixels("whole.mp4"))


def test_progress_is_drawn_to_its_end_and_leaves_no_trace_in_json(short, here, monkeypatch):
    seen = []
    update = Progress.update

    def spy(self, task, **changes):
        update(self, task, **changes)
        seen.append((self.tasks[task].description, self.tasks[task].completed, changes))

    monkeypatch.setattr(Progress, "update", spy)
    monkeypatch.setattr(console.messages, "_force_terminal", True)
    vap(*short, "-o", "out.mp4")
    stages = [change["description"] for _, _, change in seen if "description" in change]
    assert stages == ["load", "encode", "generate", "write"]
    steps = [(done, change["total"]) for _, done, change in seen if "total" in change]
    assert steps == [(1, 2), (2, 2)]


def test_the_default_model_is_said_to_be_a_demonstration(media, here):
    said = vap("generate", "--demo", "--steps", 1, "-o", "out.mp4").stderr
    assert "64×96" in said
    assert "--model wan" in said


def test_what_is_cut_from_a_long_prompt_is_told(short, here):
    said = vap(*short, "--prompt", "word " * 300 + "last", "-o", "out.mp4").stderr
    assert "note: A text has" in said
    assert "last" in said


def test_an_effect_brings_its_reference_and_is_in_the_record(short, here):
    vap(*short, "--effect", "burn", "--prompt", "a car", "-o", "out.mp4")
    record = read_run(here / "out.mp4")
    assert (record.arguments["effect"], record.prompt) == ("vap/burn", "a car")
    effect = find_effect("burn")
    assert record.reference_prompts == (effect.reference_prompt,)
    assert record.inputs[-1].sha256 == hash_file(effect.reference)
    assert record.model == "cogvideox"
    vap("generate", "--repeat", "out.mp4", "-o", "again.mp4")
    assert (here / "again.mp4").read_bytes() == (here / "out.mp4").read_bytes()


def test_a_video_without_an_effect_has_none_in_its_record(made):
    assert "effect" not in made.summary["record"]["arguments"]
