"""Effects: references with captions and settings, by name."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from comfy_api.v0_0_2 import io

import vap
from vap.effects.create import create_effect
from vap.effects.library import effects, find_effect, install
from vap.effects.manifest import MANIFEST

from .captions import as_files
from .loaded import encoders_of
from .wires import CATEGORY, Model, ModelWire, Reference, ReferencesWire, VideoPromptWire


class VapLoadEffect(io.ComfyNode):
    """An effect as a video prompt with settings."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VapLoadEffect",
            display_name="Load Effect (VAP)",
            category=CATEGORY,
            description="Load a bundled or installed effect, encoded at the model's own size.",
            inputs=[
                ModelWire.Input("model"),
                io.Combo.Input("effect", options=[effect.name for effect in effects()]),
                io.String.Input(
                    "subject", default="", multiline=True, tooltip="Caption of the image."
                ),
            ],
            outputs=[
                VideoPromptWire.Output("video_prompt", display_name="video_prompt"),
                io.String.Output("prompt", display_name="prompt"),
                io.Int.Output("steps", display_name="steps"),
                io.Float.Output("strength", display_name="strength"),
                io.Float.Output("guidance_scale", display_name="guidance_scale"),
                io.Float.Output(
                    "reference_guidance_scale", display_name="reference_guidance_scale"
                ),
            ],
        )

    @classmethod
    def execute(cls, model: Model, effect: str, subject: str) -> io.NodeOutput:
        """Return video prompt, prompt and settings; 0 leaves a setting to the model."""
        found = find_effect(effect)
        if found.video_prompt is not None:
            prompt = vap.VideoPrompt.load(found.video_prompt)
        else:
            prompt = encoders_of(model).encode_video_prompt(
                [found.reference], [found.reference_prompt]
            )
        settings = found.settings
        return io.NodeOutput(
            prompt,
            found.request(subject).get("prompt", ""),
            settings.num_inference_steps or 0,
            1.0 if settings.strength is None else settings.strength,
            settings.guidance_scale or 0.0,
            settings.reference_guidance_scale or 0.0,
        )

    @classmethod
    def fingerprint_inputs(cls, effect: str, **_: Any) -> int:
        """Return what changes when the effect is saved again."""
        return (find_effect(effect).folder / MANIFEST).stat().st_mtime_ns


class VapSaveEffect(io.ComfyNode):
    """A reference as an effect."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VapSaveEffect",
            display_name="Save Effect (VAP)",
            category=CATEGORY,
            description="Save a reference with its captions and settings as an effect of yours.",
            inputs=[
                ReferencesWire.Input("references", tooltip="One reference."),
                io.String.Input("name", default="my-effect", tooltip="In lower case."),
                io.String.Input(
                    "prompt",
                    default="{subject}",
                    multiline=True,
                    tooltip="Caption of a result; {subject} stands for the caption of the image.",
                ),
                io.String.Input("description", default="", tooltip="What happens."),
                io.Combo.Input("category", options=["concept", "style", "motion", "camera"]),
                io.Float.Input("strength", default=1.0, min=0.0, max=1.0, step=0.01),
                io.Float.Input(
                    "reference_guidance_scale", default=0.0, min=0.0, max=100.0, step=0.1
                ),
                io.Boolean.Input("replace", default=False, tooltip="Replace one of this name."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        references: tuple[Reference, ...],
        name: str,
        prompt: str,
        description: str,
        category: str,
        strength: float,
        reference_guidance_scale: float,
        replace: bool,
    ) -> io.NodeOutput:
        """Install the effect in the user's library."""
        if len(references) != 1:
            raise ValueError(f"References: {len(references)}. An effect has one; give one.")
        settings = {"strength": strength if strength < 1.0 else None}
        settings["reference_guidance_scale"] = reference_guidance_scale or None
        with TemporaryDirectory() as folder:
            made = create_effect(
                Path(folder) / "effect",
                name=name,
                reference=as_files(references, Path(folder))[0],
                reference_prompt=references[0].caption,
                prompt=prompt,
                description=description,
                category=category,
                settings={key: value for key, value in settings.items() if value is not None},
            )
            install(made.folder, replace=replace)
        return io.NodeOutput()
