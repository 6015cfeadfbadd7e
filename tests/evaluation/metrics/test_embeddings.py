from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import CLIPModel, CLIPTokenizer

from tests.evaluation.metrics.tiny import sample_of, save_clip, save_dino, texture
from vap.evaluation.metrics.clip_score import ClipScore
from vap.evaluation.metrics.embeddings import load_encoder
from vap.evaluation.metrics.identity import Identity, subject_consistency
from vap.evaluation.metrics.registry import METRICS


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module", params=[1, 2], ids=["dino", "dinov2"])
def dino(request, tmp_path_factory):
    return save_dino(tmp_path_factory.mktemp("dino"), version=request.param)


def test_clip_score_is_the_mean_cosine_of_frames_and_caption(clip, tmp_path):
    frames = np.stack([texture(32, 32, seed) for seed in range(3)])
    score = ClipScore(name="clip", model=clip, device="cpu").score(sample_of(tmp_path, frames))

    # Frames of the model's own size are neither resized nor cut.
    model, tokenizer = CLIPModel.from_pretrained(clip).eval(), CLIPTokenizer.from_pretrained(clip)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    deviation = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    pixels = (torch.from_numpy(frames).permute(0, 3, 1, 2) / 255 - mean) / deviation
    with torch.no_grad():
        found = model(pixel_values=pixels, **tokenizer("a cat", return_tensors="pt"))
    cosines = found.image_embeds @ found.text_embeds[0]
    assert score.value == pytest.approx(100 * cosines.mean().item(), abs=1e-4)


def test_another_caption_or_other_frames_have_another_score(clip, tmp_path):
    metric = ClipScore(name="clip", model=clip, device="cpu")
    frames = np.stack([texture(32, 48, 0)] * 2)
    scores = [
        metric.score(sample_of(tmp_path / "a", frames)).value,
        metric.score(sample_of(tmp_path / "b", frames, prompt="dogs")).value,
        metric.score(sample_of(tmp_path / "c", frames * 0)).value,
    ]
    assert len({round(score, 3) for score in scores}) == 3
    assert all(-100 <= score <= 100 for score in scores)


def test_long_captions_are_cut_and_cases_without_one_have_no_score(clip, tmp_path):
    metric = ClipScore(name="clip", model=clip, device="cpu")
    frames = np.stack([texture(32, 32)] * 2)
    start = "a" * 75
    same = [metric.score(sample_of(tmp_path / end, frames, prompt=start + end)) for end in "bc"]
    assert same[0] == same[1]
    assert not metric.applies(sample_of(tmp_path / "none", frames, prompt=""))


def test_frames_are_resized_to_the_short_side_and_the_center_is_cut_out(clip):
    encoder = load_encoder(METRICS.build(described(clip), "here").encoder_folder(), "cpu")
    frame = np.zeros((64, 128, 3), np.uint8)
    frame[:, 32:96] = 255  # exactly the square that remains
    prepared = encoder.prepared(frame[None])
    assert prepared.shape == (1, 3, 32, 32)
    white = (1 - torch.tensor([0.48145466])) / torch.tensor([0.26862954])
    assert prepared[0, 0, :, 1:-1].numpy() == pytest.approx(white.item(), abs=1e-5)


def described(clip):
    return {"kind": "clip-score", "name": "clip", "model": clip}


def test_identity_is_full_for_the_image_itself_and_falls_as_it_disappears(dino, tmp_path):
    metric = Identity(name="identity", model=dino, device="cpu")
    still = np.stack([texture(64, 96)] * 3)
    assert metric.score(sample_of(tmp_path / "still", still)).value == pytest.approx(100, abs=1e-3)
    fading = np.stack([texture(64, 96), texture(64, 96) // 2, np.zeros((64, 96, 3), np.uint8)])
    assert metric.score(sample_of(tmp_path / "fading", fading)).value < 99.9


def test_identity_compares_with_the_part_of_the_image_that_the_video_shows(dino, tmp_path):
    metric = Identity(name="identity", model=dino, device="cpu")
    tall = np.pad(texture(), ((32, 32), (0, 0), (0, 0)))
    sample = sample_of(tmp_path, np.stack([texture()] * 2), image=tall)
    assert metric.score(sample).value == pytest.approx(100, abs=1e-3)


def test_subject_consistency_weighs_cosines_as_written_down():
    to_image, consecutive = torch.tensor([1.0, 0.5, -0.2]), torch.tensor([0.6, -0.4])
    expected = 0.4 * 1.0 + 0.3 * (0.6 + 0) / 2 + 0.3 * 0
    assert subject_consistency(to_image, consecutive) == pytest.approx(expected)
    assert subject_consistency(torch.ones(4), torch.ones(3)) == pytest.approx(1)


def test_the_formula_of_vbench_scores_a_still_in_full(clip, tmp_path):
    metric = Identity(name="subject", model=clip, device="cpu", formula="vbench")
    still = np.stack([texture()] * 3)
    assert metric.score(sample_of(tmp_path, still)).value == pytest.approx(100, abs=1e-3)


def test_weights_decide_the_identity_of_scores_and_the_device_does_not(clip, tmp_path):
    first = ClipScore(name="a", model=clip, device="cpu").identity()
    again = ClipScore(name="b", title="CLIP", model=clip).identity()
    other = ClipScore(name="a", model=save_clip(tmp_path, seed=1)).identity()
    assert first == again
    assert first["weights"] != other["weights"]


def test_what_is_missing_is_named_before_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="clip-vit-base-patch32"):
        METRICS.read("clip-score").check()
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(ValueError, match="safetensors"):
        ClipScore(name="clip", model=str(tmp_path)).check()
