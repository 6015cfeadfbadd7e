"""What the model process does: load the model of a task, make its video, write the files."""

from __future__ import annotations

from contextlib import ExitStack

from PIL import Image

from vap.generation.loaded import LoadedModel
from vap.generation.prompt_cache import PromptCache
from vap.generation.request import check_request
from vap.generation.run import generate, save
from vap.quiet import quiet_libraries
from vap.serving.jobs.model_process import Report, Result, Task
from vap.serving.jobs.resolve import resolve
from vap.serving.media_store import MediaStore


class VideoMaker:
    """Makes videos; keeps one model loaded, and the prompts encoded with it."""

    def __init__(self) -> None:
        self._quiet = ExitStack()  # never closed
        self._quiet.enter_context(quiet_libraries())
        self._model = LoadedModel()
        self._prompts = PromptCache()

    def __call__(self, task: Task, report: Report) -> Result:
        """Make the video of a task."""
        report.stage("check")
        request = resolve(task, MediaStore(task.settings.media_url))
        check_request(request)
        report.stage("load")
        pipeline = self._model.pipeline(request)
        made = generate(
            request,
            pipeline,
            encode=self._prompts.encode,
            checked=True,
            on_stage=report.stage,
            on_step=report.step,
        )
        report.stage("write")
        video, *_ = save(made, task.folder / "video.mp4")
        thumbnail = task.folder / "thumbnail.webp"
        frames = made.frames
        Image.fromarray(frames[len(frames) // 2]).save(thumbnail, quality=80)
        count, height, width = frames.shape[:3]
        assert made.request.fps is not None
        return Result(video, thumbnail, round(count / made.request.fps, 3), f"{width}x{height}")
