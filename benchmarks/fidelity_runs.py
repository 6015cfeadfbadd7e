"""Videos of every candidate on the cases of ``vap eval mini``, and the time that one takes."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.fidelity_caches import cache_of_diffusers, caching, calibrate
from benchmarks.fidelity_settings import Candidate
from benchmarks.measured.gauges import STAGES, StageClock
from vap.evaluation.benchmarks.synth import CaseSpec, choose_cases, render_pair
from vap.evaluation.metrics.gap import Video, changed_error, gap_closed, still
from vap.evaluation.metrics.psnr import psnr
from vap.evaluation.metrics.recognized import RECOGNIZER
from vap.evaluation.systems.one_reference_each import OneReferenceEach
from vap.extras import require
from vap.media.pixels import to_uint8
from vap.shapes import PixelShape
from vap.synth import SynthPair
from vap.synth.classifier import load_recognizer, recognize

_BATCH = 8
_SPLITS = ("seen", "heldout")


@dataclass(frozen=True, eq=False, slots=True)
class Case:
    """A rendered case.

    Attributes:
        spec: Which one.
        pair: Reference and true target.
    """

    spec: CaseSpec
    pair: SynthPair

    @property
    def truth(self) -> Video:
        """What should come of it ``[T, H, W, 3]`` in 0 to 1."""
        return self.pair.target.frames / np.float64(255)


@dataclass(frozen=True, slots=True)
class Point:
    """What a candidate gives.

    Attributes:
        name: Of the candidate.
        stages: Median seconds of each stage of one video.
        psnr: To the exact profile's videos, mean over the cases, in dB.
        worst_psnr: The least of any case.
        ssim: Mean structural similarity to them.
        gap_closed: By split, and of both together under ``all``.
        recognized: The same.
        first_frame: PSNR of the first frame to the image, in dB.
    """

    name: str
    stages: Mapping[str, float]
    psnr: float
    worst_psnr: float
    ssim: float
    gap_closed: Mapping[str, float | None]
    recognized: Mapping[str, float]
    first_frame: float

    @property
    def seconds(self) -> float:
        """Of one whole generation."""
        return sum(self.stages.values())


def measure(
    model: Any,
    chosen: Mapping[str, Candidate],
    *,
    cases: int,
    seed: int,
    repeats: int,
    tell: Callable[[str], None],
) -> list[Point]:
    """Measure candidates; fidelity is to the first, the exact profile.

    Args:
        model: A loaded Wan pipeline.
        chosen: By name.
        cases: Pairs in all, shared out over the splits.
        seed: Of the pairs.
        repeats: Timed generations of each, in turns, after one that does not count.
        tell: Is told of progress.
    """
    native = model.native_defaults
    shape = PixelShape(native.num_frames, native.height, native.width)
    # The third split's conditions are unknown to all; the front is about what works.
    specs = [spec for spec in choose_cases(cases, seed=seed) if spec.split in _SPLITS]
    rendered = [Case(spec, render_pair(spec, shape, seed)) for spec in specs]
    bench = _Bench.of(model, chosen, rendered)
    timed = bench.time(repeats)
    truths = [case.truth for case in rendered]
    bounds = [_errors([still(truth) for truth in truths], truths)]
    bounds.append(_errors([_autoencoded(model, case) for case in rendered], truths))
    points: list[Point] = []
    exact: list[Video] = []
    for name in chosen:
        videos = bench.videos(name)
        exact = exact or videos
        points.append(_point(name, timed[name], rendered, videos, exact, bounds))
        tell(f"{name}: {points[-1].psnr:.1f} dB")
    return points


@dataclass(frozen=True, eq=False)
class _Bench:
    """Where candidates run; all share the transformer's weights.

    Attributes:
        pipelines: By name.
        caches: Configuration of the cache of diffusers of each, or None.
        cases: Rendered.
    """

    pipelines: Mapping[str, OneReferenceEach]
    caches: Mapping[str, Any]
    cases: Sequence[Case]

    @classmethod
    def of(cls, model: Any, chosen: Mapping[str, Candidate], cases: Sequence[Case]) -> _Bench:
        pipelines = {name: _with_settings(model, one) for name, one in chosen.items()}
        steps = model.native_defaults.num_inference_steps
        first = next(iter(pipelines.values()))
        ratios = (
            calibrate(first.transformer, lambda: _videos(first, cases[:1]), steps)
            if any(one.step_cache == "MagCache" for one in chosen.values())
            else []
        )
        caches = {
            name: None
            if one.step_cache is None
            else cache_of_diffusers(one.step_cache, one.amount, steps, ratios)
            for name, one in chosen.items()
        }
        return cls(pipelines, caches, cases)

    def videos(self, name: str, cases: Sequence[Case] | None = None) -> list[Video]:
        """A candidate's videos, batch by batch."""
        pipeline = self.pipelines[name]
        with caching(pipeline.transformer, self.caches[name]):
            return _videos(pipeline, self.cases if cases is None else cases)

    def time(self, repeats: int) -> dict[str, dict[str, float]]:
        """Median processor seconds by stage of one video, candidates in turns."""
        device = torch.device("cpu")
        clocks = {name: StageClock(each, device) for name, each in self.pipelines.items()}
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in self.pipelines}
        for turn in range(repeats + 1):
            for name, clock in clocks.items():
                clock.start()
                self.videos(name, self.cases[:1])
                _, busy = clock.stop()
                if turn:
                    taken[name].append(busy)
        return {
            name: {stage: statistics.median(run[stage] for run in runs) for stage in STAGES}
            for name, runs in taken.items()
        }


def _with_settings(model: Any, candidate: Candidate) -> OneReferenceEach:
    """The model with a candidate's settings, its weights shared where none change them."""
    from vap.acceleration.fast import apply_profile

    student = candidate.settings.student
    transformer = copy.deepcopy(model.transformer) if student else None
    own = OneReferenceEach.of(model, transformer)
    own.register_to_config(_name_or_path=model.name_or_path)
    own.vae = copy.deepcopy(model.vae)
    return apply_profile(own, "exact", settings=candidate.settings)


def _videos(pipeline: OneReferenceEach, cases: Sequence[Case]) -> list[Video]:
    batches = range(0, len(cases), _BATCH)
    return [video for start in batches for video in _batch(pipeline, cases[start : start + _BATCH])]


def _batch(pipeline: OneReferenceEach, cases: Sequence[Case]) -> list[Video]:
    """Videos of some cases at once; no caption tells the effect."""
    targets = [case.pair.target for case in cases]
    references = [case.pair.reference for case in cases]
    count, height, width, _ = targets[0].frames.shape
    output: Any = pipeline(
        [Image.fromarray(clip.frames[0]) for clip in targets],
        [clip.scene_caption for clip in targets],
        negative_prompt="",
        reference_videos=[clip.frames for clip in references],
        reference_prompts=[clip.scene_caption for clip in references],
        height=height,
        width=width,
        num_frames=count,
        generator=[torch.Generator().manual_seed(case.spec.index) for case in cases],
        output_type="np",
    )
    return list(np.asarray(output.frames))


@torch.no_grad()
def _autoencoded(pipeline: Any, case: Case) -> Video:
    """The autoencoder's reconstruction of the truth."""
    processor, vae = pipeline.video_processor, pipeline.vae
    frames = [Image.fromarray(frame) for frame in case.pair.target.frames]
    latents = vae.encode(processor.preprocess_video(frames)).latent_dist.mode()
    reconstructed: Video = processor.postprocess_video(
        vae.decode(latents).sample, output_type="np"
    )[0]
    return reconstructed


def _errors(videos: Sequence[Video], truths: Sequence[Video]) -> np.ndarray:
    """Errors over the pixels that the truths change, ``[N]``."""
    return np.array([changed_error(*pair) for pair in zip(videos, truths, strict=True)])


def _point(
    name: str,
    stages: Mapping[str, float],
    cases: Sequence[Case],
    videos: Sequence[Video],
    exact: Sequence[Video],
    bounds: Sequence[np.ndarray],
) -> Point:
    ratios = [psnr(video, truth) for video, truth in zip(videos, exact, strict=True)]
    truths = [case.truth for case in cases]
    errors = np.stack([_errors(videos, truths), *bounds])
    pixels = np.stack([to_uint8(name, video) for video in videos])
    shares = recognize(load_recognizer(RECOGNIZER), pixels)
    seen = [
        next(iter(share)) == case.spec.condition for share, case in zip(shares, cases, strict=True)
    ]
    groups = {
        split: np.array([split in {"all", case.spec.split} for case in cases])
        for split in (*_SPLITS, "all")
    }
    return Point(
        name,
        stages,
        psnr=float(np.mean(ratios)),
        worst_psnr=min(ratios),
        ssim=float(np.mean([_ssim(a, b) for a, b in zip(videos, exact, strict=True)])),
        gap_closed={
            split: gap_closed(*errors[:, own].mean(axis=1)) for split, own in groups.items()
        },
        recognized={split: float(np.mean(np.array(seen)[own])) for split, own in groups.items()},
        first_frame=float(
            np.mean(
                [
                    psnr(frames[0] / np.float64(255), truth[0])
                    for frames, truth in zip(pixels, truths, strict=True)
                ]
            )
        ),
    )


def _ssim(video: Video, exact: Video) -> float:
    """Mean over the frames."""
    metrics: Any = require("skimage.metrics", extra="train", purpose="compare structure")
    frames = zip(video, exact, strict=True)
    return float(
        np.mean(
            [
                metrics.structural_similarity(a, b, channel_axis=-1, data_range=1.0)
                for a, b in frames
            ]
        )
    )
