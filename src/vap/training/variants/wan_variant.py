"""How the Wan variant trains: flow matching, references clean at the constant timestep 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vap.models.reference_cache import GenerationMemory, StepMemory
from vap.pipelines.denoise import set_flow_timesteps
from vap.training.objectives.flow_matching import FlowMatching, sampling_sigmas, timestep_of
from vap.training.predictions import check_prediction, check_shift
from vap.training.sections import FlowConfig
from vap.training.variants import Stream, Variant


class WanVariant(Variant):
    """Flow matching."""

    def __init__(self, flow: FlowConfig) -> None:
        self.flow, self.objective = flow, FlowMatching(flow)

    def stream(self, encodings: Mapping[str, Tensor], generator: torch.Generator) -> Stream:
        """Encodings as they are: Wan takes the modes of posteriors."""
        placed = {name: tensor.to(generator.device) for name, tensor in encodings.items()}
        return Stream(placed["latents"], placed["condition"], placed["text"], placed.get("image"))

    def schedule(self, scheduler: Any, steps: int) -> Tensor:
        """Sigmas, then 0."""
        check_shift(self.flow, scheduler.config)
        return sampling_sigmas(steps, self.flow.shift)

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
        """The velocity, or clean latents; references stay at their constant timestep."""
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
