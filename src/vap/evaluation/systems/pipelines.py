"""Video-As-Prompt pipelines, and the same without the reference."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from vap.evaluation.systems.base import Job, Outcome, System
from vap.evaluation.systems.kept import keep
from vap.evaluation.systems.local import local_identity
from vap.generation.request import GenerationRequest, check_settings
from vap.media import write_video

Captions = Literal["effect", "scene"]

_OF_THE_CASE = {
    "image",
    "last_image",
    "references",
    "reference_prompts",
    "prompt",
    "video_prompt",
    "effect",
    "captions_by",
    "seed",
}
_SETTINGS = {field.name for field in fields(GenerationRequest)} - _OF_THE_CASE
_WEIGHTS = ("expert", "student", "backbone")
# Where it runs changes rounding at most; memory may choose quantized weights.
_NOT_OF_THE_VIDEO = {"device", "offload"}


class PipelineSystem(System):
    """A pipeline of this package, with all that a request can say.

    Attributes:
        request: Model and settings; a config names them directly: ``model: wan``,
            ``num_inference_steps: 20``, ``memory: 24GB`` and so on.
        captions: ``effect``: captions tell the effect; ``scene``: they do not, for cases that have
            such captions.
        batch: Cases that are made at once (Wan models).
    """

    request: GenerationRequest
    captions: Captions = "effect"
    batch: int = Field(1, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, values: Any) -> Any:
        """Put the settings of a request together."""
        if not isinstance(values, dict) or "request" in values:
            return values
        settings = {name: values[name] for name in values if name in _SETTINGS}
        others = {name: value for name, value in values.items() if name not in _SETTINGS}
        return {**others, "request": {"image": "", **settings}}

    @property
    def jobs_at_once(self) -> int:
        """The batch."""
        return self.batch

    def check(self) -> None:
        """Refuse what no model can do, and weights that are not there."""
        check_settings(self.request)
        for path in self._files():
            if not path.exists():
                raise FileNotFoundError(f"{self.name}: there are no weights at {path}.")
        if self.batch > 1:
            from vap.files.folders import family_of
            from vap.files.names import resolve_folder

            family = family_of(resolve_folder(self.request.model))
            if family != "wan":
                raise ValueError(
                    f"{self.name}: batch={self.batch}, and {self.request.model} is a {family} "
                    "model, which makes one video at a time. Leave out batch."
                )

    def identity(self) -> Mapping[str, Any]:
        """Return settings, hashes of weights and versions."""
        files = self._files()
        hidden = {*_OF_THE_CASE, *_NOT_OF_THE_VIDEO, *_WEIGHTS, "model", "lora"}
        # Defaults are left out, so that settings of later versions do not change it.
        settings = {
            field.name: value
            for field in fields(self.request)
            if field.name not in hidden
            and (value := getattr(self.request, field.name)) != field.default
        }
        return {
            "kind": self.kind,
            "captions": self.captions,
            "settings": settings,
            **local_identity(self.request.model, files),
        }

    def run(self, jobs: Sequence[Job], folder: Path) -> Iterator[Outcome]:
        """Generate, batch by batch."""
        del folder
        for start in range(0, len(jobs), self.batch):
            yield from self._made(jobs[start : start + self.batch])

    @abstractmethod
    def ask(self, job: Job) -> GenerationRequest:
        """Return what the model is asked for."""

    def guided(self, job: Job, defaults: Any) -> dict[str, Any]:
        """Return changes of a request that depend on the model's own settings."""
        del job, defaults
        return {}

    def weights_key(self) -> str:
        """Return what tells loaded pipelines apart."""
        from vap.generation.run import model_key

        return model_key(self.request)

    def load(self) -> Any:
        """Load the pipeline."""
        from vap.generation.run import load_for

        return load_for(self.request)

    def caption(self, effect: str, scene: str) -> str:
        """Return the caption of a clip that the model is told."""
        return scene if self.captions == "scene" and scene else effect

    def _made(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Videos of some jobs, or why there are none."""
        pipeline = keep(self.weights_key(), lambda: _Loaded(self.load()))
        started = time.perf_counter()
        try:
            requests = [
                replace(self.ask(job), **self.guided(job, pipeline.defaults)) for job in jobs
            ]
            videos = pipeline.videos(requests)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other cases go on
            return [Outcome(job, error=f"{type(error).__name__}: {error}") for job in jobs]
        seconds = (time.perf_counter() - started) / len(jobs)
        return [
            _written(job, frames, pipeline.fps(self.request), seconds)
            for job, frames in zip(jobs, videos, strict=True)
        ]

    def _files(self) -> list[Path]:
        named = [getattr(self.request, name) for name in _WEIGHTS]
        return [path for path in named if path is not None] + list(self.request.lora)


class VideoAsPrompt(PipelineSystem):
    """Video-As-Prompt: the reference video tells the effect."""

    kind: ClassVar[str] = "vap"
    reads_reference: ClassVar[bool] = True

    def ask(self, job: Job) -> GenerationRequest:
        """Return the case with the job's reference."""
        told = self.caption(job.reference_prompt, job.reference_scene_prompt)
        return replace(
            self.request,
            image=job.case.image,
            prompt=self.caption(job.case.prompt, job.case.scene_prompt),
            references=() if job.reference is None else (job.reference,),
            reference_prompts=() if job.reference is None else (told,),
            seed=job.seed,
        )


class WithoutReference(PipelineSystem):
    """A backbone alone: the caption tells the effect, or nothing does.

    Where captions tell the effect, they guide as strongly as references do in the same model, away
    from the captions that do not tell it.
    """

    kind: ClassVar[str] = "i2v"

    def ask(self, job: Job) -> GenerationRequest:
        """Return the case without any reference."""
        prompt = self.caption(job.case.prompt, job.case.scene_prompt)
        return replace(self.request, image=job.case.image, prompt=prompt, seed=job.seed)

    def guided(self, job: Job, defaults: Any) -> dict[str, Any]:
        """Return guidance by the effect in the caption."""
        asked = self.request.reference_guidance_scale
        scale = defaults.reference_guidance_scale if asked is None else asked
        own = self.request.guidance_scale is not None or self.request.negative_prompt is not None
        if self.captions != "effect" or not job.case.scene_prompt or scale <= 1.0 or own:
            return {}
        return {"negative_prompt": job.case.scene_prompt, "guidance_scale": scale}


class _Loaded:
    """A loaded pipeline, and the references encoded with it."""

    def __init__(self, pipeline: Any) -> None:
        from vap.generation.prompt_cache import PromptCache

        pipeline.set_progress_bar_config(disable=True)
        self._pipeline = pipeline
        self._prompts = PromptCache()

    @property
    def defaults(self) -> Any:
        """The model's own settings."""
        return self._pipeline.defaults

    def fps(self, request: GenerationRequest) -> float:
        """Frames a second of what is made."""
        rate: float = request.fps or self.defaults.fps
        return rate

    def videos(self, requests: Sequence[GenerationRequest]) -> list[Any]:
        """Frames ``[T, H, W, 3]`` of each request."""
        from vap.generation.run import generate

        if len(requests) > 1:
            return self._together(requests)
        return [
            generate(each, self._pipeline, encode=self._prompts.encode).frames for each in requests
        ]

    def _together(self, requests: Sequence[GenerationRequest]) -> list[Any]:
        """Requests of one batch, which differ in nothing but case and captions."""
        import torch

        from vap.evaluation.systems.one_reference_each import OneReferenceEach
        from vap.media import read_image

        first = requests[0]
        told: dict[str, Any] = {}
        if first.references:
            told = {
                "reference_videos": [each.references[0] for each in requests],
                "reference_prompts": [each.reference_prompts[0] for each in requests],
                "frame_selection": first.frame_selection,
            }
        if first.negative_prompt is not None:
            told["negative_prompt"] = [each.negative_prompt for each in requests]
        output: Any = OneReferenceEach.of(self._pipeline)(
            [read_image(each.image) for each in requests],
            [each.prompt for each in requests],
            height=first.height,
            width=first.width,
            num_frames=first.num_frames,
            num_inference_steps=first.num_inference_steps,
            guidance_scale=first.guidance_scale,
            reference_guidance_scale=first.reference_guidance_scale,
            strength=first.strength,
            fit=first.fit,
            generator=[torch.Generator().manual_seed(each.seed) for each in requests],
            output_type="np",
            **told,
        )
        return list(np.asarray(output.frames))


def _written(job: Job, frames: Any, fps: float, seconds: float) -> Outcome:
    """Write a video; values that are no numbers are refused there."""
    try:
        write_video(frames, job.output, fps)
    except (ValueError, OSError) as error:
        return Outcome(job, error=f"{type(error).__name__}: {error}", seconds=seconds)
    return Outcome(job, seconds=seconds)
