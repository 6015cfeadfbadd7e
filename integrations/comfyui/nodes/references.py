"""Reference videos with their captions."""

from __future__ import annotations

from typing import Any

from comfy_api.v0_0_2 import io

from .images import clip_of
from .wires import CATEGORY, Reference, ReferencesWire


class VapReference(io.ComfyNode):
    """A reference video, alone or after others."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VapReference",
            display_name="Reference Video (VAP)",
            category=CATEGORY,
            description="A video with the effect to transfer. Chain these nodes for several.",
            inputs=[
                io.MultiType.Input(
                    "video", types=[io.Video, io.Image], tooltip="A video, or its frames."
                ),
                io.String.Input("caption", default="", multiline=True, tooltip="What it shows."),
                ReferencesWire.Input("previous", optional=True),
            ],
            outputs=[ReferencesWire.Output(display_name="references")],
        )

    @classmethod
    def execute(
        cls, video: Any, caption: str, previous: tuple[Reference, ...] = ()
    ) -> io.NodeOutput:
        """Return the references."""
        return io.NodeOutput((*previous, Reference(clip_of(video), caption)))
