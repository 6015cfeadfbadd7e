from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.evaluation.metrics.tiny import moving
from tests.vision.services import GOOD, service
from vap.evaluation.metrics.judged import Share
from vap.media import read_clip, write_video
from vap.vision import service as requests
from vap.vision.gemini import GeminiModel
from vap.vision.model import answers_in
from vap.vision.openai import OpenAIModel

pytestmark = pytest.mark.slow  # a server for each test


@pytest.fixture
def waits(monkeypatch):
    waited = []
    monkeypatch.setattr(requests, "pause", waited.append)
    return waited


@pytest.fixture
def server(waits, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "secret-g")
    monkeypatch.setenv("OPENAI_API_KEY", "secret-o")
    with service() as served:
        yield served


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    first = write_video(moving(1), folder / "a.mp4", 8)
    return first, write_video(moving(3), folder / "b", 8)


@pytest.fixture(params=["gemini", "openai"])
def model(request, server, tmp_path):
    settings = {"model": "m", "base_url": server.url, "cache": tmp_path / "cache", "frames": 4}
    return {"gemini": GeminiModel, "openai": OpenAIModel}[request.param](**settings)


def ask(model, videos, **options):
    return model.ask(["One:", videos[0], "Two:", videos[1], "Same?"], Share, **options)


def test_an_answer_is_checked_and_asked_for_once(model, videos, server):
    answer = ask(model, videos)
    assert answer == Share(reason="It melts.", score=1)
    assert ask(model, videos) == answer
    assert len(server.asked) == 1
    ask(model, videos, trial=1)
    ask(model, videos[::-1])
    ask(model.model_copy(update={"model": "other"}), videos)
    assert len(server.asked) == 4


def test_a_kept_answer_that_is_damaged_is_asked_for_again(model, videos, server):
    ask(model, videos)
    (kept,) = model.cache.rglob("*.json")
    kept.write_text("{")
    ask(model, videos)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "wrong",
    ["", "no JSON", '{"reason": "x"}', '{"reason": "x", "score": 7}', '{"score": 1, "reason": 3}'],
)
def test_what_does_not_fit_is_asked_for_again_and_in_the_end_refused(model, videos, server, wrong):
    server.plan = [wrong, wrong]
    assert ask(model, videos).score == 1
    server.plan = [wrong] * 3
    with pytest.raises(ValueError, match="3 attempts"):
        ask(model, videos, trial=1)
    assert len(server.asked) == 6


def test_full_queues_and_errors_of_the_server_are_waited_out(model, videos, server, waits):
    server.plan = [(429, {"error": {"message": "slow down"}}), (500, "oops"), (503, {})]
    assert ask(model, videos).score == 1
    assert waits == [7, 4, 8]
    server.plan = [(503, {"error": {"message": "too busy"}})] * 6
    with pytest.raises(ValueError, match="too busy"):
        ask(model, videos, trial=1)


def test_a_refused_request_is_not_repeated_and_tells_no_key(model, videos, server, waits):
    server.plan = [(403, {"error": {"message": "key is not valid"}})]
    with pytest.raises(ValueError, match="key is not valid") as caught:
        ask(model, videos)
    assert "secret" not in str(caught.value)
    assert not waits
    assert "secret" not in json.dumps(model.identity())


@pytest.mark.parametrize("status", [401, 200])
def test_a_key_that_a_service_repeats_is_in_no_message(model, videos, server, status):
    server.plan = [(status, "no such key: secret-g secret-o")] * 3
    with pytest.raises(ValueError, match="no such key") as caught:
        ask(model, videos)
    used = "secret-g" if isinstance(model, GeminiModel) else "secret-o"
    assert used not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "ftp://x/v1", "http://me:word@x/v1", "https://x/v1?key=word", "http://"],
)
def test_an_address_has_no_keys_in_it(url):
    with pytest.raises(ValueError, match="address of a server"):
        OpenAIModel(model="m", base_url=url)


def test_a_server_that_is_gone_is_named(model, videos, waits):
    gone = model.model_copy(update={"base_url": "http://127.0.0.1:9"})
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:9"):
        ask(gone, videos)
    assert len(waits) == 5


@pytest.mark.parametrize("status", [200, 400])
def test_a_server_that_speaks_something_else_is_refused(model, videos, server, status):
    server.plan = [(status, "<html>")] * 3
    with pytest.raises(ValueError, match="<html>"):
        ask(model, videos)
    server.plan = [(200, ["what"])] * 3
    with pytest.raises(ValueError, match="attempts"):
        ask(model, videos)


def test_gemini_is_sent_videos_of_the_chosen_frames(server, videos, tmp_path):
    model = GeminiModel(model="m", base_url=server.url, cache=tmp_path, frames=4, side=48)
    ask(model, videos)
    ((path, headers, body),) = server.asked
    assert path == "/models/m:generateContent"
    assert headers["x-goog-api-key"] == "secret-g"
    parts = body["contents"][0]["parts"]
    assert [part.get("text") for part in parts] == ["One:", None, "Two:", None, "Same?"]
    (tmp_path / "sent.mp4").write_bytes(base64.b64decode(parts[1]["inlineData"]["data"]))
    assert read_clip(tmp_path / "sent.mp4").frames.shape == (4, 32, 48, 3)
    assert parts[1]["videoMetadata"]["fps"] == pytest.approx(4 / (9 / 8))
    config = body["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"]["required"] == ["reason", "score"]


def test_an_image_is_sent_as_one_no_larger_than_needed(model, server, tmp_path):
    Image.new("RGB", (960, 480), (200, 30, 30)).save(tmp_path / "image.png")
    model.ask([tmp_path / "image.png"], Share)
    body = server.asked[0][2]
    if isinstance(model, GeminiModel):
        data = body["contents"][0]["parts"][0]["inlineData"]["data"]
    else:
        data = body["messages"][0]["content"][0]["image_url"]["url"].split(",")[1]
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (448, 224)
    Image.new("RGB", (960, 480)).save(tmp_path / "image.png")
    model.ask([tmp_path / "image.png"], Share)
    assert len(server.asked) == 2


def test_gemini_that_refuses_is_not_asked_again(server, videos, tmp_path):
    model = GeminiModel(model="m", base_url=server.url, cache=tmp_path)
    refusals = [
        {"promptFeedback": {"blockReason": "SAFETY"}},
        {"candidates": [{"finishReason": "SAFETY"}]},
    ]
    for refusal in refusals:
        server.plan = [(200, refusal)]
        with pytest.raises(ValueError, match="SAFETY"):
            ask(model, videos)
    assert len(server.asked) == 2


def test_an_openai_server_is_sent_frames_or_a_video(server, videos, tmp_path):
    model = OpenAIModel(model="m", base_url=f"{server.url}/v1/", cache=tmp_path, frames=2, side=48)
    ask(model, videos)
    path, headers, body = server.asked[0]
    assert (path, headers["authorization"]) == ("/v1/chat/completions", "Bearer secret-o")
    content = body["messages"][0]["content"]
    assert [part["type"] for part in content] == [
        *("text", "image_url", "image_url"),
        *("text", "image_url", "image_url"),
        "text",
    ]
    url = content[1]["image_url"]["url"]
    image = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))
    assert image.size == (48, 32)
    assert body["response_format"]["json_schema"]["schema"]["additionalProperties"] is False
    ask(model.model_copy(update={"send": "video", "structured": False}), videos)
    body = server.asked[1][2]
    assert "response_format" not in body
    assert body["messages"][0]["content"][1]["video_url"]["url"].startswith("data:video/mp4")


def test_an_openai_server_of_ones_own_needs_no_key(server, videos, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    model = OpenAIModel(model="m", base_url=server.url, cache=tmp_path)
    model.check()
    ask(model, videos)
    assert "authorization" not in server.asked[0][1]
    server.plan = [(200, {"choices": [{"message": {"refusal": "I will not."}}]})]
    with pytest.raises(ValueError, match="I will not"):
        ask(model, videos, trial=1)


@pytest.mark.parametrize(
    ("model", "key"),
    [(GeminiModel(), "GEMINI_API_KEY"), (OpenAIModel(model="m"), "OPENAI_API_KEY")],
)
def test_a_missing_key_is_named_before_a_run(model, key, monkeypatch):
    monkeypatch.delenv(key, raising=False)
    with pytest.raises(ValueError, match=key):
        model.check()


@given(st.text(max_size=60), st.text(max_size=60))
def test_an_answer_is_found_whatever_is_around_it(before, after):
    found = next(answers_in(f"{before}\n```json\n{GOOD}\n```{after}", Share))
    assert found.score == 1 or "{" in before


@given(st.text(alphabet='{}[]":,reasonscore01. \\', max_size=80))
def test_any_text_has_answers_that_fit_or_none(text):
    for answer in answers_in(text, Share):
        assert 0 <= answer.score <= 1


def test_frames_are_sent_as_they_are():
    frame = np.full((16, 16, 3), 200, np.uint8)
    sent = Image.open(io.BytesIO(base64.b64decode(requests.jpeg(frame))))
    assert np.abs(np.asarray(sent).astype(int) - frame).max() <= 2
