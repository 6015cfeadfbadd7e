"""Things, plants, vehicles and figures; each draws itself in a main and an accent color."""

from __future__ import annotations

import numpy as np

from vap.synth.palette import rgb, shade
from vap.synth.scene import Image
from vap.synth.subjects.pen import DARK, WHITE, Pen, arc, rays


def robot(pen: Pen, main: Image, accent: Image) -> None:
    steel = rgb("grey")
    pen.stroke([(0, -0.7), (0, -0.95)], 0.08, steel)
    pen.ellipse(0, -0.9, 0.1, 0.1, accent)
    pen.box(-0.5, -0.75, 0.5, -0.15, main)
    pen.box(-0.4, -0.62, 0.4, -0.3, DARK)
    pen.both.ellipse(-0.18, -0.46, 0.1, 0.1, rgb("yellow"))
    pen.both.box(-0.85, -0.02, -0.6, 0.5, steel)
    pen.box(-0.6, -0.1, 0.6, 0.6, shade(main, -0.2))
    pen.box(-0.3, 0.1, 0.3, 0.4, shade(accent, 0.3))
    pen.both.box(-0.45, 0.6, -0.12, 0.95, steel)


def person(pen: Pen, main: Image, accent: Image) -> None:
    skin = np.array([0.85, 0.63, 0.48], np.float32)
    pen.both.stroke([(-0.28, -0.25), (-0.6, 0.3)], 0.18, main)
    pen.both.ellipse(-0.62, 0.36, 0.1, 0.1, skin)
    pen.both.stroke([(-0.15, 0.4), (-0.2, 0.85)], 0.22, accent)
    pen.both.ellipse(-0.24, 0.9, 0.17, 0.07, DARK)
    pen.polygon([(-0.33, -0.35), (0.33, -0.35), (0.28, 0.45), (-0.28, 0.45)], main)
    pen.ellipse(0, -0.64, 0.25, 0.29, skin)
    pen.polygon(arc(0, -0.66, 0.29, 0.29, 180, 360), rgb("brown"))
    pen.both.ellipse(-0.09, -0.6, 0.035, 0.045, DARK)


def snowman(pen: Pen, main: Image, accent: Image) -> None:
    pen.ellipse(0, 0.5, 0.55, 0.46, WHITE)
    pen.ellipse(0, -0.22, 0.38, 0.36, WHITE)
    pen.box(-0.35, 0.02, 0.35, 0.15, main)
    pen.box(0.12, 0.1, 0.28, 0.45, main)
    pen.box(-0.42, -0.55, 0.42, -0.45, accent)
    pen.box(-0.27, -0.95, 0.27, -0.5, accent)
    pen.polygon([(-0.03, -0.25), (-0.03, -0.13), (0.35, -0.14)], rgb("orange"))
    for x, y in ((-0.14, -0.33), (0.14, -0.33), (-0.1, 0.35), (-0.1, 0.6)):
        pen.ellipse(x, y, 0.05, 0.05, DARK)


def mushroom(pen: Pen, main: Image, accent: Image) -> None:
    pen.polygon([(-0.22, -0.1), (0.22, -0.1), (0.32, 0.95), (-0.32, 0.95)], WHITE)
    pen.polygon(arc(0, -0.05, 0.9, 0.85, 180, 360), main)
    dots = ((-0.45, -0.3, 0.14), (0.1, -0.55, 0.17), (0.5, -0.25, 0.12), (-0.1, -0.2, 0.1))
    for x, y, r in dots:
        pen.ellipse(x, y, r, r * 0.9, shade(accent, 0.5))


def cactus(pen: Pen, main: Image, accent: Image) -> None:
    pen.stroke([(-0.6, -0.35), (-0.6, 0.1), (0, 0.1)], 0.24, shade(main, -0.15))
    pen.stroke([(0.6, -0.55), (0.6, -0.1), (0, -0.1)], 0.24, shade(main, -0.15))
    pen.stroke([(0, -0.7), (0, 0.6)], 0.44, main)
    for x in (-0.1, 0.1):
        pen.stroke([(x, -0.7), (x, 0.5)], 0.03, shade(main, 0.4))
    pen.polygon([(-0.45, 0.5), (0.45, 0.5), (0.33, 0.97), (-0.33, 0.97)], accent)
    pen.box(-0.52, 0.42, 0.52, 0.58, shade(accent, -0.2))


def tree(pen: Pen, main: Image, accent: Image) -> None:
    pen.polygon([(-0.14, 0.1), (0.14, 0.1), (0.24, 0.97), (-0.24, 0.97)], rgb("brown"))
    for x, y, r in ((-0.42, -0.1, 0.42), (0.42, -0.1, 0.42), (0, -0.45, 0.5), (0, 0.0, 0.45)):
        pen.ellipse(x, y, r, r, main)
    for x, y in ((-0.45, -0.1), (0.1, -0.5), (0.45, 0.0), (-0.05, 0.05), (0.4, -0.4)):
        pen.ellipse(x, y, 0.11, 0.11, accent)


def flower(pen: Pen, main: Image, accent: Image) -> None:
    pen.stroke([(0, 0), (0, 0.95)], 0.12, rgb("green"))
    pen.ellipse(0.25, 0.65, 0.26, 0.11, rgb("green"), degrees=-30)
    pen.ellipse(-0.25, 0.75, 0.26, 0.11, rgb("green"), degrees=30)
    for number in range(7):
        angle = 2 * np.pi * number / 7
        x, y = 0.38 * np.sin(angle), -0.3 - 0.38 * np.cos(angle)
        pen.ellipse(x, y, 0.2, 0.28, main, degrees=360 * number / 7)
    pen.ellipse(0, -0.3, 0.24, 0.24, accent)


def apple(pen: Pen, main: Image, accent: Image) -> None:
    pen.stroke([(0, -0.5), (0.08, -0.92)], 0.09, rgb("brown"))
    pen.ellipse(0.34, -0.75, 0.27, 0.12, shade(accent, -0.1), degrees=-20)
    pen.both.ellipse(-0.27, 0.15, 0.55, 0.68, main, degrees=-8)
    pen.ellipse(-0.42, -0.1, 0.12, 0.22, shade(main, 0.6), degrees=20)


def pineapple(pen: Pen, main: Image, accent: Image) -> None:
    for degrees in (-40, -20, 0, 20, 40):
        x = 0.32 * np.sin(np.deg2rad(degrees))
        pen.ellipse(x, -0.6, 0.11, 0.36, rgb("green"), degrees=degrees)
    pen.ellipse(0, 0.3, 0.5, 0.66, main)
    for offset in (-0.5, -0.1, 0.3, 0.7):
        pen.stroke([(-0.42, offset), (0.42, offset + 0.4)], 0.05, shade(accent, -0.3))
        pen.stroke([(0.42, offset), (-0.42, offset + 0.4)], 0.05, shade(accent, -0.3))


def cupcake(pen: Pen, main: Image, accent: Image) -> None:
    pen.polygon([(-0.6, 0.15), (0.6, 0.15), (0.42, 0.95), (-0.42, 0.95)], accent)
    for x in (-0.35, -0.12, 0.12, 0.35):
        pen.stroke([(x * 1.2, 0.2), (x * 0.9, 0.9)], 0.05, shade(accent, -0.3))
    icing = shade(main, 0.3)
    pen.ellipse(0, 0.1, 0.75, 0.26, icing)
    pen.ellipse(0, -0.18, 0.55, 0.26, icing)
    pen.ellipse(0, -0.45, 0.34, 0.25, icing)
    pen.ellipse(0, -0.75, 0.17, 0.17, rgb("red"))


def teapot(pen: Pen, main: Image, accent: Image) -> None:
    pen.stroke([(-0.45, 0.3), (-0.75, 0.1), (-0.92, -0.3)], 0.17, main)
    pen.stroke(arc(0.55, 0.15, 0.33, 0.36, -100, 100), 0.13, main)
    pen.ellipse(0, 0.25, 0.6, 0.56, main)
    pen.ellipse(0, -0.3, 0.36, 0.12, accent)
    pen.ellipse(0, -0.45, 0.11, 0.11, accent)
    for x in (-0.3, 0, 0.3):
        pen.ellipse(x, 0.3, 0.1, 0.1, shade(accent, 0.3))


def lantern(pen: Pen, main: Image, accent: Image) -> None:
    pen.stroke([(0, -0.97), (0, -0.7)], 0.06, DARK)
    pen.box(-0.3, -0.76, 0.3, -0.62, accent)
    pen.ellipse(0, -0.08, 0.72, 0.6, main)
    pen.ellipse(0, -0.08, 0.44, 0.6, shade(main, 0.25))
    pen.ellipse(0, -0.08, 0.16, 0.6, shade(main, 0.5))
    pen.box(-0.3, 0.46, 0.3, 0.6, accent)
    pen.stroke([(0, 0.6), (0, 0.95)], 0.12, accent)


def gift_box(pen: Pen, main: Image, accent: Image) -> None:
    pen.both.ellipse(-0.25, -0.6, 0.27, 0.17, accent, degrees=25)
    pen.box(-0.68, -0.1, 0.68, 0.92, main)
    pen.box(-0.8, -0.42, 0.8, -0.05, shade(main, -0.2))
    pen.box(-0.13, -0.42, 0.13, 0.92, accent)


def gem(pen: Pen, main: Image, accent: Image) -> None:
    top, girdle = -0.6, -0.15
    pen.polygon([(-0.55, top), (0.55, top), (0.92, girdle), (0, 0.92), (-0.92, girdle)], main)
    pen.polygon([(-0.55, top), (-0.92, girdle), (-0.35, girdle)], shade(main, 0.35))
    pen.polygon([(-0.55, top), (0, top), (-0.35, girdle)], shade(accent, 0.5))
    pen.polygon([(0, top), (-0.35, girdle), (0.35, girdle)], shade(main, 0.6))
    pen.polygon([(0.35, girdle), (0.92, girdle), (0, 0.92)], shade(main, -0.3))
    pen.polygon([(-0.35, girdle), (0.35, girdle), (0, 0.92)], shade(main, 0.15))


def star(pen: Pen, main: Image, accent: Image) -> None:
    pen.polygon(rays(5, 0.97, 0.45), main)
    pen.eyes(0, -0.05, 0.17, 0.11)
    pen.stroke(arc(0, 0.1, 0.16, 0.12, 10, 170), 0.05, shade(accent, -0.5))


def heart(pen: Pen, main: Image, accent: Image) -> None:
    pen.both.ellipse(-0.4, -0.3, 0.46, 0.46, main)
    pen.polygon([(-0.84, -0.16), (0, -0.4), (0.84, -0.16), (0, 0.92)], main)
    pen.polygon([(-0.6, 0.1), (0.55, -0.3), (0.66, -0.12), (-0.48, 0.28)], accent)


def cog_wheel(pen: Pen, main: Image, accent: Image) -> None:
    for number in range(8):
        angle = np.pi * number / 4
        end = (0.85 * float(np.cos(angle)), 0.85 * float(np.sin(angle)))
        pen.stroke([(0, 0), end], 0.24, main)
    pen.ellipse(0, 0, 0.66, 0.66, main)
    pen.ellipse(0, 0, 0.42, 0.42, shade(main, -0.3))
    pen.ellipse(0, 0, 0.22, 0.22, accent)


def beach_ball(pen: Pen, main: Image, accent: Image) -> None:
    pen.ellipse(0, 0, 0.9, 0.9, main)
    pen.ellipse(0, 0, 0.55, 0.9, WHITE)
    pen.ellipse(0, 0, 0.26, 0.9, accent)
    pen.ellipse(0, -0.78, 0.14, 0.09, rgb("grey"))


def umbrella(pen: Pen, main: Image, accent: Image) -> None:
    pen.stroke([(0, -0.1), (0, 0.7), (0.1, 0.86), (0.28, 0.8)], 0.09, rgb("brown"))
    pen.polygon(arc(0, 0.05, 0.93, 0.95, 180, 360), main)
    pen.polygon(arc(0, 0.05, 0.4, 0.95, 180, 360), accent)
    for x in (-0.66, 0.0, 0.66):
        pen.ellipse(x, 0.07, 0.27, 0.1, shade(main, -0.35))


def house(pen: Pen, main: Image, accent: Image) -> None:
    pen.box(0.35, -0.85, 0.6, -0.3, shade(main, -0.4))
    pen.box(-0.65, -0.2, 0.65, 0.95, shade(accent, 0.55))
    pen.polygon([(-0.9, -0.15), (0, -0.95), (0.9, -0.15)], main)
    pen.box(-0.15, 0.35, 0.2, 0.95, rgb("brown"))
    pen.box(-0.5, 0.05, -0.2, 0.4, rgb("blue"))
    pen.box(0.3, 0.05, 0.55, 0.4, rgb("blue"))


def castle(pen: Pen, main: Image, accent: Image) -> None:
    for x in (-0.6, 0.6):
        pen.polygon([(x - 0.32, -0.4), (x, -0.97), (x + 0.32, -0.4)], accent)
        pen.box(x - 0.24, -0.42, x + 0.24, 0.95, main)
        pen.box(x - 0.07, -0.15, x + 0.07, 0.15, DARK)
    pen.box(-0.4, 0.05, 0.4, 0.95, shade(main, -0.2))
    for x in (-0.26, 0.0, 0.26):
        pen.box(x - 0.08, -0.1, x + 0.08, 0.08, shade(main, -0.2))
    pen.polygon([*arc(0, 0.6, 0.2, 0.25, 180, 360), (0.2, 0.95), (-0.2, 0.95)], DARK)


def rocket(pen: Pen, main: Image, accent: Image) -> None:
    pen.both.polygon([(-0.3, 0.2), (-0.7, 0.85), (-0.2, 0.6)], main)
    pen.polygon([(-0.2, 0.65), (0.2, 0.65), (0, 0.98)], rgb("orange"))
    pen.ellipse(0, 0, 0.36, 0.85, WHITE)
    pen.polygon([(-0.27, -0.5), (0, -0.98), (0.27, -0.5)], main)
    pen.ellipse(0, -0.15, 0.2, 0.2, shade(main, -0.3))
    pen.ellipse(0, -0.15, 0.13, 0.13, accent)


def car(pen: Pen, main: Image, accent: Image) -> None:
    pen.polygon([(-0.5, -0.05), (-0.3, -0.55), (0.35, -0.55), (0.6, -0.05)], main)
    pen.polygon([(-0.36, -0.05), (-0.22, -0.43), (0, -0.43), (0, -0.05)], shade(rgb("blue"), 0.6))
    pen.polygon(
        [(0.08, -0.05), (0.08, -0.43), (0.3, -0.43), (0.45, -0.05)], shade(rgb("blue"), 0.6)
    )
    pen.box(-0.93, -0.08, 0.93, 0.42, main)
    pen.box(-0.93, 0.1, 0.93, 0.22, accent)
    for x in (-0.5, 0.5):
        pen.ellipse(x, 0.42, 0.25, 0.25, DARK)
        pen.ellipse(x, 0.42, 0.11, 0.11, rgb("grey"))


def sailing_boat(pen: Pen, main: Image, accent: Image) -> None:
    pen.stroke([(0, -0.9), (0, 0.5)], 0.08, rgb("brown"))
    pen.polygon([(0.08, -0.9), (0.75, 0.35), (0.08, 0.35)], shade(accent, 0.3))
    pen.polygon([(-0.08, -0.65), (-0.6, 0.35), (-0.08, 0.35)], WHITE)
    pen.polygon([(-0.92, 0.45), (0.92, 0.45), (0.6, 0.9), (-0.6, 0.9)], main)


def hot_air_balloon(pen: Pen, main: Image, accent: Image) -> None:
    for x in (-0.2, 0.2):
        pen.stroke([(x * 2, 0.2), (x, 0.75)], 0.04, DARK)
    pen.polygon([(-0.62, 0.0), (0.62, 0.0), (0.2, 0.55), (-0.2, 0.55)], main)
    pen.ellipse(0, -0.25, 0.7, 0.7, main)
    pen.ellipse(0, -0.22, 0.38, 0.73, accent)
    pen.ellipse(0, -0.2, 0.14, 0.74, shade(main, 0.4))
    pen.box(-0.23, 0.68, 0.23, 0.95, rgb("brown"))


_DRAWN = (
    *(robot, person, snowman, mushroom, cactus, tree, flower, apple, pineapple, cupcake),
    *(teapot, lantern, gift_box, gem, star, heart, cog_wheel, beach_ball, umbrella, house),
    *(castle, rocket, car, sailing_boat),
)
THINGS = {draw.__name__.replace("_", " "): draw for draw in _DRAWN}
THINGS["hot-air balloon"] = hot_air_balloon
