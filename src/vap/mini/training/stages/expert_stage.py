"""Stage ``expert``: the reference stream learns to tell the frozen backbone what happens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import T5Tokenizer, UMT5EncoderModel

from vap.mini.training.earlier import output_of
from vap.mini.training.encoded_pairs import Batch, ClipBatch, draw, only, read_shards, take
from vap.mini.training.mini_recipe import ExpertStage
from vap.mini.training.small_encoders import encode_text, use_compact_text
from vap.mini.training.stages.backbone_stage import caption_batch, stream_of
from vap.models.wan import WanVideoAsPromptTransformer3DModel
from vap.training.methods import strategy_of
from vap.training.predictions import flow_for
from vap.training.trainer import train
from vap.training.variants.wan_variant import WanVariant


@dataclass(frozen=True)
class PairSample(Batch):
    """Both sides of some pairs, with captions as ids and mask ``[2·B, L, 2]``, targets first."""

    target: ClipBatch
    reference: ClipBatch
    captions: Tensor


def run(recipe: ExpertStage) -> Path:
    """Train to the last step; see :func:`vap.training.trainer.train`."""
    return train(ExpertTask(recipe), recipe)


class ExpertTask:
    """Flow matching of targets whose effect only their reference shows."""

    model: nn.Module  # the transformer; only what the recipe's method trains requires gradients

    def __init__(self, recipe: ExpertStage) -> None:
        self.recipe = recipe
        self.pairs = only(read_shards(*recipe.latents), recipe.conditions)
        backbone = output_of("backbone", recipe.backbone)
        self.variant = WanVariant(flow_for(recipe.flow, backbone))
        if recipe.start:
            output_of("expert", recipe.start)
        self.tokenizer = T5Tokenizer.from_pretrained(backbone / "tokenizer")
        self.text_encoder = UMT5EncoderModel.from_pretrained(
            backbone / "text_encoder", dtype=torch.float32
        )
        self.text_encoder.requires_grad_(False).eval()
        self.strategy = strategy_of(recipe.method)
        torch.manual_seed(recipe.loop.seed)
        self.transformer = WanVideoAsPromptTransformer3DModel.from_pretrained(
            backbone / "transformer"
        )
        tuned = recipe.tuned(self.transformer.config.num_layers)
        self.strategy.prepare(self.transformer, tuned)
        use_compact_text(self.transformer, recipe.text_tokens)
        self.model = self.transformer

    def batch(self, step: int) -> PairSample:
        """Pairs of a step; both captions describe the scene alone."""
        recipe = self.recipe
        indices, sides = draw(self.pairs, recipe.loop.batch_size, recipe.loop.seed, step)
        target = take(self.pairs, indices, sides)
        reference = take(self.pairs, indices, [1 - side for side in sides])
        rng = np.random.default_rng([recipe.loop.seed, step, 1])
        kept = rng.random(len(indices)) >= recipe.caption_dropout
        # Dropped together: guidance replaces both captions at inference.
        captions = [
            scene if keep else ""
            for side in (target, reference)
            for keep, (scene, _) in zip(kept, side.captions, strict=True)
        ]
        batch = caption_batch(self.tokenizer, captions, recipe.text_tokens)
        return PairSample(target, reference, batch)

    def loss(
        self, model: nn.Module, batch: PairSample, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Flow-matching loss of the targets, references clean."""
        batch = batch.to(generator.device)
        # No part of the model, so that nobody else places it; nothing moves after the first step.
        self.text_encoder.to(generator.device)
        with torch.no_grad():
            text, reference_text = encode_text(self.text_encoder, *batch.captions.unbind(-1)).chunk(
                2
            )
        target, reference = stream_of(batch.target, text), None
        if self.strategy.reads_references:
            reference = stream_of(batch.reference, reference_text, reference=True)
        level = self.variant.objective.draw(len(text), generator)
        return {"loss": self.variant.loss(model, target, reference, level, generator).mean()}

    def save(self, output: Path) -> None:
        """Write what the method trained: for the expert, ``output/expert.safetensors``."""
        self.strategy.save(self.transformer, output)
