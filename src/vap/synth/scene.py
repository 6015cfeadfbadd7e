"""A layered picture: a subject with its alpha mask on a background with depth."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.floating[Any]]
"""Pictures, masks and maps: stored as float32; arithmetic in between may be wider."""


_T = TypeVar("_T")


@dataclass(frozen=True)
class Layer:
    """A picture with transparency."""

    # ``[H, W, 3]`` in 0 to 1, already multiplied by alpha, so that warps and blurs keep clean
    # edges.
    rgb: Image
    alpha: Image  # ``[H, W, 1]``, 0 where the layer is transparent

    @classmethod
    def of(cls, rgba: Image) -> Layer:
        """The layer of ``[H, W, 4]``."""
        return cls(rgba[..., :3], rgba[..., 3:])

    @property
    def rgba(self) -> Image:
        """Colors and alpha as one array ``[H, W, 4]``."""
        return np.concatenate([self.rgb, self.alpha], axis=2)

    def over(self, background: Image) -> Image:
        """This layer in front of an opaque background ``[H, W, 3]``."""
        return background * (1 - self.alpha) + self.rgb

    def fade(self, opacity: float | Image) -> Layer:
        """The layer with its opacity multiplied by a number or a ``[H, W, 1]`` map."""
        return Layer(self.rgb * opacity, self.alpha * opacity)

    def paint(self, colour: Image, amount: float | Image = 1.0) -> Layer:
        """Blend the layer's colors towards ``[3]`` or ``[H, W, 3]``, keeping its shape."""
        return Layer(self.rgb * (1 - amount) + colour * self.alpha * amount, self.alpha)


@dataclass(frozen=True)
class Scene:
    """The first frame, in layers."""

    background: Image  # ``[H, W, 3]`` in 0 to 1, complete behind the subject
    subject: Layer  # the subject, as large as the frame
    nearness: Image  # ``[H, W]`` of the background, 0 far away to 1 as near as the subject
    centre: tuple[float, float]  # middle of the subject's box, ``(x, y)`` in pixels
    extent: tuple[float, float]  # half width and half height of the subject's box, in pixels
    _kept: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """What ``make`` returns, computed for the first of a clip's frames only."""
        if key not in self._kept:
            self._kept[key] = make()
        kept: _T = self._kept[key]
        return kept

    @property
    def height(self) -> int:
        """Height in pixels; the unit of length of every effect's parameters."""
        return int(self.background.shape[0])

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.background.shape[1])

    @property
    def radius(self) -> float:
        """Half of the larger side of the subject's box, in pixels."""
        return max(self.extent)

    @property
    def feet(self) -> tuple[float, float]:
        """Where the subject stands: the middle of its box's lower side, ``(x, y)`` in pixels."""
        return self.centre[0], self.centre[1] + self.extent[1]

    @cached_property
    def image(self) -> Image:
        """The untouched picture ``[H, W, 3]``."""
        return self.subject.over(self.background)

    @cached_property
    def colour(self) -> Image:
        """The subject's colors without transparency ``[H, W, 3]``; black outside."""
        rgb: Image = self.subject.rgb / np.maximum(self.subject.alpha, 1e-3)
        return rgb
