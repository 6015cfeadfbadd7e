"""A case: animate this image as that reference video shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a benchmark; all media are files.

    Attributes:
        name: Unique in its benchmark, and usable as a file name.
        condition: What the reference shows, such as ``melt``.
        image: The image to animate.
        reference: The reference video, or a folder of its frames.
        prompt: Caption of the result, effect included.
        scene_prompt: Caption of the result that does not tell the effect; empty where there is
            none.
        reference_prompt: Caption of the reference.
        reference_scene_prompt: The same without the effect; empty where there is none.
        group: What the rows of a table are grouped by, such as the split or the category.
        truth: The true result where it is known, in the form of ``reference``.
        seed: Added to the seeds of a run, so that cases do not share their noise.
    """

    name: str
    condition: str
    image: Path
    reference: Path
    prompt: str = ""
    scene_prompt: str = ""
    reference_prompt: str = ""
    reference_scene_prompt: str = ""
    group: str = ""
    truth: Path | None = None
    seed: int = 0
