import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vap
from tests.vision.tiny_chat import model_folder  # noqa: F401 - a fixture
from vap.captioning import Prompts, read_prompts, with_prompts, write_prompts
from vap.captioning.writer import Writer
from vap.effects.create import create_effect
from vap.generation.request import GenerationRequest
from vap.vision.chat import ChatModel
from vap.vision.local import LocalModel, _loaded


@pytest.fixture
def captioner(server):
    return f"openai:{server.url}#m"


def test_what_is_missing_is_written(captioner, media, server):
    written = write_prompts([media.first], media.image, captioner=captioner)
    assert (written.reference_prompts, written.prompt) == (("caption 1",), "caption 2")
    assert written.written_by.startswith("openai:m")
    assert vap.write_prompts is write_prompts
    assert write_prompts([media.first], media.image, captioner=captioner) == written
    assert len(server.asked) == 2


def test_what_is_given_stays(captioner, media, server):
    references = [media.first, media.second]
    written = write_prompts(
        references, media.image, reference_prompts=("it melts", ""), captioner=captioner
    )
    assert (written.reference_prompts, written.prompt) == (("it melts", "caption 1"), "caption 2")
    given_all = write_prompts([media.first], reference_prompts=["it melts"], captioner=captioner)
    assert given_all == Prompts(("it melts",))
    assert len(server.asked) == 2
    with pytest.raises(ValueError, match="reference prompts: 2"):
        write_prompts([media.first], reference_prompts=["a", "b"], captioner=captioner)


def test_without_a_writer_captions_stay_empty(media):
    assert write_prompts([media.first], media.image) == Prompts(("",), "")
    request = GenerationRequest(media.image, references=(media.first,))
    assert with_prompts(request) is request


def test_a_request_gets_captions_and_the_writers_name(captioner, media):
    request = GenerationRequest(media.image, references=(media.first, media.second))
    assert with_prompts(request, captioner) == replace(
        request,
        reference_prompts=("caption 1", "caption 2"),
        prompt="caption 3",
        captions_by="openai:m, instructions 1",
    )


def test_a_local_writer_leaves_its_memory_to_the_video(model_folder, media, monkeypatch):  # noqa: F811
    monkeypatch.setattr(ChatModel, "answer", lambda *_: '{"caption": "w1"}')
    request = GenerationRequest(media.image, references=(media.first,))
    writer = Writer(LocalModel(model=str(model_folder), device="cpu"))
    writer.reference_caption(media.second, "scene")
    assert _loaded.cache_info().currsize == 1
    assert with_prompts(request, writer).prompt == "w1"
    assert _loaded.cache_info().currsize == 0


def test_a_request_that_lacks_nothing_is_left_alone(captioner, media, server):
    request = GenerationRequest(media.image)
    assert with_prompts(request, captioner) is request
    request = replace(request, references=(media.first,), reference_prompts=("a",), prompt="b")
    assert with_prompts(request, captioner) is request
    assert not server.asked


@pytest.mark.parametrize(
    ("prompt", "written"), [("{subject}, in sparks", "caption 1, in sparks"), ("", "caption 1")]
)
def test_the_caption_of_the_image_goes_into_the_prompt_of_an_effect(
    captioner, media, tmp_path, prompt, written
):
    effect = create_effect(
        tmp_path / "effect", name="a", reference=media.first, reference_prompt="x", prompt=prompt
    )
    request = GenerationRequest(**effect.applied_to({"image": media.image}))
    assert with_prompts(request, captioner, effect=effect).prompt == written


def test_captions_go_through_their_file(tmp_path):
    prompts = Prompts(("a «b»",), "c", "gemini:x")
    file = prompts.save(tmp_path / "prompts.json")
    assert read_prompts(file) == prompts
    assert prompts.request() == {
        "reference_prompts": ("a «b»",),
        "prompt": "c",
        "captions_by": "gemini:x",
    }
    assert Prompts(("",)).request() == {}
    file.write_text(json.dumps({"prompt": "edited"}))
    assert read_prompts(file) == Prompts(prompt="edited")


@pytest.mark.parametrize(
    ("text", "named"),
    [("{", "JSON"), ('{"promt": "x"}', "promt"), ('{"prompt": 1}', "prompt"), ("[]", "captions")],
)
def test_a_file_of_something_else_is_refused(tmp_path, text, named):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=named):
        read_prompts(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError, match=r"b\.json"):
        read_prompts(tmp_path / "b.json")


@given(st.binary(max_size=80))
def test_any_bytes_are_captions_or_a_value_error(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp() / "any.json"
    file.write_bytes(data)
    try:
        found = read_prompts(file)
    except ValueError:
        return
    assert isinstance(found, Prompts)
