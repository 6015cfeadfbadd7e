"""A tiny checkpoint; the local server of services, and jobs to send to it."""

from pathlib import Path

import pytest
from PIL import Image

from tests.evaluation.systems.stand_in import KEYS, serving, small_video
from tests.mini.conftest import tiny  # noqa: F401 - the same checkpoint
from tests.vision.conftest import no_certificates  # noqa: F401 - the same client
from vap.evaluation.case import Case
from vap.evaluation.systems.base import Job
from vap.evaluation.systems.paid_system import Clock, PaidSystem


class FastClock(Clock):
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now = 1_800_000_000.0
        self.slept = []

    def time(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    return small_video(tmp_path_factory.mktemp("video") / "video.mp4")


@pytest.fixture
def stand_in(video):
    with serving(video) as service:
        yield service


@pytest.fixture
def clock(monkeypatch):
    clock = FastClock()
    monkeypatch.setattr(PaidSystem, "clock", clock)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    for name in ("KLING_API_KEY", "VIDEOS_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return clock


def make_job(folder: Path, name: str, video: bytes, seed: int = 0) -> Job:
    """A case with a small image and a reference video."""
    folder.mkdir(exist_ok=True)
    image, reference = folder / f"{name}.png", folder / f"{name}-reference.mp4"
    if not image.exists():
        Image.new("RGB", (64, 48), (len(name) * 9, ord(name[0]), ord(name[-1]))).save(image)
        reference.write_bytes(video)
    case = Case(name, "melt", image, reference, f"{name} melts", f"{name} stands")
    return Job(case, seed, folder / "videos" / f"{name}-s{seed}.mp4", reference)


@pytest.fixture
def job(tmp_path, video):
    return lambda name="cat", seed=0: make_job(tmp_path, name, video, seed)
