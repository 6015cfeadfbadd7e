"""Variations: new conditions, made of those in the catalogues.

A network that trains on eighty conditions learns to classify them instead of reading references. A
variation changes how an effect looks: a symmetry of the picture or of the color cube, undone after
the effect (gold becomes a blue metal, and the scene stays as it is), a way back in time, a second
condition over the first or beside it. Reference and target share it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from vap.synth.condition import Category, Condition, Value
from vap.synth.curves import ramp
from vap.synth.registry import CONDITIONS
from vap.synth.scene import Image, Layer, Scene

# Those that work on a finished picture, and so over another condition.
OVER: frozenset[Category] = frozenset({"style", "camera"})

# Parts of a clip: of its picture, or the time after its middle.
Part = Literal["left", "right", "top", "bottom", "middle", "border", "later"]
_PARTS: tuple[Part, ...] = get_args(Part)
# Width of the seam between two parts, as a share of the picture or of the time.
_SEAM = 0.06


@dataclass(frozen=True, slots=True)
class Symmetry:
    """A map of pictures to pictures that can be undone without loss."""

    # Which channel each of red, green and blue is taken from.
    channels: tuple[int, int, int] = (0, 1, 2)
    # Which of the channels, after that, are turned into 1 minus themselves.
    negative: tuple[bool, bool, bool] = (False, False, False)
    upside_down: bool = False  # whether up and down change places
    mirrored: bool = False  # whether left and right do
    # Whether, after that, rows and columns do, so that what rises goes sideways.
    sideways: bool = False

    def scene(self, scene: Scene) -> Scene:
        """A scene whose picture is the map of the given one's."""
        x, y = scene.centre
        x = scene.width - 1 - x if self.mirrored else x
        y = scene.height - 1 - y if self.upside_down else y
        width, height = scene.extent
        layer = scene.subject
        alpha = self._placed(layer.alpha)
        # Colors are stored multiplied by alpha, so 1 minus a color is alpha minus what is stored.
        rgb = self._coloured(self._placed(layer.rgb), alpha)
        return Scene(
            background=self._coloured(self._placed(scene.background), np.float32(1)),
            subject=Layer(rgb, alpha),
            nearness=self._placed(scene.nearness),
            centre=(y, x) if self.sideways else (x, y),
            extent=(height, width) if self.sideways else (width, height),
        )

    def undone(self, picture: Image) -> Image:
        """The picture ``[H, W, 3]`` that is mapped to a given one."""
        picture = np.where(self.negative, 1 - picture, picture)
        picture = picture[..., np.argsort(self.channels)]
        return self._flipped(picture.swapaxes(0, 1) if self.sideways else picture)

    def _placed(self, field: Image) -> Image:
        """Flip and turn ``[H, W, …]``; sideways it is ``[W, H, …]`` then."""
        flipped = self._flipped(field)
        return np.ascontiguousarray(flipped.swapaxes(0, 1)) if self.sideways else flipped

    def _flipped(self, field: Image) -> Image:
        """Flip ``[H, W, …]``."""
        rows = slice(None, None, -1 if self.upside_down else 1)
        columns = slice(None, None, -1 if self.mirrored else 1)
        return np.ascontiguousarray(field[rows, columns])

    def _coloured(self, picture: Image, white: Image | np.float32) -> Image:
        """Exchange and turn the channels of ``[H, W, 3]``, ``white`` being their largest value."""
        exchanged = picture[..., self.channels]
        turned: Image = np.where(self.negative, white - exchanged, exchanged)
        return turned.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Beside:
    """Another condition in a part of a clip."""

    name: str
    parameters: Mapping[str, Value]
    part: Part  # where or when it is seen in place of the first

    def over(self, picture: Image, scene: Scene, time: float) -> Image:
        """The picture ``[H, W, 3]`` of the first condition, and this one in its part of it."""
        share = scene.once(("part", self.part), lambda: _part(self.part, scene))
        if self.part == "later":
            share = share * ramp(time - 0.5, -_SEAM / 2, _SEAM / 2)
        if not share.any():
            return picture
        other = CONDITIONS[self.name].frame(scene, time, self.parameters)
        return picture * (1 - share) + other * share


def _part(part: Part, scene: Scene) -> Image:
    """How much of each pixel belongs to a part, ``[H, W, 1]`` from 0 to 1; all of it for a time."""
    rows, columns = np.mgrid[: scene.height, : scene.width].astype(np.float32)
    across, down = columns / (scene.width - 1) - 0.5, rows / (scene.height - 1) - 0.5
    inside = 0.3 - np.hypot(across, down)
    depths = {
        "left": -across,
        "right": across,
        "top": -down,
        "bottom": down,
        "middle": inside,
        "border": -inside,
        "later": np.ones_like(across),
    }
    return ramp(depths[part], -_SEAM / 2, _SEAM / 2)[..., None]


@dataclass(frozen=True, slots=True)
class Variation:
    """How a clip departs from its condition."""

    symmetry: Symmetry = Symmetry()
    returns: bool = False  # the effect comes and goes again
    then: tuple[str, Mapping[str, Value]] | None = None
    beside: Beside | None = None

    @property
    def phrases(self) -> tuple[str, ...]:
        """What else happens, in words; symmetries and ways back have none."""
        others = (self.beside and self.beside.name, self.then and self.then[0])
        return tuple(CONDITIONS[name].phrase for name in others if name)

    def frame(
        self, condition: Condition, scene: Scene, time: float, parameters: Mapping[str, Value]
    ) -> Image:
        """Render one moment; see :meth:`vap.synth.condition.Condition.frame`."""
        seen = scene.once("seen through", lambda: self.symmetry.scene(scene))
        passed = 1 - abs(1 - 2 * time) if self.returns else time
        picture = self.symmetry.undone(condition.frame(seen, passed, parameters))
        if self.beside is not None:
            picture = self.beside.over(picture, scene, time)
        if self.then is None:
            return picture
        name, own = self.then
        return CONDITIONS[name].frame(_flat(picture, scene), time, own)


def _flat(picture: Image, scene: Scene) -> Scene:
    """A finished picture as a scene whose subject is part of its background."""
    nothing = np.zeros_like(scene.subject.rgb)
    return Scene(
        background=np.clip(picture, 0, 1).astype(np.float32),
        subject=Layer(nothing, nothing[..., :1]),
        nearness=scene.nearness,
        centre=scene.centre,
        extent=scene.extent,
    )


def draw_variation(
    rng: np.random.Generator, first: str, allowed: Sequence[str], *, mixed: float = 0.0
) -> Variation:
    """Draw a variation of a condition; others come from ``allowed``, never the first itself."""
    recoloured, upside_down, mirrored, combined = (bool(rng.integers(2)) for _ in range(4))
    returns = not rng.integers(4)
    red, green, blue = (int(channel) for channel in rng.permutation(3))
    turned = (bool(rng.integers(2)), bool(rng.integers(2)), bool(rng.integers(2)))
    symmetry = Symmetry(upside_down=upside_down, mirrored=mirrored)
    if recoloured:
        symmetry = replace(symmetry, channels=(red, green, blue), negative=turned)
    seconds = [name for name in allowed if name != first and CONDITIONS[name].category in OVER]
    then = None
    if combined and seconds:
        second = CONDITIONS[seconds[int(rng.integers(len(seconds)))]]
        then = (second.name, second.draw(rng))
    # Drawn last, and only if asked for: without, a seed gives what it always did.
    if not mixed or rng.random() >= mixed:
        return Variation(symmetry, returns, then)
    kind = int(rng.integers(3))
    beside = None if kind == 0 else _draw_beside(rng, first, allowed)
    return Variation(replace(symmetry, sideways=kind != 1), returns, then, beside)


def _draw_beside(rng: np.random.Generator, first: str, allowed: Sequence[str]) -> Beside | None:
    """Another condition and its part of the clip, if there is another."""
    others = [name for name in allowed if name != first]
    if not others:
        return None
    other = CONDITIONS[others[int(rng.integers(len(others)))]]
    part = _PARTS[int(rng.integers(len(_PARTS)))]
    return Beside(other.name, other.draw(rng), part)
