"""Video prompts: encoded references, to save, load and join."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from comfy_api.v0_0_2 import io

import vap
from vap.acceleration.plan import WantedVideo
from vap.media.pixels import Fit

from .folders import VIDEO_PROMPTS, chosen_file, file_input, video_prompts_folder
from .loaded import encoders_of
from .wires import CATEGORY, Model, ModelWire, Reference, ReferencesWire, VideoPromptWire


class VapEncode(io.ComfyNode):
    """References as a video prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        own = "Of the video to be generated. 0: the model's own."
        return io.Schema(
            node_id="VapEncode",
            display_name="Encode Video Prompt (VAP)",
            category=CATEGORY,
            description="Encode references once, for any number of images and seeds.",
            inputs=[
                ModelWire.Input("model"),
                ReferencesWire.Input("references"),
                io.Int.Input("width", default=0, min=0, max=8192, step=8, tooltip=own),
                io.Int.Input("height", default=0, min=0, max=8192, step=8, tooltip=own),
                io.Int.Input("num_frames", default=0, min=0, max=10_000, tooltip=own),
                io.Combo.Input("frame_selection", options=["evenly", "first"], default="evenly"),
                io.Combo.Input("fit", options=list(get_args(Fit)), default="cover"),
                io.Boolean.Input(
                    "has_last_frame",
                    default=False,
                    tooltip="Whether the sampler gets a last image (Wan).",
                ),
            ],
            outputs=[VideoPromptWire.Output(display_name="video_prompt")],
        )

    @classmethod
    def execute(
        cls,
        model: Model,
        references: tuple[Reference, ...],
        width: int,
        height: int,
        num_frames: int,
        frame_selection: str,
        fit: str,
        has_last_frame: bool,
    ) -> io.NodeOutput:
        """Return the video prompt."""
        video = WantedVideo(height or None, width or None, num_frames or None, len(references))
        prompt = encoders_of(model, video).encode_video_prompt(
            [each.clip for each in references],
            [each.caption for each in references],
            height=video.height,
            width=video.width,
            num_frames=video.num_frames,
            frame_selection=frame_selection,
            fit=fit,
            has_last_frame=has_last_frame,
        )
        return io.NodeOutput(prompt)


class VapSaveVideoPrompt(io.ComfyNode):
    """A video prompt into a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VapSaveVideoPrompt",
            display_name="Save Video Prompt (VAP)",
            category=CATEGORY,
            description="Save a video prompt in models/vap_video_prompts; replaces one of the "
            "same name.",
            inputs=[
                VideoPromptWire.Input("video_prompt"),
                io.String.Input("name", default="video-prompt"),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, video_prompt: vap.VideoPrompt, name: str) -> io.NodeOutput:
        """Write the file."""
        if not name or name in {".", ".."} or set(name) & set('/\\:*?"<>|\0'):
            raise ValueError(f"name={name!r} is not a file name. Give a name without folders.")
        place = video_prompts_folder()
        place.mkdir(parents=True, exist_ok=True)
        video_prompt.save(place / f"{name}.safetensors")
        return io.NodeOutput()


class VapLoadVideoPrompt(io.ComfyNode):
    """A video prompt from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VapLoadVideoPrompt",
            display_name="Load Video Prompt (VAP)",
            category=CATEGORY,
            description="Load a video prompt from models/vap_video_prompts.",
            inputs=[file_input("name", VIDEO_PROMPTS, "File of a video prompt.")],
            outputs=[VideoPromptWire.Output(display_name="video_prompt")],
        )

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        """Read the file."""
        file = chosen_file(VIDEO_PROMPTS, name)
        if file is None:
            raise ValueError("Choose the file of a video prompt, or remove this node.")
        return io.NodeOutput(vap.VideoPrompt.load(file))

    @classmethod
    def fingerprint_inputs(cls, name: str) -> str:
        """Return what changes when the file does."""
        file = chosen_file(VIDEO_PROMPTS, name)
        return "" if file is None else f"{file} {Path(file).stat().st_mtime_ns}"


class VapJoinVideoPrompts(io.ComfyNode):
    """Two video prompts as one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VapJoinVideoPrompts",
            display_name="Join Video Prompts (VAP)",
            category=CATEGORY,
            description="Use the references of two video prompts together.",
            inputs=[VideoPromptWire.Input("first"), VideoPromptWire.Input("second")],
            outputs=[VideoPromptWire.Output(display_name="video_prompt")],
        )

    @classmethod
    def execute(cls, first: vap.VideoPrompt, second: vap.VideoPrompt) -> io.NodeOutput:
        """Return the joined prompt."""
        return io.NodeOutput(first.joined(second))
