"""The training and the measurement of VAP-Synth's classifier.

It learns from rendered clips of all 100 conditions on subjects that training may show, and is
measured on subjects it has never seen. Half of the clips are softened, as a video autoencoder
softens them: a classifier trained on sharp clips alone takes softness for an effect.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vap.devices import has_fast_half
from vap.synth.classifier import FRAMES, HEIGHT, LABELS, WIDTH, Recognizer, as_video
from vap.synth.clip_spec import ClipSpec
from vap.synth.composition import compose
from vap.synth.fields import generator
from vap.synth.registry import CONDITIONS

_COARSEST = 0.35  # the share of the resolution that the softest clips keep
_BLOTCH = 4  # pixels a side
_STRONGEST = 0.05  # standard deviation of the strongest blotches


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
                order = rounds.permutation(len(LABELS)).tolist()
            labels.append(order.pop())
            videos.append(_clip(seed, index, labels[-1], unseen=unseen))
            index += 1
        yield as_video(np.stack(videos)), torch.tensor(labels)


def _clip(seed: int, index: int, label: int, *, unseen: bool) -> NDArray[np.uint8]:
    rng = generator(seed, index, int(unseen), 52)
    condition = CONDITIONS[LABELS[label]]
    spec = ClipSpec(condition.name, condition.draw(rng), compose(rng, unseen=unseen))
    return spec.render(HEIGHT, WIDTH, FRAMES).frames


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
    if clips < 1 or clips % len(LABELS):
        raise ValueError(
            f"clips={clips} does not share out evenly; use a multiple of {len(LABELS)}."
        )
    model.eval()
    counts = torch.zeros(len(LABELS), len(LABELS), dtype=torch.int64)
    batches = labelled_batches(seed, len(LABELS), unseen=unseen)
    for _ in range(clips // len(LABELS)):
        video, labels = next(batches)
        seen = model(change(video) if change else video)
        counts.index_put_((labels, seen.argmax(dim=1)), torch.ones_like(labels), accumulate=True)
    return counts


def soften(video: Tensor, generator: torch.Generator) -> Tensor:
    """Blur clips ``[B, 3, T, H, W]`` in 0 to 1 and add blotches, each by a random amount."""
    return torch.stack([_softened(clip, generator) for clip in video])


def soften_half(video: Tensor, generator: torch.Generator) -> Tensor:
    """Soften each clip with a chance of one half."""
    chosen = torch.rand(len(video), generator=generator) < 0.5  # noqa: PLR2004 - one half
    softened = video.clone()
    softened[chosen] = soften(video[chosen], generator) if chosen.any() else video[chosen]
    return softened


def _softened(clip: Tensor, generator: torch.Generator) -> Tensor:
    """One clip ``[3, T, H, W]``."""
    frames = clip.transpose(0, 1)
    height, width = frames.shape[2:]
    detail, blotches = torch.rand(2, generator=generator).tolist()
    share = _COARSEST + (1 - _COARSEST) * detail
    small = F.interpolate(
        frames, (round(height * share), round(width * share)), mode="bilinear", antialias=True
    )
    soft = F.interpolate(small, (height, width), mode="bicubic")
    grid = (len(frames), 3, height // _BLOTCH, width // _BLOTCH)
    noise = torch.randn(grid, generator=generator) * (blotches * _STRONGEST)
    soft = soft + F.interpolate(noise, (height, width), mode="bicubic")
    return soft.clamp(0, 1).transpose(0, 1)
