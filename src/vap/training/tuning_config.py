"""Recipes that tune a full-size model on an encoded dataset: expert, alternatives, preferences."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from vap.models.rope import ReferencePositions
from vap.training.sections import FlowConfig, Section, Seed, TrainingRecipe

Method = Literal[
    "expert",
    "expert-lora",
    "single-branch",
    "single-branch-lora",
    "cross-attention",
    "residual",
    "backbone-lora",
]


class ModelConfig(Section):
    """What is tuned."""

    start: str  # pipeline folder, bundled model or Hub id to start from
    # For sft: ``expert`` (the paper's), ``expert-lora`` (LoRA on a trained expert), or an
    # alternative: ``single-branch`` (references go through the backbone, which trains),
    # ``single-branch-lora``, ``cross-attention`` (the reference is encoded without the target),
    # ``residual`` (the reference stream is added to the target's, without joint attention),
    # ``backbone-lora`` (a LoRA for one condition, no reference).
    method: Method = "expert"
    # Expert file to continue from; else the model's own, else a copy of the backbone.
    expert: Path | None = None
    # Depths of a new expert in place of the model's own; empty keeps what the model has, or takes
    # the released depths. The blocks of ``expert`` move there; where there are more depths than
    # blocks, these stay and copies of the backbone's join them. A LoRA stays beside the expert that
    # there is, whose depths these then are.
    expert_blocks: tuple[int, ...] = ()
    # Placement of references of a new expert; see ``vap.models.rope``.
    reference_positions: ReferencePositions = "before"
    lora_rank: int = Field(32, gt=0)  # rank of the LoRA methods, of DPO and of distillation
    # File of such a LoRA to continue from, of the same rank; a new one by default.
    lora: Path | None = None
    # Precision of what trains; optimizer moments follow it. ``bfloat16`` takes half the memory:
    # AdamW then rounds stochastically (:mod:`vap.training.rounding`), and ``muon`` is refused.
    # Frozen weights have the precision of the loop.
    weights: Literal["float32", "bfloat16"] = "float32"
    gradient_checkpointing: bool = False  # recompute activations in the backward pass


class DataConfig(Section):
    """Which clips are trained on, and how targets and references are put together."""

    table: Path  # table of the dataset, ``.csv`` or ``.parquet``
    encoded: Path  # folder that ``vap data encode`` wrote
    # Rows with a score above this are used (release: 5 for CogVideoX, 10 for Wan).
    threshold: float = 5.0
    # Splits that are trained on; by default the table's ``train``, or its only one.
    splits: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()  # conditions that are trained on; empty for all
    # Size of a random subset of the rows that can be trained on, a smaller one inside a larger; 0
    # for all.
    clips: int = Field(0, ge=0)
    references: int = Field(1, gt=0)  # references drawn for a sample at most (paper: up to 3)
    # Probability of dropping each reference after the first (paper: 0.3).
    reference_drop: float = Field(0.0, ge=0, le=1)
    # Probability of emptying all captions of a sample (release: 0.02 to 0.1).
    caption_drop: float = Field(0.02, ge=0, le=1)


class RunConfig(Section):
    """How a run is spread over machines and reported; no part of what it computes."""

    accumulate: int = Field(1, gt=0)  # batches whose gradients are averaged into one step
    # ``none``: every process has the whole model (DDP). ``fsdp``: all processes share one copy
    # (FSDP2). ``hsdp``: groups of ``shard`` processes share one copy each.
    sharding: Literal["none", "fsdp", "hsdp"] = "none"
    # Processes of an ``hsdp`` group; with ``context``, so many times as many.
    shard: int = Field(1, gt=0)
    # Processes that share the tokens of one video (context parallelism).
    context: int = Field(1, gt=0)
    # Where metrics go besides ``metrics.jsonl``, by accelerate's names.
    trackers: tuple[str, ...] = ()
    project: str = "video-as-prompt"  # name of the project in the trackers

    @model_validator(mode="after")
    def _shards_are_shared(self) -> Self:
        if self.shard > 1 and self.sharding != "hsdp":
            raise ValueError(
                f"shard is {self.shard}, which sharding={self.sharding!r} does not use. Set "
                "sharding to hsdp, or shard to 1."
            )
        if self.sharding == "hsdp" and self.shard * self.context == 1:
            raise ValueError(
                "sharding is hsdp and shard is 1: each process would have the whole model. Set "
                "shard to the number of processes that share a copy, or sharding to none or fsdp."
            )
        return self


class ValidationConfig(Section):
    """Videos that are generated while training."""

    every: int = Field(0, ge=0)  # steps between validations; 0 for none
    root: Path = Path()  # folder that the paths of the table start from
    split: str = "test"  # split whose rows are generated
    cases: int = Field(4, gt=0)  # rows generated
    # Denoising steps. A student that is distilled takes its own.
    inference_steps: int = Field(30, gt=0)
    # Classifier-free guidance. A student that is distilled has none.
    guidance: float = Field(5.0, ge=1)
    seed: Seed = 0  # seed of the initial noise


class HardwareConfig(Section):
    """What ``vap train --dry-run`` plans for."""

    gpus: int = Field(8, gt=0)  # accelerators in all
    memory: float = Field(80.0, gt=0)  # of one, in GB (10⁹ bytes)
    tflops: float = Field(312.0, gt=0)  # dense bfloat16 rate of one, in 10¹² operations a second
    efficiency: float = Field(0.4, gt=0, le=1)  # share of that rate that training reaches
    height: int = Field(480, gt=0)  # pixels of a training clip
    width: int = Field(832, gt=0)  # pixels of a training clip
    frames: int = Field(49, gt=0)  # frames of a training clip


class TuningStage(TrainingRecipe):
    """What supervised tuning, preference tuning and distillation share."""

    model: ModelConfig
    data: DataConfig
    flow: FlowConfig = FlowConfig()  # objective of the Wan variant; CogVideoX has no choices
    run: RunConfig = RunConfig()
    validation: ValidationConfig = ValidationConfig()
    hardware: HardwareConfig = HardwareConfig()

    @model_validator(mode="after")
    def _computes_in_the_precision_of_its_weights(self) -> Self:
        if self.model.weights == "bfloat16" and self.loop.precision != "bf16":
            raise ValueError(
                "model.weights is bfloat16, which loop.precision: no (float32) does not support. "
                "Set loop.precision to bf16, or model.weights to float32."
            )
        return self


class SFTStage(TuningStage):
    """Train the expert, or one of its alternatives, on targets with references."""

    stage: Literal["sft"]


class _LoraStage(TuningStage):
    """A stage that always trains a LoRA of its own."""

    @model_validator(mode="after")
    def _trains_its_own_lora(self) -> Self:
        if self.model.method != "expert":
            raise ValueError(
                f"model.method is {self.model.method!r}, but {self.stage} always trains a LoRA of "
                "its own. Leave out model.method, or set stage to sft."
            )
        return self


class DPOStage(_LoraStage):
    """Tune a trained model to winners over losers, by LoRA on its attention projections.

    Of ``data``, ``table``, ``encoded``, ``splits``, ``conditions`` and ``clips`` are read. The
    others say how targets and references are put together; here every pair of winner and loser
    comes with its one reference, and is chosen by its scores (``vap.data.preferences``).
    """

    stage: Literal["dpo"]
    # Strength of the penalty for leaving the model that tuning starts from.
    beta: float = Field(500.0, gt=0)


class DistillStage(_LoraStage):
    """Teach a frozen model, by LoRA on its backbone, to sample in a few steps without guidance."""

    stage: Literal["distill"]
    # What a step should lead to. ``consistency`` (phased consistency): from noised clips, where the
    # exact path of the guided model goes. ``path`` (progressive distillation): from noise alone,
    # where the model's own sampler is after ``substeps`` of its ``steps · substeps`` steps, so that
    # results become those of that sampler.
    objective: Literal["consistency", "path"] = "consistency"
    # Steps of the sampler that the LoRA is for; Wan's are spaced by ``flow.shift``, which must be
    # that of the scheduler for ``consistency``.
    steps: int = Field(4, gt=0)
    substeps: int = Field(12, gt=0)  # steps of the teacher for one of them
    guidance: float = Field(5.0, ge=1)  # the teacher's classifier-free guidance; 1 for none
    # The teacher's guidance by the references; 1 for none.
    reference_guidance: float = Field(1.0, ge=1)
    # The student computes the references at every so many of its steps and reuses them at the
    # others, as profiles with a reference cache do. For the objective ``path``, whose student takes
    # all its steps in a row.
    references_every: int = Field(1, gt=0)

    @model_validator(mode="after")
    def _reuses_references_over_steps(self) -> Self:
        if self.references_every > 1 and self.objective != "path":
            raise ValueError(
                f"references_every is {self.references_every}, but objective={self.objective!r} "
                "trains single steps. Set objective to path, or references_every to 1."
            )
        if self.references_every > 1 and self.model.gradient_checkpointing:
            raise ValueError(
                f"references_every is {self.references_every}, but gradient checkpointing "
                "re-computes blocks and cannot cache references. Set model.gradient_checkpointing "
                "to false, "
                "or references_every to 1."
            )
        return self
