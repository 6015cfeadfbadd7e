"""Is the reference used? The same seed with it, without it and with another."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from vap.media.change import Change, agreement, change_of, reference_use
from vap.media.cuts import find_cuts
from vap.media.pixels import RGB
from vap.pipelines.inputs import ClipLike, as_clips

_REFERENCE = ("reference_videos", "reference_prompts", "video_prompt")
_NEARLY_SAME, _USED, _TOWARD = 0.1, 0.02, 0.05
_SEEN = 49  # frames of a reference that are looked at, as many as the released models see


@dataclass(frozen=True, slots=True)
class Influence:
    """What the reference does to one kind of change, of motion or of appearance.

    Attributes:
        difference: How much the result differs from the one without the reference: 0 if it is the
            same, 1 if only one of the two changes or both change in opposite ways.
        toward: How much more it is like the reference than the one without it, −1 to 1; None if
            the reference's frames are not known.
        use: How much closer it is to its own reference than to the other one, −1 to 1, see
            ``vap.media.change.reference_use``; None without another reference.
    """

    difference: float
    toward: float | None = None
    use: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceReport:
    """What a reference does to a result.

    Attributes:
        motion: To its motion.
        appearance: To its colors.
        cuts: Frames of the reference that begin another shot.
        captioned: Whether the reference has a caption.
        videos: uint8 ``[T, H, W, 3]``, by ``own``, ``none`` and, if there is one, ``other``.
    """

    motion: Influence
    appearance: Influence
    cuts: tuple[int, ...]
    captioned: bool
    videos: Mapping[str, RGB] = field(default_factory=dict, repr=False)

    @property
    def makes_a_difference(self) -> bool:
        """Whether the result is another one without the reference."""
        return max(self.motion.difference, self.appearance.difference) >= _NEARLY_SAME

    @property
    def is_followed(self) -> bool | None:
        """Whether the difference leads toward the reference; None if that is not known.

        One video is weak evidence, and another reference makes it stronger: for vap-mini, 71 % of
        videos are found to follow their reference with another reference to compare with, and 63 %
        without; with shuffled expert weights, 13 % and 29 % (``docs/metrics.md``).
        """
        kinds = (self.motion, self.appearance)
        use = [kind.use for kind in kinds if kind.use is not None]
        toward = [kind.toward for kind in kinds if kind.toward is not None]
        if not toward:
            return None
        follows = np.mean(use) > _USED if use else np.mean(toward) > _TOWARD
        return self.makes_a_difference and bool(follows)

    @property
    def advice(self) -> tuple[str, ...]:
        """What to try, in sentences; empty if the reference is followed and has no fault."""
        tries: list[str] = []
        if not self.makes_a_difference:
            tries.append(
                "The result is nearly the same without the reference. Raise the strength to 1, or "
                "the reference guidance (reference_guidance_scale, --reference-guidance) to 2."
            )
        elif self.is_followed is False:
            tries.append(
                "The reference changes the result, but the result does not become more like the "
                "reference. Check whether the prompt names another effect; another seed or more "
                "reference guidance may help too."
            )
        if self.is_followed is False and self.motion.use is None:
            tries.append(
                "For stronger evidence, compare with a reference of another effect (other_videos, "
                "--other-reference)."
            )
        if not self.captioned:
            tries.append(
                "The reference has no caption. Describe its effect in the reference prompt, and "
                "the same effect in the prompt: models follow texts more than videos."
            )
        if self.cuts:
            at = ", ".join(map(str, self.cuts))
            tries.append(
                f"The reference has a cut (frame {at}): the model mistakes the cut for motion. "
                "Trim the reference to the shot with the effect."
            )
        return tuple(tries)

    def lines(self) -> list[str]:
        """The report in plain sentences."""
        verdicts: dict[bool | None, list[str]] = {
            True: ["The result follows its reference."],
            False: ["The result does not follow its reference."],
        }
        told = [_told("motion", self.motion), _told("appearance", self.appearance)]
        return [*verdicts.get(self.is_followed, []), *told, *self.advice]

    def summary(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "motion": asdict(self.motion),
            "appearance": asdict(self.appearance),
            "makes_a_difference": self.makes_a_difference,
            "is_followed": self.is_followed,
            "cuts": list(self.cuts),
            "advice": list(self.advice),
        }


def reference_report(
    pipeline: Any, call: Mapping[str, Any], other: Mapping[str, Any] | None = None
) -> ReferenceReport:
    """Make a video with its reference, without it and, if one is given, with another.

    Args:
        pipeline: One of the two pipelines.
        call: Arguments of its ``__call__``, for one video.
        other: ``reference_videos`` and, if need be, ``reference_prompts`` of another effect.

    Raises:
        ValueError: If the call has no reference, or makes several videos.
    """
    if call.get("reference_videos") is None and call.get("video_prompt") is None:
        raise ValueError("A reference report needs reference_videos or a video_prompt.")
    generator = call.get("generator") or torch.Generator().manual_seed(0)
    start = generator.get_state()

    def make(arguments: Mapping[str, Any]) -> RGB:
        generator.set_state(start)
        given = {**arguments, "generator": generator, "output_type": "np"}
        frames = np.asarray(pipeline(**given).frames)
        if len(frames) != 1:
            raise ValueError(f"A reference report is of one video; the call makes {len(frames)}.")
        return (frames[0] * 255).round().astype(np.uint8)

    without = {name: value for name, value in call.items() if name not in _REFERENCE}
    videos = {"own": make(call), "none": make(without)}
    if other is not None:
        videos["other"] = make({**without, **other})
    return report_on(
        videos,
        reference=call.get("reference_videos"),
        other=None if other is None else other["reference_videos"],
        captioned=bool(call.get("video_prompt") or call.get("reference_prompts")),
    )


def report_on(
    videos: Mapping[str, RGB],
    *,
    reference: ClipLike | Sequence[ClipLike] | None = None,
    other: ClipLike | Sequence[ClipLike] | None = None,
    captioned: bool,
) -> ReferenceReport:
    """Compare videos that differ in their reference alone.

    Args:
        videos: uint8 ``[T, H, W, 3]``, by ``own``, ``none`` and, if there is one, ``other``.
        reference: That of ``own``, the first one if there are several; None if its frames are not
            known.
        other: That of ``other``.
        captioned: Whether the reference has a caption.
    """
    changes = {name: change_of(video) for name, video in videos.items()}
    cuts: tuple[int, ...] = ()
    if reference is not None:
        frames, indices = _frames_of(reference)
        changes["reference"] = change_of(frames)
        cuts = tuple(indices[place] for place in find_cuts(frames))
    if other is not None:
        changes["other reference"] = change_of(_frames_of(other)[0])
    motion, appearance = (_influence(changes, part) for part in ("motion", "appearance"))
    return ReferenceReport(motion, appearance, cuts, captioned, videos)


def _frames_of(reference: ClipLike | Sequence[ClipLike]) -> tuple[RGB, tuple[int, ...]]:
    """Frames of the first clip, evenly over it, and their indices in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the report itself tells of cuts
        clip, *_ = as_clips(
            reference,
            None,
            num_frames=_SEEN,
            frame_selection="evenly",
            size=None,
            generator=None,
        )
    return np.stack([np.asarray(frame) for frame in clip.frames]), clip.source.frames


def _influence(changes: Mapping[str, Change], part: str) -> Influence:
    of = {name: getattr(change, part) for name, change in changes.items()}
    own, none, reference = of["own"], of["none"], of.get("reference")
    difference = 1 - agreement(own, none)
    if reference is None:
        return Influence(difference)
    toward = agreement(own, reference) - agreement(none, reference)
    if "other" not in of:
        return Influence(difference, toward)
    use = reference_use(own, of["other"], reference, of["other reference"])
    return Influence(difference, toward, use)


def _told(what: str, influence: Influence) -> str:
    told = f"The {what} differs by {influence.difference:.0%} from the result without the reference"
    if influence.toward is not None:
        told += f", and is {abs(influence.toward):.0%} "
        told += "more" if influence.toward >= 0 else "less"
        told += " like that of the reference"
    if influence.use is not None:
        told += f"; reference use is {influence.use:.2f} (−1 to 1)"
    return told + "."
