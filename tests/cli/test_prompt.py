import shutil

import pytest

from tests.cli.running import COGVIDEOX, WAN, refusal, vap, vap_json

SIZE = ("--height", 48, "--width", 64, "--frames", 9)


@pytest.fixture
def encoded(media, here):
    captions = ("--reference-prompt", "one", "--reference-prompt", "two [bold]")
    arguments = (media.clip, media.second, *captions, "--model", COGVIDEOX, *SIZE)
    return vap_json("prompt", "encode", *arguments, "-o", "prompt.safetensors")


def test_json_says_what_was_encoded(encoded):
    assert encoded["family"] == "cogvideox"
    assert encoded["shape"] == {"frames": 9, "height": 48, "width": 64}
    assert [source["name"] for source in encoded["references"]] == ["clip.mp4", "second.mp4"]
    assert [source["caption"] for source in encoded["references"]] == ["one", "two [bold]"]
    assert encoded["references"][0]["frames"] == [0, 1, 2, 4, 5, 6, 8, 9, 11]
    assert all(shape[0] == 2 for shape in encoded["tensors"].values())


def test_show_says_the_same_in_json_and_in_words(encoded):
    assert vap_json("prompt", "show", "prompt.safetensors") == encoded
    shown = vap("prompt", "show", "prompt.safetensors").stdout
    assert "2 reference(s) for cogvideox, 9 frames of 48×64" in shown
    assert "two [bold]" in shown
    assert "9 of 0 … 11" in shown


def test_prompt_gives_the_same_video_as_its_references(encoded, media, short, here):
    references = ("--reference", media.clip, "--reference", media.second)
    captions = ("--reference-prompt", "one", "--reference-prompt", "two [bold]")
    vap(*short, *references, *captions, "-o", "raw")
    vap(*short, "--video-prompt", "prompt.safetensors", "--sheet", "p.png", "-o", "encoded")
    for index in range(1, 9):
        name = f"frame_{index:05d}.png"
        assert (here / "raw" / name).read_bytes() == (here / "encoded" / name).read_bytes()
    vap("generate", "--repeat", "encoded", "-o", "again")
    first = "frame_00000.png"
    assert (here / "again" / first).read_bytes() == (here / "encoded" / first).read_bytes()


def test_prompt_of_another_size_or_model_is_refused(encoded, short, short_wan):
    prompt = ("--video-prompt", "prompt.safetensors")
    assert "its size is" in refusal(*short, *prompt, "--frames", 17, "-o", "out.mp4")
    assert "its model family is" in refusal(*short_wan, *prompt, "-o", "out.mp4")


def test_last_frame_prompts_go_with_last_images(media, short_wan, here):
    encode = ("prompt", "encode", media.clip, "--model", WAN, *SIZE)
    vap(*encode, "--last-frame", "-o", "prompt.safetensors")
    prompt = ("--video-prompt", "prompt.safetensors", "-o", "out.mp4")
    assert "last-frame setting" in refusal(*short_wan, *prompt)
    vap(*short_wan, *prompt, "--last-image", media.image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--reference-prompt", "a", "--reference-prompt", "b"],
            "Reference videos: 1, ",
        ),
        (["--frames", "10"], "Use --frames 9"),
        (["--device", "tpu9"], "--device 'tpu9' is unknown"),
        (["--model", "nix"], "There is no model 'nix'"),
        (["-o", "nix/prompt.safetensors"], "nix does not exist"),
    ],
)
def test_encode_refuses(options, message, media, here):
    arguments = ("--model", COGVIDEOX, "-o", "prompt.safetensors", *options)
    assert message in refusal("prompt", "encode", media.clip, *arguments)
    assert list(here.iterdir()) == []


def test_a_reference_is_not_overwritten_by_its_prompt(media, here, monkeypatch):
    monkeypatch.setattr(
        "vap.loading.pipeline.load_pipeline", lambda *_, **__: pytest.fail("loaded")
    )
    shutil.copy(media.clip, here / "clip.mp4")
    message = refusal("prompt", "encode", "clip.mp4", "-o", "clip.mp4", "--model", COGVIDEOX)
    assert "would overwrite the input clip.mp4" in message
    (here / "folder").mkdir()
    message = refusal("prompt", "encode", "clip.mp4", "-o", "folder", "--model", COGVIDEOX)
    assert "it is a folder, not a file" in message
    assert (here / "clip.mp4").read_bytes() == media.clip.read_bytes()


def test_missing_references_and_other_files_are_refused(media, here):
    options = ("--model", COGVIDEOX, "-o", "p.safetensors")
    assert "nix.mp4: there is no such" in refusal("prompt", "encode", "nix.mp4", *options)
    weights = COGVIDEOX / "vae" / "diffusion_pytorch_model.safetensors"
    assert "is not a video prompt" in refusal("prompt", "show", weights)
    assert "no video prompt at nix" in refusal("prompt", "show", "nix")
