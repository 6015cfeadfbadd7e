import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from vap.evaluation.case import Case
from vap.evaluation.systems.base import Job
from vap.evaluation.systems.vace import Vace, depth_video
from vap.files.folders import read_json
from vap.media import read_clip, write_video

pytestmark = pytest.mark.slow  # whole pipelines

GOLDEN = Path(__file__).parents[2] / "golden" / "wan"
SIZE = {"height": 48, "width": 64, "num_frames": 9, "steps": 2, "dtype": "float32"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VACE checkpoint with the golden text encoder and autoencoder."""
    folder = tmp_path_factory.mktemp("vace")
    for part in ("text_encoder", "tokenizer", "vae", "scheduler"):
        shutil.copytree(GOLDEN / part, folder / part)
    channels = read_json(GOLDEN / "vae" / "config.json")["z_dim"]
    torch.manual_seed(0)
    transformer = diffusers.WanVACETransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=channels,
        out_channels=channels,
        text_dim=read_json(GOLDEN / "text_encoder" / "config.json")["d_model"],
        freq_dim=32,
        ffn_dim=32,
        num_layers=2,
        vace_layers=[0, 1],
        vace_in_channels=2 * channels + 64,
    )
    transformer.save_pretrained(folder / "transformer")
    index = read_json(GOLDEN / "model_index.json")
    kept = {name: index[name] for name in ("text_encoder", "tokenizer", "vae", "scheduler")}
    (folder / "model_index.json").write_text(
        json.dumps(
            {
                "_class_name": "WanVACEPipeline",
                **kept,
                "transformer": ["diffusers", "WanVACETransformer3DModel"],
                "transformer_2": [None, None],
            }
        )
    )
    return folder


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder, rng = tmp_path_factory.mktemp("media"), np.random.default_rng(0)
    picture = np.kron(rng.random((6, 8, 3)), np.ones((8, 8, 1)))
    Image.fromarray((picture * 255).astype(np.uint8)).save(folder / "image.png")
    frames = np.stack([np.roll(picture, 2 * step, axis=1) for step in range(9)])
    write_video(frames, folder / "reference.mp4", 16)
    return Case("one", "shift", folder / "image.png", folder / "reference.mp4", prompt="a cat")


def made(system: Vace, case: Case, output: Path, **changes: Any) -> np.ndarray:
    job = Job(case, 0, output, **{"reference": case.reference, **changes})
    [outcome] = system.run([job], output.parent)
    assert outcome.error is None
    assert outcome.seconds > 0
    return read_clip(output).frames


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, ...]]:
    """Control video and mask of each call ``[T, H, W, 3]`` in 0 to 1, and how many images."""
    found, encode = [], diffusers.WanVACEPipeline.prepare_video_latents

    def prepare(self: Any, video: Any, mask: Any, images: Any, *rest: Any) -> Any:
        frames = [((video[0] + 1) / 2), mask[0]]
        found.append((*(part.permute(1, 2, 3, 0).numpy() for part in frames), len(images[0])))
        return encode(self, video, mask, images, *rest)

    monkeypatch.setattr(diffusers.WanVACEPipeline, "prepare_video_latents", prepare)
    return found


def test_the_control_video_is_the_reference_or_its_flow(
    checkpoint: Path, case: Case, tmp_path: Path, encoded: list[tuple[np.ndarray, ...]]
) -> None:
    plain = Vace(name="vace", model=str(checkpoint), **SIZE)
    assert made(plain, case, tmp_path / "video").shape == (9, 48, 64, 3)
    made(plain.model_copy(update={"control": "flow"}), case, tmp_path / "flow")
    made(plain, case, tmp_path / "none", reference=None)
    reference = read_clip(case.reference).frames / 255
    (video, mask, images), (flow, _, _), (gray, _, _) = encoded
    np.testing.assert_allclose(video, reference, atol=1e-6)
    assert (mask == 1).all()
    assert images == 1
    moving = flow[:, 8:-8, 8:-8].reshape(-1, 3).mean(axis=0)
    assert moving[0] > 0.8 > moving[1]  # all to the right, which is red
    np.testing.assert_array_equal(flow[0], flow[1])
    np.testing.assert_allclose(gray, 127 / 255, atol=1e-6)


def test_the_image_may_be_the_first_frame(
    checkpoint: Path, case: Case, tmp_path: Path, encoded: list[tuple[np.ndarray, ...]]
) -> None:
    made(
        Vace(name="v", model=str(checkpoint), image_as="first-frame", **SIZE), case, tmp_path / "a"
    )
    [(video, mask, images)] = encoded
    np.testing.assert_allclose(video[0], np.asarray(Image.open(case.image)) / 255, atol=1e-6)
    assert (mask[0] == 0).all()
    assert (mask[1:] == 1).all()
    assert images == 0


def test_equal_seeds_make_equal_videos(checkpoint: Path, case: Case, tmp_path: Path) -> None:
    system = Vace(name="vace", model=str(checkpoint), image_as="first-frame", **SIZE)
    first, second = (made(system, case, tmp_path / name) for name in ("a", "b"))
    np.testing.assert_array_equal(first, second)


def test_a_damaged_reference_fails_its_job_alone(
    checkpoint: Path, case: Case, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(b"no video")
    system = Vace(name="vace", model=str(checkpoint), **SIZE)
    jobs = [
        Job(case, 0, tmp_path / "one", damaged),
        Job(case, 0, tmp_path / "two", case.reference),
    ]
    failed, fine = system.run(jobs, tmp_path)
    assert "damaged.mp4" in str(failed.error)
    assert fine.error is None


def test_another_pipeline_is_refused_by_name(case: Case, tmp_path: Path) -> None:
    system = Vace(name="vace", model=str(GOLDEN), **SIZE)
    with pytest.raises(ValueError, match="WanVACEPipeline"):
        list(system.run([Job(case, 0, tmp_path / "one", None)], tmp_path))


@pytest.mark.parametrize("changes", [{"num_frames": 10}, {"offload": "group"}])
def test_settings_that_cannot_be_are_refused(checkpoint: Path, changes: dict[str, Any]) -> None:
    system = Vace(name="vace", model=str(checkpoint), **{**SIZE, **changes})
    with pytest.raises(ValueError, match=str(next(iter(changes)))):
        system.check()


def test_the_identity_says_what_decides_the_video(checkpoint: Path) -> None:
    one = Vace(name="vace", model=str(checkpoint), **SIZE)
    assert one.identity() == one.model_copy(update={"device": "cpu"}).identity()
    assert one.identity() != one.model_copy(update={"control": "flow"}).identity()


def test_depth_is_near_white(tmp_path: Path) -> None:
    from transformers import (
        DepthAnythingConfig,
        DepthAnythingForDepthEstimation,
        Dinov2Config,
        DPTImageProcessor,
    )

    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        out_features=["stage1", "stage2"],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        reassemble_factors=[1, 1],
        neck_hidden_sizes=[8, 8],
        fusion_hidden_size=8,
        head_hidden_size=4,
    )
    torch.manual_seed(0)
    DepthAnythingForDepthEstimation(config).save_pretrained(tmp_path)
    DPTImageProcessor(
        size={"height": 28, "width": 28}, ensure_multiple_of=14, keep_aspect_ratio=True
    ).save_pretrained(tmp_path)
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), np.uint8)
    drawn = depth_video(str(tmp_path), "cpu")(frames)
    assert drawn.shape == frames.shape
    assert drawn.dtype == np.uint8
    for frame in drawn:
        assert (frame.min(), frame.max()) == (0, 255)
        assert (frame[..., 0] == frame[..., 2]).all()
