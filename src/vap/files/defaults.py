"""What a model generates when the user leaves it open."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, TypeAlias

from pydantic import Field

# What a folder's model_index.json may say.
_Count: TypeAlias = Annotated[int, Field(ge=1, le=2**16)]
_Rate: TypeAlias = Annotated[float, Field(gt=0, le=1e3)]
_Scale: TypeAlias = Annotated[float, Field(ge=0, le=1e3)]

# The negative prompt that ships with Wan2.1 and that the released model was run with.
RELEASED_NEGATIVE_PROMPT = (
    "Bright tones, overexposed, static, blurred details, subtitles, style, works, paintings, "
    "images, static, overall gray, worst quality, low quality, JPEG compression residue, ugly, "
    "incomplete, extra fingers, poorly drawn hands, poorly drawn faces, deformed, disfigured, "
    "misshapen limbs, fused fingers, still picture, messy background, three legs, many people "
    "in the background, walking backwards"
)


@dataclass(frozen=True, slots=True)
class GenerationDefaults:
    """A model's native settings.

    Attributes:
        height: Pixels.
        width: Pixels.
        num_frames: Pixel frames.
        fps: Frames a second.
        num_inference_steps: Denoising steps.
        guidance_scale: Classifier-free guidance.
        reference_guidance_scale: Guidance by the reference; the release has none, which is 1.
        use_dynamic_cfg: Whether the scale rises over the steps (CogVideoX).
        negative_prompt: For target and reference text alike.
    """

    height: _Count = 480
    width: _Count = 832
    num_frames: _Count = 49
    fps: _Rate = 16.0
    num_inference_steps: _Count = 50
    guidance_scale: _Scale = 5.0
    reference_guidance_scale: _Scale = 1.0
    use_dynamic_cfg: bool = False
    negative_prompt: str = RELEASED_NEGATIVE_PROMPT

    @property
    def guided(self) -> bool:
        """Whether a step takes more than one pass."""
        return max(self.guidance_scale, self.reference_guidance_scale) > 1.0

    def with_steps(self, share: float) -> GenerationDefaults:
        """The same with a share of the steps, at least one."""
        return replace(self, num_inference_steps=max(1, round(share * self.num_inference_steps)))

    def unguided(self) -> GenerationDefaults:
        """The same, one pass a step."""
        return replace(self, guidance_scale=1.0, reference_guidance_scale=1.0)

    def as_config(self) -> dict[str, Any]:
        """The settings as they stand in ``model_index.json``."""
        return asdict(self)
