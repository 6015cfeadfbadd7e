"""Systems that need no model of videos: they bound what is possible."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from vap.evaluation.case import Case
from vap.evaluation.systems.base import Job, Outcome, System
from vap.evaluation.systems.kept import keep
from vap.media import Clip, read_clip, read_image, write_video


class Static(System):
    """The image, repeated for as many frames as the truth or else the reference has."""

    kind: ClassVar[str] = "static"

    def identity(self) -> Mapping[str, Any]:
        """Return the kind alone."""
        return {"kind": self.kind}

    def run(self, jobs: Sequence[Job], folder: Path) -> Iterator[Outcome]:
        """Write stills."""
        del folder
        for job in jobs:
            started = time.perf_counter()
            like = read_clip(job.case.truth or job.case.reference)
            image = np.asarray(read_image(job.case.image))
            write_video(np.repeat(image[None], len(like.frames), axis=0), job.output, like.fps)
            yield Outcome(job, seconds=time.perf_counter() - started)


class Truth(System):
    """The true result, to see what metrics make of it."""

    kind: ClassVar[str] = "truth"

    def identity(self) -> Mapping[str, Any]:
        """Return the kind alone."""
        return {"kind": self.kind}

    def covers(self, case: Case) -> bool:
        """Whether the truth is known."""
        return case.truth is not None

    def run(self, jobs: Sequence[Job], folder: Path) -> Iterator[Outcome]:
        """Write the truths in the form that was asked for."""
        del folder
        for job in jobs:
            started = time.perf_counter()
            truth = _truth(job)
            write_video(truth.frames, job.output, truth.fps)
            yield Outcome(job, seconds=time.perf_counter() - started)


class Autoencoder(System):
    """The autoencoder's reconstruction of the truth: the best that its models can show.

    Attributes:
        model: Bundled name, folder or Hub id of the pipeline whose autoencoder is used.
        device: Where to run; by default an accelerator if there is one.
    """

    kind: ClassVar[str] = "autoencoder"

    model: str = "vap-mini"
    device: str | None = None

    def identity(self) -> Mapping[str, Any]:
        """Return the model's weights and the versions that its numbers depend on."""
        from vap.evaluation.systems.local import local_identity

        return {"kind": self.kind, **local_identity(self.model)}

    def covers(self, case: Case) -> bool:
        """Whether the truth is known."""
        return case.truth is not None

    def run(self, jobs: Sequence[Job], folder: Path) -> Iterator[Outcome]:
        """Encode and decode the truths."""
        import torch

        from vap.loading.pipeline import load_pipeline

        del folder
        key = f"autoencoder {self.model} {self.device}"
        pipeline: Any = keep(key, lambda: load_pipeline(self.model, device=self.device))
        for job in jobs:
            started = time.perf_counter()
            truth = _truth(job)
            with torch.no_grad():
                frames = reconstructed(pipeline, truth.frames)
            write_video(frames, job.output, truth.fps)
            yield Outcome(job, seconds=time.perf_counter() - started)


def reconstructed(pipeline: Any, truth: np.ndarray) -> Any:
    """Return frames ``uint8 [T, H, W, 3]`` after the autoencoder of a pipeline, in 0 to 1."""
    vae, images = pipeline.vae, [Image.fromarray(frame) for frame in truth]
    video = pipeline.video_processor.preprocess_video(images)
    latents = vae.encode(video.to(vae.device, vae.dtype)).latent_dist.mode()
    return pipeline.decode(latents, image=images[0])[0]


def _truth(job: Job) -> Clip:
    assert job.case.truth is not None, "covers() asks for it"
    return read_clip(job.case.truth)
