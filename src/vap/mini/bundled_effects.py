"""Write the effects that ship for the bundled model: ``python -m vap.mini.bundled_effects``."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vap.effects.create import create_effect
from vap.effects.effect import SUBJECT, Effect
from vap.effects.library import bundled_folder
from vap.files.names import DEFAULT_MODEL
from vap.media import write_video
from vap.synth import CONDITIONS, sample_pair

_SEED = 41
_FPS = 8


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A condition that the bundled model does well, and a pair that shows it clearly."""

    condition: str
    title: str
    happens: str
    index: int


_CHOSEN = (
    _Chosen("burn", "Burn", "The subject catches fire and turns black.", 113),
    _Chosen("dissolve", "Dissolve", "The subject dissolves into nothing.", 237),
    _Chosen("electrify", "Electrify", "Lightning strikes the subject.", 22),
    _Chosen("freeze", "Freeze", "The subject freezes to ice.", 158),
    _Chosen("silhouette", "Silhouette", "The subject becomes a dark silhouette.", 58),
    _Chosen("smoke", "Smoke", "The subject goes up in smoke.", 86),
    _Chosen("hide_and_peek", "Hide and peek", "The subject hides and comes back.", 308),
    _Chosen("jump", "Jump", "The subject jumps.", 115),
    _Chosen("night", "Night falls", "Day turns to night, with stars.", 64),
    _Chosen("old_film", "Old film", "The picture becomes an old film.", 321),
    _Chosen("sepia", "Sepia", "The picture becomes a sepia photograph.", 218),
    _Chosen("underwater", "Underwater", "The scene sinks under water.", 67),
)


def write_effects(folder: Path) -> list[Effect]:
    """Render a reference for each effect and write it with its manifest.

    Args:
        folder: Where a folder for each effect is made.
    """
    return [_write(folder, chosen) for chosen in _CHOSEN]


def _write(folder: Path, chosen: _Chosen) -> Effect:
    pair = sample_pair(_SEED, chosen.index, conditions=(chosen.condition,), effect_in_caption=0.0)
    name = chosen.condition.replace("_", "-")
    with tempfile.TemporaryDirectory() as place:
        reference, image = Path(place) / "reference.mp4", Path(place) / "image.png"
        write_video(pair.reference.frames, reference, _FPS, quality="small")
        Image.fromarray(pair.target.frames[0]).save(image, optimize=True)
        return create_effect(
            folder / name,
            name=f"vap/{name}",
            title=chosen.title,
            reference=reference,
            image=image,
            reference_prompt=pair.reference.scene_caption,
            prompt=SUBJECT,
            model=DEFAULT_MODEL,
            description=chosen.happens,
            category=CONDITIONS[chosen.condition].category,
            author="The Video-As-Prompt developers",
            license="Apache-2.0",
            hint="One subject, large and in the middle, on a plain background.",
        )


if __name__ == "__main__":
    write_effects(bundled_folder())
