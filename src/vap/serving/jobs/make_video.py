"""What the model process does: load the model of a task, make its video, write the files."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vap.captioning.prompts import with_prompts
from vap.effects.library import find_effect
from vap.generation.check_reference import check_reference
from vap.generation.loaded import LoadedModel
from vap.generation.preview import LatentColors, emerging, fit_colors
from vap.generation.prompt_cache import PromptCache
from vap.generation.request import GenerationRequest, check_request, check_settings
from vap.generation.run import generate, save
from vap.media import select_frames
from vap.pipelines.video_prompt import VideoPrompt
from vap.process import quiet_libraries
from vap.serving.content_filter import FRAMES, check_content
from vap.serving.jobs.decoded import decode_inputs
from vap.serving.jobs.model_process import Report, Result, Task
from vap.serving.jobs.reference_use import reference_use
from vap.serving.jobs.resolve import resolve
from vap.serving.media_store import MediaStore

_PREVIEW = 1.0  # seconds between previews
_PREVIEW_RATE = 4  # latent frames a second


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
        resolved = resolve(task, MediaStore(task.settings.media_url))
        check_settings(resolved.request)
        limits = task.settings.probe_limits
        decoded = decode_inputs(resolved.request, resolved.parts, task.folder, limits)
        request = decoded.request
        check_request(request)
        report.stage("caption")
        effect = None if request.effect is None else find_effect(request.effect)
        request = with_prompts(request, task.settings.captioner, effect=effect)
        report.stage("load")
        pipeline = self._model.pipeline(request)
        passes = 2 if task.request.check_reference else 1
        preview = _Preview(task.folder / "preview.webp", self._prompts)
        made = generate(
            request,
            pipeline,
            encode=preview.encode,
            checked=True,
            on_stage=report.stage,
            on_step=lambda done, total: report.step(done, passes * total, preview.latest),
            # A preview would be seen before the content filter sees the video.
            on_latents=preview.show if task.settings.content_filter is None else None,
        )
        few = select_frames(len(made.frames), min(len(made.frames), FRAMES))
        check_content(made.frames[few], task.settings.content_filter)
        use = None
        if task.request.check_reference:
            use = reference_use(
                check_reference(
                    made,
                    pipeline,
                    on_step=lambda done, total: report.step(total + done, passes * total),
                )
            )
        report.stage("write")
        made = replace(made, record=decoded.record(made.record))
        video, *_ = save(made, task.folder / "video.mp4")
        thumbnail = task.folder / "thumbnail.webp"
        frames = made.frames
        Image.fromarray(frames[len(frames) // 2]).save(thumbnail, quality=80)
        count, height, width = frames.shape[:3]
        assert made.request.fps is not None
        seconds = round(count / made.request.fps, 3)
        return Result(video, thumbnail, seconds, f"{width}x{height}", use)


class _Preview:
    """Writes what the latents show, now and then; without a reference video, nothing."""

    def __init__(self, file: Path, prompts: PromptCache) -> None:
        self.latest: Path | None = None
        self._file = file
        self._prompts = prompts
        self._colors: LatentColors | None = None
        self._next = 0.0

    def encode(self, request: GenerationRequest, pipeline: Any) -> VideoPrompt:
        """Encode the references, and learn from the first what latents look like."""
        prompt = self._prompts.encode(request, pipeline)
        self._colors = fit_colors(prompt, pipeline)
        return prompt

    def show(self, pipeline: Any, latents: torch.Tensor) -> None:
        """Write the emerging video as an animation, unless one was written a moment ago."""
        if self._colors is None or time.monotonic() < self._next:
            self.latest = None
            return
        _write(self._file, self._colors.frames(emerging(pipeline, latents)))
        self.latest = self._file
        self._next = time.monotonic() + _PREVIEW


def _write(place: Path, frames: np.ndarray) -> None:
    first, *rest = map(Image.fromarray, frames)
    # The worker may read the last one meanwhile.
    partial = place.with_suffix(".part")
    first.save(
        partial,
        "WEBP",
        save_all=True,
        append_images=rest,
        duration=1000 // _PREVIEW_RATE,
        loop=0,
        quality=70,
    )
    partial.replace(place)
