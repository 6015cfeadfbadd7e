"""What of a reference with two effects a video takes, and what helps to take only one.

Run: ``python -m benchmarks.recipes --cases 32``
     ``python -m benchmarks.recipes --longer --cases 24``  ways to make 33 frames

A reference of VAP-Synth shows a motion under a style, or a motion under a camera move. There are
two true results for an image: of the first effect alone, and of the second alone. *Gap closed*
toward each is measured for the whole reference, for references of one effect, and for references
that the recipes of the documentation make.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import vap
from vap.evaluation.metrics.gap import Gap, changed_error, still
from vap.evaluation.report.bootstrap import combined, interval, resampled
from vap.media.pixels import to_uint8
from vap.synth import CONDITIONS, ClipSpec
from vap.synth.composition import compose
from vap.synth.fields import generator
from vap.synth.variations import Variation

Frames = NDArray[np.uint8]
Errors = dict[str, list[float]]

COMBINED = (("motion", "style"), ("motion", "camera"))
SEED = 5
METRIC = Gap(name="gap")
STATIC, BEST = Gap.bounds


def gray(frames: Frames) -> Frames:
    """Without color."""
    return np.stack([np.asarray(Image.fromarray(f).convert("L").convert("RGB")) for f in frames])


def even_light(frames: Frames) -> Frames:
    """Without color, and with the shades of the first frame in all."""
    pale = gray(frames)
    shades = np.sort(pale[0, ..., 0], axis=None)
    evened = np.empty_like(pale)
    for source, frame in zip(pale, evened, strict=True):
        ranks = source[..., 0].argsort(axis=None, kind="stable").argsort()
        frame[:] = shades[ranks].reshape(source.shape[:2])[..., None]
    return evened


def cross_fade(frames: Frames) -> Frames:
    """From the first picture to the last, without what happens between them."""
    times = np.linspace(0, 1, len(frames))[:, None, None, None]
    return np.asarray((1 - times) * frames[0] + times * frames[-1], np.uint8)


def case(kinds: tuple[str, str], number: int) -> tuple[dict[str, Frames], list[Frames], str, str]:
    """References by name, the two true results, and the captions of image and references."""
    rng = generator(SEED, number, COMBINED.index(kinds))
    chosen = []
    for kind in kinds:
        names = [c.name for c in CONDITIONS.values() if (c.category, c.exposure) == (kind, "train")]
        condition = CONDITIONS[names[int(rng.integers(len(names)))]]
        chosen.append((condition.name, condition.draw(rng)))
    shown, asked = compose(rng, unseen=True, drawn=True), compose(rng, unseen=True, drawn=True)
    first, second = (ClipSpec(*effect, shown).render().frames for effect in chosen)
    both = ClipSpec(*chosen[0], shown, variation=Variation(then=chosen[1])).render().frames
    references = {
        "both effects": both,
        f"{kinds[0]} alone": first,
        f"{kinds[1]} alone": second,
        "both, gray": gray(both),
        "both, gray in even light": even_light(both),
        "both, first to last picture": cross_fade(both),
        f"{kinds[1]}, first to last picture": cross_fade(second),
    }
    truths = [ClipSpec(*effect, asked).render().frames for effect in chosen]
    return references, truths, asked.caption, shown.caption


def animate(
    pipeline: Any, image: Frames, prompt: str, clip: Frames, caption: str, **options: Any
) -> Any:
    """A video ``[T, H, W, 3]`` in 0 to 1."""
    made = pipeline(
        Image.fromarray(image),
        prompt,
        reference_videos=[clip],
        reference_prompts=[caption],
        generator=torch.Generator().manual_seed(7),
        **options,
    )
    return np.asarray(made.frames[0])


def reconstructed(pipeline: Any, frames: Frames) -> Any:
    """What the autoencoder can show of a video, ``[T, H, W, 3]`` in 0 to 1."""
    values = torch.from_numpy(frames).permute(3, 0, 1, 2)[None] / 127.5 - 1
    with torch.no_grad():
        decoded = pipeline.vae.decode(pipeline.vae.encode(values).latent_dist.mode()).sample
    return ((decoded[0].permute(1, 2, 3, 0) + 1) / 2).clamp(0, 1).numpy()


def measure(pipeline: Any, kinds: tuple[str, str], cases: int) -> tuple[Errors, Errors]:
    """Errors to the first and to the second true result, by reference, of each case."""
    errors: tuple[Errors, Errors] = (defaultdict(list), defaultdict(list))
    for number in range(cases):
        references, truths, prompt, caption = case(kinds, number)
        videos = {
            name: animate(pipeline, truths[0][0], prompt, clip, caption)
            for name, clip in references.items()
        }
        for frames, found in zip(truths, errors, strict=True):
            truth = frames / 255
            bounds = {STATIC: still(truth), BEST: reconstructed(pipeline, frames)}
            for name, video in {**bounds, **videos}.items():
                found[name].append(changed_error(video, truth))
    return errors


def measure_longer(pipeline: Any, cases: int) -> Errors:
    """Errors to the true video of 33 frames, by the way it is made."""
    names = [condition.name for condition in CONDITIONS.values() if condition.exposure == "train"]
    errors: Errors = defaultdict(list)
    for number in range(cases):
        rng = generator(SEED, number, len(COMBINED))
        name = names[int(rng.integers(len(names)))]
        parameters = CONDITIONS[name].draw(rng)
        scenes = compose(rng, unseen=True, drawn=True), compose(rng, unseen=True, drawn=True)
        clips = [ClipSpec(name, parameters, scene).render(frames=33).frames for scene in scenes]
        reference, target = clips
        captions = scenes[1].caption, scenes[0].caption

        def made(image: Frames, clip: Frames, captions: Any = captions, **options: Any) -> Any:
            return animate(pipeline, image, captions[0], clip, captions[1], **options)

        short = made(target[0], reference)
        first = made(target[0], reference[:17])
        second = made(to_uint8("frame", first[-1]), reference[16:])
        truth = target / 255
        videos = {
            STATIC: still(truth),
            BEST: reconstructed(pipeline, target),
            "17 frames, each shown twice": np.repeat(short, 2, axis=0)[:33],
            "33 frames at once": made(target[0], reference, num_frames=33),
            "two parts of 17 frames": np.concatenate([first, second[1:]]),
        }
        for way, video in videos.items():
            errors[way].append(changed_error(video, truth))
    return errors


def shown(errors: Mapping[str, list[float]], name: str) -> str:
    """*Gap closed* with its interval."""
    values = {key: np.array(found) for key, found in errors.items()}
    bounds = {key: values[key] for key in Gap.bounds}
    number = combined(METRIC, values[name], bounds)
    between = interval(resampled(METRIC, values[name], bounds))
    return f"{number:.2f}" + (f" ({between[0]:.2f} to {between[1]:.2f})" if between else "")


def main(arguments: list[str] | None = None, say: Callable[[str], None] = print) -> None:
    """Print a table for each combination."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=32)
    parser.add_argument("--longer", action="store_true")
    asked = parser.parse_args(arguments)
    pipeline = vap.load_pipeline("vap-mini", device="cpu")
    pipeline.set_progress_bar_config(disable=True)
    if asked.longer:
        errors = measure_longer(pipeline, asked.cases)
        table(say, "way", {"gap closed": errors})
        return
    for kinds in COMBINED:
        found = measure(pipeline, kinds, asked.cases)
        table(say, "reference", dict(zip(kinds, found, strict=True)))


def table(say: Callable[[str], None], head: str, columns: Mapping[str, Errors]) -> None:
    """Print rows of names with a number for each column."""
    say(f"\n| {' | '.join((head, *columns))} |\n|{'---|' * (1 + len(columns))}")
    for name in next(iter(columns.values())):
        if name not in Gap.bounds:
            numbers = [shown(errors, name) for errors in columns.values()]
            say(f"| {' | '.join((name, *numbers))} |")


if __name__ == "__main__":
    main()
