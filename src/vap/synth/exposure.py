"""Which conditions are kept from training: twenty from experts, four of these from everything."""

from __future__ import annotations

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
