"""The denoising loop, with progress, previews and interruption."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_args

import comfy.utils
import torch
from comfy_api.v0_0_2 import io
from PIL import Image

import vap
from vap.acceleration.plan import WantedVideo
from vap.generation.preview import emerging, fit_colors
from vap.media.pixels import Fit

from .images import first_frame
from .loaded import pipeline_for
from .wires import CATEGORY, Model, ModelWire, VideoPromptWire

_PREVIEW = 512  # pixels, of the longer side


class VapSample(io.ComfyNode):
    """A video prompt and an image to latents."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VapSample",
            display_name="Sample (VAP)",
            category=CATEGORY,
            description="Animate an image with the semantics of a video prompt, at its size.",
            inputs=[
                ModelWire.Input("model"),
                io.Image.Input("image", tooltip="First frame."),
                VideoPromptWire.Input(
                    "video_prompt", optional=True, tooltip="Without it, the backbone runs alone."
                ),
                io.String.Input("prompt", default="", multiline=True),
                io.String.Input(
                    "negative_prompt",
                    default="",
                    multiline=True,
                    tooltip="What to avoid. Empty: the model's own.",
                ),
                io.Int.Input(
                    "seed", default=0, min=0, max=(1 << 63) - 1, control_after_generate=True
                ),
                io.Int.Input("steps", default=0, min=0, max=1000, tooltip="0: the model's own."),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How closely to follow the reference.",
                ),
                io.Float.Input(
                    "guidance_scale",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    tooltip="Guidance by the prompt. 0: the model's own; 1: none.",
                ),
                io.Float.Input(
                    "reference_guidance_scale",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    tooltip="Guidance by the reference. 0: the model's own; 1: none.",
                ),
                io.Combo.Input("fit", options=list(get_args(Fit)), default="cover"),
                io.Image.Input("last_image", optional=True, tooltip="Last frame (Wan)."),
                io.ClipVisionOutput.Input(
                    "clip_vision_output",
                    optional=True,
                    tooltip="The image, encoded by CLIP ViT-H, in place of the model's own (Wan).",
                ),
            ],
            outputs=[io.Latent.Output(display_name="latent")],
        )

    @classmethod
    def execute(
        cls,
        model: Model,
        image: torch.Tensor,
        prompt: str,
        negative_prompt: str,
        seed: int,
        steps: int,
        strength: float,
        guidance_scale: float,
        reference_guidance_scale: float,
        fit: str,
        video_prompt: vap.VideoPrompt | None = None,
        last_image: torch.Tensor | None = None,
        clip_vision_output: Any = None,
    ) -> io.NodeOutput:
        """Return the latents, as ComfyUI's nodes for Wan have them."""
        pipeline = pipeline_for(model, _wanted(video_prompt))
        settings = _settings(
            pipeline,
            negative_prompt=negative_prompt,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            reference_guidance_scale=reference_guidance_scale,
        )
        if video_prompt is not None:
            size = video_prompt.shape
            settings |= {"height": size.height, "width": size.width, "num_frames": size.frames}
        if last_image is not None:
            settings["last_image"] = first_frame(last_image)
        if clip_vision_output is not None:
            settings["image_embeds"] = clip_vision_output.penultimate_hidden_states
        latents = pipeline(
            first_frame(image),
            prompt,
            video_prompt=video_prompt,
            strength=strength,
            fit=fit,
            generator=torch.Generator().manual_seed(seed),
            callback_on_step_end=_step_end(pipeline, video_prompt),
            output_type="vae_latent",
            **settings,
        ).frames
        # A detail network reads the image when the latents are decoded.
        shown = {"vap_image": first_frame(image), "vap_fit": fit}
        return io.NodeOutput({"samples": latents.float().cpu(), **shown})


def _wanted(prompt: vap.VideoPrompt | None) -> WantedVideo:
    if prompt is None:
        return WantedVideo()
    size = prompt.shape
    return WantedVideo(size.height, size.width, size.frames, len(prompt))


def _settings(pipeline: Any, **given: Any) -> dict[str, Any]:
    """The model's own settings that a call takes, replaced by those that are given."""
    native = pipeline.defaults.as_config() | {name: v for name, v in given.items() if v}
    taken = inspect.signature(type(pipeline).__call__).parameters
    return {name: value for name, value in native.items() if name in taken}


def _step_end(
    pipeline: Any, prompt: vap.VideoPrompt | None
) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
    """Show progress and a preview; ComfyUI raises in there if the user interrupts."""
    colors = None if prompt is None else fit_colors(prompt, pipeline)
    # How many steps there are is known once the call has begun.
    progress = comfy.utils.ProgressBar(1)

    def step_end(_: Any, index: int, __: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        preview = None
        if colors is not None:
            frames = colors.frames(emerging(pipeline, tensors["latents"]))
            middle = Image.fromarray(frames[len(frames) // 2])
            scale = _PREVIEW / max(middle.size)
            shown = middle.resize([round(scale * side) for side in middle.size])
            preview = ("JPEG", shown, _PREVIEW)
        progress.update_absolute(index + 1, pipeline.num_timesteps, preview)
        return {}

    return step_end
