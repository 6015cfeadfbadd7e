"""All subjects by name, and those that training never uses."""

from __future__ import annotations

from vap.synth.palette import rgb
from vap.synth.scene import Image
from vap.synth.subjects.creatures import CREATURES
from vap.synth.subjects.cutouts import CUTOUTS
from vap.synth.subjects.pen import Pen
from vap.synth.subjects.things import THINGS

DRAWINGS = {**CREATURES, **THINGS}
SUBJECTS: tuple[str, ...] = (*DRAWINGS, *CUTOUTS)

UNSEEN_SUBJECTS: frozenset[str] = frozenset(
    {
        *("fish", "penguin", "fox", "dinosaur"),
        *("robot", "cactus", "pineapple", "heart", "car", "castle"),
        *("photographer", "glass orb"),
    }
)


def has_colour(subject: str) -> bool:
    """Whether a subject takes on the drawn color, or has its own as in a photograph."""
    return subject in DRAWINGS or CUTOUTS[subject].tinted


def draw_subject(subject: str, size: int, colour: str, accent: str) -> tuple[Image, Image]:
    """Draw a subject into a square patch.

    Returns:
        Colors multiplied by alpha ``[S, S, 3]`` and alpha ``[S, S, 1]``.
    """
    if subject in CUTOUTS:
        return CUTOUTS[subject].draw(size, rgb(colour))
    pen = Pen(size)
    DRAWINGS[subject](pen, rgb(colour), rgb(accent))
    return pen.finish()
