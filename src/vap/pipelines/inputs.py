"""What users hand to a pipeline, brought to one form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image

from vap.media import FrameSelection, read_clip, read_image, select_frames
from vap.media.pixels import Fit, resize
from vap.prompts import ReferenceSource, VideoPrompt
from vap.shapes import PixelShape

ClipLike: TypeAlias = str | Path | Sequence[Image.Image] | np.ndarray | torch.Tensor
Generators: TypeAlias = torch.Generator | list[torch.Generator] | None
ImageLike: TypeAlias = str | Path | Image.Image | np.ndarray | torch.Tensor


@dataclass(frozen=True, slots=True)
class ReferenceClip:
    """The frames of one reference that a model will see, and where they came from."""

    frames: list[Image.Image]
    source: ReferenceSource


@dataclass(frozen=True, eq=False, slots=True)
class ReferenceArguments:
    """What a call says about its references.

    Attributes:
        videos: One clip or several.
        prompts: Their captions.
        video_prompt: References encoded before, in place of ``videos``.
        strength: How much the target reads them, 0 … 1.
        frame_selection: How frames are taken: ``evenly``, ``first`` or ``random``.
        fit: ``stretch`` to the size, or ``cover`` it and crop the rest; images likewise.
        has_last_frame: Whether the last frame joins the conditions (Wan).
    """

    videos: ClipLike | Sequence[ClipLike] | None = None
    prompts: str | Sequence[str] | None = None
    video_prompt: VideoPrompt | None = None
    strength: float = 1.0
    frame_selection: FrameSelection = "evenly"
    fit: Fit = "stretch"
    has_last_frame: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """How many different samples there are, and how many videos of each.

    Attributes:
        samples: Different images or prompts.
        videos: Videos of each.
    """

    samples: int
    videos: int

    @property
    def size(self) -> int:
        """Videos in all; those of one sample stand together."""
        return self.samples * self.videos

    def check_generators(self, generator: object) -> None:
        """Refuse a list of generators that is not one for each video.

        Raises:
            ValueError: Saying how many there should be.
        """
        if isinstance(generator, list) and len(generator) != self.size:
            message = (
                f"There are {len(generator)} generators for {self.size} videos. "
                "Give one for each, or a single one for all."
            )
            raise ValueError(message)

    def spread(self, tensor: torch.Tensor) -> torch.Tensor:
        """Repeat per-sample rows ``[samples or 1, …]`` to ``[size, …]``."""
        if len(tensor) == 1 and self.samples > 1:
            tensor = tensor.expand(self.samples, *tensor.shape[1:])
        return tensor.repeat_interleave(self.videos, dim=0) if self.videos > 1 else tensor


def as_images(
    image: ImageLike | Sequence[ImageLike], name: str = "image"
) -> list[Image.Image] | torch.Tensor:
    """One image or a batch: a list of PIL images, or a tensor ``[B, 3, H, W]`` in −1 … 1 or 0 … 1.

    Raises:
        TypeError: If it is none of what is allowed.
        ValueError: If it has another shape or range.
    """
    if isinstance(image, torch.Tensor):
        return _as_tensor(image, name)
    if isinstance(image, str | Path | Image.Image):
        return [read_image(image)]
    if isinstance(image, np.ndarray):
        pictures = image[None] if image.ndim == 3 else image  # noqa: PLR2004 - [H, W, 3]
        return [read_image(picture) for picture in pictures]
    if isinstance(image, Sequence) and image:
        parts = [as_images(item, name) for item in image]
        tensors = [part for part in parts if isinstance(part, torch.Tensor)]
        if not tensors:
            return [picture for part in parts for picture in part]
        if len(tensors) == len(parts) and len({part.shape[1:] for part in tensors}) == 1:
            return torch.cat(tensors)
        message = f"{name} mixes tensors with other images, or tensors of several sizes."
        raise ValueError(message)
    message = (
        f"{name} is {type(image).__name__}; give a path, a PIL image, a uint8 array [H, W, 3], "
        "a tensor [B, 3, H, W], or a list of images."
    )
    raise TypeError(message)


def _as_tensor(image: torch.Tensor, name: str) -> torch.Tensor:
    batch = image.unsqueeze(0) if image.ndim == 3 else image  # noqa: PLR2004 - [3, H, W]
    if batch.ndim != 4 or batch.shape[1] != 3:  # noqa: PLR2004 - [B, 3, H, W]
        message = f"{name} is a tensor of shape {tuple(image.shape)}; give [B, 3, H, W]."
        raise ValueError(message)
    if batch.dtype == torch.uint8:
        return batch / 255
    if not (batch.is_floating_point() and batch.min() >= -1 and batch.max() <= 1):
        message = (
            f"{name} is a {batch.dtype} tensor outside 0 … 1 and −1 … 1; scale it, or give uint8."
        )
        raise ValueError(message)
    return batch


def as_pictures(images: list[Image.Image] | torch.Tensor) -> list[Image.Image] | torch.Tensor:
    """Images as an image encoder's processor takes them: PIL, or uint8 ``[B, 3, H, W]``.

    Floating-point tensors, which the stock pipeline hands on, such processors divide by 255.
    """
    if not isinstance(images, torch.Tensor):
        return images
    unit = images / 2 + 0.5 if images.min() < 0 else images
    return (unit * 255).round().to("cpu", torch.uint8)


def fitted(
    images: list[Image.Image] | torch.Tensor, shape: PixelShape, fit: Fit
) -> list[Image.Image] | torch.Tensor:
    """Crop images to the proportions of the video; as they are for ``stretch`` and for tensors."""
    if fit == "stretch" or isinstance(images, torch.Tensor):
        return images
    size = (shape.height, shape.width)
    return [Image.fromarray(resize(np.asarray(image), size, fit)) for image in images]


def as_prompts(prompt: str | Sequence[str] | None, count: int = 1) -> list[str] | None:
    """One prompt or several, as a list; a single one is repeated ``count`` times."""
    if prompt is None:
        return None
    return [prompt] * count if isinstance(prompt, str) else list(prompt)


def check_given(
    name: str, text: object | None, embeds: torch.Tensor | None, *, needed: bool = True
) -> None:
    """Refuse a text given twice, or not at all.

    Raises:
        ValueError: Saying which of the two arguments to use.
    """
    if text is not None and embeds is not None:
        message = f"Give either {name} or {name}_embeds, not both."
        raise ValueError(message)
    if needed and text is None and embeds is None:
        message = f'Give a {name} (an empty one, "", is allowed) or {name}_embeds.'
        raise ValueError(message)


def batch_of(images: int, prompts: int, num_videos_per_prompt: int) -> Batch:
    """Pair images with prompts; a single one of either serves all of the other.

    Raises:
        ValueError: If their counts do not match.
    """
    if num_videos_per_prompt < 1:
        message = f"num_videos_per_prompt={num_videos_per_prompt}; it must be 1 or more."
        raise ValueError(message)
    if images != prompts and 1 not in {images, prompts}:
        message = (
            f"There are {images} images and {prompts} prompts. Give as many of one as of the "
            "other, or a single one for all."
        )
        raise ValueError(message)
    return Batch(max(images, prompts), num_videos_per_prompt)


def as_clips(
    reference_videos: ClipLike | Sequence[ClipLike],
    reference_prompts: str | Sequence[str] | None,
    *,
    num_frames: int,
    frame_selection: FrameSelection,
    size: tuple[int, int] | None,
    generator: Generators,
) -> list[ReferenceClip]:
    """Read the references and take the frames that the model will see.

    Args:
        reference_videos: Clips; a single one may stand alone.
        reference_prompts: Their captions; empty by default.
        num_frames: Frames wanted of each, whatever its own length.
        frame_selection: ``evenly``, ``first`` or ``random``.
        size: Height and width to scale to, the rest cropped; None to keep the clip's own.
        generator: Draws the window of ``random``; the first one of a list.

    Raises:
        ValueError: If there is no clip, or not one caption for each.
    """
    clips = _clip_list(reference_videos)
    captions = as_prompts(reference_prompts)
    if captions is None:
        captions = [""] * len(clips)
    if not clips or len(captions) != len(clips):
        message = (
            f"There are {len(clips)} reference videos and {len(captions)} reference prompts. "
            "Give at least one video, and one prompt for each (or none at all)."
        )
        raise ValueError(message)
    if isinstance(generator, list):
        generator = generator[0]
    return [
        _take_frames(clip, caption, num_frames, frame_selection, size, generator)
        for clip, caption in zip(clips, captions, strict=True)
    ]


def _clip_list(reference_videos: ClipLike | Sequence[ClipLike]) -> list[ClipLike]:
    """Tell one clip from a list of clips."""
    if isinstance(reference_videos, str | Path):
        return [reference_videos]
    if isinstance(reference_videos, np.ndarray | torch.Tensor):
        one = reference_videos.ndim == 4  # noqa: PLR2004 - [T, H, W, 3]
        return [reference_videos] if one else list(reference_videos)
    clips: list[Any] = list(reference_videos)
    return [clips] if clips and isinstance(clips[0], Image.Image) else clips


def _take_frames(
    clip: ClipLike,
    caption: str,
    num_frames: int,
    frame_selection: FrameSelection,
    size: tuple[int, int] | None,
    generator: torch.Generator | None,
) -> ReferenceClip:
    chosen: list[int] = []

    def choose(available: int) -> list[int]:
        chosen[:] = select_frames(available, num_frames, frame_selection, generator=generator)
        return chosen

    read = read_clip(clip, frame_indices=choose, size=size, fit="cover")
    frames = [Image.fromarray(frame) for frame in read.frames]
    return ReferenceClip(
        frames, ReferenceSource(read.name, read.sha256, caption, read.fps, tuple(chosen))
    )
