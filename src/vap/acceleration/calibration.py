"""What the profiles do for the kinds of models that were measured, read from files.

A file holds the settings of ``fast`` and ``turbo`` for one kind of model and one scheduler, what
they gave, and where the numbers come from. ``python -m benchmarks.fidelity`` measures them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from vap.acceleration.profiles import GUESSES, Profile, Settings

FOLDER = Path(__file__).parent / "calibrations"


class Kind(BaseModel):
    """What a calibration is for: models that agree in all of this denoise alike.

    Attributes:
        family: Variant.
        scheduler: Class of the scheduler.
        prediction_type: What the transformer predicts, as in the scheduler's configuration.
        steps: The model's own number of denoising steps.
        guided: Whether it is run with guidance by default, by the text or by the reference.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["wan", "cogvideox"]
    scheduler: str
    prediction_type: str
    steps: PositiveInt
    guided: bool

    @classmethod
    def of(cls, pipeline: Any) -> Kind:
        """The kind of a loaded pipeline's model."""
        native = pipeline.native_defaults
        return cls(
            family=pipeline.family,
            scheduler=type(pipeline.scheduler).__name__,
            prediction_type=str(pipeline.scheduler.config.prediction_type),
            steps=native.num_inference_steps,
            guided=native.guided,
        )


class Calibration(BaseModel):
    """A calibration file.

    Attributes:
        kind: What it is for.
        settings: Of each profile but ``exact``.
        provenance: How the numbers came about: weights, cases, command, versions, measurements.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    settings: dict[Literal["fast", "turbo"], Settings]
    provenance: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read a file.

        Raises:
            ValueError: If it is damaged, naming the file and what is wrong in it.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            message = f"{path} is no calibration: {error}. Measure it again."
            raise ValueError(message) from error


def find_calibration(kind: Kind, folder: Path = FOLDER) -> tuple[str, Calibration] | None:
    """The calibration of a kind of model, and its name; None if it was not measured."""
    for path in sorted(folder.glob("*.json")):
        calibration = Calibration.load(path)
        if calibration.kind == kind:
            return path.stem, calibration
    return None


def settings_for(profile: Profile, pipeline: Any, folder: Path = FOLDER) -> tuple[Settings, str]:
    """What a profile does for a model, and where that comes from, in words.

    Args:
        profile: Which.
        pipeline: Of either variant, loaded.
        folder: Of the calibrations.
    """
    if profile == "exact":
        return GUESSES["exact"], "nothing given up"
    found = find_calibration(Kind.of(pipeline), folder)
    measured: Mapping[Any, Settings] = {} if found is None else found[1].settings
    if found is None or profile not in measured:
        return GUESSES[profile], "not measured for this kind of model"
    return measured[profile], f"measured on {found[0]}"
