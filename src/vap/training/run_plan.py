"""Predict parameters, memory, steps and time of a tuning run, to a few tens of percent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vap.cost.arithmetic import TransformerSize, generation_cost, parameter_count
from vap.cost.footprint import coding, weightless_vae
from vap.cost.model import PlannedModel
from vap.cost.released import RELEASED_MODELS
from vap.files.folders import RELEASED, family_of, read_json
from vap.files.names import resolve_folder
from vap.models.expert import is_expert_name
from vap.models.expert_file import read_expert_info
from vap.pipelines.base import pipeline_class
from vap.shapes import Compression, Family, PixelShape
from vap.training.methods import strategy_for
from vap.training.parallel import check_residual, check_validation, layout_of
from vap.training.tuning_config import DistillStage, DPOStage, TuningStage

_BYTES = {"float32": 4, "bfloat16": 2}
_FROZEN_IN = {"no": 4, "bf16": 2}
# Tensors of one token's width in memory at once in the forward and backward pass of a block.
_LIVE_TENSORS = 24
_GIGA = 1e9


# Plans of these need no download: they are the released models without the expert.
_BACKBONES: dict[str, Family] = {
    "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers": "wan",
    "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers": "wan",
    "THUDM/CogVideoX-5b-I2V": "cogvideox",
    "zai-org/CogVideoX-5b-I2V": "cogvideox",
}
KNOWN = {*RELEASED_MODELS, *_BACKBONES}
"""Models of which a plan needs no file."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run, predicted; sizes of memory are bytes of one accelerator."""

    parameters: int  # of the transformer in all
    trained: int  # parameters that train
    expert: int  # parameters of the expert
    weights: float
    gradients: float
    moments: float  # of the optimizers, and averaged weights if there are any
    activations: float  # at the peak (estimate)
    others: float  # encoders and VAE, where the run generates videos
    capacity: float  # all memory
    steps: int  # optimizer steps
    samples: int  # samples of a step over all accelerators
    seconds: float  # expected time of a step

    @property
    def memory(self) -> float:
        """Bytes on one accelerator."""
        return self.weights + self.gradients + self.moments + self.activations + self.others

    @property
    def fits(self) -> bool:
        """Whether the run fits, with a tenth left for what is not counted."""
        return self.memory <= 0.9 * self.capacity

    def lines(self) -> list[str]:
        """The plan in words."""
        parts = (
            f"weights {self.weights / _GIGA:.1f}, gradients {self.gradients / _GIGA:.1f}, "
            f"moments {self.moments / _GIGA:.1f}, activations about "
            f"{self.activations / _GIGA:.1f}"
            + (f", encoders and VAE {self.others / _GIGA:.1f}" if self.others else "")
        )
        verdict = "fits" if self.fits else "does not fit: shard more, or train in bfloat16"
        hours = self.seconds * self.steps / 3600
        everything, expert, trained = map(
            parameter_count, (self.parameters, self.expert, self.trained)
        )
        return [
            f"parameters  {everything} of which {expert} expert",
            f"training    {trained} parameters",
            f"memory      {self.memory / _GIGA:.1f} of {self.capacity / _GIGA:.0f} GB: {verdict}",
            f"            {parts}",
            f"steps       {self.steps:,} of {self.samples} samples",
            f"time        about {self.seconds:.1f} s a step, {hours:,.0f} h in all",
        ]


def plan_run(recipe: TuningStage) -> RunPlan:
    """Predict a run on the hardware that its recipe names."""
    hardware, run = recipe.hardware, recipe.run
    layout = layout_of(run, hardware.gpus)
    check_validation(recipe.validation.every, layout)
    family, model = _prepared(recipe)
    check_residual(recipe, family)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    everything, expert = _stored(model)
    frozen, each = _FROZEN_IN[recipe.loop.precision], _BYTES[recipe.model.weights]
    size = TransformerSize.of(model.config, family)
    shards = layout.weight_shards
    weights = ((everything - trained) * frozen + trained * each) / shards
    if shards > 1:  # two blocks are whole at a time: the one that runs and the next
        weights += 2 * everything / len(model.expert_blocks) * each
    moments = 2 * each + (_BYTES["float32"] if recipe.optimizer.ema else 0)
    others, decoding = _validation(recipe, family) if recipe.validation.every else (0.0, 0.0)
    return RunPlan(
        parameters=everything,
        trained=trained,
        expert=expert,
        weights=weights,
        gradients=trained * each / shards,
        moments=moments * trained / shards,
        activations=max(_activations(recipe, size, frozen) / run.context, decoding),
        others=others,
        capacity=hardware.memory * _GIGA,
        steps=recipe.loop.stop or recipe.loop.steps,
        samples=layout.batches * recipe.loop.batch_size * run.accumulate,
        seconds=_operations(recipe, size, trained)
        * recipe.loop.batch_size
        * run.accumulate
        / (hardware.tflops * 1e12 * hardware.efficiency * run.context),
    )


def weightless(model: str) -> tuple[Family, Any]:
    """The family and the transformer of a model, without memory for its weights."""
    if model in KNOWN:
        planned = RELEASED_MODELS[RELEASED[_BACKBONES[model]] if model in _BACKBONES else model]
        family, config = planned.family, dict(planned.transformer)
        if model in _BACKBONES:
            del config["block_idx_with_mot_ref"]
    else:
        folder = resolve_folder(model)
        family = family_of(folder)
        config = read_json(folder / "transformer" / "config.json")
    with torch.device("meta"):
        return family, pipeline_class(family).transformer_class.from_config(config)


def _prepared(recipe: TuningStage) -> tuple[Family, Any]:
    """The family and the transformer, prepared as for the run but without weights."""
    family, model = weightless(recipe.model.start)
    config, file = recipe.model, recipe.model.expert
    with torch.device("meta"):
        if file is not None:
            # Its weights are not needed, nor does it have to be here yet: its depths are enough.
            depths = read_expert_info(file).depths if file.is_file() else config.expert_blocks
            model.remove_expert().add_expert(depths or None)
        strategy_for(recipe).prepare(model, config.model_copy(update={"expert": None}))
    return family, model


def _validation(recipe: TuningStage, family: Family) -> tuple[float, float]:
    """Bytes of what a pipeline has beside the transformer, and of its VAE's decoding."""
    start = recipe.model.start
    if start in KNOWN:
        model = RELEASED_MODELS[RELEASED[family]]
    else:
        model = PlannedModel.from_folder(resolve_folder(start), family)
    # As pipelines are loaded: Wan's image encoder and VAE stay in float32.
    half, spared = torch.bfloat16, torch.float32 if family == "wan" else torch.bfloat16
    vae = weightless_vae(model, spared)
    weights = (
        model.parameters.get("text_encoder", 0) * half.itemsize
        + model.parameters.get("image_encoder", 0) * spared.itemsize
        + sum(parameter.nbytes for parameter in vae.parameters())
    )
    return weights, coding(model, vae, _shape(recipe), "decode").peak_bytes


def _stored(model: nn.Module) -> tuple[int, int]:
    """Numbers in a checkpoint, and those of the expert; tensors with two names count once."""
    tensors = {id(t): (n, t) for n, t in reversed(model.state_dict(keep_vars=True).items())}
    everything = sum(tensor.numel() for _, tensor in tensors.values())
    expert = sum(tensor.numel() for name, tensor in tensors.values() if is_expert_name(name))
    return everything, expert


def _activations(recipe: TuningStage, size: TransformerSize, element: int) -> float:
    """Bytes of one process's activations: what blocks keep, and one block that runs."""
    target = _tokens(recipe) * recipe.loop.batch_size * (2 if isinstance(recipe, DPOStage) else 1)
    reference = target * recipe.data.references
    # What all of a path's steps keep waits for the one backward pass.
    passes = 1
    if isinstance(recipe, DistillStage) and recipe.objective == "path":
        passes = recipe.steps
    token = (_LIVE_TENSORS * size.width + 2 * size.feed_forward) * element
    if not recipe.model.gradient_checkpointing:
        return passes * (target * size.blocks + reference * size.coupled) * token
    # Blocks keep their inputs; a block without an expert passes the reference on as it is.
    kept = (target * size.blocks + reference * size.coupled) * size.width * element
    return passes * kept + (target + reference) * token


def _operations(recipe: TuningStage, size: TransformerSize, trained: int) -> float:
    """Operations for one sample: forward, recomputation, backward to activations and weights."""
    references = recipe.data.references
    forward = generation_cost(
        size, _shape(recipe), _COMPRESSION, steps=1, guidance=False, references=references
    ).flop_per_forward
    # A trained weight needs one more product with the tokens of its stream: 2 operations each.
    weights = 2.0 * trained * _tokens(recipe) * references
    once = forward * (3 if recipe.model.gradient_checkpointing else 2) + weights
    if isinstance(recipe, DPOStage):
        # Winner and loser, and both again by the reference model, which learns nothing.
        return 2 * once + 2 * forward
    if isinstance(recipe, DistillStage):
        guided = 1 + (recipe.guidance > 1) + (recipe.reference_guidance > 1)
        if recipe.objective == "path":
            # The teacher takes all steps of the path, and the student learns from each of its own.
            return recipe.steps * (once + recipe.substeps * guided * forward)
        # One step of the teacher, and where the model says that it leads from there.
        return once + (guided + 1) * forward
    return once


_COMPRESSION = Compression(4, 8, (1, 2, 2))


def _shape(recipe: TuningStage) -> PixelShape:
    hardware = recipe.hardware
    return PixelShape(hardware.frames, hardware.height, hardware.width)


def _tokens(recipe: TuningStage) -> int:
    return _COMPRESSION.tokens(_shape(recipe))
