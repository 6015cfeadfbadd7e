"""Recipes of the stages that make the bundled model."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from vap.files.folders import GenerationDefaults
from vap.models.rope import ReferencePositions
from vap.synth import Split
from vap.training.sections import (
    FlowConfig,
    Recipe,
    Section,
    Seed,
    TrainingRecipe,
)
from vap.training.tuning_config import Method, ModelConfig


class RenderConfig(Section):
    """Which procedural clips are rendered."""

    # Names of the conditions of ``vap.synth``; empty for all that train.
    conditions: tuple[str, ...] = ()
    # Pixels, a multiple of 16: the VAE's 8 times the transformer's patch of 2.
    height: int = Field(64, gt=0, multiple_of=16)
    width: int = Field(96, gt=0, multiple_of=16)  # pixels, a multiple of 16
    frames: int = Field(17, gt=0)  # frames of a clip, 1 + 4k
    split: Split = "train"  # which conditions and scenes are drawn, see ``vap.synth``
    # Share of the pairs that show a variation of their condition. A caption cannot tell all of it,
    # so such pairs are for experts.
    varied: float = Field(0.0, ge=0, le=1)
    # Share of these that also lie sideways or stand beside another condition.
    mixed: float = Field(0.0, ge=0, le=1)
    # Share of the pairs without photographs and noise-like textures.
    drawn: float = Field(0.0, ge=0, le=1)

    @field_validator("frames")
    @classmethod
    def _whole_latent_frames(cls, frames: int) -> int:
        below = 1 + 4 * ((frames - 1) // 4)
        if frames != below:
            raise ValueError(f"the VAE takes 1 + 4k frames; set it to {below} or {below + 4}")
        return frames

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of ``sample_pair`` and ``sample_clip`` of ``vap.synth``."""
        return {**self.model_dump(), "conditions": self.conditions or None}


class AutoencoderConfig(Section):
    """Size of the ``AutoencoderKLWan``: 8× smaller in space (2× by patches), 4× in time."""

    base_dim: int = Field(16, gt=0)
    decoder_base_dim: int = Field(24, gt=0)
    z_dim: int = Field(16, gt=0)
    dim_mult: tuple[int, int, int] = (1, 2, 2)
    num_res_blocks: int = Field(1, gt=0)


class EncoderConfig(Section):
    """Sizes of the text encoder (UMT5) and the image encoder (CLIP vision)."""

    text_dim: int = Field(64, gt=0)
    text_layers: int = Field(2, gt=0)
    text_heads: int = Field(4, gt=0)
    image_dim: int = Field(64, gt=0)
    image_layers: int = Field(2, gt=1)
    image_heads: int = Field(4, gt=0)
    image_size: int = Field(64, gt=0)
    image_patch: int = Field(16, gt=0)
    seed: Seed = 0


class TransformerConfig(Section):
    """Size of the backbone, in the words of ``WanTransformer3DModel``."""

    num_layers: int = Field(6, gt=0)
    num_attention_heads: int = Field(4, gt=0)
    attention_head_dim: int = Field(40, gt=0)
    ffn_dim: int = Field(480, gt=0)
    freq_dim: int = Field(64, gt=0)
    patch_size: tuple[int, int, int] = (1, 2, 2)


def _check_fresh(model: Section, start: Path | None) -> None:
    """Refuse sizes of a fresh network where one is given that has its own."""
    if start is not None and model.model_fields_set:
        given = ", ".join(sorted(model.model_fields_set))
        raise ValueError(
            f"model ({given}) says how large a fresh network is, and start gives one that has its "
            "size already. Leave out model, or start."
        )


class VAEStage(TrainingRecipe):
    """Train the video autoencoder on rendered clips."""

    stage: Literal["vae"]
    render: RenderConfig = RenderConfig()
    # Size of a fresh VAE; one to continue from has its own.
    model: AutoencoderConfig = AutoencoderConfig()
    l1_weight: float = Field(1.0, ge=0)  # of the L1 distance between pixels
    # Of their squared distance: larger errors first, and PSNR measures it.
    mse_weight: float = Field(0.0, ge=0)
    # Weight of the L1 distance between spatial and temporal differences.
    gradient_weight: float = Field(0.5, ge=0)
    # Weight of the divergence from a standard normal, mean over latent elements.
    kl_weight: float = Field(1e-3, ge=0)
    # Clips from which the latents' mean and scale are measured at the end.
    statistics_clips: int = Field(64, gt=0)
    start: Path | None = None  # VAE folder to continue from; a fresh one when absent
    # Train the decoder alone: latents and their statistics stay as they are, so this may run beside
    # the stages that use them.
    freeze_encoder: bool = False

    @model_validator(mode="after")
    def _is_of_one_size(self) -> Self:
        _check_fresh(self.model, self.start)
        return self


class LatentsStage(Recipe):
    """Render pairs and encode each once into shards."""

    stage: Literal["latents"]
    vae: Path  # folder of the trained VAE
    pairs: int = Field(gt=0)  # pairs to encode
    first: int = Field(0, ge=0)  # index of the first pair, so that several runs can share the work
    shard_size: int = Field(256, gt=0)  # pairs a file
    seed: Seed = 0  # seed of the rendered pairs
    threads: int = Field(0, ge=0)  # CPU threads of PyTorch; 0 leaves PyTorch's choice
    # Arithmetic of the encoders: in bf16 latents are off by a hundredth of their deviation, and
    # take two thirds of the time on a CPU that has it.
    precision: Literal["no", "bf16"] = "no"
    render: RenderConfig = RenderConfig()
    encoders: EncoderConfig = EncoderConfig()


class BackboneStage(TrainingRecipe):
    """Train the stock image-to-video backbone (and its text encoder) from captions."""

    stage: Literal["backbone"]
    # Folders of shards written by ``latents`` stages.
    latents: tuple[Path, ...] = Field(min_length=1)
    flow: FlowConfig = FlowConfig()
    # Size of a fresh backbone; one to continue from has its own.
    model: TransformerConfig = TransformerConfig()
    # Sizes of fresh encoders; the image encoder's are those of the shards.
    encoders: EncoderConfig = EncoderConfig()
    effect_in_caption: float = Field(0.5, ge=0, le=1)  # share of captions that name the effect
    # Share of captions replaced by the empty one, for guidance.
    caption_dropout: float = Field(0.1, ge=0, le=1)
    # Longest caption in tokens while training (inference always takes 512).
    text_tokens: int = Field(40, gt=0)
    # Output folder of an earlier ``backbone`` stage, or a pipeline, to continue from.
    start: Path | None = None
    # Blocks of ``start`` after which a new one is added, at first without effect.
    deepen_after: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _deepen_something(self) -> Self:
        if self.deepen_after and self.start is None:
            raise ValueError(
                "deepen_after puts blocks into a trained backbone: say which one with start."
            )
        return self

    @model_validator(mode="after")
    def _is_of_one_size(self) -> Self:
        _check_fresh(self.model, self.start)
        return self


class ExpertStage(TrainingRecipe):
    """Train the expert, or what it is compared with, on pairs; captions never name the effect."""

    stage: Literal["expert"]
    # Folders of shards written by ``latents`` stages.
    latents: tuple[Path, ...] = Field(min_length=1)
    backbone: Path  # output folder of the ``backbone`` stage
    conditions: tuple[str, ...] = ()  # conditions that are trained on; empty for all of the shards
    flow: FlowConfig = FlowConfig()
    # ``expert`` or an alternative, see :class:`vap.training.tuning_config.ModelConfig`.
    method: Method = "expert"
    # Depths that get an expert; empty for all, or for those of ``start``, whose blocks otherwise
    # move there in their order, as a backbone that was deepened needs; where there are more depths
    # than blocks, these stay and copies of the backbone's join them.
    expert_blocks: tuple[int, ...] = ()
    # Placement of references; see ``vap.models.rope``.
    reference_positions: ReferencePositions = "before"
    lora_rank: int = Field(16, gt=0)  # rank of the LoRA methods
    caption_dropout: float = Field(0.1, ge=0, le=1)
    # Longest caption in tokens while training (inference always takes 512).
    text_tokens: int = Field(40, gt=0)
    start: Path | None = None  # output folder of an earlier ``expert`` stage to continue from

    def tuned(self, blocks: int) -> ModelConfig:
        """The method in the words of the tuning stages, for a backbone of so many blocks."""
        return ModelConfig(
            start=str(self.backbone),
            method=self.method,
            expert=self.start / "expert.safetensors" if self.start else None,
            expert_blocks=self.expert_blocks or (() if self.start else tuple(range(blocks))),
            reference_positions=self.reference_positions,
            lora_rank=self.lora_rank,
        )


class ExportStage(Recipe):
    """Gather the parts into one pipeline folder, weights in half precision."""

    stage: Literal["export"]
    vae: Path  # folder of the trained VAE
    backbone: Path  # output folder of the ``backbone`` stage
    expert: Path  # output folder of the ``expert`` stage
    # Output folder of a ``distill`` stage on the same backbone, for the profiles.
    student: Path | None = None
    # Output folder of a ``detail`` stage on the same autoencoder.
    detail: Path | None = None
    flow_shift: float = Field(1.0, gt=0)  # shift of the scheduler's sigmas
    # The model's native settings, as ``vap.files.folders`` names them.
    generation_defaults: dict[str, int | float | bool | str] = Field(default_factory=dict)

    @field_validator("generation_defaults")
    @classmethod
    def _are_read_by_pipelines(
        cls, given: dict[str, int | float | bool | str]
    ) -> dict[str, int | float | bool | str]:
        known = [field.name for field in fields(GenerationDefaults)]
        if unknown := sorted(set(given) - set(known)):
            raise ValueError(f"pipelines read no {', '.join(unknown)}; allowed: {', '.join(known)}")
        return given


class ClipsStage(Recipe):
    """Keep what a pipeline makes of rendered pairs, beside the truth."""

    stage: Literal["clips"]
    pipeline: Path  # output folder of an ``export`` stage
    pairs: int = Field(gt=0)  # how many, whole shards
    shard_size: int = Field(32, gt=0, multiple_of=8)  # pairs a file
    seed: Seed = 0  # seed of the rendered pairs; the noise of each has its index
    threads: int = Field(0, ge=0)  # CPU threads of PyTorch; 0 leaves PyTorch's choice
    render: RenderConfig = RenderConfig()


class DetailConfig(Section):
    """Widths of :class:`vap.models.detail.DetailTransfer`."""

    coarse_channels: int = Field(96, gt=0)
    fine_channels: int = Field(48, gt=0)
    match_channels: int = Field(24, gt=0)


class DetailStage(TrainingRecipe):
    """Train the network that gives decoded frames the detail of their first image."""

    stage: Literal["detail"]
    clips: Path  # output folder of a ``clips`` stage
    model: DetailConfig = DetailConfig()
    frames: int = Field(6, ge=2)  # frames of a clip at each step, the first included
    # Share of the clips that only the autoencoder made, without errors of the transformer.
    autoencoder_share: float = Field(0.25, ge=0, le=1)


class DemoStage(Recipe):
    """Write the reference, image and captions of a demonstration."""

    stage: Literal["demo"]
    seed: Seed = 0  # seed of the rendered pair
    index: int = Field(0, ge=0)  # index of the rendered pair
    fps: int = Field(8, gt=0)  # frames a second of the reference
    generation_seed: Seed = 0  # seed of the demonstration's noise
    render: RenderConfig = RenderConfig(split="seen")
