"""Animals and other characters; each draws itself in a main and an accent color."""

from __future__ import annotations

from vap.synth.palette import rgb, shade
from vap.synth.scene import Image
from vap.synth.subjects.pen import DARK, WHITE, Pen, arc


def owl(pen: Pen, main: Image, accent: Image) -> None:
    pen.both.polygon([(-0.55, -0.5), (-0.5, -0.95), (-0.1, -0.7)], main)
    pen.ellipse(0, 0.1, 0.62, 0.85, main)
    pen.both.ellipse(-0.5, 0.2, 0.18, 0.5, shade(main, -0.3), degrees=12)
    pen.ellipse(0, 0.35, 0.33, 0.45, shade(accent, 0.4))
    pen.eyes(0, -0.3, 0.25, 0.24)
    pen.polygon([(-0.1, -0.12), (0.1, -0.12), (0, 0.1)], rgb("orange"))


def cat(pen: Pen, main: Image, accent: Image) -> None:
    pen.stroke([(0.3, 0.7), (0.7, 0.6), (0.8, 0.2), (0.65, 0.0)], 0.16, shade(main, -0.15))
    pen.ellipse(0, 0.45, 0.45, 0.5, main)
    pen.both.polygon([(-0.5, -0.3), (-0.5, -0.95), (-0.08, -0.6)], main)
    pen.ellipse(0, 0.5, 0.25, 0.35, shade(main, 0.5))
    pen.box(-0.3, 0.02, 0.3, 0.16, accent)
    pen.ellipse(0, -0.3, 0.55, 0.42, main)
    pen.eyes(0, -0.35, 0.22, 0.13)
    pen.polygon([(-0.07, -0.17), (0.07, -0.17), (0, -0.08)], rgb("pink"))


def fish(pen: Pen, main: Image, accent: Image) -> None:
    pen.polygon([(0.4, 0), (0.95, -0.5), (0.85, 0), (0.95, 0.5)], accent)
    pen.polygon([(-0.2, -0.3), (0.3, -0.75), (0.4, -0.2)], accent)
    pen.ellipse(-0.15, 0, 0.75, 0.48, main)
    for x in (-0.1, 0.2):
        pen.ellipse(x, 0, 0.07, 0.4, shade(main, 0.55))
    pen.eye(-0.55, -0.1, 0.13)


def bird(pen: Pen, main: Image, accent: Image) -> None:
    pen.stroke([(-0.1, 0.5), (-0.1, 0.95)], 0.07, rgb("orange"))
    pen.stroke([(0.15, 0.5), (0.15, 0.95)], 0.07, rgb("orange"))
    pen.polygon([(0.35, 0.1), (0.98, -0.2), (0.85, 0.2), (0.5, 0.45)], shade(main, -0.25))
    pen.ellipse(0, 0.2, 0.6, 0.45, main)
    pen.ellipse(-0.4, -0.35, 0.37, 0.36, main)
    pen.polygon([(-0.7, -0.45), (-0.98, -0.28), (-0.7, -0.2)], rgb("orange"))
    pen.ellipse(0.15, 0.15, 0.35, 0.23, accent, degrees=-15)
    pen.eye(-0.48, -0.42, 0.11)


def butterfly(pen: Pen, main: Image, accent: Image) -> None:
    pen.both.ellipse(-0.5, -0.35, 0.48, 0.42, main, degrees=25)
    pen.both.ellipse(-0.42, 0.4, 0.38, 0.36, shade(main, -0.2), degrees=-25)
    pen.both.ellipse(-0.52, -0.35, 0.22, 0.2, accent)
    pen.both.ellipse(-0.43, 0.4, 0.16, 0.16, shade(accent, 0.4))
    pen.both.stroke([(0, -0.5), (-0.2, -0.9)], 0.05, DARK)
    pen.ellipse(0, 0.05, 0.1, 0.6, DARK)


def snail(pen: Pen, main: Image, accent: Image) -> None:
    body = shade(accent, 0.35)
    pen.stroke([(-0.7, 0.3), (-0.85, -0.35)], 0.07, body)
    pen.stroke([(-0.6, 0.3), (-0.55, -0.35)], 0.07, body)
    pen.ellipse(-0.85, -0.35, 0.09, 0.09, DARK)
    pen.ellipse(-0.55, -0.35, 0.09, 0.09, DARK)
    pen.polygon([(-0.9, 0.2), (-0.5, 0.2), (0.4, 0.55), (0.97, 0.85), (-0.7, 0.85)], body)
    pen.ellipse(0.2, 0.05, 0.62, 0.62, main)
    pen.ellipse(0.2, 0.05, 0.44, 0.44, shade(main, 0.4))
    pen.ellipse(0.25, 0.08, 0.3, 0.3, main)
    pen.ellipse(0.22, 0.05, 0.13, 0.13, shade(main, 0.4))


def turtle(pen: Pen, main: Image, accent: Image) -> None:
    skin = shade(accent, -0.1)
    for x in (-0.45, 0.4):
        pen.box(x - 0.14, 0.2, x + 0.14, 0.75, skin)
    pen.ellipse(-0.75, -0.05, 0.24, 0.22, skin)
    pen.polygon([(0.6, 0.25), (0.97, 0.4), (0.6, 0.42)], skin)
    pen.polygon(arc(0.05, 0.35, 0.72, 0.85, 180, 360), main)
    for x, y, r in ((-0.3, 0.05, 0.16), (0.05, -0.15, 0.2), (0.4, 0.08, 0.16)):
        pen.ellipse(x, y, r, r, shade(main, -0.3))
    pen.eye(-0.82, -0.1, 0.08)


def penguin(pen: Pen, main: Image, accent: Image) -> None:
    pen.both.ellipse(-0.25, 0.88, 0.25, 0.1, rgb("orange"))
    pen.both.ellipse(-0.58, 0.2, 0.14, 0.45, shade(main, -0.25), degrees=15)
    pen.ellipse(0, 0.1, 0.55, 0.82, main)
    pen.ellipse(0, 0.3, 0.38, 0.56, WHITE)
    pen.ellipse(0, -0.4, 0.36, 0.26, WHITE)
    pen.eyes(0, -0.45, 0.16, 0.1)
    pen.polygon([(-0.11, -0.35), (0.11, -0.35), (0, -0.18)], rgb("orange"))
    pen.box(-0.42, -0.13, 0.42, 0.04, accent)


def rabbit(pen: Pen, main: Image, accent: Image) -> None:
    pen.both.ellipse(-0.2, -0.6, 0.14, 0.38, main, degrees=-8)
    pen.both.ellipse(-0.2, -0.6, 0.07, 0.28, rgb("pink"), degrees=-8)
    pen.both.ellipse(-0.3, 0.88, 0.24, 0.1, shade(main, 0.3))
    pen.ellipse(0, 0.45, 0.45, 0.48, main)
    pen.ellipse(0, 0.5, 0.27, 0.33, shade(accent, 0.5))
    pen.ellipse(0, -0.12, 0.42, 0.34, main)
    pen.eyes(0, -0.18, 0.18, 0.11)
    pen.ellipse(0, -0.01, 0.07, 0.05, rgb("pink"))


def fox(pen: Pen, main: Image, accent: Image) -> None:
    pen.ellipse(0.6, 0.45, 0.22, 0.5, main, degrees=30)
    pen.ellipse(0.78, 0.12, 0.13, 0.2, WHITE, degrees=30)
    pen.ellipse(0, 0.45, 0.38, 0.5, main)
    pen.ellipse(0, 0.55, 0.2, 0.36, shade(accent, 0.5))
    pen.both.polygon([(-0.55, -0.35), (-0.58, -0.97), (-0.1, -0.65)], main)
    pen.polygon([(-0.62, -0.5), (0.62, -0.5), (0.35, -0.1), (0, 0.16), (-0.35, -0.1)], main)
    pen.both.polygon([(-0.6, -0.38), (-0.1, -0.1), (0, 0.16), (-0.35, -0.08)], WHITE)
    pen.eyes(0, -0.33, 0.22, 0.09)
    pen.ellipse(0, 0.12, 0.09, 0.07, DARK)


def bear(pen: Pen, main: Image, accent: Image) -> None:
    pen.both.ellipse(-0.4, -0.72, 0.2, 0.2, main)
    pen.both.ellipse(-0.4, -0.72, 0.1, 0.1, accent)
    pen.both.ellipse(-0.52, 0.3, 0.17, 0.38, main, degrees=25)
    pen.both.ellipse(-0.28, 0.82, 0.22, 0.16, shade(main, -0.2))
    pen.ellipse(0, 0.4, 0.48, 0.5, main)
    pen.ellipse(0, 0.45, 0.3, 0.34, shade(accent, 0.4))
    pen.ellipse(0, -0.38, 0.5, 0.43, main)
    pen.ellipse(0, -0.24, 0.22, 0.17, shade(main, 0.5))
    pen.eyes(0, -0.48, 0.2, 0.09)
    pen.ellipse(0, -0.3, 0.09, 0.07, DARK)


def frog(pen: Pen, main: Image, accent: Image) -> None:
    pen.both.ellipse(-0.6, 0.5, 0.33, 0.36, shade(main, -0.2))
    pen.both.ellipse(-0.62, 0.84, 0.32, 0.11, main)
    pen.both.ellipse(-0.36, -0.52, 0.26, 0.27, main)
    pen.ellipse(0, 0.1, 0.68, 0.66, main)
    pen.ellipse(0, 0.4, 0.42, 0.34, shade(accent, 0.5))
    pen.eyes(0, -0.54, 0.36, 0.17)
    pen.stroke(arc(0, -0.05, 0.38, 0.2, 10, 170), 0.06, DARK)


def octopus(pen: Pen, main: Image, accent: Image) -> None:
    for number in range(6):
        x = -0.62 + 0.25 * number
        swing = 0.14 if number % 2 else -0.14
        pen.stroke([(x * 0.7, 0.2), (x + swing, 0.55), (x - swing * 0.6, 0.88)], 0.17, main)
    pen.ellipse(0, -0.25, 0.62, 0.62, main)
    for x, y in ((-0.3, -0.62), (0.05, -0.72), (0.35, -0.55)):
        pen.ellipse(x, y, 0.09, 0.08, shade(accent, 0.3))
    pen.eyes(0, -0.15, 0.24, 0.15)


def ghost(pen: Pen, main: Image, accent: Image) -> None:
    pale = shade(main, 0.45)
    pen.polygon([*arc(0, -0.25, 0.6, 0.65, 180, 360), (0.6, 0.8), (-0.6, 0.8)], pale)
    for x in (-0.4, 0.0, 0.4):
        pen.ellipse(x, 0.78, 0.2, 0.16, pale)
    pen.both.ellipse(-0.22, -0.25, 0.12, 0.18, DARK)
    pen.both.ellipse(-0.4, 0.0, 0.1, 0.07, shade(accent, 0.2))
    pen.ellipse(0, 0.1, 0.1, 0.13, DARK)


def ladybird(pen: Pen, main: Image, accent: Image) -> None:
    for y in (-0.2, 0.15, 0.5):
        pen.stroke([(-0.85, y - 0.08), (0.0, y), (0.85, y - 0.08)], 0.08, DARK)
    pen.ellipse(0, -0.55, 0.38, 0.33, DARK)
    pen.ellipse(0, 0.2, 0.68, 0.72, main)
    pen.stroke([(0, -0.5), (0, 0.9)], 0.05, DARK)
    for side in (-1, 1):
        for x, y in ((0.3, -0.1), (0.4, 0.35), (0.2, 0.65)):
            pen.ellipse(side * x, y, 0.12, 0.12, shade(accent, -0.5))
    pen.eyes(0, -0.65, 0.18, 0.09)


def dinosaur(pen: Pen, main: Image, accent: Image) -> None:
    pen.polygon([(0.3, 0.1), (0.97, 0.55), (0.25, 0.6)], main)
    for x, y in ((-0.2, -0.3), (0.05, -0.2), (0.28, 0.0), (0.5, 0.2)):
        pen.polygon([(x - 0.16, y + 0.15), (x + 0.06, y - 0.22), (x + 0.2, y + 0.2)], accent)
    pen.box(-0.35, 0.4, -0.1, 0.93, shade(main, -0.2))
    pen.box(0.15, 0.4, 0.4, 0.93, shade(main, -0.2))
    pen.ellipse(0.05, 0.3, 0.5, 0.36, main)
    pen.polygon([(-0.35, 0.35), (-0.62, -0.6), (-0.25, -0.6), (0.1, 0.1)], main)
    pen.ellipse(-0.58, -0.65, 0.36, 0.24, main)
    pen.eye(-0.58, -0.72, 0.1)


_DRAWN = (
    *(owl, cat, fish, bird, butterfly, snail, turtle, penguin),
    *(rabbit, fox, bear, frog, octopus, ghost, ladybird, dinosaur),
)
CREATURES = {draw.__name__: draw for draw in _DRAWN}
