"""Videos generated while training, beside their references and truths, with metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vap.acceleration.student import first_order
from vap.data.check import load_table
from vap.data.encode import read_frames
from vap.data.encode_job import EncodeSettings
from vap.data.encoded import MANIFEST, read_manifest
from vap.data.pairing import PairingRules, Sample, pair_clips
from vap.evaluation.metrics.gap import changed_error, gap_closed, still
from vap.evaluation.metrics.psnr import psnr
from vap.loading.pipeline import load_pipeline
from vap.media import SheetRow, write_sheet, write_video
from vap.pipelines.denoise import Reuse
from vap.process import is_first
from vap.shapes import PixelShape
from vap.training.training_clips import splits_of
from vap.training.tuning_config import DistillStage, TuningStage


class Validation:
    """Generates some rows of a split that is not trained on.

    Args:
        recipe: Table, model and what to generate.
        reads_references: Whether the transformer is given references.
    """

    def __init__(self, recipe: TuningStage, *, reads_references: bool) -> None:
        self._recipe, self._reads_references = recipe, reads_references
        self._pipeline: Any = None
        manifest = read_manifest(recipe.data.encoded)
        try:
            sizes = tuple(PixelShape(**size) for size in manifest["sizes"])
            self._settings = EncodeSettings(recipe.model.start, sizes, manifest["fps"])
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{recipe.data.encoded / MANIFEST} does not name the sizes and rate of its clips "
                f"({error}). Encode again, or set validation.every to 0."
            ) from error
        # Now, as a mistake would otherwise show after hours of training.
        self._samples = _samples(recipe)
        root = recipe.validation.root
        for row in (row for sample in self._samples for row in (sample.target, *sample.references)):
            if is_first() and not (root / row.video).is_file():
                raise FileNotFoundError(
                    f"{row.video!r}, which validation needs, is not in {root.absolute()}. Give "
                    "the folder that the table's paths are relative to with validation.root, or "
                    "set "
                    "validation.every to 0."
                )

    def __call__(self, transformer: Any, step: int, output: Path) -> dict[str, float]:
        """Write ``output/validation/step-…/`` and return means over its videos."""
        folder = output / "validation" / f"step-{step:06d}"
        folder.mkdir(parents=True, exist_ok=True)
        scores: dict[str, list[float]] = {"validation_psnr": [], "validation_gap": []}
        transformer.eval()
        for number, sample in enumerate(self._samples):
            truth = self._frames(sample.target.video)
            references = [self._frames(row.video) for row in sample.references]
            video = self._generate(transformer, sample, truth, references)
            write_video(video, folder / f"{number:02d}.mp4", self._settings.fps)
            rows = [*(SheetRow("reference", clip) for clip in references), SheetRow("truth", truth)]
            sheet = [*rows, SheetRow(f"step {step}", video, sample.target.condition)]
            write_sheet(folder / f"{number:02d}.png", sheet, columns=6)
            target = truth.astype(np.float32) / np.float32(255)
            scores["validation_psnr"].append(psnr(video, target))
            errors = changed_error(video, target), changed_error(still(target), target)
            if (gap := gap_closed(*errors, best_error=0.0)) is not None:
                scores["validation_gap"].append(gap)
        return {name: sum(values) / len(values) for name, values in scores.items() if values}

    def _frames(self, video: str) -> NDArray[np.uint8]:
        return read_frames(self._recipe.validation.root / video, self._settings)[1]

    def _generate(
        self,
        transformer: Any,
        sample: Sample,
        truth: NDArray[np.uint8],
        references: list[NDArray[np.uint8]],
    ) -> NDArray[np.float32]:
        """A video ``[T, H, W, 3]`` in 0 … 1 of the target's size."""
        recipe, device = self._recipe, transformer.device
        config = recipe.validation
        if self._pipeline is None:
            self._pipeline = _pipeline(recipe, transformer)
        shown = self._reads_references
        sampling = {
            "num_inference_steps": config.inference_steps,
            "guidance_scale": config.guidance,
        }
        if isinstance(recipe, DistillStage):  # a student has no choice
            sampling = {
                "num_inference_steps": recipe.steps,
                "guidance_scale": 1.0,
                "reference_guidance_scale": 1.0,
            }
        frames, height, width, _ = truth.shape
        mixed = recipe.loop.precision == "bf16"
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            return self._pipeline(
                truth[0],
                sample.caption,
                reference_videos=references if shown else None,
                reference_prompts=list(sample.reference_captions) if shown else None,
                negative_prompt="",
                height=height,
                width=width,
                num_frames=frames,
                generator=torch.Generator().manual_seed(config.seed),
                output_type="np",
                **sampling,
            ).frames[0]


def _samples(recipe: TuningStage) -> tuple[Sample, ...]:
    """The first rows of the split, with references of any split."""
    config, data = recipe.validation, recipe.data
    rows = load_table(data.table, splits=None, on_error="skip").rows
    splits = splits_of(data, {row.split for row in rows}) | {config.split}
    pairing = pair_clips(rows, PairingRules(data.threshold, splits, seed=config.seed))
    shown = [i for i, row in enumerate(pairing.targets) if row.split == config.split]
    if not shown:
        raise ValueError(
            f"No row of split {config.split!r} can be generated for validation. Choose another "
            "with validation.split, or set validation.every to 0."
        )
    return tuple(pairing.draw(index) for index in shown[: config.cases])


def _pipeline(recipe: TuningStage, transformer: Any) -> Any:
    """What generates; for a student as :func:`vap.acceleration.student.use_student` sets it up."""
    device = transformer.device
    pipeline: Any = load_pipeline(recipe.model.start, device=device, transformer=transformer)
    pipeline.set_progress_bar_config(disable=True)
    if isinstance(recipe, DistillStage):
        pipeline.scheduler = first_order(pipeline.scheduler)
        pipeline.reuse = Reuse(references=recipe.references_every)
    return pipeline
