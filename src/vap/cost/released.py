"""Configurations of the released models, for predictions without a download."""

from __future__ import annotations

from vap.cost.model import PlannedModel
from vap.files.folders import RELEASED, family_of
from vap.files.names import full_name, local_model
from vap.files.reading import reading
from vap.shapes import PixelShape

RELEASED_MODELS = {
    RELEASED["wan"]: PlannedModel(
        family="wan",
        transformer={
            "num_attention_heads": 40,
            "attention_head_dim": 128,
            "in_channels": 36,
            "out_channels": 16,
            "text_dim": 4096,
            "freq_dim": 256,
            "ffn_dim": 13824,
            "num_layers": 40,
            "image_dim": 1280,
            "added_kv_proj_dim": 5120,
            "block_idx_with_mot_ref": list(range(0, 40, 4)),
        },
        vae={},  # diffusers' own default is this VAE
        parameters={
            "transformer": 20_700_000_000,
            "text_encoder": 5_680_000_000,
            "image_encoder": 632_000_000,
            "vae": 127_000_000,
        },
        largest_encoder_weight=256_384 * 4096,
        shape=PixelShape(49, 480, 832),
        scheduler={"use_flow_sigmas": True, "flow_shift": 3.0},
    ),
    RELEASED["cogvideox"]: PlannedModel(
        family="cogvideox",
        transformer={
            "num_attention_heads": 48,
            "attention_head_dim": 64,
            "in_channels": 32,
            "out_channels": 16,
            "time_embed_dim": 512,
            "text_embed_dim": 4096,
            "num_layers": 42,
            "sample_width": 90,
            "sample_height": 60,
            "sample_frames": 49,
            "max_text_seq_length": 226,
            "use_rotary_positional_embeddings": True,
            "use_learned_positional_embeddings": True,
            "block_idx_with_mot_ref": list(range(41)),
        },
        vae={
            "block_out_channels": (128, 256, 256, 512),
            "latent_channels": 16,
            "layers_per_block": 3,
            "down_block_types": ("CogVideoXDownBlock3D",) * 4,
            "up_block_types": ("CogVideoXUpBlock3D",) * 4,
            "sample_height": 480,
            "sample_width": 720,
            "scaling_factor": 0.7,
            "invert_scale_latents": True,
        },
        parameters={
            "transformer": 11_100_000_000,
            "text_encoder": 4_760_000_000,
            "vae": 216_000_000,
        },
        largest_encoder_weight=32_128 * 4096,
        shape=PixelShape(49, 480, 720),
    ),
}


def planned_model(name: str) -> PlannedModel | None:
    """A model as the cost model sees it; None where that would take a download."""
    if full_name(name) in RELEASED_MODELS:
        return RELEASED_MODELS[full_name(name)]
    folder = local_model(name)
    if folder is None:
        return None
    with reading(folder):
        return PlannedModel.from_folder(folder, family_of(folder))
