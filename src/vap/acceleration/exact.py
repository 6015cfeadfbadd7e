"""The exact profile: the same result to rounding, as fast as the machine allows."""

from __future__ import annotations

import logging
from typing import Any, TypeVar

from vap.acceleration.attention import check_attention, choose_attention, use_attention
from vap.acceleration.compile import compile_blocks
from vap.acceleration.onednn import use_onednn
from vap.acceleration.padding import skip_padding
from vap.acceleration.whole_clips import use_whole_clips
from vap.models.wan import WanVideoAsPromptTransformer3DModel

_logger = logging.getLogger(__name__)

PipelineT = TypeVar("PipelineT")


def apply_exact(
    pipeline: PipelineT,
    *,
    compile: bool = False,  # noqa: A002 - torch's word for it
    attention: str | None = None,
) -> PipelineT:
    """Make a loaded pipeline faster without giving anything up: results are equal to rounding.

    On a CPU, products, attention and convolutions run by the kernels measured to be fastest there;
    on a GPU the fastest attention kernel is chosen. Captions are encoded without padding and, on a
    CPU, read without it by Wan; small clips go through Wan's VAE whole.
    """
    loaded: Any = pipeline
    transformer = loaded.transformer
    device, dtype = loaded._execution_device, transformer.dtype
    if attention is not None:
        check_attention(attention, device)
    chosen = attention or choose_attention(device, dtype)
    use_attention(transformer, chosen)
    if device.type == "cpu":
        for name in ("transformer", "vae", "text_encoder", "image_encoder", "detail"):
            component = getattr(loaded, name, None)
            if component is not None:
                use_onednn(component)
    if loaded.text_encoder is not None:
        skip_padding(loaded.text_encoder)
    use_whole_clips(loaded.vae)
    if isinstance(transformer, WanVideoAsPromptTransformer3DModel):
        # Compiled blocks would be compiled again for every length of a caption.
        transformer.reads_padding_once = device.type == "cpu" and not compile
    if compile:
        compile_blocks(transformer.expert_blocks)
    _logger.info("exact profile: %s attention%s", chosen, ", compiled blocks" if compile else "")
    return pipeline
