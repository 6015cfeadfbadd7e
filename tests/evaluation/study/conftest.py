from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from vap.evaluation.case import Case
from vap.evaluation.rows import VideoRow
from vap.media import write_video

SYSTEMS = ("ours", "stock", "still")


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A run of eight cases: what a study reads of it."""
    folder, rng = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    cases, videos = [], []
    for number in range(8):
        name = f"case-{number}"
        frames = rng.integers(0, 255, (5, 32, 48, 3), np.uint8)
        Image.fromarray(frames[0]).save(folder / f"{name}.png")
        write_video(frames, folder / f"{name}.mp4", 8)
        cases.append(Case(name, "melt", folder / f"{name}.png", folder / f"{name}.mp4"))
        for system in SYSTEMS:
            file = f"videos/{system}/{name}"  # a folder of frames, as benchmarks of pixels have
            write_video(rng.integers(0, 255, (5, 32, 48, 3), np.uint8), folder / file, 8)
            videos.append(VideoRow(system, name, 0, "own", "hash", file, "hash"))
    failed = VideoRow("ours", "case-0", 1, "own", "hash", "videos/none", error="no video")
    return SimpleNamespace(
        folder=folder,
        cases=tuple(cases),
        systems=tuple(SimpleNamespace(name=name) for name in SYSTEMS),
        videos=(*videos, failed),
    )
