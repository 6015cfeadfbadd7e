from pathlib import Path

import pytest
from PIL import Image

from tests.media.making import moving
from vap.media import write_video


@pytest.fixture(scope="session")
def inputs(tmp_path_factory) -> Path:
    """A folder with an image, a clip, the same clip under another name, and another clip."""
    folder = tmp_path_factory.mktemp("inputs")
    frames = moving(9)
    Image.fromarray(frames[0]).save(folder / "image.png")
    clip = write_video(frames, folder / "clip.mp4", 16)
    (folder / "copy.mp4").write_bytes(clip.read_bytes())
    write_video(frames[::-1], folder / "other.mp4", 16)
    return folder
