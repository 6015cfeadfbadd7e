"""``vap eval mini``: the runner with VAP-Synth, the bundled model's systems and three metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vap.evaluation.benchmarks.synth import SEED, render_benchmark
from vap.evaluation.metrics.registry import METRICS
from vap.evaluation.plan import Evaluation
from vap.evaluation.systems.base import System
from vap.evaluation.systems.registry import SYSTEMS
from vap.files.folders import GenerationDefaults, family_of, generation_defaults_of
from vap.files.names import DEFAULT_MODEL, did_you_mean, resolve_folder
from vap.mini.evaluation.trained import KINDS
from vap.shapes import PixelShape

CASES = 240
"""Pairs by default: in each split every condition equally often."""

TITLES: Mapping[str, str] = {
    "static": "static: the first frame repeated",
    "backbone": "backbone, caption without the effect",
    "backbone_effect": "backbone, caption with the effect",
    "lora": "backbone, a LoRA for each condition",
    "single_branch": "single branch",
    "unidirectional": "unidirectional attention",
    "residual": "residual addition",
    "shared_positions": "shared positions",
    "vap": "**VAP**",
    "vae": "autoencoder's reconstruction of the truth",
    "truth": "the truth itself",
}
"""Every system and what tables call it, in their order."""

TRAINED = ("lora", "single_branch", "unidirectional", "residual", "shared_positions")
"""Systems that the model's own weights do not contain."""

BOUNDS = ("static", "vae")
"""Systems that are always there: *gap closed* is measured between them."""

_METRICS = ("gap", "recognized", "first-frame")
_BATCH = 8


@dataclass(frozen=True)
class Preset:
    """What is evaluated.

    Attributes:
        model: Pipeline folder or name of a Wan model.
        systems_from: Folder of the systems with weights of their own, see :mod:`.trained`.
        systems: Which to compare, of :data:`TITLES`; empty for all that there are.
        cases: Pairs in all, shared out over the splits.
        conditions: Only these conditions; empty for all.
        seed: Of the pairs.
        drawn: Use the drawn world: no photographs, no noise-like textures.
        steps: Denoising steps; None for the model's own.
        guidance_scale: Classifier-free guidance; None for the model's own.
        reference_guidance_scale: Guidance by the reference; None for the model's own.
    """

    model: str = DEFAULT_MODEL
    systems_from: Path | None = None
    systems: tuple[str, ...] = ()
    cases: int = CASES
    conditions: tuple[str, ...] = ()
    seed: int = SEED
    drawn: bool = False
    steps: int | None = None
    guidance_scale: float | None = None
    reference_guidance_scale: float | None = None

    @property
    def names(self) -> list[str]:
        """The systems that are compared, in their order; the bounds are always there."""
        chosen = {*self.systems, *BOUNDS} if self.systems else {*TITLES} - {*self.missing()}
        return [name for name in TITLES if name in chosen]

    def missing(self) -> list[str]:
        """Systems that are left out, as there are no weights for them."""
        return [] if self.systems else [name for name in TRAINED if self.weights(name) is None]

    def weights(self, system: str) -> Path | None:
        """The folder of a system of :data:`TRAINED`, or None if there is none."""
        if self.systems_from is None or not (self.systems_from / system).is_dir():
            return None
        return self.systems_from / system


def mini_evaluation(
    preset: Preset, output: Path, progress: Callable[[int, int], None] | None = None
) -> Evaluation:
    """Render the cases and describe the systems.

    Args:
        preset: What is evaluated.
        output: Folder of the run.
        progress: Told how many cases are rendered, of how many.

    Raises:
        ValueError: If a system or a condition does not exist, or the model is not a Wan model.
        FileNotFoundError: If weights are missing of a system that was named.
    """
    own = GenerationDefaults(**generation_defaults_of(check_model(preset.model)))
    systems = mini_systems(preset)
    benchmark = render_benchmark(
        output / "benchmark",
        preset.cases,
        conditions=preset.conditions,
        seed=preset.seed,
        drawn=preset.drawn,
        shape=PixelShape(own.num_frames, own.height, own.width),
        fps=own.fps,
        progress=progress,
    )
    return Evaluation(benchmark, systems, METRICS.read_all(_METRICS))


def mini_systems(preset: Preset) -> list[System]:
    """The systems that are compared, always with the two bounds."""
    _check_names(preset)
    registry = SYSTEMS.extended(KINDS)
    return [
        registry.build({"name": name, "title": TITLES[name], **_config(name, preset)}, name)
        for name in preset.names
    ]


def check_model(name_or_path: str | Path) -> Path:
    """The folder of a model, seen to be of the variant that is evaluated; nothing is loaded."""
    folder = resolve_folder(name_or_path)
    family = family_of(folder)
    if family != "wan":
        raise ValueError(f"{name_or_path} is a {family} model; this evaluation takes Wan ones.")
    return folder


def _check_names(preset: Preset) -> None:
    for name in preset.systems:
        if name not in TITLES:
            raise ValueError(
                f"There is no system {name!r}.{did_you_mean(name, TITLES)} Choose from: "
                f"{', '.join(TITLES)}."
            )
    if preset.systems_from is not None and not preset.systems_from.is_dir():
        raise FileNotFoundError(
            f"There is no folder {preset.systems_from} to take systems from. Give one that holds a "
            f"folder for each of them: {', '.join(TRAINED)}."
        )
    named = [name for name in preset.systems if name in TRAINED and preset.weights(name) is None]
    if named:
        raise FileNotFoundError(
            f"There are no weights for {', '.join(named)}. Give --systems-from a folder that "
            f"holds {', '.join(f'{name}/' for name in named)}, as training writes it."
        )


def _config(name: str, preset: Preset) -> dict[str, Any]:
    """Settings of a system, without its name."""
    if name in {"static", "truth"}:
        return {"kind": name}
    if name == "vae":
        return {"kind": "autoencoder", "model": preset.model, "device": "cpu"}
    shared = {
        "model": preset.model,
        "device": "cpu",
        "num_inference_steps": preset.steps,
        "guidance_scale": preset.guidance_scale,
        "reference_guidance_scale": preset.reference_guidance_scale,
        "negative_prompt": "",
        "captions": "scene",
        "batch": _BATCH,
    }
    own: Mapping[str, Mapping[str, Any]] = {
        "vap": {"kind": "vap"},
        "backbone": {"kind": "i2v"},
        "backbone_effect": {"kind": "i2v", "captions": "effect", "negative_prompt": None},
        "lora": {"kind": "lora", "loras": preset.weights("lora")},
    }
    return {**shared, **own.get(name, {"kind": "mini-trained", "weights": preset.weights(name)})}
