from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from tests.cli.running import COGVIDEOX, WAN, vap_json
from tests.media.making import moving
from vap.media import write_video


@pytest.fixture(scope="session")
def media(tmp_path_factory) -> SimpleNamespace:
    """Two clips, the first also as GIF and as frames, and a picture."""
    folder = tmp_path_factory.mktemp("media")
    frames = moving(12)
    places = {
        "clip": write_video(frames, folder / "clip.mp4", 16),
        "second": write_video(frames[::-1, :, ::-1], folder / "second.mp4", 16),
        "gif": write_video(frames, folder / "clip.gif", 16),
        "frames": write_video(frames, folder / "frames", 16),
        "image": folder / "image.png",
    }
    Image.fromarray(frames[0, ::-1]).save(places["image"])
    return SimpleNamespace(**places)


@pytest.fixture(scope="session")
def short(media) -> tuple[object, ...]:
    """A generation that takes half a second, all but the place of its result.

    The tiny CogVideoX checkpoint lets every input show in the frames; the Wan one is nearly grey.
    """
    options = ("--height", 48, "--width", 64, "--frames", 9, "--steps", 2)
    return ("generate", "--model", COGVIDEOX, "--image", media.image, *options)


@pytest.fixture(scope="session")
def short_wan(short) -> tuple[object, ...]:
    """The same with the Wan variant."""
    return (*short, "--model", WAN)


@pytest.fixture(scope="session")
def made(media, short, tmp_path_factory) -> SimpleNamespace:
    """A video made from one reference, never to be changed."""
    folder = tmp_path_factory.mktemp("made")
    video, sheet = folder / "out.mp4", folder / "out.png"
    options = ("--prompt", "a red ball", "--reference-prompt", "it turns blue", "--seed", 7)
    arguments = (*short, "--reference", media.clip, *options)
    summary = vap_json(*arguments, "-o", video, "--sheet", sheet)
    return SimpleNamespace(video=video, sheet=sheet, arguments=arguments, summary=summary)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty folder to write to, and to look into afterwards."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
