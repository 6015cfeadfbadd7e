"""Training recipes: one YAML file a stage, checked key by key before anything is built."""

from __future__ import annotations

import difflib
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from vap.files.defaults import GenerationDefaults
from vap.models.rope import ReferencePositions
from vap.training.mini_sections import (
    AutoencoderConfig,
    EncoderConfig,
    RenderConfig,
    TransformerConfig,
)
from vap.training.recipe_files import RecipeError, brief, find_recipe, read_tree
from vap.training.sections import (
    FlowConfig,
    LoopConfig,
    OptimizerConfig,
    Prediction,
    Section,
    Seed,
)
from vap.training.tuning_config import DistillStage, DPOStage, Method, ModelConfig, SFTStage

__all__ = [
    "AutoencoderConfig",
    "BackboneStage",
    "EncoderConfig",
    "ExpertStage",
    "ExportStage",
    "FlowConfig",
    "LatentsStage",
    "LoopConfig",
    "OptimizerConfig",
    "Recipe",
    "RecipeError",
    "RenderConfig",
    "Section",
    "TransformerConfig",
    "VAEStage",
    "load_recipe",
    "parse_recipe",
]


def _check_fresh(model: Section, start: Path | None) -> None:
    """Refuse sizes of a fresh network where one is given that has its own."""
    if start is not None and model.model_fields_set:
        given = ", ".join(sorted(model.model_fields_set))
        message = (
            f"model ({given}) says how large a fresh network is, and start gives one that has its "
            "size already. Leave out model, or start."
        )
        raise ValueError(message)


class VAEStage(Section):
    """Train the video autoencoder on rendered clips.

    Attributes:
        gradient_weight: Weight of the L1 distance between spatial and temporal differences.
        kl_weight: Weight of the divergence from a standard normal, mean over latent elements.
        statistics_clips: Clips from which the latents' mean and scale are measured at the end.
        model: Size of a fresh VAE; one to continue from has its own.
        start: VAE folder to continue from; a fresh one when absent.
        freeze_encoder: Train the decoder alone: latents and their statistics stay as they are, so
            this may run beside the stages that use them.
    """

    stage: Literal["vae"]
    output: Path
    loop: LoopConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    render: RenderConfig = RenderConfig()
    model: AutoencoderConfig = AutoencoderConfig()
    gradient_weight: float = Field(0.5, ge=0)
    kl_weight: float = Field(1e-3, ge=0)
    statistics_clips: int = Field(64, gt=0)
    start: Path | None = None
    freeze_encoder: bool = False

    @model_validator(mode="after")
    def _is_of_one_size(self) -> Self:
        _check_fresh(self.model, self.start)
        return self


class LatentsStage(Section):
    """Render pairs and encode each once into shards.

    Attributes:
        vae: Folder of the trained VAE.
        pairs: Pairs to encode.
        first: Index of the first pair, so that several runs can share the work.
        shard_size: Pairs a file.
        seed: Seed of the rendered pairs.
        threads: CPU threads of PyTorch; 0 leaves PyTorch's choice.
        precision: Arithmetic of the encoders: in bf16 latents are off by a hundredth of their
            deviation, and take two thirds of the time on a CPU that has it.
    """

    stage: Literal["latents"]
    output: Path
    vae: Path
    pairs: int = Field(gt=0)
    first: int = Field(0, ge=0)
    shard_size: int = Field(256, gt=0)
    seed: Seed = 0
    threads: int = Field(0, ge=0)
    precision: Literal["no", "bf16"] = "no"
    render: RenderConfig = RenderConfig()
    encoders: EncoderConfig = EncoderConfig()


class BackboneStage(Section):
    """Train the stock image-to-video backbone (and its text encoder) from captions.

    Attributes:
        latents: Folders of shards written by ``latents`` stages.
        model: Size of a fresh backbone; one to continue from has its own.
        encoders: Sizes of fresh encoders; the image encoder's are those of the shards.
        effect_in_caption: Share of captions that name the effect.
        caption_dropout: Share of captions replaced by the empty one, for guidance.
        text_tokens: Longest caption in tokens while training (inference always takes 512).
        start: Output folder of an earlier ``backbone`` stage, or a pipeline, to continue from.
        deepen_after: Blocks of ``start`` behind which a new one is put, at first without effect.
    """

    stage: Literal["backbone"]
    output: Path
    latents: tuple[Path, ...] = Field(min_length=1)
    loop: LoopConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    flow: FlowConfig = FlowConfig()
    model: TransformerConfig = TransformerConfig()
    encoders: EncoderConfig = EncoderConfig()
    effect_in_caption: float = Field(0.5, ge=0, le=1)
    caption_dropout: float = Field(0.1, ge=0, le=1)
    text_tokens: int = Field(40, gt=0)
    start: Path | None = None
    deepen_after: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _deepen_something(self) -> Self:
        if self.deepen_after and self.start is None:
            message = "deepen_after puts blocks into a trained backbone: say which one with start."
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _is_of_one_size(self) -> Self:
        _check_fresh(self.model, self.start)
        return self


class ExpertStage(Section):
    """Train the expert, or what it is compared with, on pairs; captions never name the effect.

    Attributes:
        latents: Folders of shards written by ``latents`` stages.
        backbone: Output folder of the ``backbone`` stage.
        conditions: Conditions that are trained on; empty for all of the shards.
        method: ``expert`` or an alternative, see :class:`vap.training.tuning_config.ModelConfig`.
        expert_blocks: Depths that get an expert; empty for all, or for those of ``start``, whose
            blocks otherwise move there in their order, as a backbone that was deepened needs; where
            there are more depths than blocks, these stay and copies of the backbone's join them.
        reference_positions: Placement of references; see ``vap.models.rope``.
        lora_rank: Rank of the LoRA methods.
        text_tokens: Longest caption in tokens while training (inference always takes 512).
        start: Output folder of an earlier ``expert`` stage to continue from.
    """

    stage: Literal["expert"]
    output: Path
    latents: tuple[Path, ...] = Field(min_length=1)
    backbone: Path
    conditions: tuple[str, ...] = ()
    loop: LoopConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    flow: FlowConfig = FlowConfig()
    method: Method = "expert"
    expert_blocks: tuple[int, ...] = ()
    reference_positions: ReferencePositions = "before"
    lora_rank: int = Field(16, gt=0)
    caption_dropout: float = Field(0.1, ge=0, le=1)
    text_tokens: int = Field(40, gt=0)
    start: Path | None = None

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


class ExportStage(Section):
    """Gather the parts into one pipeline folder, weights in half precision.

    Attributes:
        vae: Folder of the trained VAE.
        backbone: Output folder of the ``backbone`` stage.
        expert: Output folder of the ``expert`` stage.
        student: Output folder of a ``distill`` stage on the same backbone, for the profiles.
        flow_shift: Shift of the scheduler's sigmas.
        prediction: What the backbone predicts, its ``flow.prediction``; by default as its folder
            says, or ``sample`` where an earlier version wrote it, which does not.
        generation_defaults: The model's native settings, as ``vap.files.defaults`` names them.
    """

    stage: Literal["export"]
    output: Path
    vae: Path
    backbone: Path
    expert: Path
    student: Path | None = None
    flow_shift: float = Field(1.0, gt=0)
    prediction: Prediction | None = None
    generation_defaults: dict[str, int | float | bool | str] = Field(default_factory=dict)

    @field_validator("generation_defaults")
    @classmethod
    def _are_read_by_pipelines(
        cls, given: dict[str, int | float | bool | str]
    ) -> dict[str, int | float | bool | str]:
        known = [field.name for field in fields(GenerationDefaults)]
        if unknown := sorted(set(given) - set(known)):
            message = f"pipelines read no {', '.join(unknown)}; allowed: {', '.join(known)}"
            raise ValueError(message)
        return given


class DemoStage(Section):
    """Write the reference, image and captions of a demonstration.

    Attributes:
        seed: Seed of the rendered pair.
        index: Index of the rendered pair.
        fps: Frames a second of the reference.
        generation_seed: Seed of the demonstration's noise.
    """

    stage: Literal["demo"]
    output: Path
    seed: Seed = 0
    index: int = Field(0, ge=0)
    fps: int = Field(8, gt=0)
    generation_seed: Seed = 0
    render: RenderConfig = RenderConfig(split="seen")


Recipe = (
    VAEStage
    | LatentsStage
    | BackboneStage
    | ExpertStage
    | ExportStage
    | DemoStage
    | SFTStage
    | DPOStage
    | DistillStage
)
_RECIPE: TypeAdapter[Recipe] = TypeAdapter(Annotated[Recipe, Field(discriminator="stage")])


_SHOWN, _LONGEST = 12, 100  # problems, and characters of a key


def load_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        path: YAML file of one stage, or the name of a recipe that ships with the package.
        overrides: ``"loop.steps=100"``-like changes, values in YAML.

    Returns:
        The typed recipe.

    Raises:
        FileNotFoundError: If there is no such file.
        RecipeError: If the file is not a mapping, or a key or value is not allowed.
    """
    file = find_recipe(path)
    return parse_recipe(read_tree(file, overrides), source=str(file))


def parse_recipe(tree: dict[str, Any], source: str = "the recipe") -> Recipe:
    """Check a tree of plain values.

    Args:
        tree: Keys and values of one stage.
        source: What error messages call it.

    Raises:
        RecipeError: Naming each wrong key with the nearest valid one, and each wrong value.
    """
    try:
        return _RECIPE.validate_python(tree)
    except ValidationError as error:
        found = error.errors()
        problems = [f"  {_explain(dict(entry), tree)}" for entry in found[:_SHOWN]]
        if len(found) > _SHOWN:
            problems.append(f"  and {len(found) - _SHOWN} more")
        message = "\n".join([f"{source} is not a valid recipe:", *problems])
        raise RecipeError(message) from error


def _explain(entry: dict[str, Any], tree: dict[str, Any]) -> str:
    """One problem in words; the first part of pydantic's location is the stage's tag."""
    location = [str(part) for part in entry["loc"]]
    stage = tree.get("stage")
    keys = location[1:] if location and location[0] == stage else location
    where = (".".join(keys) or str(stage or "stage"))[:_LONGEST]
    message = str(entry["msg"]).removeprefix("Value error, ")
    given = entry.get("input")
    if isinstance(given, dict) and entry["type"] != "extra_forbidden":
        # What is wrong with keys together names them; the whole section would bury it.
        return f"{where}: {message}"
    if entry["type"] != "extra_forbidden":
        return f"{where}: {message} (given {brief(given)})"
    allowed = _allowed_keys(str(stage), keys[:-1])
    nearest = difflib.get_close_matches(keys[-1], allowed, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"allowed: {', '.join(allowed)}"
    return f"{where}: unknown key; {hint}"


def _allowed_keys(stage: str, parents: list[str]) -> list[str]:
    section: type[BaseModel] | None = next(
        (
            kind
            for kind in Recipe.__args__
            if kind.model_fields["stage"].annotation == Literal[stage]
        ),
        None,
    )
    for parent in parents:
        annotation: Any = section.model_fields[parent].annotation if section else None
        section = annotation if isinstance(annotation, type) else None
    return sorted(section.model_fields) if section else []
