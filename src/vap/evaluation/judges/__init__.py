"""Judges: what models are asked about videos, and how far they agree with people."""
