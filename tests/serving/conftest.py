"""A service in this process, and a stand-in for its workers."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from vap.media import write_video
from vap.serving.api import estimates
from vap.serving.api.app import create_app
from vap.serving.jobs.job import Job, Made
from vap.serving.jobs.queue import Jobs
from vap.serving.media_store import MediaStore
from vap.serving.settings import Settings

PREDICTED = {"seconds": 9.0, "memory_bytes": 5, "memory_available_bytes": 7, "fits": True}
LOCAL = "http://127.0.0.1"


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """An image and a video, small."""
    folder = tmp_path_factory.mktemp("samples")
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (5, 32, 48, 3), np.uint8)
    Image.fromarray(frames[0]).save(folder / "image.png")
    write_video(frames, folder / "video.mp4", 8)
    return SimpleNamespace(image=folder / "image.png", video=folder / "video.mp4")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A service in a temporary folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    return Settings(data=tmp_path / "data", upload_bytes=2 * 1024**2)


@pytest.fixture
def queue(settings: Settings) -> Iterator[Jobs]:
    """The jobs of that service."""
    jobs = Jobs(settings)
    yield jobs
    jobs.database.close()


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """A client of a service without keys."""
    with TestClient(create_app(settings), base_url=LOCAL, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is predicted is noted, without a process that imports torch."""
    works: list[dict[str, Any]] = []

    async def at_once(limiter: Any, work: Any, *given: Any) -> dict[str, Any]:
        works.append(given[0])
        return PREDICTED

    monkeypatch.setattr(estimates, "in_helper", at_once)
    return works


def finish(settings: Settings, video: Path, **changes: Any) -> Job:
    """Do what a worker does: take the next job, and end it with a video."""
    jobs, media = Jobs(settings), MediaStore(settings.media_url)
    claim = jobs.claim("worker")
    assert claim is not None
    media.put(f"{claim.folder}/video.mp4", video)
    made = Made(
        f"{claim.folder}/video.mp4",
        changes.get("thumbnail"),
        0.625,
        "48x32",
        changes.get("reference_use"),
    )
    assert jobs.complete(claim, made)
    jobs.database.close()
    return claim.job
