"""What a semantic condition is: an effect over time, its parameters, and who may train on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from vap.synth.scene import Image, Scene

Category = Literal["concept", "style", "motion", "camera"]
Exposure = Literal["train", "heldout", "unknown"]
Value = float | str
Render = Callable[..., Image]


@dataclass(frozen=True, slots=True)
class Range:
    """A real parameter, drawn uniformly from ``low`` to ``high``."""

    low: float
    high: float
    signed: bool = False  # also draw the sign

    def draw(self, rng: np.random.Generator) -> float:
        """One value."""
        value = float(rng.uniform(self.low, self.high))
        sign = 1.0 if rng.integers(2) else -1.0
        return value * sign if self.signed else value


@dataclass(frozen=True, slots=True)
class Choice:
    """A parameter with named options, drawn with equal chances."""

    options: tuple[str, ...]

    def draw(self, rng: np.random.Generator) -> str:
        """One option."""
        return self.options[int(rng.integers(len(self.options)))]


Parameter = Range | Choice

# Which of four fixed random fields an effect grows along; an effect reads it as an integer.
PATTERN = Choice(("0", "1", "2", "3"))

# Every condition is timed by these two: the share of the clip at which it begins and is complete.
TIMING: Mapping[str, Parameter] = MappingProxyType(
    {"start": Range(0.0, 0.15), "finish": Range(0.75, 1.0)}
)


@dataclass(frozen=True)
class Condition:
    """One semantic condition: what videos of it share."""

    name: str  # identity, for example ``"turn_to_gold"``
    category: Category  # what it changes
    phrase: str  # the effect in words, after a subject: "turns to gold"
    # What a reference and its target also share, timing included.
    parameters: Mapping[str, Parameter]
    # ``"train"``: experts may train on it; ``"heldout"``: only backbones may; ``"unknown"``:
    # nothing may.
    exposure: Exposure
    # ``(scene, progress, **parameters) -> frame`` with progress from 0 (untouched) to 1 (complete)
    # and the parameters without the timing.
    render: Render

    def draw(self, rng: np.random.Generator) -> dict[str, Value]:
        """Draw one value for each parameter."""
        return {name: parameter.draw(rng) for name, parameter in self.parameters.items()}

    def frame(self, scene: Scene, time: float, parameters: Mapping[str, Value]) -> Image:
        """Render one moment.

        Args:
            scene: The layered first frame.
            time: Share of the clip that has passed, 0 to 1.
            parameters: A value for each parameter.

        Returns:
            Float RGB ``[H, W, 3]``, nominally 0 to 1.
        """
        own = {name: value for name, value in parameters.items() if name not in TIMING}
        start, finish = float(parameters["start"]), float(parameters["finish"])
        progress = min(max((time - start) / (finish - start), 0.0), 1.0)
        return self.render(scene, progress, **own)


class Catalogue:
    """The effects of one category, collected by a decorator in the file that defines them."""

    def __init__(self, category: Category) -> None:
        self.category: Category = category
        self.effects: dict[str, tuple[str, Mapping[str, Parameter], Render]] = {}

    def effect(self, phrase: str, **parameters: Parameter) -> Callable[[Render], Render]:
        """Enter the decorated function as the effect of its own name."""

        def enter(render: Render) -> Render:
            self.effects[render.__name__] = (phrase, MappingProxyType(parameters), render)
            return render

        return enter
