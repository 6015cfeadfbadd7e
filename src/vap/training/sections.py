"""Sections that every kind of recipe is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

# What both NumPy's and PyTorch's generators take, with room for a step's number beside it.
Seed = Annotated[int, Field(ge=0, lt=2**32)]
# What a network outputs: the velocity ε - x₀, or the clean sample.
Prediction = Literal["velocity", "sample"]
_Decay = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """A part of a recipe: immutable; unknown keys and numbers that are not finite are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Recipe(Section):
    """A recipe of one stage."""

    stage: str
    output: Path  # folder of what the stage writes


class OptimizerConfig(Section):
    """How weights move."""

    # ``adamw``, or ``muon`` for matrices with ``adamw`` for everything else.
    name: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = Field(1e-5, gt=0)  # peak rate of AdamW
    # Peak rate of Muon, on AdamW's scale (its updates are matched in size).
    muon_learning_rate: float = Field(1e-3, gt=0)
    betas: tuple[_Decay, _Decay] = (0.9, 0.99)  # decay rates of AdamW's moments
    epsilon: float = Field(1e-8, gt=0)  # AdamW's denominator floor
    weight_decay: float = Field(1e-4, ge=0)  # decoupled decay of matrices; vectors are not decayed
    clip: float = Field(1.0, gt=0)  # largest global gradient norm
    warmup: int = Field(100, ge=0)  # steps of linear warm-up
    # ``constant`` after the warm-up, or ``cosine`` decay to zero.
    schedule: Literal["constant", "cosine"] = "cosine"
    # Decay of the averaged weights that are saved; 0 saves the last weights.
    ema: float = Field(0.0, ge=0, lt=1)


class LoopConfig(Section):
    """How long a stage trains, and what it writes."""

    steps: int = Field(gt=0)  # optimizer steps, and the length of the schedule
    # Step at which to end early, parts written as at the end; 0 for never.
    stop: int = Field(0, ge=0)
    batch_size: int = Field(gt=0)  # samples a step (and process)
    seed: Seed = 0  # seed of initialization, data order and noise
    # Arithmetic of the forward pass. Weights that train are float32, unless ``model.weights`` of a
    # tuning stage says otherwise.
    precision: Literal["no", "bf16"] = "no"
    # Plain matrix products for attention: on CPUs the fused kernel's backward pass is several times
    # slower for sequences of some hundred tokens.
    math_attention: bool = False
    # Compile the transformer's repeated block with ``torch.compile``: a minute before the first
    # step, then about 1.5 times the speed for small models on a CPU.
    compile: bool = False
    threads: int = Field(0, ge=0)  # CPU threads of PyTorch; 0 leaves PyTorch's choice
    # Steps between lines of ``metrics.jsonl``; a line has the means over them.
    log_every: int = Field(20, gt=0)
    checkpoint_every: int = Field(500, ge=0)  # steps between checkpoints; 0 writes only the last

    @model_validator(mode="after")
    def _ends_within_its_schedule(self) -> Self:
        if self.stop > self.steps:
            raise ValueError(
                f"stop is {self.stop}, and the schedule ends at step {self.steps} (steps). Set "
                f"stop to at most {self.steps} or to 0, or increase steps."
            )
        return self


class TrainingRecipe(Recipe):
    """A recipe of a stage that trains."""

    loop: LoopConfig
    optimizer: OptimizerConfig = OptimizerConfig()


class FlowConfig(Section):
    """The flow-matching objective."""

    # What the network outputs: the ``velocity`` ε - x₀, or the clean ``sample``. By default what
    # the scheduler of the model reads; of a fresh network the velocity.
    prediction: Prediction | None = None
    # Mean of the logit-normal place in the schedule, which runs from noise to clean: negative for
    # noisier levels.
    logit_mean: float = 0.0
    logit_std: float = Field(1.0, gt=0)  # standard deviation of the logit-normal noise levels
    shift: float = Field(1.0, gt=0)  # flow shift of the 1000 training sigmas
    # Smallest sigma in the velocity weighting of a ``sample`` prediction.
    sigma_floor: float = Field(0.05, gt=0)
