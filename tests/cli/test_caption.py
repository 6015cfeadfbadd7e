import json

import pytest

from tests.captioning.conftest import server  # noqa: F401 - a fixture
from tests.cli.running import refusal, vap, vap_json
from tests.vision.conftest import no_certificates  # noqa: F401 - the same client
from tests.vision.tiny_chat import writing_folder  # noqa: F401 - a fixture
from vap.captioning import Prompts, read_prompts
from vap.media import read_run
from vap.vision.chat import ChatModel
from vap.vision.local import _loaded


@pytest.fixture
def captioner(server, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path.parent / f"{tmp_path.name}-cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return f"openai:{server.url}#m"


def test_captions_are_written_edited_and_used(media, short, captioner, server, here):  # noqa: F811
    inputs = ("--reference", media.clip, "--image", media.image)
    found = vap_json("caption", *inputs, "--captioner", captioner, "-o", "prompts.json")
    assert found["reference_prompts"] == ["caption 1"]
    assert found["prompt"] == "caption 2"
    assert read_prompts("prompts.json") == Prompts(**found)
    vap(*short, "--reference", media.clip, "--prompts", "prompts.json", "-o", "a.mp4")
    record = read_run(here / "a.mp4")
    assert (record.reference_prompts, record.prompt) == (("caption 1",), "caption 2")
    options = ("--prompts", "prompts.json", "--prompt", "mine", "-o", "b.mp4")
    vap(*short, "--reference", media.clip, *options)
    assert read_run(here / "b.mp4").prompt == "mine"
    assert len(server.asked) == 2


def test_missing_captions_are_written_recorded_and_not_asked_for_again(
    media,
    short,
    captioner,
    server,  # noqa: F811
    here,
    monkeypatch,
):
    monkeypatch.setenv("VAP_CAPTIONER", captioner)
    said = vap(*short, "--reference", media.clip, "-o", "out.mp4").stderr
    assert "caption 2" in said
    record = read_run(here / "out.mp4")
    assert (record.reference_prompts, record.prompt) == (("caption 1",), "caption 2")
    assert record.arguments["captions_by"] == "openai:m, instructions 1"
    asked = len(server.asked)
    vap("generate", "--repeat", "out.mp4", "-o", "again.mp4")
    assert (here / "again.mp4").read_bytes() == (here / "out.mp4").read_bytes()
    vap(*short, "--reference", media.clip, "--captioner", "none", "-o", "plain.mp4")
    assert read_run(here / "plain.mp4").prompt == ""
    assert len(server.asked) == asked


def test_a_model_of_this_machine_writes_captions(media, short, here, writing_folder, monkeypatch):  # noqa: F811
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    captioner = f"local:{writing_folder}"
    inputs = ("--reference", media.clip, "--image", media.image)
    found = vap_json("caption", *inputs, "--captioner", captioner)
    assert (found["reference_prompts"], found["prompt"]) == (["w3"], "w3")
    assert found["written_by"].startswith(f"local:{writing_folder.name}")
    _loaded.cache_clear()
    # From the cache: no model could answer now.
    monkeypatch.setattr(ChatModel, "load", lambda *_: pytest.fail("asked again"))
    assert vap_json("caption", *inputs, "--captioner", captioner) == found


def test_without_a_writer_captions_are_empty_and_that_is_noted(media, short, here):
    inputs = ("--reference", media.clip, "--image", media.image)
    result = vap("caption", *inputs, "--json")
    assert json.loads(result.stdout) == {
        "reference_prompts": [""],
        "prompt": "",
        "written_by": "",
    }
    assert "VAP_CAPTIONER" in result.stderr
    said = vap(*short, "--reference", media.clip, "-o", "out.mp4").stderr
    assert "note: the prompt is empty" in said
    assert "captions_by" not in read_run(here / "out.mp4").arguments


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["caption"], "--reference"),
        (["caption", "--image", "nix.png"], "nix.png"),
        (["caption", "--reference", "nix.mp4"], "nix.mp4"),
        (["generate", "--demo", "-o", "a.mp4", "--prompts", "p.json"], "Leave out --prompts"),
        (["generate", "--demo", "-o", "a.mp4", "--captioner", "none"], "Leave out --captioner"),
        (["generate", "--repeat", "b.mp4", "-o", "a.mp4", "--prompts", "p"], "--prompts"),
        (["generate", "--image", "a.png", "-o", "a.mp4", "--prompts", "p.json"], "p.json"),
    ],
)
def test_what_cannot_be_captioned_is_refused(arguments, said, here):
    assert said in refusal(*arguments)


def test_several_processes_take_captions_and_write_none(media, short, here, monkeypatch):
    monkeypatch.setattr("vap.cli.caption.launched", lambda: True)
    options = ("--reference", media.clip, "--captioner", "gemini", "-o", "a.mp4")
    assert "--prompts" in refusal(*short, *options)


def test_a_captioner_that_fails_is_told_before_a_model_is_loaded(media, short, here, monkeypatch):
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    options = ("--reference", media.clip, "--captioner", "gemini", "-o", "a.mp4")
    assert "GEMINI_API_KEY" in refusal(*short, *options)
    assert not list(here.iterdir())
