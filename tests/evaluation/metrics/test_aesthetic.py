from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.evaluation.metrics.tiny import sample_of, save_clip, texture
from vap.evaluation.metrics.aesthetic import Aesthetic
from vap.evaluation.metrics.registry import METRICS


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp("clip"))


def head(path, weight, bias):
    save_file({"weight": weight, "bias": torch.tensor([bias])}, path)
    return path


def test_a_constant_head_gives_ten_times_its_constant(clip, tmp_path):
    file = head(tmp_path / "head.safetensors", torch.zeros(1, 8), 5.4)
    metric = Aesthetic(name="aesthetic", model=clip, head=file, device="cpu")
    score = metric.score(sample_of(tmp_path, np.stack([texture()] * 2)))
    assert score.value == pytest.approx(54)


def test_the_score_is_the_mean_of_the_head_over_unit_embeddings(clip, tmp_path):
    weight = torch.randn(1, 8, generator=torch.Generator().manual_seed(0))
    file = head(tmp_path / "head.safetensors", weight, 0.5)
    metric = Aesthetic(name="aesthetic", model=clip, head=file, device="cpu")
    frames = np.stack([texture(seed=seed) for seed in range(3)])
    embedded = metric.encoder().images(frames)
    expected = 10 * ((embedded @ weight[0]) + 0.5).mean().item()
    assert embedded.norm(dim=1).numpy() == pytest.approx(1)
    assert metric.score(sample_of(tmp_path, frames)).value == pytest.approx(expected, abs=1e-4)


def test_a_missing_or_wrong_head_is_named(clip, tmp_path):
    with pytest.raises(ValueError, match="head: FILE"):
        METRICS.read("aesthetic").check()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Aesthetic(name="a", model=clip, head=tmp_path / "nowhere").check()
    save_file({"layers": torch.zeros(2)}, tmp_path / "mlp.safetensors")
    metric = Aesthetic(name="a", model=clip, head=tmp_path / "mlp.safetensors", device="cpu")
    with pytest.raises(ValueError, match="mlp"):
        metric.score(sample_of(tmp_path, np.stack([texture()] * 2)))
    large = head(tmp_path / "large.safetensors", torch.zeros(1, 768), 0.0)
    metric = Aesthetic(name="a", model=clip, head=large, device="cpu")
    with pytest.raises(ValueError, match="768"):
        metric.score(sample_of(tmp_path, np.stack([texture()] * 2)))
