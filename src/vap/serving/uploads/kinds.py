"""What a file of a client can be."""

from __future__ import annotations

from typing import Literal

Kind = Literal["image", "video", "video_prompt"]
