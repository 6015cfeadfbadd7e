"""Stage ``latents``: render pairs, encode each once, write shards."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from vap.acceleration.onednn import is_available, use_onednn
from vap.acceleration.whole_clips import use_whole_clips
from vap.data.latents import EncodedPairs, write_shard
from vap.data.synth import SynthPair, sample_pair
from vap.training.config import LatentsStage, RenderConfig
from vap.training.encoders import build_image_encoder, build_image_processor, encode_images
from vap.training.stages.earlier import output_of
from vap.training.stages.vae import to_video

_LOGGER = logging.getLogger(__name__)
_PAIRS_AT_ONCE = 8
# As many as go through the VAE whole at the size of a mini model, see ``whole_clips.LARGEST``.
_CLIPS_AT_ONCE = 2


class PairEncoder:
    """The frozen encoders of the pipeline, applied to rendered pairs."""

    def __init__(self, recipe: LatentsStage) -> None:
        dtype = torch.bfloat16 if recipe.precision == "bf16" else torch.float32
        folder = output_of("vae", recipe.vae)
        self.vae = AutoencoderKLWan.from_pretrained(folder, torch_dtype=dtype).eval()
        if is_available():
            use_onednn(self.vae)
        use_whole_clips(self.vae)
        self.image_encoder = build_image_encoder(recipe.encoders)
        self.image_processor = build_image_processor(recipe.encoders)
        self.mean = torch.tensor(self.vae.config.latents_mean).view(-1, 1, 1, 1)
        self.std = torch.tensor(self.vae.config.latents_std).view(-1, 1, 1, 1)

    @torch.no_grad()
    def encode(self, pairs: list[SynthPair]) -> EncodedPairs:
        """Encode some pairs."""
        clips = [clip for pair in pairs for clip in (pair.reference, pair.target)]
        videos = torch.stack([to_video(clip.frames) for clip in clips])
        # The pipeline's condition: the first frame, then zeros.
        images = torch.zeros_like(videos)
        images[:, :, 0] = videos[:, :, 0]
        tokens = encode_images(
            self.image_encoder,
            self.image_processor,
            [torch.from_numpy(clip.frames[0]) for clip in clips],
        )
        texts = [(clip.scene_caption, clip.caption) for clip in clips]
        return EncodedPairs(
            latents=self._latents(videos).unflatten(0, (-1, 2)),
            conditions=self._latents(images).unflatten(0, (-1, 2)),
            image_tokens=tokens.unflatten(0, (-1, 2)),
            captions=list(zip(texts[::2], texts[1::2], strict=True)),
            names=[pair.target.condition for pair in pairs],
        )

    def _latents(self, videos: Tensor) -> Tensor:
        """Normalised posterior modes ``[B, C, F, H, W]``."""
        parts = videos.to(self.vae.dtype).split(_CLIPS_AT_ONCE)
        modes = torch.cat([self.vae.encode(part).latent_dist.mode() for part in parts])
        return (modes.float() - self.mean) / self.std


def render_pairs(render: RenderConfig, seed: int, indices: range) -> list[SynthPair]:
    """Rendered pairs whose captions tell the effect (the scene's caption does not)."""
    return [sample_pair(seed, i, effect_in_caption=1.0, **render.arguments) for i in indices]


def run(recipe: LatentsStage) -> Path:
    """Write the shards of a recipe; those that are there already are kept.

    Returns:
        The folder of shards.
    """
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    recipe.output.mkdir(parents=True, exist_ok=True)
    encoder = PairEncoder(recipe)
    end = recipe.first + recipe.pairs
    for start in range(recipe.first, end, recipe.shard_size):
        path = recipe.output / f"pairs-{start:08d}.safetensors"
        if path.exists():
            continue
        stop = min(start + recipe.shard_size, end)
        parts = [
            encoder.encode(
                render_pairs(recipe.render, recipe.seed, range(i, min(i + _PAIRS_AT_ONCE, stop)))
            )
            for i in range(start, stop, _PAIRS_AT_ONCE)
        ]
        write_shard(path, _concatenate(parts))
        _LOGGER.info("encoded pairs %d to %d", start, stop)
    return recipe.output


def _concatenate(parts: list[EncodedPairs]) -> EncodedPairs:
    return EncodedPairs(
        latents=torch.cat([part.latents for part in parts]),
        conditions=torch.cat([part.conditions for part in parts]),
        image_tokens=torch.cat([part.image_tokens for part in parts]),
        captions=[caption for part in parts for caption in part.captions],
        names=[name for part in parts for name in part.names],
    )
