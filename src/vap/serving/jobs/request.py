"""What a client asks for: a generation request with ids in place of paths."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from vap.acceleration.plan import Profile
from vap.serving.strict import Strict

_Id = Annotated[str, StringConstraints(pattern=r"^[a-z]+_[A-Za-z0-9]{8,64}$")]
_Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_./-]{1,200}$")]
_Text = Annotated[str, StringConstraints(max_length=10_000)]
Group = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]*$")]
_Scale = Annotated[float, Field(ge=0, le=1000)]
_Seconds = Annotated[float, Field(ge=0, le=100_000)]


class Part(Strict):
    """A part of a video.

    Attributes:
        start: Seconds at which it begins; None for the beginning.
        end: Seconds at which it ends; None for the end.
    """

    start: _Seconds | None = None
    end: _Seconds | None = None

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.end is not None and self.end <= (self.start or 0.0):
            raise ValueError(
                f"The reference ends at {self.end:g} s and starts at {self.start or 0:g} s. Give "
                "an end after the start."
            )
        return self

    @property
    def whole(self) -> bool:
        """Whether all of it is used."""
        return self.start is None and self.end is None


class Upload(Part):
    """A reference video that was uploaded, or a part of it."""

    upload: _Id


class SavedPrompt(Strict):
    """References that were encoded before."""

    prompt: _Id


class NamedEffect(Strict):
    """An effect of the library."""

    effect: _Name


Reference = Upload | SavedPrompt | NamedEffect


class VideoRequest(Strict):
    """What to generate. Whatever is None is the model's or the effect's own choice.

    Attributes:
        prompt: Caption of the video; empty to have one written.
        image: Id of the upload that is the first frame.
        references: What to follow.
        reference_prompts: Captions of the references; none, or one each.
        model: Name of the model; None for the service's default.
        expert: Name of an expert; None, or the model's name, for the model's own.
        size: ``WIDTHxHEIGHT`` in pixels.
        seconds: Length; rounded to a number of frames that the model makes.
        num_frames: Length in frames, in place of ``seconds``.
        seed: Of the noise; None for a random one.
        check_reference: Whether to find out if the reference is used, which makes a second video
            without it.
        group: A name of the client's for videos that belong together, such as a grid.
    """

    prompt: _Text = ""
    image: _Id
    references: Annotated[tuple[Reference, ...], Field(max_length=16)] = ()
    reference_prompts: Annotated[tuple[_Text, ...], Field(max_length=16)] = ()
    negative_prompt: _Text | None = None
    model: Annotated[str, Field(max_length=200)] | None = None
    expert: Annotated[str, Field(max_length=200)] | None = None
    size: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$")] | None = (
        None
    )
    seconds: Annotated[float, Field(gt=0, le=600)] | None = None
    num_frames: Annotated[int, Field(ge=1, le=20_000)] | None = None
    num_inference_steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    guidance_scale: _Scale | None = None
    reference_guidance_scale: _Scale | None = None
    strength: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None
    profile: Profile | None = None
    check_reference: bool = False
    group: Group | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        captions, given = len(self.reference_prompts), len(self.references)
        if captions not in {0, given}:
            raise ValueError(
                f"References: {given}, reference prompts: {captions}. Give one prompt for each "
                "reference, in order, or none."
            )
        if given > 1 and any(isinstance(each, SavedPrompt) for each in self.references):
            raise ValueError("An encoded prompt must be the only reference. Leave out the others.")
        if self.check_reference and not given:
            raise ValueError("check_reference needs a reference. Give one, or leave it out.")
        if self.seconds is not None and self.num_frames is not None:
            raise ValueError("Give seconds or num_frames, not both.")
        return self

    @property
    def height_width(self) -> tuple[int, int] | None:
        """The size in pixels, if it is given."""
        if self.size is None:
            return None
        width, height = self.size.split("x")
        return int(height), int(width)
