"""VAP-Synth: speed, variety, and how well a small classifier tells the conditions apart.

Run: ``python -m benchmarks.synth speed``      milliseconds a clip and a core, by condition
     ``python -m benchmarks.synth variety``    distinct pairs among 100,000
     ``python -m benchmarks.synth recognize``  train the classifier, accuracy on unseen subjects
     ``python -m benchmarks.synth sheet OUT``  start, middle and end of every condition as a JPEG
     ``python -m benchmarks.synth variations OUT``  varied pairs as a JPEG
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageDraw

from vap.media import SheetRow, write_sheet
from vap.synth import CONDITIONS, SPLITS, ClipSpec, pair_spec, sample_pair
from vap.synth.composition import compose
from vap.synth.fields import generator
from vap.synth.opencv import cv2
from vap.synth.variations import Symmetry, Variation


def speed(arguments: argparse.Namespace) -> None:
    """Print the cost of a clip: on average and for the slowest conditions."""
    cv2().setNumThreads(1)
    height, width, frames = arguments.height, arguments.width, arguments.frames
    size = {"height": height, "width": width, "frames": frames}
    costs = defaultdict(list)
    for index in range(-20, arguments.clips // 2):
        # Processor time: other work on the machine does not count. The first pairs warm up.
        start = time.process_time()
        pair = sample_pair(0, abs(index), split="backbone", **size)
        if index >= 0:
            costs[pair.target.condition].append((time.process_time() - start) / 2 * 1000)
    everything = [cost for condition in costs.values() for cost in condition]
    print(f"{frames}x{height}x{width}: {np.mean(everything):.2f} ms a clip and core")
    means = sorted(((np.mean(cost), name) for name, cost in costs.items()), reverse=True)
    for cost, name in means[:8]:
        print(f"  {name:20} {cost:6.2f} ms")


def variety(arguments: argparse.Namespace) -> None:
    """Count distinct pairs, and distinct captions, without rendering."""
    for split in SPLITS:
        start = time.perf_counter()
        pairs, captions = set(), set()
        for index in range(arguments.pairs):
            specs = pair_spec(0, index, split=split)
            captions.update(spec.composition.caption for spec in specs)
            pairs.add(
                tuple(
                    (spec.condition, *spec.parameters.items(), spec.composition) for spec in specs
                )
            )
        seconds = time.perf_counter() - start
        print(
            f"{split:9} {len(pairs):7} distinct pairs of {arguments.pairs}, "
            f"{len(captions):6} scene captions, {seconds:5.1f} s"
        )


def recognize(arguments: argparse.Namespace) -> None:
    """Train the classifier and print its accuracy on unseen subjects."""
    import torch

    from benchmarks.recognizer import Training, confusion, soften, train_recognizer
    from vap.synth.classifier import save_recognizer

    torch.set_num_threads(1)
    training = Training(steps=arguments.steps, batch=arguments.batch)
    losses: list[float] = []

    def note(step: int, loss: float) -> None:
        losses.append(loss)
        if step % 50 == 0:
            print(f"step {step:5}  loss {np.mean(losses[-50:]):.3f}", flush=True)

    start = time.process_time()
    model = train_recognizer(training, progress=note)
    minutes = (time.process_time() - start) / 60
    if arguments.out:
        save_recognizer(model, arguments.out)
        print(f"written to {arguments.out}")
    counts = confusion(model, arguments.clips, seed=1).numpy()
    right = np.diag(counts) / counts.sum(axis=1)
    print(f"{minutes:.1f} CPU minutes; {right.mean():.1%} of {arguments.clips} clips recognized")
    softness = torch.Generator().manual_seed(1)
    soft = confusion(model, arguments.clips, seed=1, change=lambda clips: soften(clips, softness))
    print(f"the same clips softened: {soft.diag().sum() / soft.sum():.1%}")
    names = list(CONDITIONS)
    for category in ("concept", "style", "motion", "camera"):
        own = [right[i] for i, name in enumerate(names) if CONDITIONS[name].category == category]
        print(f"  {category:8} {np.mean(own):.1%}")
    for index in np.argsort(right)[:12]:
        wrong = counts[index].copy()
        wrong[index] = 0
        print(f"  {names[index]:18} {right[index]:5.0%}, often taken for {names[wrong.argmax()]}")


def sheet(arguments: argparse.Namespace) -> None:
    """Draw start, middle and end of all conditions with their names."""
    tiles = []
    for number, condition in enumerate(CONDITIONS.values()):
        composition = compose(generator(arguments.seed, number), unseen=number % 2 == 1)
        parameters = condition.draw(generator(arguments.seed, number, 1))
        clip = ClipSpec(condition.name, parameters, composition).render(96, 144, 17)
        strip = Image.new("RGB", (3 * 144 + 4, 96 + 18), "white")
        for place, frame in enumerate((0, 9, 16)):
            strip.paste(Image.fromarray(clip.frames[frame]), (place * 146, 16))
        label = f"{condition.name}  ({condition.category}, {condition.exposure})"
        ImageDraw.Draw(strip).text((2, 2), label, fill="black")
        tiles.append(strip)
    wide, tall = tiles[0].size
    columns = 4
    page = Image.new("RGB", (columns * (wide + 8), -(-len(tiles) // columns) * tall), "white")
    for number, tile in enumerate(tiles):
        page.paste(tile, (number % columns * (wide + 8), number // columns * tall))
    page.save(arguments.out, quality=82)


def variations(arguments: argparse.Namespace) -> None:
    """Draw start to end of some varied pairs: the reference on the left, the target beside it."""
    moments, rows = [0, 4, 8, 12, 16], []
    for index in range(arguments.pairs):
        specs = pair_spec(arguments.seed, index, varied=1.0, mixed=arguments.mixed)
        frames = np.concatenate([spec.render().frames[moments] for spec in specs])
        variation = specs[0].variation
        assert variation is not None
        rows.append(SheetRow(specs[0].condition, frames, _said(variation)))
    with TemporaryDirectory() as folder:
        sheet = write_sheet(Path(folder) / "sheet.png", rows, 2 * len(moments))
        Image.open(sheet).save(arguments.out, quality=85)


def _said(variation: Variation) -> str:
    """A variation in a few words."""
    symmetry = variation.symmetry
    plain = Symmetry()
    colored = (symmetry.channels, symmetry.negative) != (plain.channels, plain.negative)
    aspects = {
        "in other colors": colored,
        "upside down": symmetry.upside_down,
        "mirrored": symmetry.mirrored,
        "sideways": symmetry.sideways,
        "and back": variation.returns,
        f"under {variation.then and variation.then[0]}": variation.then is not None,
        f"beside {variation.beside and variation.beside.name}": variation.beside is not None,
    }
    return ", ".join(words for words, applies in aspects.items() if applies)


def main() -> None:
    """Read the arguments and run one of the five."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    timing = commands.add_parser("speed")
    for name, default in (("clips", 1000), ("height", 64), ("width", 96), ("frames", 17)):
        timing.add_argument(f"--{name}", type=int, default=default)
    timing.set_defaults(run=speed)
    counting = commands.add_parser("variety")
    counting.add_argument("--pairs", type=int, default=100_000)
    counting.set_defaults(run=variety)
    learning = commands.add_parser("recognize")
    for name, default in (("steps", 2000), ("batch", 48), ("clips", 2000)):
        learning.add_argument(f"--{name}", type=int, default=default)
    learning.add_argument("--out", type=Path)
    learning.set_defaults(run=recognize)
    drawing = commands.add_parser("sheet")
    drawing.add_argument("out", type=Path)
    drawing.add_argument("--seed", type=int, default=7)
    drawing.set_defaults(run=sheet)
    varying = commands.add_parser("variations")
    varying.add_argument("out", type=Path)
    varying.add_argument("--seed", type=int, default=79)
    varying.add_argument("--pairs", type=int, default=8)
    varying.add_argument("--mixed", type=float, default=0.6)
    varying.set_defaults(run=variations)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
