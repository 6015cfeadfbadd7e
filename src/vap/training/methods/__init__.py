"""What of a model trains and how it is written: the paper's expert and its alternatives."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from vap.training.tuning_config import DistillStage, DPOStage, Method, ModelConfig, TuningStage


class Strategy(Protocol):
    """One way to train."""

    reads_references: bool  # whether the model is shown references at all

    def prepare(self, model: Any, config: ModelConfig) -> None:
        """Give the model what the method needs, and let gradients reach what trains."""

    def save(self, model: Any, output: Path) -> None:
        """Write what was trained; called on every process, as sharded weights need."""


def strategy_for(recipe: TuningStage) -> Strategy:
    """What trains in a stage: the recipe's method, or the LoRA that is the stage's own."""
    from vap.acceleration.student import STEPS_NOTE
    from vap.training.methods.lora import LoraStrategy

    if isinstance(recipe, DPOStage):
        return LoraStrategy("all")
    if isinstance(recipe, DistillStage):
        return LoraStrategy("backbone", notes={STEPS_NOTE: str(recipe.steps)})
    strategy = strategy_of(recipe.model.method)
    if recipe.model.lora is not None and not isinstance(strategy, LoraStrategy):
        raise ValueError(
            f"model.lora is not supported by the method {recipe.model.method!r}, which trains no "
            "LoRA. Leave it out, or use expert-lora, single-branch-lora or backbone-lora."
        )
    return strategy


def strategy_of(method: Method) -> Strategy:
    """The strategy of a method."""
    from vap.training.methods.expert_method import ExpertStrategy
    from vap.training.methods.lora import LoraStrategy
    from vap.training.methods.single_branch import SingleBranchStrategy
    from vap.training.methods.streams import CouplingStrategy

    strategies: dict[Method, Strategy] = {
        "expert": ExpertStrategy(),
        "expert-lora": LoraStrategy("expert"),
        "single-branch": SingleBranchStrategy(),
        "single-branch-lora": LoraStrategy("backbone", single_branch=True),
        "cross-attention": CouplingStrategy("cross-attention"),
        "residual": CouplingStrategy("residual"),
        "backbone-lora": LoraStrategy("backbone", reads_references=False),
    }
    return strategies[method]
