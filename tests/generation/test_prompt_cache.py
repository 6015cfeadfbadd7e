"""Prompts are encoded once for all requests that would encode them alike."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from vap.generation import prompt_cache as cache
from vap.generation.prompt_cache import PromptCache
from vap.generation.request import GenerationRequest
from vap.pipelines.video_prompt import ReferenceSource, VideoPrompt
from vap.shapes import PixelShape

PIPELINE = SimpleNamespace(encoder_fingerprint="same")


@pytest.fixture
def request_(inputs) -> GenerationRequest:
    return GenerationRequest(inputs / "image.png", references=(inputs / "clip.mp4",))


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    source = ReferenceSource("clip.mp4", "0" * 64, "", 16.0, (0,))
    prompt = VideoPrompt("wan", "same", PixelShape(9, 48, 64), False, (source,), {})
    monkeypatch.setattr(cache, "encode_references", lambda *_: prompt)


@pytest.mark.parametrize(
    "change",
    [{"profile": "turbo"}, {"device": "cuda"}, {"memory": "10GB"}, {"dtype": "bfloat16"}],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_how_encoders_are_held_is_another_prompt(change, request_):
    prompts = PromptCache()
    for request in (request_, replace(request_, **change), request_):
        prompts.encode(request, PIPELINE)
    assert prompts.encoded == 2


def test_what_is_about_the_new_video_alone_is_the_same_prompt(request_):
    prompts = PromptCache()
    for change in ({"seed": 1}, {"prompt": "x"}, {"strength": 0.5}, {"num_inference_steps": 3}):
        prompts.encode(replace(request_, **change), PIPELINE)
    assert prompts.encoded == 1
