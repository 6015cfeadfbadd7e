import os
import signal
import subprocess
import sys

import pytest

from tests.cli.running import vap, vap_json
from vap.pipelines.cogvideox_denoiser import CogVideoXDenoiser

# `python -m vap`, which hears Ctrl-C even where the tests were started as a job in the background:
# shells have those ignore it, and their children inherit that.
LISTENING = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("vap", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def interrupted_in_the_second_step(monkeypatch):
    predict, calls = CogVideoXDenoiser.predict, []

    def interrupt(self, *arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return predict(self, *arguments)

    monkeypatch.setattr(CogVideoXDenoiser, "predict", interrupt)


def test_interrupted_denoising_leaves_nothing(short, here, interrupted_in_the_second_step):
    result = vap(*short, "-o", "out.mp4", "--sheet", "out.png", code=130)
    assert "Interrupted; nothing was left half-written." in result.stderr
    assert list(here.iterdir()) == []


def test_interruption_is_told_in_json(short, here, interrupted_in_the_second_step):
    found = vap_json(*short, "-o", "out.mp4", code=130)
    assert found["error"]["type"] == "interrupted"


@pytest.mark.parametrize("name", ["out.mp4", "out.gif", "out"])
def test_interrupted_writing_leaves_nothing_and_keeps_what_was_there(
    name, made, short, here, monkeypatch
):
    vap(*short, "-o", name)
    before = {path: path.stat().st_size for path in here.rglob("*")}

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    for place in ("os.fsync", "vap.media.write.encode"):
        monkeypatch.setattr(place, interrupt)
    vap(*short, "-o", name, code=130)
    assert {path: path.stat().st_size for path in here.rglob("*")} == before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGINT for other processes")
def test_control_c_ends_the_real_command_with_130(short, here):
    command = [
        sys.executable,
        "-c",
        LISTENING,
        *map(str, short),
        "--steps",
        "1000",
        "-o",
        "out.mp4",
    ]
    # The progress bar, which shows when denoising has begun, is drawn as for a terminal.
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "FORCE_COLOR": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=settings) as process:
        assert process.stderr is not None
        seen = b""
        while b"/1000" not in seen:
            seen += process.stderr.read1()
            assert process.poll() is None, seen
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted; nothing was left half-written." in rest.decode()
    assert "Traceback" not in rest.decode()
    assert list(here.iterdir()) == []
