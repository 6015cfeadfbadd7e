"""A local server, files to describe, and no captioner or cache of the user's."""

import json
from types import SimpleNamespace

import pytest
from PIL import Image

from tests.media.making import moving
from tests.vision.conftest import no_certificates  # noqa: F401 - the same client
from tests.vision.services import service
from vap.media import write_video
from vap.vision import service as requests


@pytest.fixture(autouse=True)
def nobody(monkeypatch, tmp_path):
    for name in ("VAP_CAPTIONER", "GEMINI_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(requests, "pause", lambda _: None)


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    first = write_video(moving(6), folder / "first.mp4", 8)
    second = write_video(moving(6)[::-1], folder / "second.mp4", 8)
    Image.fromarray(moving(1)[0]).save(folder / "image.png")
    return SimpleNamespace(first=first, second=second, image=folder / "image.png")


@pytest.fixture
def server():
    """Answers "caption 1", "caption 2" …, whatever it is asked."""
    with service() as served:
        served.plan = [json.dumps({"caption": f"caption {number}"}) for number in range(1, 9)]
        yield served


def texts_of(body):
    """What a server has been told, and how many images stand between."""
    content = body["messages"][0]["content"]
    return [part.get("text", part["type"]) for part in content]
