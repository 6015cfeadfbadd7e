"""What raters see: for each case the videos of all systems, without names."""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vap.evaluation.browser_media import picture, playable
from vap.evaluation.case import Case
from vap.evaluation.run_folder import RunFolder

_CHECK_AFTER = 6
"""Cases to one attention check."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the videos to choose from.

    Attributes:
        token: What a page calls it; it does not tell the system.
        system: Who made it.
        video: A file that browsers play.
    """

    token: str
    system: str
    video: Path


@dataclass(frozen=True, slots=True)
class Item:
    """One question to raters.

    Attributes:
        token: What a page calls it.
        case: Name of the case.
        seed: Of the noise.
        reference: Token and file of the reference.
        image: Token and file of the image.
        candidates: The videos, in a fixed order; each rater sees another one.
        answer: Token of the only right video of an attention check; None for a question.
    """

    token: str
    case: str
    seed: int
    reference: tuple[str, Path]
    image: tuple[str, Path]
    candidates: tuple[Candidate, ...]
    answer: str | None = None


def make_items(
    run: RunFolder, folder: Path, secret: str, *, systems: Sequence[str] = (), seed: int = 0
) -> tuple[Item, ...]:
    """Make the questions of a study, and the media that they show.

    A case is asked about if at least two systems have a video of it. An attention check shows the
    video of its case among those of cases with other images: only one animates the image.

    Args:
        run: Where the videos are.
        folder: Where media for browsers are put.
        secret: Of the study: tokens cannot be guessed without it.
        systems: Only these; all systems of the run by default.
        seed: Which checks there are.

    Raises:
        ValueError: If a system is unknown, or no case has two videos.
    """
    from vap.files.names import did_you_mean

    names = [system.name for system in run.systems]
    for name in systems:
        if name not in names:
            raise ValueError(
                f"systems: {name!r} is not in the run.{did_you_mean(name, names)} It has: "
                f"{', '.join(names)}."
            )
    wanted = list(systems) or names
    cases = {case.name: case for case in run.cases}
    found: dict[tuple[str, int], dict[str, Path]] = {}
    for row in run.videos:
        if row.error is None and row.variant == "own" and row.system in wanted:
            place = found.setdefault((row.case, row.seed), {})
            place[row.system] = run.folder / row.file
    maker = _Maker(folder, secret)
    items = [
        maker.item(cases[case], number, videos)
        for (case, number), videos in sorted(found.items())
        if len(videos) > 1
    ]
    if not items:
        raise ValueError(
            f"{run.folder} has no case with videos of two systems. Give more systems to "
            "`vap eval run`, or leave out --systems."
        )
    return (*items, *_checks(maker, items, cases, random.Random(seed)))  # noqa: S311 - not a secret


class _Maker:
    """Makes tokens and media."""

    def __init__(self, folder: Path, secret: str) -> None:
        self._folder, self._secret = folder, secret.encode()

    def token(self, *parts: object) -> str:
        text = "\0".join(map(str, parts)).encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()[:20]

    def item(self, case: Case, seed: int, videos: dict[str, Path]) -> Item:
        candidates = tuple(
            Candidate(token, system, playable(video, self._folder, token))
            for system, video in videos.items()
            for token in [self.token("video", case.name, seed, system)]
        )
        reference = self.token("reference", case.name)
        image = self.token("image", case.name)
        return Item(
            self.token("item", case.name, seed),
            case.name,
            seed,
            (reference, playable(case.reference, self._folder, reference)),
            (image, picture(case.image, self._folder, image)),
            candidates,
        )


def _checks(
    maker: _Maker, items: Sequence[Item], cases: dict[str, Case], rng: random.Random
) -> list[Item]:
    """Attention checks, as many as there are cases with enough others of another image."""
    made = []
    for place, item in enumerate(items):
        others = [other for other in items if cases[other.case].image != cases[item.case].image]
        if place % _CHECK_AFTER or not others:
            continue
        right = rng.choice(item.candidates)
        chosen = rng.sample(others, min(len(others), max(1, len(item.candidates) - 1)))
        wrong = [rng.choice(other.candidates) for other in chosen]
        made.append(
            Item(
                maker.token("check", item.token),
                item.case,
                item.seed,
                item.reference,
                item.image,
                (right, *wrong),
                answer=right.token,
            )
        )
    return made


def in_order(items: Sequence[Item], rater: str) -> list[Item]:
    """The items as a rater sees them: cases and videos shuffled, a check never first."""
    rng = random.Random(rater)  # noqa: S311 - a rater's own order, which need not be secret
    questions = [item for item in items if item.answer is None]
    rng.shuffle(questions)
    ordered = list(questions)
    for item in items:
        if item.answer is not None:
            ordered.insert(rng.randint(1, len(ordered)), item)
    return [_shuffled(item, rng) for item in ordered]


def _shuffled(item: Item, rng: random.Random) -> Item:
    candidates = list(item.candidates)
    rng.shuffle(candidates)
    return Item(
        item.token,
        item.case,
        item.seed,
        item.reference,
        item.image,
        tuple(candidates),
        item.answer,
    )
