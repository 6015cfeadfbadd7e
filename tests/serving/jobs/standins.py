"""Stand-ins for the model: what the model process runs in tests."""

import os
import signal
import time
from pathlib import Path

from PIL import Image

from vap.serving.jobs.model_process import Report, Result, Task


class NamingMaker:
    """Writes a video that names its job; the prompt says what else happens."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, task: Task, report: Report) -> Result:
        report.stage("load")
        prompt = task.request.prompt
        if prompt == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if prompt == "exit":
            os._exit(3)
        if prompt == "memory":
            raise RuntimeError("CUDA out of memory")
        if prompt == "input":
            raise ValueError(f"{task.folder}/image.png is no image.")
        if prompt == "bug":
            raise KeyError("secret")
        report.stage("generate")
        while prompt == "stuck":
            time.sleep(0.01)
        steps = {"long": 100_000, "chaos": 30}.get(prompt, 3)
        for step in range(steps):
            preview = task.folder / "preview.webp"
            Image.new("RGB", (4, 4), (step % 256, 0, 0)).save(preview)
            report.step(step + 1, steps, preview)
            time.sleep(0.01)
        self.made += 1
        video = task.folder / "video.mp4"
        video.write_text(f"{task.job_id} {os.getpid()} {self.made}")
        thumbnail = task.folder / "thumbnail.webp"
        Image.new("RGB", (4, 4)).save(thumbnail)
        return Result(video, Path(thumbnail), 1.0, "4x4")
