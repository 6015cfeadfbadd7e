"""The unmodified client of OpenAI, over the network."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import pytest
import uvicorn

from tests.serving.conftest import finish
from vap.media import probe_clip
from vap.serving.api.app import create_app
from vap.serving.jobs.worker import Worker
from vap.serving.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@contextmanager
def serving(settings: Settings) -> Iterator[openai.OpenAI]:
    """A client of a server on loopback."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    with openai.OpenAI(base_url=address, api_key="none", max_retries=0) as client:
        yield client
    server.should_exit = True
    thread.join()


@contextmanager
def beside(work: Callable[[], Any]) -> Iterator[None]:
    """Run something in a thread of its own."""
    thread = threading.Thread(target=work)
    thread.start()
    yield
    thread.join()


def test_create_follow_and_download(settings: Settings, samples: SimpleNamespace) -> None:
    with serving(settings) as client, samples.image.open("rb") as image:
        video = client.videos.create(
            prompt="a cat",
            input_reference=image,
            seconds="1",
            size="96x64",
            extra_body={"references": [{"effect": "burn"}], "seed": 5},
        )
        assert (video.status, video.size, video.progress) == ("queued", "96x64", 0)
        finish(settings, samples.video)
        done = client.videos.poll(video.id)
        assert (done.status, done.id) == ("completed", video.id)
        assert client.videos.download_content(video.id).read() == samples.video.read_bytes()
        sheet = client.videos.download_content(video.id, variant="spritesheet")
        assert sheet.read().startswith(b"\xff\xd8")
        again = client.videos.remix(video.id, prompt="a dog")
        assert again.remixed_from_video_id == video.id
        assert [each.id for each in client.videos.list(limit=1)] == [again.id, video.id]
        assert client.videos.delete(video.id).deleted
        with pytest.raises(openai.NotFoundError):
            client.videos.retrieve(video.id)
        with pytest.raises(openai.BadRequestError) as wrong:
            client.videos.create(prompt="a cat")
        assert wrong.value.param == "image"
        assert [each.id for each in client.models.list()] == ["vap-mini"]


def test_create_and_poll_wait_for_the_end(settings: Settings, samples: SimpleNamespace) -> None:
    def work() -> None:
        while not finished(settings, samples.video):
            pass

    with serving(settings) as client, beside(work):
        done = client.videos.create_and_poll(
            prompt="a cat", input_reference=samples.image, poll_interval_ms=20
        )
    assert done.status == "completed"


def finished(settings: Settings, video: Path) -> bool:
    try:
        finish(settings, video)
    except AssertionError:  # no job yet
        return False
    return True


@pytest.mark.slow
def test_the_bundled_model_makes_a_video(
    settings: Settings, samples: SimpleNamespace, tmp_path: Path
) -> None:
    worker = Worker(settings)
    with serving(settings) as client, beside(worker.run):
        try:
            done = client.videos.create_and_poll(
                prompt="a ball",
                input_reference=samples.image,
                extra_body={"effect": "burn", "num_inference_steps": 1, "num_frames": 5},
            )
            assert (done.status, done.error) == ("completed", None)
            client.videos.download_content(done.id).write_to_file(tmp_path / "video.mp4")
            poster = client.videos.download_content(done.id, variant="thumbnail").read()
        finally:
            worker.stop()
    info = probe_clip(tmp_path / "video.mp4")
    assert (f"{info.width}x{info.height}", info.frames) == (done.size, 5)
    assert poster[8:12] == b"WEBP"
