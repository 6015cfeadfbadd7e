import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.cli.running import COGVIDEOX
from tests.mini.evaluation.denoised import latents
from vap.evaluation.systems.one_reference_each import OneReferenceEach
from vap.loading.pipeline import load_transformer
from vap.mini.evaluation.systems import TITLES, Generated, Generation
from vap.mini.evaluation.trained import (
    TRAINED,
    Weights,
    available,
    build_systems,
    covers,
    load_model,
)
from vap.mini.evaluation.weight_hashes import weights_hashes
from vap.training.methods import strategy_of
from vap.training.tuning_config import ModelConfig

ONE_STEP = Generation(1, 1.0)
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


@pytest.mark.parametrize(("system", "method", "config"), METHODS, ids=str)
def test_what_a_method_saves_is_what_is_evaluated(
    system, method, config, tiny, model, cases, tmp_path
):
    expected = trained(tiny, tmp_path / system, method, **config)
    built = build_systems([system], model, Weights(tiny, tmp_path), ONE_STEP)[system]
    twin = Generated(OneReferenceEach.of(model, expected), ONE_STEP, reference=True)
    made, wanted = latents(built, cases[:1]), latents(twin, cases[:1])
    np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-6)
    ours = latents(Generated(model, ONE_STEP, reference=True), cases[:1])
    assert not np.allclose(made, ours, rtol=1e-3, atol=1e-3)


def test_a_lora_is_used_for_its_condition_alone(tiny, model, cases, tmp_path):
    weights = Weights(tiny, tmp_path)
    trained(tiny, tmp_path / "lora" / "sepia", "backbone-lora", lora_rank=2)
    assert [covers("lora", case.spec, weights) for case in cases] == [True, False, False]
    lora, backbone = build_systems(["lora", "backbone"], model, weights, ONE_STEP).values()
    (told,) = lora.videos(cases[:1])
    (plain,) = backbone.videos(cases[:1])
    assert told.shape == plain.shape
    # Taken out again: the next condition starts from the backbone.
    assert not any("lora" in name for name in lora._backbone.pipeline.transformer.state_dict())


def test_systems_without_weights_are_left_out_and_named(tmp_path, tiny):
    (tmp_path / "residual").mkdir()
    kept, notes = available(list(TITLES), Weights(tiny, tmp_path))
    assert set(TITLES) - set(kept) == set(TRAINED) - {"residual"}
    (note,) = notes
    assert "single_branch" in note
    assert "residual" not in note


def test_what_was_asked_for_by_name_is_not_left_out(tmp_path, tiny):
    (tmp_path / "residual").mkdir()
    names = ["static", "lora", "residual", "vae"]
    for weights in (Weights(tiny, tmp_path), Weights(tiny)):
        with pytest.raises(FileNotFoundError, match=r"no weights for lora.*holds lora/"):
            available(names, weights, asked=["lora"])
    assert available(names, Weights(tiny, tmp_path), asked=["residual"])[0] == [
        "static", "residual", "vae",
    ]  # fmt: skip


def test_a_folder_of_systems_that_is_not_there_is_refused(tmp_path, tiny):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere.*single_branch"):
        available(["static", "vae"], Weights(tiny, tmp_path / "nowhere"))


@pytest.mark.parametrize("name", sorted(set(TITLES) - set(TRAINED)))
def test_folders_of_systems_without_weights_of_their_own_do_not_count(tmp_path, tiny, name):
    (tmp_path / name).mkdir()
    save_file({"weight": torch.zeros(1)}, tmp_path / name / "expert.safetensors")
    with_folder, without = Weights(tiny, tmp_path), Weights(tiny)
    assert weights_hashes(with_folder, [name]) == weights_hashes(without, [name])
    kept, notes = available([name], with_folder)
    assert kept == [name]
    assert notes == [f"Not read, as these have no weights of their own: {tmp_path / name}."]


def test_an_empty_folder_is_refused(tmp_path, tiny, model):
    (tmp_path / "residual").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no weights"):
        build_systems(["residual"], model, Weights(tiny, tmp_path), ONE_STEP)


def test_another_variant_is_refused():
    with pytest.raises(ValueError, match="takes Wan"):
        load_model(COGVIDEOX)
