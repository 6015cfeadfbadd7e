"""Which conditions are kept from training: twenty from experts, four of them from everything."""

from __future__ import annotations

HELD_OUT: frozenset[str] = frozenset({"pixelate", "zoom_out", "sway", "invert"})
"""No expert trains on these; a backbone may, except on :data:`UNKNOWN`."""

UNKNOWN: frozenset[str] = frozenset()
"""Nothing trains on these."""
