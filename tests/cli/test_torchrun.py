"""``torchrun -m vap generate``: real processes, one video, one end."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.cli.running import refusal, vap
from vap.media import read_clip

# One process fails in its second step, while the other waits for what it should send.
FAILING = """
import os
from vap.cli import main
from vap.pipelines.denoiser import GuidedDenoiser

predict, calls = GuidedDenoiser.predict, []

def fail(self, *arguments):
    calls.append(arguments)
    if os.environ["RANK"] == "1" and len(calls) == 2:
        raise ValueError("this process has had enough")
    return predict(self, *arguments)

GuidedDenoiser.predict = fail
main()
"""


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    return subprocess.run(
        [*launcher, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_two_processes_write_one_processs_video(media, short, here):
    arguments = (*short, "--reference", media.clip, "--seed", 7)
    result = torchrun("-m", "vap", *arguments, "-o", "two.mp4")
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("Made 9 frames") == 1
    assert sorted(path.name for path in here.iterdir()) == ["two.mp4", "two.mp4.json"]
    vap(*arguments, "-o", "one.mp4")
    one, two = (read_clip(here / f"{name}.mp4").frames.astype(int) for name in ("one", "two"))
    assert np.abs(one - two).max() <= 1


@pytest.mark.slow
def test_a_process_that_fails_ends_all(short, here):
    (here / "failing.py").write_text(FAILING)
    result = torchrun("failing.py", *short, "-o", "out.mp4")
    assert result.returncode != 0
    assert "error: this process has had enough" in result.stderr
    assert [path.name for path in here.iterdir()] == ["failing.py"]


@pytest.mark.parametrize("mesh", ["ulysses=2", "nonsense"])
def test_one_process_has_nobody_to_share_with(mesh, short):
    message = refusal(*short, "-o", "out.mp4", "--parallel", mesh)
    assert "torchrun --nproc-per-node 2 -m vap generate" in message
