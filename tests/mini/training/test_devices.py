"""Stages of a mini model on an accelerator: whatever a network is given lies where it does.

There is none here, so a device without values stands in for it; mixing it with the CPU fails.
"""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from vap.mini.training.encoded_pairs import ClipBatch
from vap.mini.training.stages import vae_stage
from vap.mini.training.stages.backbone_stage import BackboneTask, Sample
from vap.mini.training.stages.expert_stage import ExpertTask, PairSample
from vap.mini.training.stages.vae_stage import VAETask
from vap.training.sections import FlowConfig
from vap.training.variants.wan_variant import WanVariant

DEVICE = torch.device("meta")
GENERATOR = SimpleNamespace(device=DEVICE)
CLIPS = ClipBatch(
    torch.zeros(2, 4, 2, 4, 6), torch.zeros(2, 4, 2, 4, 6), torch.zeros(2, 5, 8), [("a", "b")] * 2
)


def assert_placed(*values):
    for value in values:
        assert not isinstance(value, torch.Tensor) or value.device == DEVICE


@pytest.fixture(autouse=True)
def drawing_for_the_device(monkeypatch):
    """Noise of the stand-in's generator, where it is asked for."""
    randn = torch.randn

    def drawn(*size, generator, device=None):
        return randn(*size, device=device)

    monkeypatch.setattr(torch, "randn", drawn)


class TextEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8))

    def forward(self, ids, mask):
        assert_placed(ids, mask, self.weight)
        return SimpleNamespace(last_hidden_state=ids.unsqueeze(-1) * self.weight)


def denoiser(latents, *given, return_dict=True, **named):
    assert_placed(latents, *given, *named.values())
    _, text, _ = given
    assert ("reference_hidden_states" in named) == text.is_floating_point()  # else captions' ids
    prediction = torch.zeros(2, 4, 2, 4, 6, device=DEVICE)
    return prediction if return_dict else (prediction,)


def task_of(kind, **attributes):
    task = object.__new__(kind)
    task.recipe, task.variant = SimpleNamespace(), WanVariant(FlowConfig(prediction="velocity"))
    for name, value in attributes.items():
        setattr(task, name, value)
    return task


def test_a_backbone_is_given_its_batch_where_it_is():
    captions = torch.zeros(2, 3, 2, dtype=torch.long)

    losses = task_of(BackboneTask).loss(denoiser, Sample(CLIPS, captions), GENERATOR)

    assert_placed(losses["loss"])


def test_an_expert_is_given_its_batch_and_text_where_it_is():
    captions = torch.zeros(4, 3, 2, dtype=torch.long)
    strategy = SimpleNamespace(reads_references=True)
    task = task_of(ExpertTask, text_encoder=TextEncoder(), strategy=strategy)

    losses = task.loss(denoiser, PairSample(CLIPS, CLIPS, captions), GENERATOR)

    assert_placed(losses["loss"])


def test_an_autoencoder_is_given_its_batch_where_it_is():
    task = task_of(VAETask)
    task.recipe = SimpleNamespace(
        l1_weight=1.0, mse_weight=0.0, gradient_weight=0.5, kl_weight=1e-3
    )

    def model(video, _generator):
        assert_placed(video)
        return video, torch.zeros(2, device=DEVICE)

    assert_placed(task.loss(model, torch.zeros(2, 3, 5, 8, 8), GENERATOR)["loss"])


def test_latent_statistics_are_measured_where_the_autoencoder_is(monkeypatch):
    monkeypatch.setattr(vae_stage, "render_clips", lambda *_: torch.zeros(1, 3, 5, 8, 8))

    def encode(video):
        assert_placed(video)
        latents = torch.arange(8.0).reshape(1, 2, 1, 2, 2)
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: latents))

    task = task_of(VAETask, vae=SimpleNamespace(device=DEVICE, eval=lambda: None, encode=encode))
    task.recipe = SimpleNamespace(render=None, loop=SimpleNamespace(seed=0), statistics_clips=2)

    assert task.statistics()[0] == [1.5, 5.5]


def test_clips_that_are_there_already_stay_as_they_are():
    assert CLIPS.to(torch.device("cpu")).latents is CLIPS.latents
