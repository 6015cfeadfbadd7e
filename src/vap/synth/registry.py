"""All conditions by name, in a fixed order: category by category, as their files list them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from vap.synth.condition import TIMING, Condition, Exposure
from vap.synth.effects.camera_lens import LENS
from vap.synth.effects.camera_position import POSITION
from vap.synth.effects.concept_events import EVENTS
from vap.synth.effects.concept_matter import MATTER
from vap.synth.effects.concept_shape import SHAPE
from vap.synth.effects.motion_in_place import IN_PLACE
from vap.synth.effects.motion_travel import TRAVEL
from vap.synth.effects.style_drawing import DRAWING
from vap.synth.effects.style_light import LIGHT
from vap.synth.exposure import HELD_OUT, UNKNOWN

_CATALOGUES = (MATTER, SHAPE, EVENTS, LIGHT, DRAWING, IN_PLACE, TRAVEL, POSITION, LENS)


def _exposure(name: str) -> Exposure:
    if name in UNKNOWN:
        return "unknown"
    return "heldout" if name in HELD_OUT else "train"


CONDITIONS: Mapping[str, Condition] = MappingProxyType(
    {
        name: Condition(
            name, catalogue.category, phrase, {**TIMING, **parameters}, _exposure(name), render
        )
        for catalogue in _CATALOGUES
        for name, (phrase, parameters, render) in catalogue.effects.items()
    }
)
"""The 100 semantic conditions."""
