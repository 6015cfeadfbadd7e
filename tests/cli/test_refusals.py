"""What cannot be made is refused in one sentence, at once, and leaves nothing behind."""

import shutil

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.cli.running import COGVIDEOX, WAN, refusal, vap, vap_json
from vap.cli.app import app


@pytest.fixture
def nothing_left(here):
    """Fails if a test leaves any file but those that it says are its own."""
    own = set()
    yield own
    assert {path.name for path in here.iterdir()} <= own


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--image", "nix.png"], "nix.png: there is no such file"),
        (["--last-image", "nix.png"], "nix.png: there is no such file"),
        (["--reference", "nix.mp4"], "nix.mp4: there is no such file"),
        (["--reference", "https://example.org/a.mp4"], "download the file first"),
        (["--video-prompt", "nix.safetensors"], "Make one with `vap prompt encode`"),
        (["--effect", "bun"], "Did you mean 'burn'"),
        (["--effect", "burn", "--reference", "nix.mp4"], "either an effect, or"),
        (["--effect", "burn", "--video-prompt", "nix.safetensors"], "either an effect, or"),
        (["--lora", "nix.safetensors:0.5"], "nix.safetensors"),
        (["--lora", "nix.safetensors:inf"], "finite number"),
        (["--backbone", "nix.gguf"], "backbone file nix.gguf does not exist"),
        (["--expert", "nix.safetensors"], "There is no expert file at nix.safetensors"),
        (["--model", "nix"], "There is no model 'nix'"),
        (["--dtype", "float8"], "Use one of: float32, bfloat16, float16"),
        (["--device", "tpu9"], "--device 'tpu9' is unknown"),
        (["--device", "meta"], "--device 'meta' is unknown"),
        (["--offload", "model", "--device", "cpu"], "needs an accelerator"),
        (["--frames", "10"], "Use --frames 9"),
        (["--height", "50"], "Use --height 48, --width 64"),
        (["--steps", "0"], "at least one denoising step"),
        (["--guidance", "nan"], "--guidance nan"),
        (["--strength", "1.5"], "must be between 0 (no reference) and 1"),
        (["--seed", "-1"], "--seed -1 is out of range"),
        (["--seed", str(1 << 63)], "Use 0 … 9223372036854775807"),
        (["--fps", "0"], "--fps 0.0 is not a frame rate"),
        (["--fps", "0.0001"], "Use a number from 0.01 to 1000"),
        (["--reference-prompt", "a"], "References: 0, reference prompts: 1"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_bad_options(options, message, short, nothing_left):
    assert message in refusal(*short, *options, "-o", "out.mp4")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "-o/--output is missing"),
        (["-o", "out.avi"], "Use one of .mp4, .webm, .gif"),
        (["-o", "nix/out.mp4"], "nix does not exist. Create it"),
        (["-o", "out.mp4", "--sheet", "sheet.jpg"], "contact sheets are PNG"),
        (["-o", "out.mp4", "--sheet", "nix/sheet.png"], "nix does not exist"),
    ],
)
def test_bad_places_are_found_before_any_work(options, message, short, nothing_left, monkeypatch):
    monkeypatch.setattr("vap.generation.run.generate", lambda *_, **__: pytest.fail("was started"))
    assert message in refusal(*short, *options)


def test_folder_of_other_things_is_not_replaced(short, here, nothing_left):
    nothing_left.add("mine")
    (here / "mine").mkdir()
    (here / "mine" / "letter.txt").write_text("dear")
    assert "other files than frames (letter.txt)" in refusal(*short, "-o", "mine")
    assert (here / "mine" / "letter.txt").read_text() == "dear"


def test_bad_requests_are_found_before_a_model_is_loaded(short, nothing_left, monkeypatch):
    monkeypatch.setattr("vap.generation.run.load_for", lambda _: pytest.fail("loaded"))
    refusal(*short, "--reference", "nix.mp4", "-o", "out.mp4")
    refusal(*short, "--steps", 0, "-o", "out.mp4")


def test_image_is_needed(nothing_left):
    assert "--image is missing" in refusal("generate", "--model", WAN, "-o", "out.mp4")


def test_still_is_no_reference_and_truncated_clips_are_named(media, short, here, nothing_left):
    nothing_left.update({"cut.mp4", "text.png"})
    assert "shows no motion" in refusal(*short, "--reference", media.image, "-o", "out.mp4")
    (here / "cut.mp4").write_bytes(media.clip.read_bytes()[:700])
    assert "cut.mp4" in refusal(*short, "--reference", "cut.mp4", "-o", "out.mp4")
    (here / "text.png").write_text("not a picture")
    assert "text.png" in refusal(*short, "--image", "text.png", "-o", "out.mp4")


def test_last_image_is_for_wan(media, short, nothing_left):
    message = refusal(*short, "--last-image", media.image, "-o", "out.mp4")
    assert "last_image is a feature of the Wan variant" in message


def test_dynamic_guidance_is_for_cogvideox(short_wan, here, nothing_left):
    message = refusal(*short_wan, "--dynamic-guidance", "-o", "out.mp4")
    assert "--dynamic-guidance) is a feature of the CogVideoX variant" in message
    nothing_left.update({"out.mp4", "out.mp4.json"})
    vap(*short_wan, "--fixed-guidance", "-o", "out.mp4")


@pytest.mark.parametrize(
    "places",
    [("-o", "clip.mp4"), ("-o", "out.mp4", "--sheet", "photo.png"), ("-o", "frames")],
    ids=" ".join,
)
def test_inputs_are_not_overwritten(places, media, short, here, monkeypatch):
    monkeypatch.setattr("vap.generation.run.load_for", lambda _: pytest.fail("loaded"))
    shutil.copy(media.image, here / "photo.png")
    shutil.copy(media.clip, here / "clip.mp4")
    shutil.copytree(media.frames, here / "frames")
    before = {path: path.read_bytes() for path in here.rglob("*.*")}
    references = ("--reference", "clip.mp4", "--reference", "frames")
    message = refusal(*short, "--image", "photo.png", *references, *places)
    assert "would overwrite the input" in message
    assert "Choose another name" in message
    assert {path: path.read_bytes() for path in here.rglob("*.*")} == before


def test_references_and_a_video_prompt_exclude_each_other(media, short, here, nothing_left):
    nothing_left.add("prompt.safetensors")
    size = ("--height", 48, "--width", 64, "--frames", 9)
    vap("prompt", "encode", media.clip, "--model", COGVIDEOX, *size, "-o", "prompt.safetensors")
    both = ("--reference", media.clip, "--video-prompt", "prompt.safetensors")
    assert "either reference videos" in refusal(*short, *both, "-o", "out.mp4")


def test_incomplete_model_folder_names_the_missing_file(media, here, nothing_left):
    nothing_left.add("model")
    shutil.copytree(WAN, here / "model")
    (here / "model" / "vae" / "config.json").unlink()
    options = ("--image", media.image, "-o", "out.mp4")
    assert "vae/config.json is missing" in refusal("generate", "--model", "model", *options)


def test_a_size_far_from_the_models_own_is_refused_with_its_size(media, nothing_left):
    options = ("--image", media.image, "--height", 480, "--width", 832, "-o", "out.mp4")
    message = refusal("generate", *options)
    assert "64×96" in message
    assert "--height 480" in message


def test_demo_takes_no_other_inputs(media, nothing_left):
    message = refusal("generate", "--demo", "--image", media.image, "-o", "out.mp4")
    assert "--demo brings its own inputs. Leave out --image." in message


def test_errors_are_json_too(short, nothing_left):
    found = vap_json(*short, "--seed", -1, "-o", "out.mp4", code=2)
    assert found["error"]["type"] == "ValueError"
    assert "--seed -1" in found["error"]["message"]


def test_failure_while_writing_leaves_nothing(short, nothing_left, monkeypatch):
    def fail(*_, **__):
        message = "disk on fire"
        raise OSError(message)

    monkeypatch.setattr("vap.media.write.encode", fail)
    refusal(*short, "--negative-prompt", "none", "-o", "out.mp4")


def test_running_out_of_memory_comes_with_advice(short, nothing_left, monkeypatch):
    def fail(*_, **__):
        message = "CUDA out of memory. Tried to allocate 2 GiB"
        raise RuntimeError(message)

    monkeypatch.setattr("vap.generation.run._arguments", fail)
    assert "Lower --height" in refusal(*short, "-o", "out.mp4", code=1)


def test_faults_of_the_program_end_with_one(short, nothing_left, monkeypatch):
    monkeypatch.setattr("vap.generation.run._arguments", lambda *_, **__: {}["missing"])
    message = refusal(*short, "-o", "out.mp4", code=1)
    assert "KeyError: 'missing'. This is a bug in vap" in message
    found = vap_json(*short, "-o", "out.mp4", code=1)
    assert found["error"]["type"] == "KeyError"


def test_debugging_shows_where_an_error_comes_from(short, nothing_left, monkeypatch):
    monkeypatch.setenv("VAP_DEBUG", "1")
    result = CliRunner().invoke(app, [*map(str, short), "--seed", "-1", "-o", "out.mp4"])
    assert "request.py" in result.stderr
    assert result.exit_code == 2


def test_sheet_of_a_tall_image_keeps_its_shape(short, here):
    Image.new("RGB", (30, 90), "red").save("tall.png")
    vap(*short, "--image", "tall.png", "-o", "out.mp4", "--sheet", "sheet.png")
    assert (here / "sheet.png").is_file()
