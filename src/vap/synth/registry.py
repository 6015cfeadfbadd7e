"""All conditions by name and category, and which of them are held out."""

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

UNKNOWN: frozenset[str] = frozenset({"swirl_away", "cross_stitch", "figure_eight", "spiral_zoom"})
"""Nothing trains on these: one of each category."""

HELD_OUT: frozenset[str] = UNKNOWN | frozenset(
    {
        *("pixelate", "turn_to_stone", "slice_apart", "shrink"),
        *("invert", "blueprint", "stained_glass", "thermal"),
        *("sway", "somersault", "roll_away", "flag_wave"),
        *("zoom_out", "dolly_out", "step_zoom", "roll"),
    }
)
"""No expert trains on these: five of each category. Backbones may, except on :data:`UNKNOWN`."""

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
