"""Rendered clips as network input."""

from __future__ import annotations
