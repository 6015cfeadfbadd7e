import json

import pytest

from tests.cli.running import WAN
from vap.shapes import PixelShape

SHAPE = PixelShape(5, 32, 64)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The tiny Wan checkpoint, made to generate five frames in one step."""
    folder = tmp_path_factory.mktemp("tiny") / "wan"
    folder.mkdir()
    for part in WAN.iterdir():
        if part.is_dir():
            (folder / part.name).symlink_to(part)
    index = json.loads((WAN / "model_index.json").read_text())
    index["generation_defaults"] = {
        "height": SHAPE.height, "width": SHAPE.width, "num_frames": SHAPE.frames, "fps": 8.0,
        "num_inference_steps": 1, "guidance_scale": 1.0, "negative_prompt": "",
    }  # fmt: skip
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder
