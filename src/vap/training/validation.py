"""Videos generated while training, beside their references and truths, with metrics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from vap.data.check import load_table
from vap.data.encode import EncodeSettings, read_frames
from vap.data.encoded import read_manifest
from vap.data.pairing import PairingRules, Sample, pair_clips
from vap.evaluation.metrics.gap import changed_error, gap_closed, still
from vap.evaluation.metrics.psnr import psnr
from vap.hub import load_pipeline
from vap.media import SheetRow, write_sheet, write_video
from vap.shapes import PixelShape
from vap.training.tuning_config import TuningStage

_FPS = 16


class Validation:
    """Generates some rows of a split that is not trained on.

    Args:
        recipe: Table, model and what to generate.
        transformer: The transformer that trains.
        reads_references: Whether it is given references.
    """

    def __init__(self, recipe: TuningStage, transformer: Any, *, reads_references: bool) -> None:
        self._recipe, self._reads_references = recipe, reads_references
        self._transformer = transformer
        self._pipeline: Any = None
        manifest = read_manifest(recipe.data.encoded)
        sizes = tuple(PixelShape(**size) for size in manifest["sizes"])
        self._settings = EncodeSettings(recipe.model.start, sizes, manifest["fps"])

    @classmethod
    def of(cls, recipe: TuningStage, transformer: Any, *, reads_references: bool) -> Self | None:
        """The recipe's validation, or None where it asks for none."""
        if not recipe.validation.every:
            return None
        return cls(recipe, transformer, reads_references=reads_references)

    def __call__(self, step: int, output: Path) -> dict[str, float]:
        """Write ``output/validation/step-…/`` and return means over its videos.

        Returns:
            ``validation_psnr`` in dB against the true target, and ``validation_gap``: 0 for the
            first frame repeated, 1 for the truth.
        """
        folder = output / "validation" / f"step-{step:06d}"
        folder.mkdir(parents=True, exist_ok=True)
        scores: dict[str, list[float]] = {"validation_psnr": [], "validation_gap": []}
        self._transformer.eval()
        for number, sample in enumerate(self._samples()):
            truth = self._frames(sample.target.video)
            references = [self._frames(row.video) for row in sample.references]
            video = self._generate(sample, truth, references)
            write_video(folder / f"{number:02d}.mp4", video, _FPS)
            rows = [*(SheetRow("reference", clip) for clip in references), SheetRow("truth", truth)]
            sheet = [*rows, SheetRow(f"step {step}", video, sample.target.condition)]
            write_sheet(folder / f"{number:02d}.png", sheet, columns=6)
            target = truth.astype(np.float32) / np.float32(255)
            scores["validation_psnr"].append(psnr(video, target))
            errors = changed_error(video, target), changed_error(still(target), target)
            if (gap := gap_closed(*errors, best_error=0.0)) is not None:
                scores["validation_gap"].append(gap)
        return {name: sum(values) / len(values) for name, values in scores.items() if values}

    def _samples(self) -> Iterator[Sample]:
        """The first rows of the split, with references of any split."""
        config, data = self._recipe.validation, self._recipe.data
        rows = load_table(data.table, splits=None, on_error="skip").rows
        splits = frozenset({config.split, *data.splits})
        pairing = pair_clips(rows, PairingRules(data.threshold, splits, seed=config.seed))
        shown = [i for i, row in enumerate(pairing.targets) if row.split == config.split]
        if not shown:
            message = (
                f"No row of split {config.split!r} can be generated for validation. Choose another "
                "with validation.split, or set validation.every to 0."
            )
            raise ValueError(message)
        return (pairing.draw(index) for index in shown[: config.cases])

    def _frames(self, video: str) -> NDArray[np.uint8]:
        return read_frames(self._recipe.validation.root / video, self._settings)[1]

    def _generate(
        self, sample: Sample, truth: NDArray[np.uint8], references: list[NDArray[np.uint8]]
    ) -> NDArray[np.float32]:
        """A video ``[T, H, W, 3]`` in 0 … 1 of the target's size."""
        config, device = self._recipe.validation, self._transformer.device
        if self._pipeline is None:
            start = self._recipe.model.start
            self._pipeline = load_pipeline(start, device=device, transformer=self._transformer)
            self._pipeline.set_progress_bar_config(disable=True)
        frames, height, width, _ = truth.shape
        shown = self._reads_references
        mixed = self._recipe.loop.precision == "bf16"
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            return self._pipeline(
                truth[0],
                sample.caption,
                references if shown else None,
                list(sample.reference_captions) if shown else None,
                negative_prompt="",
                height=height,
                width=width,
                num_frames=frames,
                num_inference_steps=config.inference_steps,
                guidance_scale=config.guidance,
                generator=torch.Generator().manual_seed(config.seed),
                output_type="np",
            ).frames[0]
