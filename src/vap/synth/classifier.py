"""A small video classifier that recognizes which condition a clip shows.

It tells whether a *generated* video shows the condition of its reference, without a judge.
``benchmarks/recognizer.py`` trains it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from vap.files.weights import save_tensors
from vap.synth.registry import CONDITIONS

FRAMES, HEIGHT, WIDTH = 9, 64, 96
LABELS = tuple(CONDITIONS)
_CHANNELS = (48, 64, 128, 160)


class Recognizer(nn.Module):
    """Spatial and temporal convolutions in turn, over frames and their change since the first."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third, last = _CHANNELS
        self.stem = _block(6 * 4, first, space_stride=2)
        self.stages = nn.Sequential(
            _block(first, second, space_stride=2),
            _block(second, third, space_stride=2, time_stride=2),
            _block(third, last),
        )
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(3 * last, len(LABELS))

    def forward(self, video: Tensor) -> Tensor:
        """Score every condition.

        Args:
            video: ``[B, 3, T, H, W]`` in 0 to 1, T, H, W as :data:`FRAMES` and so on.

        Returns:
            Logits ``[B, 100]`` in the order of ``CONDITIONS``.
        """
        change = video - video[:, :, :1]
        batch, _, frames, _, _ = video.shape
        stacked = torch.cat([video - 0.5, change], dim=1).transpose(1, 2).flatten(0, 1)
        # Four neighbors become channels: fine patterns survive the halved resolution.
        folded = F.pixel_unshuffle(stacked, 2).unflatten(0, (batch, frames)).transpose(1, 2)
        features = self.stages(self.stem(folded))
        pooled = features.mean(dim=(3, 4))
        # What is there at the end, on average and at most; the start is the same for all.
        summary = torch.cat([pooled[:, :, -1], pooled.mean(dim=2), features.amax((2, 3, 4))], dim=1)
        logits: Tensor = self.head(self.drop(summary))
        return logits


def _block(
    inputs: int, outputs: int, *, space_stride: int = 1, time_stride: int = 1
) -> nn.Sequential:
    """A convolution over space, then one over time."""
    return nn.Sequential(
        nn.Conv3d(
            inputs, outputs, (1, 3, 3), (1, space_stride, space_stride), (0, 1, 1), bias=False
        ),
        nn.BatchNorm3d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv3d(outputs, outputs, (3, 1, 1), (time_stride, 1, 1), (1, 0, 0), bias=False),
        nn.BatchNorm3d(outputs),
        nn.ReLU(inplace=True),
    )


def as_video(frames: NDArray[np.uint8]) -> Tensor:
    """Clips ``[B, T, H, W, 3]`` of any length and size (uint8) as the classifier's input.

    Returns:
        ``[B, 3, 9, 64, 96]`` in 0 to 1: evenly spaced frames, resized.
    """
    chosen = np.linspace(0, frames.shape[1] - 1, FRAMES).round().astype(int)
    video = torch.from_numpy(np.ascontiguousarray(frames[:, chosen])).permute(0, 4, 1, 2, 3) / 255
    if frames.shape[2:4] != (HEIGHT, WIDTH):
        flat = video.transpose(1, 2).flatten(0, 1)
        flat = F.interpolate(flat, (HEIGHT, WIDTH), mode="bilinear", antialias=True)
        video = flat.unflatten(0, (len(frames), FRAMES)).transpose(1, 2)
    return video


@torch.no_grad()
def recognize(model: Recognizer, frames: NDArray[np.uint8]) -> list[dict[str, float]]:
    """Probabilities of the conditions of clips ``[B, T, H, W, 3]``, the likeliest first."""
    shares = model.eval()(as_video(frames)).softmax(dim=1)
    ranked = shares.sort(dim=1, descending=True)
    return [
        {LABELS[int(label)]: float(share) for share, label in zip(*clip, strict=True)}
        for clip in zip(ranked.values, ranked.indices, strict=True)
    ]


def save_recognizer(model: Recognizer, path: str | Path) -> None:
    """Write the weights in half precision, with the names of the conditions they tell apart."""
    state = {
        name: value.half() if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }
    save_tensors(state, Path(path), {"conditions": ",".join(LABELS)})


def load_recognizer(path: str | Path) -> Recognizer:
    """Read a classifier that :func:`save_recognizer` wrote."""
    with safe_open(path, framework="pt") as file:
        names = (file.metadata() or {}).get("conditions", "").split(",")
    if tuple(names) != LABELS:
        raise ValueError(
            f"{path} was trained on other conditions than this version has; train it again."
        )
    model = Recognizer()
    model.load_state_dict(load_file(path))
    return model.eval()
