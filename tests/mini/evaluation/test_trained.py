import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vap.evaluation.systems.base import Job
from vap.evaluation.systems.one_reference_each import OneReferenceEach
from vap.loading.pipeline import load_pipeline, load_transformer
from vap.media import read_clip
from vap.mini.evaluation.trained import Trained
from vap.training.methods import strategy_of
from vap.training.tuning_config import ModelConfig

METHODS = [
    ("single_branch", "single-branch", {}),
    ("single_branch", "single-branch-lora", {"lora_rank": 2}),
    ("unidirectional", "cross-attention", {}),
    ("residual", "residual", {}),
    ("shared_positions", "expert", {"reference_positions": "shared", "expert_blocks": (0, 1)}),
]


def trained(tiny, folder, method, **config):
    """A transformer with random weights where a method trains, saved as the method does."""
    torch.manual_seed(1)
    strategy = strategy_of(method)
    transformer = load_transformer(tiny, dtype=torch.float32)
    strategy.prepare(transformer, ModelConfig(start="", method=method, **config))
    with torch.no_grad():
        for parameter in transformer.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.02)
    folder.mkdir(parents=True)
    strategy.save(transformer, folder)
    return transformer


def latents(pipeline, case):
    """What is denoised, where the tiny decoder would hide differences."""
    pipeline.set_progress_bar_config(disable=True)
    output = pipeline(
        read_clip(case.truth).frames[0],
        case.scene_prompt,
        reference_videos=[case.reference],
        reference_prompts=[case.reference_scene_prompt],
        num_inference_steps=1,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
    )
    return output.frames.numpy()


def system(tiny, weights, name="system"):
    settings = {"name": name, "model": str(tiny), "device": "cpu", "weights": weights}
    return Trained.model_validate({**settings, "captions": "scene"})


@pytest.mark.parametrize(("name", "method", "config"), METHODS, ids=str)
def test_what_a_method_saves_is_what_is_evaluated(name, method, config, tiny, cases, tmp_path):
    expected = trained(tiny, tmp_path / name, method, **config)
    model = load_pipeline(tiny, device="cpu")
    made = latents(system(tiny, tmp_path / name).load(), cases[0])
    wanted = latents(OneReferenceEach.of(model, expected), cases[0])
    np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-6)
    assert not np.allclose(made, latents(model, cases[0]), rtol=1e-3, atol=1e-3)


def test_a_trained_system_makes_videos(tiny, cases, tmp_path):
    trained(tiny, tmp_path / "residual", "residual")
    job = Job(cases[0], 0, tmp_path / "out", cases[0].reference)
    (outcome,) = system(tiny, tmp_path / "residual").run([job], tmp_path)
    assert outcome.error is None
    assert len(read_clip(job.output).frames) == 5


def test_trained_weights_are_part_of_the_identity(tiny, tmp_path):
    for name, value in (("one", 0.0), ("two", 1.0)):
        (tmp_path / name).mkdir()
        save_file({"w": torch.full((1,), value)}, tmp_path / name / "expert.safetensors")
    one, two = (system(tiny, tmp_path / name) for name in ("one", "two"))
    assert one.identity() != two.identity()
    assert one.weights_key() != two.weights_key()


def test_a_folder_without_weights_is_refused(tiny, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no weights"):
        system(tiny, tmp_path).load()
