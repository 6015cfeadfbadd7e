"""What users hand to a pipeline, brought to one form."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, get_args

import numpy as np
import torch
from PIL import Image

from vap.media.clip import FrameSelection, read_clip, select_frames
from vap.media.cuts import find_cuts
from vap.media.images import read_image
from vap.media.pixels import Fit, resize
from vap.pipelines.video_prompt import ReferenceSource, VideoPrompt
from vap.shapes import PixelShape

_SHOWN = 100  # letters from each end of what is cut

FrameLike: TypeAlias = Image.Image | np.ndarray | torch.Tensor
ClipLike: TypeAlias = str | Path | Sequence[FrameLike] | np.ndarray | torch.Tensor
Generators: TypeAlias = torch.Generator | list[torch.Generator] | None
ImageLike: TypeAlias = str | Path | Image.Image | np.ndarray | torch.Tensor


@dataclass(frozen=True, slots=True)
class ReferenceClip:
    """The frames of one reference that a model will see, and where they came from."""

    frames: list[Image.Image]
    source: ReferenceSource


@dataclass(frozen=True, eq=False, slots=True)
class ReferenceArguments:
    """The reference arguments of a call."""

    videos: ClipLike | Sequence[ClipLike] | None = None  # One clip or several
    prompts: str | Sequence[str] | None = None  # Their captions
    video_prompt: VideoPrompt | None = None  # References encoded before, in place of videos
    strength: float = 1.0  # How much the target reads them, 0 … 1
    frame_selection: FrameSelection = "evenly"  # How frames are taken: evenly, first or random
    fit: Fit = "cover"  # cover the size and crop the rest, or stretch to it; the same for images
    has_last_frame: bool = False  # Whether the last frame joins the conditions (Wan)

    def __post_init__(self) -> None:
        if self.fit not in get_args(Fit):
            raise ValueError(
                f"fit={self.fit!r} is unknown. Use one of: {', '.join(get_args(Fit))}."
            )
        if self.video_prompt is None:
            self._check_prompts("there are none: give them, or leave reference_prompts out")
            return
        if not isinstance(self.video_prompt, VideoPrompt):
            raise TypeError(
                f"video_prompt is {type(self.video_prompt).__name__}; give one VideoPrompt. Load a "
                "file with vap.VideoPrompt.load(path), join several with first.joined(*others)."
            )
        if self.videos is not None:
            raise ValueError("Give either reference_videos or video_prompt, not both.")
        self._check_prompts("video_prompt has its own: leave reference_prompts out")

    @property
    def read(self) -> bool:
        """Whether there are references that the target reads."""
        given = self.videos is not None or self.video_prompt is not None
        return given and self.strength != 0.0

    def _check_prompts(self, why: str) -> None:
        """Refuse captions without clips, which would be without effect."""
        if self.videos is None and self.prompts:
            raise ValueError(f"reference_prompts are the captions of reference_videos, and {why}.")


@dataclass(frozen=True, slots=True)
class Batch:
    """How many different samples there are, and how many videos of each."""

    samples: int  # Different images or prompts
    videos: int  # Videos of each

    @property
    def size(self) -> int:
        """Videos in all; those of one sample stand together."""
        return self.samples * self.videos

    def check_generators(self, generator: object) -> None:
        """Refuse a list of generators that is not one for each video."""
        if isinstance(generator, list) and len(generator) != self.size:
            raise ValueError(
                f"Generators: {len(generator)}, videos: {self.size}. "
                "Give one for each, or a single one for all."
            )

    def check_rows(self, name: str, tensor: torch.Tensor | None) -> None:
        """Refuse embeddings ``[S, …]`` that are neither one for each sample nor one for all."""
        if tensor is not None and len(tensor) not in {1, self.samples}:
            raise ValueError(
                f"{name} has {len(tensor)} rows for {self.samples} samples (images or prompts). "
                "Give one for each, or a single one for all."
            )

    def draws(
        self, generator: Generators, samples: int
    ) -> Iterator[tuple[int, torch.Generator | None]]:
        """Which sample each draw is of, and its generator: one a video, or one for all samples."""
        if isinstance(generator, list):
            yield from ((index // self.videos, drawer) for index, drawer in enumerate(generator))
        else:
            yield from ((index, generator) for index in range(samples))

    def spread(self, tensor: torch.Tensor) -> torch.Tensor:
        """Repeat per-sample rows ``[samples or 1, …]`` to ``[size, …]``."""
        if len(tensor) == 1 and self.samples > 1:
            tensor = tensor.expand(self.samples, *tensor.shape[1:])
        return tensor.repeat_interleave(self.videos, dim=0) if self.videos > 1 else tensor


def as_images(
    image: ImageLike | Sequence[ImageLike], name: str = "image"
) -> list[Image.Image] | torch.Tensor:
    """A list of PIL images, or a tensor ``[B, 3, H, W]`` in −1 … 1 or 0 … 1."""
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
        raise ValueError(f"{name} mixes tensors with other images, or tensors of several sizes.")
    raise TypeError(
        f"{name} is {type(image).__name__}; give a path, a PIL image, a uint8 array [H, W, 3], "
        "a tensor [B, 3, H, W], or a list of images."
    )


def _as_tensor(image: torch.Tensor, name: str) -> torch.Tensor:
    batch = image.unsqueeze(0) if image.ndim == 3 else image  # noqa: PLR2004 - [3, H, W]
    if batch.ndim != 4 or batch.shape[1] != 3 or not batch.numel():  # noqa: PLR2004 - [B, 3, H, W]
        raise ValueError(f"{name} is a tensor of shape {tuple(image.shape)}; give [B, 3, H, W].")
    if batch.dtype == torch.uint8:
        return batch / 255
    if not (batch.is_floating_point() and batch.min() >= -1 and batch.max() <= 1):
        raise ValueError(
            f"{name} is a {batch.dtype} tensor outside 0 … 1 and −1 … 1; scale it, or give uint8."
        )
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
    """Crop images to the proportions of the video; as they are for ``stretch``.

    Tensors keep whole pixels and are brought to the size later, like those that are stretched.
    """
    if fit == "stretch":
        return images
    size = (shape.height, shape.width)
    if isinstance(images, torch.Tensor):
        return _cropped(images, size)
    return [Image.fromarray(resize(np.asarray(image), size, fit)) for image in images]


def _cropped(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The middle of images ``[B, 3, H, W]`` that has the proportions of a size."""
    rows, columns = images.shape[2:]
    scale = min(rows / size[0], columns / size[1])
    height, width = (max(1, round(pixels * scale)) for pixels in size)
    top, left = (rows - height) // 2, (columns - width) // 2
    return images[:, :, top : top + height, left : left + width]


def batch_of(images: int, prompts: int, num_videos_per_prompt: int) -> Batch:
    """Pair images with prompts; a single one of either serves all of the other."""
    if num_videos_per_prompt < 1:
        raise ValueError(f"num_videos_per_prompt={num_videos_per_prompt}; it must be 1 or more.")
    if images < 1 or prompts < 1:
        raise ValueError(f"Images: {images}, prompts: {prompts}. Give at least one of each.")
    if images != prompts and 1 not in {images, prompts}:
        raise ValueError(
            f"Images: {images}, prompts: {prompts}. Give equal numbers, or a single one for all."
        )
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
    """Read references (one or a list), and select the frames for the model."""
    clips = _clip_list(reference_videos)
    captions = as_prompts(reference_prompts)
    if captions is None:
        captions = [""] * len(clips)
    if not clips or len(captions) != len(clips):
        raise ValueError(
            f"Reference videos: {len(clips)}, reference prompts: {len(captions)}. Give at "
            "least one video, and one prompt for each (or none at all)."
        )
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
    return [clips] if clips and _is_frame(clips[0]) else clips


def _is_frame(item: Any) -> bool:
    """Whether an item of a list is one frame, as imageio and decord give them, not a clip."""
    return isinstance(item, Image.Image) or getattr(item, "ndim", None) == 3  # noqa: PLR2004


def _stacked(clip: Any) -> Any:
    """A clip as it is read: a list of frame arrays becomes one array."""
    if not isinstance(clip, list | tuple) or not clip or isinstance(clip[0], Image.Image):
        return clip
    return np.stack(clip) if isinstance(clip[0], np.ndarray) else torch.stack(list(clip))


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

    read = read_clip(_stacked(clip), frame_indices=choose, size=size, fit="cover")
    if cuts := find_cuts(read.frames, by_network=False):
        seconds = ", ".join(f"{chosen[place] / read.fps:.1f}" for place in cuts)
        warnings.warn(
            f"The reference {read.name} seems to have a cut at {seconds} s: the model takes its "
            "shots for one motion. Trim it to the shot with the effect.",
            stacklevel=2,
        )
    frames = [Image.fromarray(frame) for frame in read.frames]
    return ReferenceClip(
        frames, ReferenceSource(read.name, read.sha256, caption, read.fps, tuple(chosen))
    )


def as_prompts(prompt: str | Sequence[str] | None, count: int = 1) -> list[str] | None:
    """One prompt or several, as a list; a single one is repeated ``count`` times."""
    if prompt is None:
        return None
    return [prompt] * count if isinstance(prompt, str) else list(prompt)


class TextLimitMixin:
    """Mixed into a diffusers pipeline: warn about text that the encoder does not read."""

    def _get_t5_prompt_embeds(
        self, prompt: str | Sequence[str], *, max_sequence_length: int, **options: Any
    ) -> torch.Tensor:
        warn_of_cut_text(self.tokenizer, as_prompts(prompt) or [], max_sequence_length)  # type: ignore[attr-defined]
        embeds: torch.Tensor = super()._get_t5_prompt_embeds(  # type: ignore[misc]
            prompt=prompt, max_sequence_length=max_sequence_length, **options
        )
        return embeds


def warn_of_cut_text(tokenizer: Any, texts: Sequence[str], tokens: int) -> None:
    """Warn of the part of each text that is beyond the encoder's limit."""
    for text in texts:
        read = tokenizer(text, add_special_tokens=True, return_offsets_mapping=True)
        if len(read.input_ids) > tokens:
            # The last token that is read is the end token.
            cut = text[read.offset_mapping[tokens - 1][0] :]
            ends = [cut] if len(cut) <= 2 * _SHOWN else [cut[:_SHOWN], cut[-_SHOWN:]]
            shown = " … ".join(map(repr, ends))
            warnings.warn(
                f"A text has {len(read.input_ids)} tokens, and the model reads {tokens}. This part "
                f"has no effect: {shown}. Shorten the text.",
                stacklevel=2,
            )


def check_given(
    name: str, text: object | None, embeds: torch.Tensor | None, *, needed: bool = True
) -> None:
    """Refuse a text given twice, or not at all."""
    if text is not None and embeds is not None:
        raise ValueError(f"Give either {name} or {name}_embeds, not both.")
    if needed and text is None and embeds is None:
        raise ValueError(f'Give a {name} (an empty one, "", is allowed) or {name}_embeds.')


def check_texts(
    tokens: int,
    given: tuple[int, torch.Tensor | None, torch.Tensor | None],
    *,
    always: bool,
    compared: bool,
) -> None:
    """Refuse texts that are longer or shorter than the tokens that a model reads.

    Of no consequence unless it cannot tell where a text ends (``always``), or a negative prompt
    stands in for the references' texts (``compared``).
    """
    length, *embeddings = given
    lengths = {length if each is None else each.shape[1] for each in embeddings}
    wrong = sorted((lengths | {length} if always else lengths) - {tokens})
    if wrong and (always or compared):
        where = "" if always else " for guidance with references"
        raise ValueError(
            f"The text has {wrong[0]} tokens, and this model needs {tokens}{where}. Do not set "
            f"max_sequence_length, and give prompt_embeds of [B, {tokens}, D], as "
            f"encode_prompt makes them with max_sequence_length={tokens}."
        )
