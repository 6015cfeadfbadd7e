import json
import os
import subprocess
import sys
import time

import pytest
import yaml

from tests.evaluation.conftest import make_job
from tests.evaluation.systems.stand_in import KEYS
from vap.evaluation.benchmarks.base import Benchmark
from vap.evaluation.metrics.base import Metric, Value
from vap.evaluation.plan import Evaluation
from vap.evaluation.run import run
from vap.evaluation.systems.folder import Folder
from vap.evaluation.systems.kling import KlingEffects
from vap.evaluation.systems.videos_api import VideosApiReference
from vap.evaluation.systems.vidu import ViduImageToVideo

PAID = {"price": 4, "budget": 1000}


class Swapped(Metric):
    kind = "test"
    variants = ("none", "swapped")

    def identity(self):
        return {"kind": self.kind}

    def score(self, sample):
        return Value(float(len(sample.videos)))


@pytest.fixture
def evaluation(stand_in, clock, tmp_path, video):
    cases = [make_job(tmp_path / "media", name, video).case for name in ("cat", "dog", "cow")]
    cases[2] = type(cases[2])("cow", "burn", cases[2].image, cases[2].reference, "cow burns")
    made = tmp_path / "made"
    made.mkdir()
    (made / "cat.mp4").write_bytes(video)
    systems = [
        KlingEffects(name="kling", base_url=stand_in.url, effects={"melt": "melt_it"}, **PAID),
        ViduImageToVideo(name="vidu", base_url=stand_in.url, **PAID),
        VideosApiReference(name="server", base_url=stand_in.url),
        Folder(name="made", path=made),
    ]
    return Evaluation(Benchmark("test", tuple(cases)), systems, [Swapped(name="videos")])


def test_services_run_side_by_side_and_are_paid_once(evaluation, stand_in, tmp_path):
    stand_in.plan(
        submit=["busy", "drop-after", "", "reject"],
        ask=["error", "nonsense"],
        download=["expired", "cut"],
        find=["busy"],
    )
    summary = run(evaluation, tmp_path / "out")
    taken = len(stand_in.tasks)
    # Kling covers two cases, Vidu three, the server three with three references each; one of
    # all is rejected, which the server cannot tell in advance. The folder has one of three.
    assert summary.videos + summary.failed_videos == 2 + 3 + 9 + 3
    assert summary.failed_videos == 2 + 1
    again = run(evaluation, tmp_path / "out")
    assert again.failed_videos == 2  # what was rejected is tried again
    assert len(stand_in.tasks) == taken + 1
    rows = [json.loads(r) for r in (tmp_path / "out/videos.jsonl").read_text().splitlines()]
    assert {row["system"]: row["cost"] for row in rows if row["error"] is None} == {
        "kling": 2,
        "vidu": 4,
        "server": 0,
        "made": 0,
    }
    assert all("made/" in row["error"] for row in rows if row["error"] is not None)


@pytest.mark.slow
def test_a_command_that_is_killed_again_and_again_pays_once(stand_in, tmp_path):
    settings = {"base_url": stand_in.url, "poll_seconds": 0.2, "price": 4, "budget": 1000}
    systems = {
        "kling": {"kind": "kling-effects", "effects": {"melt": "melt_it"}},
        "vidu": {"kind": "vidu-image-to-video"},
    }
    for name, system in systems.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(settings | system))
    stand_in.plan(
        submit=["busy", "drop-after", "error", "", "error-after"],
        find=["busy", "drop"],
        ask=["error", "nonsense"],
        download=["expired", "cut"],
    )
    command = [sys.executable, "-m", "vap", "eval", "run", "--systems", "kling.yaml,vidu.yaml"]
    command += ["--condition", "melt", "--cases", "3", "--metrics", "first-frame", "-o", "out"]
    environment = os.environ | KEYS

    def start():
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)

    for requests in (4, 14, 26):
        process = start()
        while process.poll() is None and len(stand_in.requests) < requests:
            time.sleep(0.02)
        process.kill()
        process.wait()
    assert start().wait() == 0
    rows = [json.loads(r) for r in (tmp_path / "out/videos.jsonl").read_text().splitlines()]
    assert [row["error"] for row in rows] == [None] * len(rows)
    assert [row["system"] for row in rows] == ["kling"] * 3 + ["vidu"] * 3
    assert len(stand_in.tasks) == 6
