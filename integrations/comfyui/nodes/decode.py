"""From latents to images and a video."""

from __future__ import annotations

from typing import Any

import numpy as np
from comfy_api.v0_0_2 import io

from .images import images_of, video_of
from .loaded import encoders_of, free
from .wires import CATEGORY, Model, ModelWire


class VapDecode(io.ComfyNode):
    """Latents as images and a video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VapDecode",
            display_name="Decode (VAP)",
            category=CATEGORY,
            description="Decode latents with the VAE of the model.",
            inputs=[
                ModelWire.Input("model"),
                io.Latent.Input("latent"),
                io.Boolean.Input(
                    "keep_model",
                    default=True,
                    tooltip="Whether the model stays loaded; off frees its memory for other nodes.",
                ),
            ],
            outputs=[
                io.Image.Output("images", display_name="images"),
                io.Video.Output("video", display_name="video"),
            ],
        )

    @classmethod
    def execute(cls, model: Model, latent: dict[str, Any], keep_model: bool) -> io.NodeOutput:
        """Return images and video."""
        pipeline = encoders_of(model)
        # Latents of other nodes come without an image.
        videos = pipeline.decode(
            latent["samples"], image=latent.get("vap_image"), fit=latent.get("vap_fit", "cover")
        )
        images, fps = images_of(np.concatenate(list(videos))), pipeline.defaults.fps
        if not keep_model:
            del pipeline
            free()
        return io.NodeOutput(images, video_of(images, fps))
