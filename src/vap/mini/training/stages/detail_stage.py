"""Stage ``detail``: a network that gives decoded frames the detail of their first image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from vap.mini.training.earlier import output_of
from vap.mini.training.mini_recipe import DetailStage
from vap.mini.training.stages.clips_stage import TENSORS
from vap.mini.training.stages.vae_stage import to_video
from vap.models.detail import DetailTransfer
from vap.training.trainer import train


def run(recipe: DetailStage) -> Path:
    """Train to the last step; see :func:`vap.training.trainer.train`."""
    return train(DetailTask(recipe), recipe)


class DetailTask:
    """Regression of the truth from what a pipeline or its autoencoder made of it."""

    model: nn.Module  # the network

    def __init__(self, recipe: DetailStage) -> None:
        torch.manual_seed(recipe.loop.seed)
        self.recipe = recipe
        self.shards = sorted(output_of("clips", recipe.clips).glob("clips-*.safetensors"))
        if not self.shards:
            raise FileNotFoundError(
                f"There is no shard in {str(recipe.clips)!r}. Run the recipe's clips stage first."
            )
        self.model = DetailTransfer(**recipe.model.model_dump())

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Decoded and true frames ``[B, 3, T', H, W]`` of a step in −1 … 1, the first included."""
        recipe = self.recipe
        rng = np.random.default_rng([recipe.loop.seed, step])
        truths, decodings = [], []
        for _ in range(recipe.loop.batch_size):
            name = TENSORS[2] if rng.random() < recipe.autoencoder_share else TENSORS[1]
            with safe_open(self.shards[rng.integers(len(self.shards))], framework="np") as shard:
                kept = {each: shard.get_slice(each) for each in (TENSORS[0], name)}
                count, frames = kept[name].get_shape()[:2]
                index = int(rng.integers(count))
                # Alternatives to the first frame; it is what the others are matched with.
                chosen = rng.choice(np.arange(1, frames), recipe.frames - 1, replace=False)
                chosen = np.concatenate([[0], np.sort(chosen)])
                truth, decoded = (
                    to_video(each[index : index + 1][0, chosen]) for each in kept.values()
                )
            mirrored = [-1] if rng.random() < 0.5 else []  # noqa: PLR2004 - one of two
            truths.append(truth.flip(mirrored))
            decodings.append(decoded.flip(mirrored))
        return torch.stack(decodings), torch.stack(truths)

    def loss(
        self, model: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Distances in pixels and edges."""
        decoded, truth = (each.to(generator.device) for each in batch)
        error = model(decoded, truth[:, :, 0]).float() - truth
        edges = sum(error.diff(dim=axis).abs().mean() for axis in (3, 4)) / 2
        mse, before = error.square().mean(), (decoded - truth).square().mean()
        gain = 10 * (before / mse.detach().clamp_min(1e-10)).log10()
        return {"loss": error.abs().mean() + mse + edges, "mse": mse, "gain": gain}

    def save(self, output: Path) -> None:
        """Write ``output/detail``."""
        self.model.save_pretrained(output / "detail")  # type: ignore[operator]
