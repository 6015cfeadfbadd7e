"""Status requests at a constant rate beside a generation, and whether the video is the same.

``python -m benchmarks.service_load --rate 500``
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
import psutil

from benchmarks.http_load import Load, send_load
from vap.generation.request import GenerationRequest, demo_request
from vap.serving.jobs.queue import Jobs
from vap.serving.jobs.request import VideoRequest
from vap.serving.keys import Keys
from vap.serving.settings import Settings, read_settings

_PATIENCE = 600.0
_WARM = 2.0  # seconds of requests before the measured ones
_STEPS = 100
_NO_LIMITS = {"VAP_SERVE_REQUESTS_PER_MINUTE": "0", "VAP_SERVE_MAX_QUEUED_PER_KEY": "1000"}
_ENDED = ("completed", "failed", "canceled")


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: requests, and the processor time of the service for each."""

    beside: str
    load: Load
    cpu: float

    def markdown(self) -> str:
        """Return it as a row of a table, times in milliseconds."""
        load = self.load
        times = [load.percentile(50), load.percentile(99), load.latencies[-1], self.cpu]
        return " | ".join(
            [
                f"| {self.beside}",
                f"{load.rate:.0f}",
                *(f"{1000 * each:.1f}" for each in times),
                f"{load.failed} |",
            ]
        )


class Service:
    """``vap serve`` in a process of its own, with a worker, a key and jobs that wait."""

    def __init__(self, address: str, process: int, settings: Settings, waiting: int) -> None:
        self._address = address
        self._process = psutil.Process(process)
        jobs = Jobs(settings)
        key, text = Keys(jobs.database).create("load")
        # The worker does not make them: they are of another model.
        asked = VideoRequest(image="upload_" + "0" * 32, model="another", prompt="a video")
        self._ids = [jobs.submit(asked, owner=key.id).id for _ in range(waiting)]
        jobs.database.close()
        self._authorization = f"Authorization: Bearer {text}"
        self._http = httpx2.Client(
            base_url=f"{address}v1", headers={"Authorization": f"Bearer {text}"}, timeout=60
        )

    def upload(self, request: GenerationRequest, folder: Path) -> GenerationRequest:
        """Upload the files of a request, and return it with copies that are named as uploads.

        The video has the names of its inputs inside.
        """
        copies = []
        for path in (request.image, *request.references):
            answer = self._http.post("/uploads", files={"file": path.read_bytes()})
            copies.append(folder / answer.raise_for_status().json()["id"])
            shutil.copyfile(path, copies[-1])
        return replace(request, image=copies[0], references=tuple(copies[1:]))

    def submit(self, request: GenerationRequest) -> str:
        """Ask for the video of a request whose files were uploaded; return the id of the job."""
        body = {
            "image": request.image.name,
            "references": [{"upload": each.name} for each in request.references],
            "reference_prompts": list(request.reference_prompts),
            "prompt": request.prompt,
            "seed": request.seed,
            "num_frames": request.num_frames,
            "num_inference_steps": request.num_inference_steps,
        }
        return str(self._http.post("/videos", json=body).raise_for_status().json()["id"])

    def wait(self, job: str, stage: str | None = None) -> float:
        """Wait until a job has ended, or is in a stage, and return the seconds."""
        start = time.monotonic()
        while time.monotonic() - start < _PATIENCE:
            video = self._http.get(f"/videos/{job}").raise_for_status().json()
            if video["status"] in _ENDED or video["stage"] == stage:
                return time.monotonic() - start
            time.sleep(0.1)
        raise TimeoutError(f"{job} did not end.")

    def state(self, job: str) -> str:
        """Return the state of a job."""
        return str(self._http.get(f"/videos/{job}").json()["status"])

    def video(self, job: str) -> bytes:
        """Return the video of a job."""
        return self._http.get(f"/videos/{job}/content").raise_for_status().content

    def measure(self, beside: str, options: argparse.Namespace, *ids: str) -> Row:
        """Ask for the states of the jobs that wait, and of ``ids``, at a constant rate."""
        paths = [f"/v1/videos/{each}" for each in (*ids, *self._ids)]

        def load(seconds: float) -> Load:
            return send_load(
                self._address,
                paths,
                rate=options.rate,
                seconds=seconds,
                connections=options.connections,
                headers=[self._authorization],
            )

        load(_WARM)
        before = self._cpu()
        found = load(options.seconds)
        return Row(beside, found, (self._cpu() - before) / len(found.latencies))

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system


@contextmanager
def service(folder: Path, waiting: int) -> Iterator[Service]:
    """Start a service, and end it."""
    environment = {**_one_thread(), **_NO_LIMITS}
    command = [*_VAP, "serve", "--port", "0", "--data", str(folder)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)  # noqa: S603
    try:
        yield Service(
            _address(folder / "log", process), process.pid, read_settings(data=folder), waiting
        )
    finally:
        process.terminate()
        process.wait(30)


_VAP = [sys.executable, "-m", "vap"]


def _one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    while process.poll() is None:
        found = log.read_text().partition("Serving at ")[2].split()
        if found:
            return found[0]
        time.sleep(0.1)
    raise RuntimeError(log.read_text())


def _generated(request: GenerationRequest, output: Path) -> bytes:
    """Make the video of a request by the command line."""
    arguments = [
        *("--image", str(request.image), "--reference", str(request.references[0])),
        *("--prompt", request.prompt, "--reference-prompt", request.reference_prompts[0]),
        *("--seed", str(request.seed), "--steps", str(request.num_inference_steps)),
        *("--frames", str(request.num_frames)),
        *("-o", str(output)),
    ]
    command = [*_VAP, "generate", *arguments]
    subprocess.run(command, check=True, capture_output=True, env=_one_thread())  # noqa: S603
    return output.read_bytes()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and show; 1 if the video differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rate", type=float, default=500, help="requests a second")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--connections", type=int, default=64, help="that stay open")
    parser.add_argument("--waiting", type=int, default=200, help="jobs whose state is asked for")
    parser.add_argument("--frames", type=int, default=81, help="of the generation beside")
    options = parser.parse_args(arguments)
    request = replace(demo_request(), num_frames=options.frames, num_inference_steps=_STEPS)
    with tempfile.TemporaryDirectory(prefix="vap-load-") as name:
        folder = Path(name)
        (folder / "data").mkdir()
        with service(folder / "data", options.waiting) as served:
            request = served.upload(request, folder)
            expected = _generated(request, folder / "expected.mp4")
            rows = [served.measure("nothing", options)]
            first = served.submit(request)
            served.wait(first, "generate")
            alone = served.wait(first)
            second = served.submit(request)
            served.wait(second, "generate")
            start = time.monotonic()
            rows.append(served.measure("a generation", options, second))
            if served.state(second) != "in_progress":
                raise RuntimeError("The generation ended before the requests did. Raise --frames.")
            served.wait(second)
            taken = time.monotonic() - start
            videos = [served.video(first), served.video(second)]
    print("| beside | requests/s | p50, ms | p99, ms | slowest, ms | CPU, ms | failed |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for row in rows:
        print(row.markdown())
    print(f"generation: {alone:.1f} s alone, {taken:.1f} s beside the requests")
    same = all(video == expected for video in videos)
    print(f"the same bytes as by `vap generate`: {'yes' if same else 'no'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
