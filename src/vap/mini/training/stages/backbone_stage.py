"""Stage ``backbone``: the stock image-to-video model, whose captions describe the effect."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanAttention
from torch import Tensor, nn
from transformers import T5Tokenizer, UMT5EncoderModel

from vap.files.atomic import atomic_file
from vap.mini.training.deepening import deepened
from vap.mini.training.earlier import output_of
from vap.mini.training.encoded_pairs import (
    Batch,
    ClipBatch,
    draw,
    read_origin,
    read_shards,
    shards_of,
    take,
)
from vap.mini.training.mini_recipe import BackboneStage, EncoderConfig, TransformerConfig
from vap.mini.training.small_encoders import (
    build_image_encoder,
    build_image_processor,
    build_text_encoder,
    build_tokenizer,
    encode_text,
    image_encoder_note,
    synth_captions,
    token_ids,
    use_compact_text,
)
from vap.training.objectives.flow_matching import with_mask
from vap.training.predictions import flow_for, flow_scheduler
from vap.training.trainer import train
from vap.training.variants import Stream
from vap.training.variants.wan_variant import WanVariant

# Outweighs a fresh projection's other components, whose deviation is about 0.6.
_OWN_PLACE = 4.0
# Rows of a block's modulation: shift, scale, gate of attention, then of the feed-forward.
_GATES = (2, 5)
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True)
class Sample(Batch):
    """Clips, and their captions as ids and mask ``[B, L, 2]``."""

    clips: ClipBatch
    captions: Tensor


def build_transformer(
    config: TransformerConfig, encoders: EncoderConfig, channels: int
) -> WanTransformer3DModel:
    """A fresh stock backbone for latents of ``channels`` channels."""
    model = WanTransformer3DModel(
        patch_size=config.patch_size,
        num_attention_heads=config.num_attention_heads,
        attention_head_dim=config.attention_head_dim,
        in_channels=2 * channels + 4,
        out_channels=channels,
        text_dim=encoders.text_dim,
        freq_dim=config.freq_dim,
        ffn_dim=config.ffn_dim,
        num_layers=config.num_layers,
        image_dim=encoders.image_dim,
        added_kv_proj_dim=config.num_attention_heads * config.attention_head_dim,
    )
    for block in model.blocks:
        _look_at_own_place(block.attn1, config.attention_head_dim)
        # Open gates: the stock initialization starts them near zero, for depths that need it.
        with torch.no_grad():
            block.scale_shift_table[:, _GATES] = 1.0
    return model


@torch.no_grad()
def _look_at_own_place(attention: WanAttention, head_dim: int) -> None:
    """Start half of the heads attending to their own place in every frame.

    Animating an image is mostly carrying it along, so the first thing a fresh model must discover
    is to look at the same place of the first frame. A constant component of query and key in the
    fastest rotary pair of height and of width has that score: it falls with the distance.
    """
    space = 2 * (head_dim // 6)
    rows, columns = head_dim - 2 * space, head_dim - space
    for head in range(0, attention.heads, 2):
        for projection in (attention.to_q, attention.to_k):
            projection.bias[head * head_dim + rows] = _OWN_PLACE
            projection.bias[head * head_dim + columns] = _OWN_PLACE


def caption_batch(tokenizer: T5Tokenizer, captions: list[str], text_tokens: int) -> Tensor:
    """Ids and mask ``[B, text_tokens, 2]``, the last column padding in every row."""
    ids, mask = token_ids(tokenizer, captions, text_tokens - 1)
    ids = F.pad(ids, (0, 1), value=tokenizer.pad_token_id)
    return torch.stack([ids, F.pad(mask, (0, 1))], dim=-1)


def stream_of(clips: ClipBatch, text: Tensor, *, reference: bool = False) -> Stream:
    """Clips as the transformer takes them: ``[B, …]``, or ``[B, 1, …]`` of references."""
    parts = clips.latents, with_mask(clips.conditions), text, clips.image_tokens
    latents, condition, text, image = (p.unsqueeze(1) if reference else p for p in parts)
    return Stream(latents, condition, text, image)


def run(recipe: BackboneStage) -> Path:
    """Train to the last step; see :func:`vap.training.trainer.train`."""
    return train(BackboneTask(recipe), recipe)


class BackboneTask:
    """Flow matching of single clips with the caption, the first frame and nothing else."""

    model: nn.Module  # text encoder and transformer, trained together

    def __init__(self, recipe: BackboneStage) -> None:
        self.recipe, flow = recipe, recipe.flow
        _check_image_encoder(recipe)
        self.pairs = read_shards(*recipe.latents)
        channels = self.pairs.latents.shape[2]
        if recipe.start:
            start = output_of("backbone", recipe.start)
            flow = flow_for(flow, start)
            self.tokenizer = T5Tokenizer.from_pretrained(start / "tokenizer")
            # A finished pipeline, too, which stores half precision and an expert (left out here).
            text_encoder = UMT5EncoderModel.from_pretrained(
                start / "text_encoder", dtype=torch.float32
            )
            transformer = WanTransformer3DModel.from_pretrained(
                start / "transformer", torch_dtype=torch.float32
            )
            transformer = deepened(transformer, recipe.deepen_after)
        else:
            self.tokenizer = _tokenizer(recipe.output / "tokenizer")
            text_encoder = build_text_encoder(recipe.encoders, len(self.tokenizer))
            torch.manual_seed(recipe.loop.seed)
            transformer = build_transformer(recipe.model, recipe.encoders, channels)
        use_compact_text(transformer, recipe.text_tokens)
        self.text_encoder, self.transformer = text_encoder, transformer
        self.model = _CaptionedDenoiser(text_encoder, transformer)
        self.variant = WanVariant(flow)

    def batch(self, step: int) -> Sample:
        """Clips of a step with captions that name the effect, do not, or are empty."""
        recipe = self.recipe
        clips = take(self.pairs, *draw(self.pairs, recipe.loop.batch_size, recipe.loop.seed, step))
        rng = np.random.default_rng([recipe.loop.seed, step, 1])
        captions = [
            ""
            if rng.random() < recipe.caption_dropout
            else effect
            if rng.random() < recipe.effect_in_caption
            else scene
            for scene, effect in clips.captions
        ]
        return Sample(clips, caption_batch(self.tokenizer, captions, recipe.text_tokens))

    def loss(
        self, model: nn.Module, batch: Sample, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Flow-matching loss at one random noise level per clip."""
        batch = batch.to(generator.device)
        target = stream_of(batch.clips, batch.captions)
        level = self.variant.objective.draw(len(batch.captions), generator)
        return {"loss": self.variant.loss(model, target, None, level, generator).mean()}

    def save(self, output: Path) -> None:
        """Write the parts under their pipeline names; the scheduler states the prediction."""
        encoders, prediction = self.recipe.encoders, self.variant.flow.prediction
        parts = {
            "scheduler": flow_scheduler(prediction or "velocity"),
            "transformer": self.transformer,
            "tokenizer": self.tokenizer,
            "text_encoder": self.text_encoder,
            "image_encoder": build_image_encoder(encoders),
            "image_processor": build_image_processor(encoders),
        }
        for name, part in parts.items():
            part.save_pretrained(output / name)


def _check_image_encoder(recipe: BackboneStage) -> None:
    """Refuse to write another image encoder than the one that made the shards' tokens."""
    wanted = image_encoder_note(recipe.encoders)
    for path in (path for folder in recipe.latents for path in shards_of(folder)):
        origin = read_origin(path)
        if origin.image_encoder != wanted:
            raise ValueError(
                f"The image tokens in {path} were made by {origin.image_encoder}, and this "
                f"recipe's encoders are {wanted}: the backbone would be written beside an image "
                "encoder that it was not trained with. Give both stages the same encoders."
            )


def _tokenizer(folder: Path) -> T5Tokenizer:
    """The run's tokenizer: its ids belong to the weights, so a continued run must keep them.

    Every process of a run may come here first. What they build is the same, and each file takes
    its place whole, so none disturbs another that reads already.
    """
    if not all(_is_json(folder / name) for name in _TOKENIZER_FILES):
        with TemporaryDirectory() as made:
            build_tokenizer(synth_captions()).save_pretrained(made)
            for name in _TOKENIZER_FILES:
                with atomic_file(folder / name) as partial:
                    shutil.copyfile(Path(made, name), partial)
    return T5Tokenizer.from_pretrained(folder)


def _is_json(path: Path) -> bool:
    """Whether a file is there and whole; a killed run may have left no more than its start."""
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


class _CaptionedDenoiser(nn.Module):
    """Text encoder and transformer in one forward."""

    def __init__(self, text_encoder: UMT5EncoderModel, transformer: nn.Module) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.transformer = transformer

    def forward(
        self, latents: Tensor, timestep: Tensor, captions: Tensor, image: Tensor, **_: Any
    ) -> tuple[Tensor]:
        text = encode_text(self.text_encoder, *captions.unbind(-1))
        return self.transformer(latents, timestep, text, image, return_dict=False)
