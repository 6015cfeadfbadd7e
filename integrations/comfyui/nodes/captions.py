"""Captions that a vision-language model writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from comfy_api.v0_0_2 import io
from PIL import Image

import vap

from .images import first_frame
from .wires import CATEGORY, Model, ModelWire, Reference, ReferencesWire


class VapWritePrompts(io.ComfyNode):
    """The captions that are missing."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VapWritePrompts",
            display_name="Write Prompts (VAP)",
            category=CATEGORY,
            description="Write the captions that are empty; the others stay as they are.",
            inputs=[
                ModelWire.Input("model", tooltip="The model that the captions are for."),
                ReferencesWire.Input("references"),
                io.Image.Input("image", tooltip="The image to animate."),
                io.String.Input("prompt", default="", multiline=True),
                io.String.Input(
                    "captioner",
                    default="",
                    tooltip="gemini[:MODEL], openai:URL#MODEL, local:MODEL or none. Empty: what "
                    "VAP_CAPTIONER in the environment names.",
                ),
            ],
            outputs=[
                ReferencesWire.Output("captioned", display_name="references"),
                io.String.Output("written", display_name="prompt"),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Model,
        references: tuple[Reference, ...],
        image: torch.Tensor,
        prompt: str,
        captioner: str,
    ) -> io.NodeOutput:
        """Return references and prompt with captions."""
        with TemporaryDirectory() as folder:
            picture = Path(folder) / "image.png"
            Image.fromarray(first_frame(image)).save(picture)
            written = vap.write_prompts(
                as_files(references, Path(folder)),
                picture,
                reference_prompts=[each.caption for each in references],
                prompt=prompt,
                model=model.name,
                captioner=captioner or None,
            )
        captions = written.reference_prompts
        captioned = tuple(
            replace(each, caption=caption)
            for each, caption in zip(references, captions, strict=True)
        )
        return io.NodeOutput(captioned, written.prompt)


def as_files(references: Sequence[Reference], folder: Path) -> list[Path]:
    """Return the files of references; frames are written into a folder."""
    return [
        each.clip
        if isinstance(each.clip, Path)
        else vap.write_video(each.clip, folder / f"reference-{number}.mp4")
        for number, each in enumerate(references)
    ]
