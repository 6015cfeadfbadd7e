"""The whole life of a job on media that are not files: in memory and, where moto is, in S3."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest
from fastapi.testclient import TestClient

from tests.serving.conftest import LOCAL
from tests.serving.jobs.test_worker import once, running
from vap.serving.api.app import create_app
from vap.serving.jobs.queue import Jobs
from vap.serving.jobs.retention import delete_expired
from vap.serving.media_store import MediaStore
from vap.serving.settings import Settings

pytestmark = pytest.mark.slow  # processes of their own


@pytest.fixture(params=["memory", "s3"])
def media_url(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[str]:
    """The URL of an empty media store."""
    if request.param == "memory":
        yield f"memory://{tmp_path}"
        return
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = f"media-{port}"
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # they know another server
    fsspec.filesystem("s3").mkdir(bucket)
    yield f"s3://{bucket}/vap"
    server.stop()


def test_a_job_is_made_sent_and_deleted(
    media_url: str, settings: Settings, samples: SimpleNamespace
) -> None:
    settings = settings.model_copy(update={"media": media_url})
    media = MediaStore(media_url)
    assert media.sizes() == {}
    with TestClient(create_app(settings), base_url=LOCAL) as client, running(settings):
        files = [
            ("input_reference", samples.image.read_bytes()),
            ("reference", samples.video.read_bytes()),
        ]
        path = f"/v1/videos/{client.post('/v1/videos', files=files).json()['id']}"
        video = once(lambda: (each := client.get(path).json())["completed_at"] and each)
        assert video["status"] == "completed"
        content = client.get(f"{path}/content")
        assert content.text.startswith(video["id"])
        part = client.get(f"{path}/content", headers={"Range": "bytes=3-9"})
        assert (part.status_code, part.content) == (206, content.content[3:10])
        shown = client.get(f"{path}/content", params={"variant": "thumbnail"})
        assert shown.headers["content-type"] == "image/webp"
        uploads = [f"/v1/uploads/{each['id']}" for each in client.get("/v1/uploads").json()["data"]]
        sent = {client.get(f"{each}/content").content for each in uploads}
        assert sent == {samples.image.read_bytes(), samples.video.read_bytes()}
        prompt = client.post("/v1/prompts", files={"file": samples.video.read_bytes()}).json()
        assert len(media.sizes("uploads")) == len(uploads) == 2
        assert len(media.sizes("videos")) >= 2  # and a preview, if the worker saw one
        for place in (path, *uploads, f"/v1/prompts/{prompt['id']}"):
            assert client.delete(place).status_code == 200
    assert media.sizes() == {}
    assert not any(settings.data.glob("media*"))


def test_what_another_machine_wrote_is_seen_and_counted(
    media_url: str, settings: Settings, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"media": media_url, "disk_quota": 1})
    media = MediaStore(media_url)
    elsewhere = fsspec.filesystem(media_url.partition(":")[0], skip_instance_cache=True)
    lost = ["videos/video_lost/1/preview.webp", "videos/video_lost/1/video.mp4"]
    for count, key in enumerate(lost, 1):
        assert not media.exists(key)
        elsewhere.pipe_file(f"{media_url}/{key}", b"video")
        assert media.exists(key)
        assert media.size(key) == 5
        assert media.local(key, tmp_path).read_bytes() == b"video"
        assert media.sizes("videos") == dict.fromkeys(lost[:count], 5)
    jobs = Jobs(settings)
    delete_expired(jobs, media)  # no job has it
    jobs.database.close()
    assert media.sizes() == {}
