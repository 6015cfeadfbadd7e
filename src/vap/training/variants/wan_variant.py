"""How the Wan variant trains: flow matching, references clean at the constant timestep 1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from vap.models.reference_cache import GenerationMemory, StepMemory
from vap.pipelines.denoise import set_flow_timesteps
from vap.training.objectives.flow_matching import (
    NoisyBatch,
    add_noise,
    draw_sigmas,
    flow_loss,
    flow_step,
    sampling_sigmas,
    timestep_of,
)
from vap.training.predictions import check_prediction, check_shift, flow_for
from vap.training.sections import FlowConfig
from vap.training.variants import Stream, Variant


class WanVariant(Variant):
    """Flow matching.

    Attributes:
        flow: The objective's choices.
    """

    def __init__(self, flow: FlowConfig) -> None:
        self.flow = flow

    @classmethod
    def of(cls, folder: Path, flow: FlowConfig) -> Self:
        """For the model of a pipeline folder."""
        return cls(flow_for(flow, folder))

    def stream(self, encodings: Mapping[str, Tensor], generator: torch.Generator) -> Stream:
        """Encodings as they are: Wan takes the modes of posteriors."""
        placed = {name: tensor.to(generator.device) for name, tensor in encodings.items()}
        return Stream(placed["latents"], placed["condition"], placed["text"], placed.get("image"))

    def noise_levels(self, count: int, generator: torch.Generator) -> Tensor:
        """Logit-normal sigmas ``[B]``."""
        return draw_sigmas(count, self.flow, generator)

    def add_noise(self, clean: Tensor, level: Tensor, noise: Tensor) -> NoisyBatch:
        """x_σ."""
        return add_noise(clean, level, noise)

    def error(self, prediction: Tensor, clean: Tensor, noised: NoisyBatch) -> Tensor:
        """Mean squared error of the velocity ``[B]``."""
        return flow_loss(prediction, clean, noised, self.flow)

    def schedule(self, steps: int) -> Tensor:
        """Sigmas of the sampler, then 0."""
        return sampling_sigmas(steps, self.flow.shift)

    def check_sampler(self, scheduler: Any) -> None:
        """Compare the shift of the sigmas."""
        check_shift(self.flow, scheduler.config)

    def set_sampler(self, scheduler: Any, steps: int) -> Tensor:
        """Sigmas that the pipeline gives it, then 0."""
        check_prediction(self.flow, scheduler.config)
        set_flow_timesteps(scheduler, steps, strength=1.0, device=torch.device("cpu"))
        sigmas: Tensor = scheduler.sigmas
        return sigmas.float()

    def predict(
        self,
        model: nn.Module,
        noisy: Tensor,
        target: Stream,
        reference: Stream | None,
        level: Tensor,
        memory: GenerationMemory | None = None,
        step: StepMemory | None = None,
    ) -> Tensor:
        """The network's velocity, or clean latents; references stand at their constant time."""
        references = {}
        if reference is not None:
            references = {
                "reference_hidden_states": reference.clean,
                "reference_encoder_hidden_states": reference.text,
                "reference_encoder_hidden_states_image": reference.image,
            }
        prediction: Tensor = model(
            target.beside_condition(noisy),
            timestep_of(level),
            target.text,
            target.image,
            **references,
            return_dict=False,
            memory=memory,
            step=step,
        )[0]
        return prediction.float()

    def moved(self, noisy: Tensor, prediction: Tensor, level: Tensor, to: Tensor) -> Tensor:
        """Along the velocity, straight."""
        return flow_step(noisy, prediction, level, to, self.flow)
