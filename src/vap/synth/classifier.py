"""A small video classifier that recognizes which condition a clip shows.

It learns from rendered clips of all 100 conditions on subjects that training may show, half of them
softened, and is measured on subjects it has never seen. It tells whether a *generated* video shows
the condition of its reference, without a judge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from vap.devices import has_fast_half
from vap.files.weights import save_tensors
from vap.synth.clip_spec import ClipSpec
from vap.synth.composition import compose
from vap.synth.fields import generator
from vap.synth.registry import CONDITIONS
from vap.synth.softening import soften_half

FRAMES, HEIGHT, WIDTH = 9, 64, 96
_LABELS = tuple(CONDITIONS)
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
        self.head = nn.Linear(3 * last, len(_LABELS))

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


@dataclass(frozen=True, slots=True)
class Training:
    """How the classifier is trained."""

    steps: int = 2000
    batch: int = 48
    learning_rate: float = 4e-3  # the highest, after a tenth of the steps; it decays to zero
    seed: int = 0


def train_recognizer(
    training: Training | None = None, *, progress: Callable[[int, float], None] | None = None
) -> Recognizer:
    """Train a classifier on clips rendered on the way."""
    training = training or Training()
    torch.manual_seed(training.seed)
    model = Recognizer().train()
    optimizer = torch.optim.AdamW(model.parameters(), training.learning_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, training.learning_rate, total_steps=training.steps, pct_start=0.1
    )
    batches = labelled_batches(training.seed, training.batch, unseen=False)
    half = has_fast_half(torch.device("cpu"))
    softness = torch.Generator().manual_seed(training.seed)
    for step in range(training.steps):
        video, labels = next(batches)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):  # weights stay float32
            logits = model(soften_half(video, softness))
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=0.05)
        if not math.isfinite(loss.item()):
            raise FloatingPointError(
                f"The loss is {loss.item()} at step {step}; lower the learning rate."
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, loss.item())
    return model.eval()


def labelled_batches(seed: int, batch: int, *, unseen: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of rendered clips; all conditions come equally often.

    Yields:
        Videos ``[B, 3, T, H, W]`` in 0 to 1 and labels ``[B]``.
    """
    index = 0
    rounds = generator(seed, int(unseen), 51)
    order: list[int] = []
    while True:
        videos, labels = [], []
        for _ in range(batch):
            if not order:
                order = rounds.permutation(len(_LABELS)).tolist()
            labels.append(order.pop())
            videos.append(_clip(seed, index, labels[-1], unseen=unseen))
            index += 1
        yield as_video(np.stack(videos)), torch.tensor(labels)


def _clip(seed: int, index: int, label: int, *, unseen: bool) -> NDArray[np.uint8]:
    rng = generator(seed, index, int(unseen), 52)
    condition = CONDITIONS[_LABELS[label]]
    spec = ClipSpec(condition.name, condition.draw(rng), compose(rng, unseen=unseen))
    return spec.render(HEIGHT, WIDTH, FRAMES).frames


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
        {_LABELS[int(label)]: float(share) for share, label in zip(*clip, strict=True)}
        for clip in zip(ranked.values, ranked.indices, strict=True)
    ]


@torch.no_grad()
def confusion(
    model: Recognizer,
    clips: int,
    *,
    seed: int,
    unseen: bool = True,
    change: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Count what rendered clips of each condition are taken for, after an optional change.

    Returns:
        Counts ``[100, 100]``: rows are the truth, columns the likeliest condition.
    """
    if clips < 1 or clips % len(_LABELS):
        raise ValueError(
            f"clips={clips} does not share out evenly; use a multiple of {len(_LABELS)}."
        )
    model.eval()
    counts = torch.zeros(len(_LABELS), len(_LABELS), dtype=torch.int64)
    batches = labelled_batches(seed, len(_LABELS), unseen=unseen)
    for _ in range(clips // len(_LABELS)):
        video, labels = next(batches)
        seen = model(change(video) if change else video)
        counts.index_put_((labels, seen.argmax(dim=1)), torch.ones_like(labels), accumulate=True)
    return counts


def save_recognizer(model: Recognizer, path: str | Path) -> None:
    """Write the weights in half precision, with the names of the conditions they tell apart."""
    state = {
        name: value.half() if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }
    save_tensors(state, Path(path), {"conditions": ",".join(_LABELS)})


def load_recognizer(path: str | Path) -> Recognizer:
    """Read a classifier that :func:`save_recognizer` wrote."""
    with safe_open(path, framework="pt") as file:
        names = (file.metadata() or {}).get("conditions", "").split(",")
    if tuple(names) != _LABELS:
        raise ValueError(
            f"{path} tells other conditions apart than this version has; train it again."
        )
    model = Recognizer()
    model.load_state_dict(load_file(path))
    return model.eval()
