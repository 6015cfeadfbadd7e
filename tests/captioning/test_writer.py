import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.captioning.conftest import texts_of
from tests.vision.tiny_chat import model_folder  # noqa: F401 - a fixture
from vap.captioning.instructions import instructions, style_of
from vap.captioning.writer import Caption, CaptionedReference, Writer, find_writer
from vap.vision.chat import ChatModel
from vap.vision.gemini import GeminiModel
from vap.vision.local import LocalModel
from vap.vision.model import answers_in
from vap.vision.openai import OpenAIModel


@pytest.fixture
def writer(server):
    return Writer(OpenAIModel(model="m", base_url=server.url, frames=2))


def test_a_reference_is_described_from_its_frames_by_the_versioned_instruction(
    writer, server, media
):
    assert writer.reference_caption(media.first, "described") == "caption 1"
    told = texts_of(server.asked[0][2])
    assert told[0] == "The video:"
    assert told[1:3] == ["image_url"] * 2
    assert told[3] == instructions().described.reference
    assert writer.name == f"openai:m, instructions {instructions().version}"


def test_a_target_is_described_from_image_and_captioned_references(writer, server, media):
    references = [CaptionedReference("it melts", media.first), CaptionedReference("it burns")]
    assert writer.target_caption(media.image, references, "described") == "caption 1"
    told = texts_of(server.asked[0][2])
    assert [text for text in told if text != "image_url"] == [
        "A reference:",
        "Caption of this reference: it melts",
        "Caption of this reference: it burns",
        "The image:",
        instructions().described.target,
        told[-1],
    ]
    assert told.count("image_url") == 3


def test_a_scene_is_described_from_the_image_alone(writer, server, media):
    writer.target_caption(media.image, [CaptionedReference("it melts", media.first)], "scene")
    writer.target_caption(media.image, [], "described")
    told = texts_of(server.asked[0][2])
    assert told[:3] == ["The image:", "image_url", instructions().scene.target]
    assert len(server.asked) == 1  # the second is the same question


def test_an_answer_is_kept_by_content_model_and_question(writer, server, media, tmp_path):
    writer.reference_caption(media.first, "described")
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(media.first.read_bytes())
    assert writer.reference_caption(copy, "described") == "caption 1"
    assert writer.reference_caption(media.second, "described") == "caption 2"
    assert writer.reference_caption(media.first, "scene") == "caption 3"
    other = Writer(writer.model.model_copy(update={"model": "n"}))
    assert other.reference_caption(media.first, "described") == "caption 4"


def test_models_are_asked_in_the_style_of_their_training():
    assert (style_of("vap-mini"), style_of("wan"), style_of("some/folder")) == (
        "scene",
        "described",
        "described",
    )


@pytest.mark.parametrize("name", ["", "none", None])
def test_nobody_writes_unless_configured(name):
    assert find_writer(name) is None


def test_a_writer_is_named_by_option_or_environment(server, monkeypatch):
    found = find_writer(f"openai:{server.url}/v1#some/model")
    assert (found.model.kind, found.model.model) == ("openai", "some/model")
    assert find_writer(f"openai:{server.url}/v1").model.model == "served"
    assert server.asked[0][0] == "/v1/models"
    monkeypatch.setenv("GEMINI_API_KEY", "secret")
    assert find_writer("gemini").model == GeminiModel()
    monkeypatch.setenv("VAP_CAPTIONER", "gemini:gemini-9")
    assert find_writer().model.model == "gemini-9"
    assert find_writer("none") is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gemni", "Did you mean 'gemini'"),
        ("openai", "openai:URL"),
        ("local:", "local:MODEL"),
        ("openai:localhost#m", "address of a server"),
        ("openai:http://me:word@localhost#m", "address of a server"),
        ("gemini", "GEMINI_API_KEY"),
    ],
)
def test_a_writer_that_cannot_be_used_is_refused(name, said):
    with pytest.raises(ValueError, match=said):
        find_writer(name)


def test_weights_that_are_missing_are_named():
    with pytest.raises(FileNotFoundError, match="nobody/nothing"):
        find_writer("local:nobody/nothing")


def test_a_local_model_writes_from_frames(model_folder, media, monkeypatch):  # noqa: F811
    found = find_writer(f"local:{model_folder}")
    assert isinstance(found.model, LocalModel)
    assert found.name.startswith(f"local:{model_folder.name},")
    seen = []

    def answer(self, content, max_new_tokens):
        seen.extend(part["type"] for part in content)
        return 'Here it is: {"caption": "w3\\n w4"}'

    monkeypatch.setattr(ChatModel, "answer", answer)
    assert found.reference_caption(media.first, "scene") == "w3 w4"
    assert seen == ["text", *["image"] * found.model.frames, "text", "text", "text"]


def test_a_model_that_writes_no_caption_is_refused(model_folder, media):  # noqa: F811
    model = LocalModel(model=str(model_folder), device="cpu", max_new_tokens=2, attempts=1)
    with pytest.raises(ValueError, match="caption"):
        Writer(model).reference_caption(media.first, "scene")


@given(st.text(max_size=50))
def test_a_caption_is_one_line_or_refused(text):
    found = list(answers_in(json.dumps({"caption": text}), Caption))
    line = " ".join(text.split())
    assert [answer.caption for answer in found] == ([line] if line else [])


@given(st.text(alphabet='{}[]":,caption \\ud8x\n', max_size=60))
def test_any_answer_has_captions_that_records_can_hold(text):
    for answer in answers_in(text, Caption):
        assert answer.caption.encode()
        assert "\n" not in answer.caption
