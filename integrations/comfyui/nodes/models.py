"""Choose a model, and LoRAs for it."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from comfy_api.v0_0_2 import io

from vap.acceleration.plan import Profile, Quantization
from vap.acceleration.student import DISTILLED

from .folders import BACKBONES, EXPERTS, LORAS, NONE, chosen_file, file_input
from .wires import CATEGORY, Model, ModelWire


class VapLoadModel(io.ComfyNode):
    """A model and how to load it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VapLoadModel",
            display_name="Load VAP Model",
            category=CATEGORY,
            description="Choose a Video-As-Prompt model. It is loaded when a node needs it.",
            inputs=[
                io.String.Input(
                    "model",
                    default="vap-mini",
                    tooltip="vap-mini (bundled, small), wan, cogvideox, a folder or a Hub id. "
                    "Models of the Hub are downloaded once.",
                ),
                io.Combo.Input(
                    "profile",
                    options=[NONE, *get_args(Profile)],
                    default=NONE,
                    tooltip="exact: faster, same result. fast, turbo: faster still, less exact.",
                ),
                io.String.Input(
                    "memory",
                    default="",
                    tooltip="Memory limit, such as 10GB or auto. Empty: the free memory of a GPU.",
                ),
                io.Combo.Input(
                    "quantize",
                    options=[NONE, *get_args(Quantization)],
                    default=NONE,
                    tooltip="Precision of the transformer's weights.",
                ),
                file_input(
                    "expert", EXPERTS, "Expert in place of the model's own (models/vap_experts)."
                ),
                file_input(
                    "backbone",
                    BACKBONES,
                    "Wan 2.1 image-to-video file to take the backbone from: ComfyUI's format, fp8 "
                    "with scales or GGUF (models/diffusion_models).",
                ),
                file_input(
                    "distilled_lora",
                    LORAS,
                    "Distilled LoRA for few steps. Names without suffix are published LoRAs in "
                    "the Hub's cache.",
                    *DISTILLED,
                ),
            ],
            outputs=[ModelWire.Output(display_name="model")],
        )

    @classmethod
    def execute(
        cls,
        model: str,
        profile: str,
        memory: str,
        quantize: str,
        expert: str,
        backbone: str,
        distilled_lora: str,
    ) -> io.NodeOutput:
        """Return the model."""
        published = distilled_lora if distilled_lora in DISTILLED else None
        return io.NodeOutput(
            Model(
                model,
                profile=None if profile == NONE else profile,
                memory=memory or None,
                quantize=None if quantize == NONE else quantize,
                expert=chosen_file(EXPERTS, expert),
                backbone=chosen_file(BACKBONES, backbone),
                student=None if published else chosen_file(LORAS, distilled_lora),
                distilled=published,
            )
        )


class VapLora(io.ComfyNode):
    """A LoRA on a model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VapLora",
            display_name="Apply LoRA (VAP)",
            category=CATEGORY,
            description="Apply a LoRA to a model. Chain these nodes for several LoRAs.",
            inputs=[
                ModelWire.Input("model"),
                file_input("lora", LORAS, "LoRA of the backbone in any common naming."),
                io.Float.Input("strength", default=1.0, min=-10.0, max=10.0, step=0.01),
            ],
            outputs=[ModelWire.Output("patched", display_name="model")],
        )

    @classmethod
    def execute(cls, model: Model, lora: str, strength: float) -> io.NodeOutput:
        """Return the model with the LoRA."""
        file = chosen_file(LORAS, lora)
        if file is None or strength == 0.0:
            return io.NodeOutput(model)
        return io.NodeOutput(replace(model, lora=(*model.lora, (file, strength))))
