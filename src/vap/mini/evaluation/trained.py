"""Systems with weights of their own, read from the folders that training wrote.

Under one folder, one subfolder a system, holding what the method's strategy saves:

=====================  ===========================================================================
``single_branch``      ``transformer/``, or LoRA on it: ``pytorch_lora_weights.safetensors``
``unidirectional``     ``alternative.safetensors``
``residual``           ``alternative.safetensors``
``shared_positions``   ``expert.safetensors``, or ``transformer/``
``lora``               a folder a condition, each with ``pytorch_lora_weights.safetensors``
=====================  ===========================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vap.evaluation.metrics.gap import Video
from vap.evaluation.systems.one_reference_each import OneReferenceEach
from vap.files.components import load_component
from vap.files.folders import family_of
from vap.files.names import resolve_folder
from vap.files.weights import LORA_FILE
from vap.loading.pipeline import load_pipeline, load_transformer
from vap.mini.evaluation.cases import Case, CaseSpec
from vap.mini.evaluation.systems import Autoencoded, Generated, Generation, Static, System, Truth

TRAINED = ("lora", "single_branch", "unidirectional", "residual", "shared_positions")
"""Systems that the model's own weights do not contain."""

_EXPERT, _ALTERNATIVE = "expert.safetensors", "alternative.safetensors"


@dataclass(frozen=True)
class Weights:
    """Where all weights are.

    Attributes:
        model: Pipeline folder or name of the model under test.
        trained: Folder of the systems with weights of their own; None for none.
    """

    model: str
    trained: Path | None = None

    def folder(self, system: str) -> Path | None:
        """The weights of a system of :data:`TRAINED`, or None if there are none."""
        if system not in TRAINED or self.trained is None or not (self.trained / system).is_dir():
            return None
        return self.trained / system

    def check(self) -> None:
        """Refuse a folder of systems that is not there."""
        if self.trained is not None and not self.trained.is_dir():
            raise FileNotFoundError(
                f"There is no folder {self.trained} to take systems from. Give one that holds a "
                f"folder for each of them: {', '.join(TRAINED)}."
            )


class ConditionLora:
    """The backbone with one LoRA a condition, which no reference can replace."""

    def __init__(self, pipeline: OneReferenceEach, folder: Path, settings: Generation) -> None:
        self._backbone = Generated(pipeline, settings)
        self._folder = folder

    def videos(self, cases: Sequence[Case]) -> list[Video]:
        """Generated clips, the weights changed from case to case."""
        transformer = self._backbone.pipeline.transformer
        made = []
        for case in cases:
            file = _lora_of(self._folder, case.spec)
            transformer.load_lora_adapter(file, prefix="transformer")
            try:
                made += self._backbone.videos([case])
            finally:
                transformer.unload_lora()
        return made


def available(
    names: Sequence[str], weights: Weights, *, asked: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Which systems there are weights for."""
    weights.check()
    missing = [name for name in names if name in TRAINED and weights.folder(name) is None]
    if refused := [name for name in missing if name in asked]:
        raise FileNotFoundError(
            f"There are no weights for {', '.join(refused)}. Give --systems-from a folder that "
            f"holds {', '.join(f'{name}/' for name in refused)}, as training writes it."
        )
    notes = [f"Left out, having no weights here: {', '.join(missing)}."] if missing else []
    if unread := _unread(names, weights):
        notes.append(f"Not read, as these have no weights of their own: {', '.join(unread)}.")
    return [name for name in names if name not in missing], notes


def covers(name: str, spec: CaseSpec, weights: Weights) -> bool:
    """Whether a system can be asked about a case: all but the LoRA can, about any."""
    folder = weights.folder(name)
    return name != "lora" or (folder is not None and _lora_of(folder, spec).is_file())


def build_systems(
    names: Sequence[str], model: OneReferenceEach, weights: Weights, settings: Generation
) -> dict[str, System]:
    """Load systems."""
    fixed: dict[str, System] = {
        "static": Static(),
        "backbone": Generated(model, settings),
        "backbone_effect": Generated(model, settings, effect=True),
        "vap": Generated(model, settings, reference=True),
        "vae": Autoencoded(model),
        "truth": Truth(),
    }
    return {
        name: fixed[name] if name in fixed else _trained(name, model, weights, settings)
        for name in names
    }


def load_model(name_or_path: str | Path) -> OneReferenceEach:
    """The model under test, each video of a batch with a reference of its own."""
    check_model(name_or_path)
    return OneReferenceEach.of(load_pipeline(name_or_path, device="cpu"))


def check_model(name_or_path: str | Path) -> Path:
    """The folder of a model, seen to be of the variant that is evaluated; nothing is loaded."""
    folder = resolve_folder(name_or_path)
    family = family_of(folder)
    if family != "wan":
        raise ValueError(f"{name_or_path} is a {family} model; this evaluation takes Wan ones.")
    return folder


def _trained(name: str, model: OneReferenceEach, weights: Weights, settings: Generation) -> System:
    folder = weights.folder(name)
    assert folder is not None
    transformer = load_transformer(weights.model, dtype=torch.float32)
    if name == "lora":
        transformer.remove_expert()
        return ConditionLora(OneReferenceEach.of(model, transformer), folder, settings)
    pipeline = OneReferenceEach.of(model, _with_weights(transformer, folder))
    return Generated(pipeline, settings, reference=True)


def _unread(names: Sequence[str], weights: Weights) -> list[str]:
    """Folders beside those of trained systems, called like systems that have no such weights."""
    if weights.trained is None:
        return []
    folders = [weights.trained / name for name in names if name not in TRAINED]
    return [str(folder) for folder in folders if folder.is_dir()]


def _lora_of(folder: Path, spec: CaseSpec) -> Path:
    return folder / spec.condition / LORA_FILE


def _with_weights(transformer: Any, folder: Path) -> Any:
    """The transformer that a method trained, from whichever file the method writes."""
    from vap.training.methods.single_branch import tie_branches
    from vap.training.methods.streams import load_alternative
    from vap.training.tuning_config import ModelConfig

    if (folder / "transformer").is_dir():
        return load_component(folder, "transformer", type(transformer), dtype=torch.float32)
    if (folder / _EXPERT).is_file():
        return transformer.load_expert(folder / _EXPERT)
    if (folder / _ALTERNATIVE).is_file():
        load_alternative(transformer, folder / _ALTERNATIVE)
        return transformer
    if (folder / LORA_FILE).is_file():
        tie_branches(transformer, ModelConfig(start=""))
        transformer.load_lora_adapter(folder / LORA_FILE, prefix="transformer")
        return transformer
    raise FileNotFoundError(
        f"{folder} holds no weights: there should be transformer/, {_EXPERT}, {_ALTERNATIVE} or "
        f"{LORA_FILE}, as training writes them."
    )
