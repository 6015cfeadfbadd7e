"""Blocks that need a running service work with one; its worker is a stand-in."""

import shutil
import subprocess
import threading

import numpy as np
import pytest
from PIL import Image

from tests.docs.blocks import blocks, named
from tests.serving.api.test_openai_client import beside, finished, serving
from vap.media import write_video
from vap.serving.settings import Settings

ASKING = [block for block in blocks("bash", "python") if "running service" in (block.not_run or "")]
IN_PAGES = "http://127.0.0.1:8000"


@pytest.fixture
def service(tmp_path, monkeypatch):
    """Settings and address of a service that runs beside a reader's files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    frames = np.random.default_rng(0).integers(0, 255, (5, 32, 48, 3), np.uint8)
    Image.fromarray(frames[0]).save("photo.jpg")
    write_video(frames, "clip.mp4", 8)
    settings = Settings(data=tmp_path / "data")
    with serving(settings) as client:
        yield settings, str(client.base_url).removesuffix("/v1/")


@pytest.mark.parametrize("block", [each for each in ASKING if each.language == "bash"], ids=named)
def test_curl_asks_for_what_the_service_knows(block, service):
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl is installed")
    for words in block.commands:
        assert words[0] == "curl"
        asked = [word.replace(IN_PAGES, service[1]) for word in words[1:]]
        subprocess.run([curl, "--silent", "--fail", *asked], check=True)


@pytest.mark.parametrize("block", [each for each in ASKING if each.language == "python"], ids=named)
def test_python_gets_its_video(block, service, tmp_path):
    settings, address = service
    clip = tmp_path / "clip.mp4"

    over = threading.Event()

    def work() -> None:
        while not over.is_set() and not finished(settings, clip):
            pass

    with beside(work):
        try:
            exec(block.code.replace(IN_PAGES, address), {})  # noqa: S102 - our own documentation
        finally:
            over.set()
    assert (tmp_path / "video.mp4").read_bytes() == clip.read_bytes()
