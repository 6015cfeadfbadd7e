"""Stage ``latents``: render pairs, encode each once, write shards."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from safetensors import safe_open
from torch import Tensor

from vap.acceleration.onednn import use_onednn
from vap.acceleration.whole_clips import use_whole_clips
from vap.devices import note_slow_half
from vap.files.weights import plain_configuration
from vap.mini.training.earlier import output_of
from vap.mini.training.encoded_pairs import (
    EncodedPairs,
    ShardOrigin,
    read_origin,
    shards_of,
    write_shard,
)
from vap.mini.training.mini_recipe import LatentsStage, RenderConfig
from vap.mini.training.small_encoders import (
    build_image_encoder,
    build_image_processor,
    encode_images,
    image_encoder_note,
)
from vap.mini.training.stages.vae_stage import to_video
from vap.synth import SynthPair, sample_pair

_LOGGER = logging.getLogger(__name__)
_PAIRS_AT_ONCE = 8
# As many as go through the VAE whole at the size of a mini model, see ``whole_clips.LARGEST``.
_CLIPS_AT_ONCE = 2


class PairEncoder:
    """The frozen encoders of the pipeline, applied to rendered pairs."""

    def __init__(self, recipe: LatentsStage) -> None:
        dtype = torch.bfloat16 if recipe.precision == "bf16" else torch.float32
        if dtype == torch.bfloat16:
            note_slow_half(torch.device("cpu"))
        folder = output_of("vae", recipe.vae)
        self.vae = AutoencoderKLWan.from_pretrained(folder, torch_dtype=dtype).eval()
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
        """Normalized posterior modes ``[B, C, F, H, W]``."""
        parts = videos.to(self.vae.dtype).split(_CLIPS_AT_ONCE)
        modes = torch.cat([self.vae.encode(part).latent_dist.mode() for part in parts])
        return (modes.float() - self.mean) / self.std


def render_pairs(render: RenderConfig, seed: int, indices: range) -> list[SynthPair]:
    """Rendered pairs whose captions tell the effect (the scene's caption does not)."""
    return [sample_pair(seed, i, effect_in_caption=1.0, **render.arguments) for i in indices]


def run(recipe: LatentsStage) -> Path:
    """Write the shards of a recipe; those of it that are there already are kept.

    A shard with fewer pairs than the recipe asks for is written again.
    """
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    content = _content_hash(recipe, output_of("vae", recipe.vae))
    recipe.output.mkdir(parents=True, exist_ok=True)
    missing = _missing_shards(recipe, content)
    encoder = PairEncoder(recipe)
    for wanted in missing:
        indices = range(wanted.first, wanted.stop)
        parts = [
            encoder.encode(
                render_pairs(recipe.render, recipe.seed, indices[at : at + _PAIRS_AT_ONCE])
            )
            for at in range(0, len(indices), _PAIRS_AT_ONCE)
        ]
        write_shard(_place(recipe, wanted.first), EncodedPairs.joined(parts), wanted)
        _LOGGER.info("encoded pairs %d to %d", wanted.first, wanted.stop)
    return recipe.output


def _place(recipe: LatentsStage, first: int) -> Path:
    return recipe.output / f"pairs-{first:08d}.safetensors"


def _content_hash(recipe: LatentsStage, vae: Path) -> str:
    """Identity of what decides an encoded pair besides its index."""
    tree = recipe.model_dump(
        mode="json", exclude={"output", "pairs", "first", "threads", "vae", "stage"}
    )
    digest = hashlib.sha256(json.dumps(tree, sort_keys=True).encode())
    digest.update(plain_configuration(vae / "config.json"))
    for path in sorted(vae.glob("*.safetensors")):
        with safe_open(path, framework="pt") as weights:
            # Not the decoder's: it may be trained further without any change to latents.
            for name in sorted(weights.keys()):
                if name.startswith(("decoder.", "post_quant_conv.")):
                    continue
                digest.update(name.encode())
                values = weights.get_tensor(name).flatten().view(torch.uint8)
                digest.update(values.numpy().tobytes())
    return digest.hexdigest()


def _missing_shards(recipe: LatentsStage, content: str) -> list[ShardOrigin]:
    """The shards that are still to be written; those that exist are checked."""
    there = {path: _origin(path, content) for path in shards_of(recipe.output)}
    end = recipe.first + recipe.pairs
    missing = []
    for start in range(recipe.first, end, recipe.shard_size):
        stop = min(start + recipe.shard_size, end)
        wanted = ShardOrigin(start, stop, content, image_encoder_note(recipe.encoders))
        found = there.pop(_place(recipe, start), None)
        if found is None or found.stop < wanted.stop:
            missing.append(wanted)
    for path, found in there.items():
        for wanted in missing:
            if found.first < wanted.stop and wanted.first < found.stop:
                raise ValueError(
                    f"{path} has pairs {found.first} to {found.stop - 1}, which the shard from "
                    f"{wanted.first} on would have, too. Start the pairs of another run (first) "
                    "after those of this one, or choose another output folder."
                )
    return missing


def _origin(path: Path, content: str) -> ShardOrigin:
    """Which pairs are in an existing shard of the recipe with this content."""
    origin = read_origin(path)
    if origin.content != content:
        raise ValueError(
            f"{path} was written by another recipe: seed, shard_size, precision, render, encoders "
            "or the VAE's encoder differ. Choose another output folder, or remove the shards of "
            "this one."
        )
    return origin
