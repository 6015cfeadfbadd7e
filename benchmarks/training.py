"""How many samples a second the trainer takes on this machine, by variant and method.

A golden-sized model on random encodings: what is measured is the loop around the model (reading
shards, drawing noise, optimizer), which is the part that does not shrink on faster hardware.
Checkpoints are left out: how often they are written is the recipe's. ``vap train --dry-run``
predicts the model's own share.

    python benchmarks/training.py --steps 200
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.training.tuning_tiny import VARIANTS, metrics_of, recipe_of, write_dataset

from vap.training.stages import run_recipe

METHODS = ("expert", "expert-lora", "single-branch", "cross-attention", "residual")


def measure(folder: Path, variant: str, method: str, steps: int) -> tuple[float, float]:
    """Samples a second between the first and the last step, and seconds in all."""
    started = time.perf_counter()
    recipe = recipe_of(
        folder / variant,
        folder / f"{variant}-{method}",
        variant,
        model={"method": method, "lora_rank": 4},
        loop={"steps": steps, "batch_size": 1},
    )
    run_recipe(recipe)
    lines = metrics_of(recipe.output)
    seconds = max(1e-9, lines[-1]["seconds"] - lines[0]["seconds"])
    return (len(lines) - 1) / seconds, time.perf_counter() - started


def main() -> None:
    """Print one line a variant and method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{'variant':<12}{'method':<18}{'samples/s':>10}{'run, s':>10}")
        for variant in VARIANTS:
            write_dataset(folder / variant, variant)
            for method in METHODS:
                rate, seconds = measure(folder, variant, method, steps)
                print(f"{variant:<12}{method:<18}{rate:>10.1f}{seconds:>10.1f}")


if __name__ == "__main__":
    main()
