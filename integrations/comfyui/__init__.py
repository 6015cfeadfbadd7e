"""Video-As-Prompt in ComfyUI: animate an image with the semantics of reference videos."""

from __future__ import annotations

from comfy_api.v0_0_2 import ComfyExtension, io

from .nodes import folders
from .nodes.captions import VapWritePrompts
from .nodes.decode import VapDecode
from .nodes.effects import VapLoadEffect, VapSaveEffect
from .nodes.models import VapLoadModel, VapLora
from .nodes.prompts import VapEncode, VapJoinVideoPrompts, VapLoadVideoPrompt, VapSaveVideoPrompt
from .nodes.references import VapReference
from .nodes.sample import VapSample

NODES: list[type[io.ComfyNode]] = [
    VapLoadModel,
    VapLora,
    VapReference,
    VapWritePrompts,
    VapEncode,
    VapSaveVideoPrompt,
    VapLoadVideoPrompt,
    VapJoinVideoPrompts,
    VapLoadEffect,
    VapSaveEffect,
    VapSample,
    VapDecode,
]


class VideoAsPromptExtension(ComfyExtension):
    """The nodes of this pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return all nodes."""
        return NODES


async def comfy_entrypoint() -> ComfyExtension:
    """Return the extension; ComfyUI calls this once."""
    folders.register()
    return VideoAsPromptExtension()
