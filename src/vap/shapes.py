"""Sizes of videos in pixels, latents and tokens, and all arithmetic between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

Family: TypeAlias = Literal["wan", "cogvideox"]
"""The two variants."""

TEXT_TOKENS: Mapping[str, int] = MappingProxyType({"wan": 512, "cogvideox": 226})
"""Text tokens of a caption, by variant: shorter ones are padded."""


_MOST_FRAMES, _LONGEST_SIDE = 20_000, 16_384


@dataclass(frozen=True, slots=True)
class PixelShape:
    """A video in pixels: ``frames`` × ``height`` × ``width``.

    Raises:
        ValueError: If it is larger than any video.
    """

    frames: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.frames > _MOST_FRAMES or max(self.height, self.width) > _LONGEST_SIDE:
            raise ValueError(
                f"num_frames={self.frames}, height={self.height}, width={self.width} is too "
                f"large: use at most {_MOST_FRAMES} frames of {_LONGEST_SIDE}×{_LONGEST_SIDE}."
            )

    @property
    def pixels(self) -> int:
        """Pixels of the whole clip."""
        return self.frames * self.height * self.width


@dataclass(frozen=True, slots=True)
class LatentShape:
    """A video in VAE latents: ``channels`` × ``frames`` × ``height`` × ``width``."""

    channels: int
    frames: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Compression:
    """How a VAE and a patch embedding shrink a video.

    Attributes:
        temporal: Pixel frames per latent frame after the first (4: 1 + 4k frames become 1 + k).
        spatial: Pixels per latent cell along height and width.
        patch: Latent cells per token along (frames, height, width).
    """

    temporal: int
    spatial: int
    patch: tuple[int, int, int]

    def latent(self, shape: PixelShape, channels: int) -> LatentShape:
        """Latent shape of a video.

        Raises:
            ValueError: If the size does not divide into whole tokens.
        """
        self.check(shape)
        return LatentShape(
            channels,
            (shape.frames - 1) // self.temporal + 1,
            shape.height // self.spatial,
            shape.width // self.spatial,
        )

    def tokens(self, shape: PixelShape) -> int:
        """Tokens of one stream for a video of this size."""
        latent = self.latent(shape, channels=1)
        frames, height, width = self.patch
        return -(-latent.frames // frames) * (latent.height // height) * (latent.width // width)

    def check(self, shape: PixelShape) -> None:
        """Refuse a size that does not divide into whole tokens.

        Raises:
            ValueError: Naming the size and the nearest allowed one.
        """
        rows, columns = self.spatial * self.patch[1], self.spatial * self.patch[2]
        if shape.frames < 1 or shape.frames % self.temporal != 1 % self.temporal:
            nearest = max(0, round((shape.frames - 1) / self.temporal)) * self.temporal + 1
            message = (
                f"num_frames={shape.frames} does not fit this model: it makes "
                f"1 + {self.temporal}·k frames. Use num_frames={nearest}."
            )
            raise ValueError(message)
        if min(shape.height, shape.width) < 1 or shape.height % rows or shape.width % columns:
            height = max(1, round(shape.height / rows)) * rows
            width = max(1, round(shape.width / columns)) * columns
            message = (
                f"height={shape.height}, width={shape.width} do not fit this model: height must be "
                f"a multiple of {rows} and width of {columns}. Use height={height}, width={width}."
            )
            raise ValueError(message)


def check_strength(strength: float) -> None:
    """Refuse a reference strength outside 0 … 1.

    Raises:
        ValueError: Saying what was given.
    """
    if not 0.0 <= strength <= 1.0:
        message = (
            f"The reference strength is {strength}; it must be between 0 (no reference) and 1 "
            "(the trained model)."
        )
        raise ValueError(message)


def most_steps(scheduler: Mapping[str, Any]) -> int:
    """Return the most steps that a scheduler's configuration has distinct timesteps for.

    Timesteps are whole numbers, and schedulers look themselves up by them. The shift of flow
    matching brings those at one end closer together.
    """
    trained = int(scheduler.get("num_train_timesteps", 1000))
    if not scheduler.get("use_flow_sigmas"):
        return trained
    shift = float(scheduler.get("flow_shift") or 1)
    # Without a shift, rounding makes the last two equal.
    return max(1, min(int(trained * min(shift, 1 / shift)), trained - 2))


def check_steps(steps: int, scheduler: Mapping[str, Any]) -> None:
    """Refuse a number of denoising steps that a scheduler's configuration does not allow.

    Raises:
        ValueError: Saying what was given, and what is allowed.
    """
    most = most_steps(scheduler)
    if not 1 <= steps <= most:
        message = f"num_inference_steps={steps}; use at least one step, and at most {most} here."
        raise ValueError(message)
