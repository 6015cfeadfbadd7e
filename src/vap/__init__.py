"""Video-As-Prompt: animate an image with the semantics of a reference video."""

from __future__ import annotations

__version__ = "0.1.0"
