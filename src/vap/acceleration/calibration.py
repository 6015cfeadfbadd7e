"""What the profiles do for the kinds of models that were measured, read from files.

A file contains the settings of ``fast`` and ``turbo`` for one kind of model and one scheduler, what
they gave, and where the numbers come from. ``python -m benchmarks.fidelity`` measures them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from vap.acceleration.plan import Profile
from vap.acceleration.profiles import GUESSES, Settings
from vap.shapes import Family

FOLDER = Path(__file__).parent / "calibrations"


class Kind(BaseModel):
    """What a calibration is for: models that agree in all of this denoise alike."""

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
        steps, guided = native.num_inference_steps, native.guided
        return cls.by(pipeline.family, pipeline.scheduler, steps, guided=guided)

    @classmethod
    def by(cls, family: Family, scheduler: Any, steps: int, *, guided: bool) -> Kind:
        """The kind of a model that need not be loaded, by its parts."""
        return cls(
            family=family,
            scheduler=type(scheduler).__name__,
            # Schedulers for one kind of prediction alone do not name it.
            prediction_type=str(scheduler.config.get("prediction_type")),
            steps=steps,
            guided=guided,
        )


class Calibration(BaseModel):
    """A calibration file: settings, and how they were measured (weights, cases, versions)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    settings: dict[Literal["fast", "turbo"], Settings]
    provenance: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read a file."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise ValueError(
                f"{path} is not a valid calibration: {error}. Measure it again."
            ) from error


def find_calibration(kind: Kind, folder: Path = FOLDER) -> tuple[str, Calibration] | None:
    """The calibration of a kind of model, and its name; None if it was not measured."""
    for path in sorted(folder.glob("*.json")):
        calibration = Calibration.load(path)
        if calibration.kind == kind:
            return path.stem, calibration
    return None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The settings of a profile for a model, their source, and whether they are a guess."""

    settings: Settings
    source: str
    guessed: bool = False

    @property
    def keeps_references(self) -> bool:
        """Whether what is read of the references is kept over steps."""
        return self.settings.reuse.references > 1

    def without_kept_references(self) -> Chosen:
        """The same, with references computed at every step."""
        reuse = replace(self.settings.reuse, references=1)
        return replace(self, settings=replace(self.settings, reuse=reuse))


def settings_for(profile: Profile, kind: Kind, folder: Path = FOLDER) -> Chosen:
    """What a profile does for a kind of model."""
    if profile == "exact":
        return Chosen(GUESSES["exact"], "nothing given up")
    found = find_calibration(kind, folder)
    measured: Mapping[Any, Settings] = {} if found is None else found[1].settings
    if found is None or profile not in measured:
        return Chosen(GUESSES[profile], "not measured for this kind of model", guessed=True)
    return Chosen(measured[profile], f"measured on {found[0]}")
