"""All conditions by name, in a fixed order: category by category, as their files list them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from vap.data.synth.camera import CAMERA
from vap.data.synth.concept import CONCEPT
from vap.data.synth.exposure import HELD_OUT, UNKNOWN
from vap.data.synth.motion import MOTION
from vap.data.synth.schema import TIMING, Condition, Exposure
from vap.data.synth.style import STYLE


def _exposure(name: str) -> Exposure:
    if name in UNKNOWN:
        return "unknown"
    return "heldout" if name in HELD_OUT else "train"


CONDITIONS: Mapping[str, Condition] = MappingProxyType(
    {
        name: Condition(
            name, catalogue.category, phrase, {**TIMING, **parameters}, _exposure(name), render
        )
        for catalogue in (CONCEPT, STYLE, MOTION, CAMERA)
        for name, (phrase, parameters, render) in catalogue.effects.items()
    }
)
"""The 100 semantic conditions."""
