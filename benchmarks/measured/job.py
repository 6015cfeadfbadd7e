"""What a measured process is told, and the inputs that all of them share."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

PROMPT = "a cat sits on a red sofa and turns into a balloon"
REFERENCE_PROMPT = "the camera zooms in slowly on a snowy mountain"
NEGATIVE_PROMPT = "worst quality, low quality, static"
SEED = 11


@dataclass(frozen=True)
class Job:
    """One system's work, as it is written for its process.

    Attributes:
        system: Name in the table.
        folder: Pipeline folder in the released layout.
        family: ``wan`` or ``cogvideox``.
        frames: Of the video.
        height: Pixels.
        width: Pixels.
        steps: Denoising steps.
        guidance_scale: Above 1, so that every step has two passes.
        references: Reference videos.
        batch: Videos at once.
        dtype: ``float32`` or ``bfloat16``.
        device: Of torch.
        threads: Of torch's own pool, on a CPU.
        created_on_device: Whether the folder has no weights, and they are drawn.
        options: Of :func:`vap.load_pipeline`; none for the peer.
    """

    system: str
    folder: str
    family: str
    frames: int
    height: int
    width: int
    steps: int
    guidance_scale: float
    references: int = 1
    batch: int = 1
    dtype: str = "float32"
    device: str = "cpu"
    threads: int = 1
    created_on_device: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Job:
        """Read what :meth:`save` wrote."""
        return cls(**json.loads(path.read_text()))

    def image(self) -> np.ndarray:
        """The first frame, uint8 ``[H, W, 3]``."""
        return self._clip(SEED)[0]

    def reference_videos(self) -> list[np.ndarray]:
        """The references, uint8 ``[T, H, W, 3]`` each."""
        return [self._clip(SEED + 1 + index) for index in range(self.references)]

    def latents(self) -> np.ndarray:
        """Initial noise, float32: ``[B, C, F, H, W]`` for Wan, ``[B, F, C, H, W]`` otherwise."""
        frames, rows, columns = (self.frames - 1) // 4 + 1, self.height // 8, self.width // 8
        size = (16, frames) if self.family == "wan" else (frames, 16)
        return np.random.default_rng(SEED).standard_normal(
            (self.batch, *size, rows, columns), dtype=np.float32
        )

    def _clip(self, seed: int) -> np.ndarray:
        """Smooth colors that move: something like a video to every encoder."""
        drawn = np.random.default_rng(seed).uniform(1, 6, (3, 3))
        time, rows, columns = np.meshgrid(
            *(np.linspace(0, 1, n) for n in (self.frames, self.height, self.width)), indexing="ij"
        )
        waves = [np.sin(a * rows + b * columns + 2 * c * time) for a, b, c in 2 * drawn]
        return (127.5 * (1 + np.stack(waves, axis=-1))).astype(np.uint8)
