"""The expert comes and goes; the backbone stays as it is."""

import pytest
import torch
from accelerate import cpu_offload
from predictions import expert_parameters, predict, relative_error, without_reference
from variants import VARIANTS, Variant

from vap.models.cogvideox import CogVideoXVideoAsPromptTransformer3DModel
from vap.models.expert import backbone_twin, is_expert_name
from vap.models.expert_file import read_expert_info
from vap.models.wan import WanVideoAsPromptTransformer3DModel

EXACT = 1e-5


@pytest.fixture(params=VARIANTS, ids=lambda variant: variant.name)
def variant(request) -> Variant:
    return request.param


def backbone(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {n: t for n, t in model.state_dict().items() if not is_expert_name(n)}


def addresses(model: torch.nn.Module) -> dict[str, int]:
    return {name: tensor.data_ptr() for name, tensor in backbone(model).items()}


def test_stock_backbone_loads_without_an_expert(variant: Variant, tmp_path) -> None:
    model, info = variant.model_class.from_pretrained(
        variant.save_stock(tmp_path), subfolder="transformer", output_loading_info=True
    )
    assert not any(info.values())
    assert model.expert_depths == ()
    assert not expert_parameters(model)
    arguments = without_reference(variant.case()[0])
    assert torch.equal(predict(model.eval(), arguments), predict(variant.model(), arguments))


def test_stock_backbone_and_expert_file_are_the_released_model(variant: Variant, tmp_path) -> None:
    expert = variant.model().save_expert(tmp_path / "expert.safetensors")
    model = variant.model_class.from_backbone(variant.save_stock(tmp_path), expert=expert).eval()
    arguments, expected = variant.case()
    assert relative_error(predict(model, arguments), expected) < EXACT


@pytest.mark.parametrize("depths", [None, [1, 3]])
def test_new_expert_starts_as_a_copy_of_the_backbone(variant: Variant, tmp_path, depths) -> None:
    model = variant.model_class.from_backbone(
        variant.save_stock(tmp_path), depths=depths, reference_positions="shared"
    ).eval()
    assert model.expert_depths == (variant.default_depths if depths is None else (1, 3))
    assert model.config.reference_positions == "shared"
    state = model.state_dict()
    expert = list(filter(is_expert_name, state))
    assert expert
    for name in expert:
        assert torch.equal(state[name], state[backbone_twin(name)])
        assert state[name].data_ptr() != state[backbone_twin(name)].data_ptr()
    arguments, expected = variant.case()
    assert torch.isfinite(predict(model, arguments)).all()
    assert relative_error(predict(model, arguments), expected) > 1e-3


def test_new_expert_has_the_backbones_precision(variant: Variant, tmp_path) -> None:
    model = variant.model_class.from_backbone(variant.save_stock(tmp_path), dtype=torch.bfloat16)
    state = model.state_dict()
    for name in filter(is_expert_name, state):
        assert state[name].dtype == state[backbone_twin(name)].dtype
    assert state[variant.last_target_weight].dtype == torch.bfloat16


def test_new_expert_of_a_backbone_with_fixed_positions_gets_them_too(tmp_path) -> None:
    torch.manual_seed(0)
    CogVideoXVideoAsPromptTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=8,
        out_channels=4,
        time_embed_dim=8,
        text_embed_dim=8,
        num_layers=2,
        sample_width=8,
        sample_height=4,
        max_text_seq_length=6,
    ).save_pretrained(tmp_path)
    model = CogVideoXVideoAsPromptTransformer3DModel.from_backbone(tmp_path, subfolder=None)
    assert torch.equal(
        model.patch_embed_mot_ref.pos_embedding.to("cpu"), model.patch_embed.pos_embedding
    )


def test_expert_file_says_what_it_is(variant: Variant, tmp_path) -> None:
    model = variant.model()
    file = model.save_expert(tmp_path / "expert.safetensors", description="trained on clouds")
    info = read_expert_info(file)
    assert info.transformer == type(model).__name__
    assert info.depths == model.expert_depths
    assert info.reference_positions == "before"
    assert info.description == "trained on clouds"
    assert info.parameters == sum(t.numel() for t in model.expert_state_dict().values())
    assert info.shapes.keys() == set(filter(is_expert_name, model.state_dict()))


def test_swapping_experts_leaves_the_backbone_where_it_is(variant: Variant, tmp_path) -> None:
    model = variant.model()
    arguments, expected = variant.case()
    released = model.save_expert(tmp_path / "released.safetensors")
    before, weights = addresses(model), {n: t.clone() for n, t in backbone(model).items()}
    model.remove_expert().add_expert([1, 3]).initialize_expert()
    model.register_to_config(reference_positions="shared")
    other = model.save_expert(tmp_path / "other.safetensors")
    as_other = predict(model, arguments)

    model.load_expert(released)
    assert model.config.reference_positions == "before"
    assert relative_error(predict(model, arguments), expected) < EXACT
    model.load_expert(other)
    assert model.expert_depths == (1, 3)
    assert torch.equal(predict(model, arguments), as_other)
    assert addresses(model) == before
    assert all(torch.equal(tensor, weights[name]) for name, tensor in backbone(model).items())


def test_swapping_changes_nothing_without_a_reference(variant: Variant, tmp_path) -> None:
    model = variant.model()
    arguments = without_reference(variant.case()[0])
    expected = predict(model, arguments)
    file = model.save_expert(tmp_path / "expert.safetensors")
    assert torch.equal(predict(model.remove_expert(), arguments), expected)
    assert torch.equal(predict(model.load_expert(file), arguments), expected)


def test_expert_takes_the_models_precision_on_loading(variant: Variant, tmp_path) -> None:
    file = variant.model().save_expert(tmp_path / "expert.safetensors")
    model = variant.model_class.from_pretrained(
        variant.folder, subfolder="transformer", dtype=torch.bfloat16
    )
    expected = {name: tensor.clone() for name, tensor in model.expert_state_dict().items()}
    loaded = model.load_expert(file).expert_state_dict()
    assert loaded.keys() == expected.keys()
    for name, tensor in expected.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)


def test_a_saved_model_keeps_its_expert(variant: Variant, tmp_path) -> None:
    model = variant.model().remove_expert().add_expert([2]).initialize_expert()
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    assert (tmp_path / "diffusion_pytorch_model.safetensors.index.json").is_file()
    again = variant.model_class.from_pretrained(tmp_path)
    assert again.expert_depths == (2,)
    arguments, _ = variant.case()
    assert torch.equal(predict(again.eval(), arguments), predict(model, arguments))


def test_freezing_leaves_gradients_to_the_expert_alone(variant: Variant) -> None:
    model = variant.model().freeze_backbone()
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trainable == set(expert_parameters(model))
    arguments, _ = variant.case()
    model(**arguments).sample.square().mean().backward()
    for name, parameter in model.named_parameters():
        assert is_expert_name(name) or parameter.grad is None
    # All of the expert is read, but for what follows its last attention.
    unread = {name for name, each in expert_parameters(model).items() if each.grad is None}
    depth = f"blocks.{model.expert_depths[-1]}."
    assert all(depth in name for name in unread)
    assert not any("to_k" in name and "attn1" in name for name in unread)


def test_expert_of_the_other_variant_is_refused_and_nothing_changes(
    variant: Variant, tmp_path
) -> None:
    (other,) = (each for each in VARIANTS if each is not variant)
    file = other.model().save_expert(tmp_path / "expert.safetensors")
    model = variant.model()
    with pytest.raises(ValueError, match=f"for {other.model_class.__name__}, not for"):
        model.load_expert(file)
    arguments, expected = variant.case()
    assert relative_error(predict(model, arguments), expected) < EXACT


def test_expert_of_another_size_is_refused_and_nothing_changes(tmp_path) -> None:
    wan, _ = VARIANTS
    model = wan.model()
    config = {**model.config, "ffn_dim": 64}
    file = WanVideoAsPromptTransformer3DModel.from_config(config).save_expert(tmp_path / "e.sft")
    with pytest.raises(ValueError, match=r"blocks\.0\.ffn_mot_ref.* is .*64.* in the file"):
        model.load_expert(file)
    arguments, expected = wan.case()
    assert relative_error(predict(model, arguments), expected) < EXACT


def test_expert_of_a_deeper_backbone_is_refused(tmp_path) -> None:
    wan, _ = VARIANTS
    model = wan.model()
    config = {**model.config, "num_layers": 6, "block_idx_with_mot_ref": [0, 5]}
    file = WanVideoAsPromptTransformer3DModel.from_config(config).save_expert(tmp_path / "e.sft")
    with pytest.raises(ValueError, match=r"e\.sft does not fit this backbone.*between 0 and 3"):
        model.load_expert(file)


def test_an_expert_is_not_put_beside_a_backbone_that_is_elsewhere(
    variant: Variant, tmp_path
) -> None:
    model = variant.model()
    file = model.save_expert(tmp_path / "expert.safetensors")
    cpu_offload(model, torch.device("cpu"))
    with pytest.raises(ValueError, match=r"sequential offload.*expert=…"):
        model.load_expert(file)
    arguments, expected = variant.case()
    assert relative_error(predict(model, arguments), expected) < EXACT


@pytest.mark.parametrize("training", [True, False])
def test_an_expert_is_trained_or_run_as_its_model_is(
    variant: Variant, tmp_path, training: bool
) -> None:
    model = variant.model().train(training)
    file = model.save_expert(tmp_path / "expert.safetensors")
    model.load_expert(file)
    assert all(module.training == training for module in model.modules())


def test_expert_and_depths_together_are_refused(variant: Variant, tmp_path) -> None:
    with pytest.raises(ValueError, match="either expert or depths"):
        variant.model_class.from_backbone(tmp_path, expert="expert.safetensors", depths=[0])


@pytest.mark.parametrize("depths", [[], [0, 0], [4], [-1]])
def test_depths_that_no_block_has_are_refused(variant: Variant, depths: list[int]) -> None:
    with pytest.raises(ValueError, match="between 0 and 3"):
        variant.model().remove_expert().add_expert(depths)


def test_a_second_expert_is_refused(variant: Variant) -> None:
    with pytest.raises(ValueError, match="remove_expert"):
        variant.model().add_expert()


def test_saving_without_an_expert_is_refused(variant: Variant, tmp_path) -> None:
    with pytest.raises(ValueError, match="no expert"):
        variant.model().remove_expert().save_expert(tmp_path / "expert.safetensors")
    assert not list(tmp_path.iterdir())


def test_an_expert_that_moved_away_and_back_is_what_it_was(variant: Variant) -> None:
    model = variant.model()
    before = {name: tensor.clone() for name, tensor in model.expert_state_dict().items()}
    home = model.expert_depths
    count = len(model.expert_blocks)
    away = tuple(range(count - len(home), count))
    model.move_expert(away)
    assert model.expert_depths == away
    model.move_expert(home)
    assert model.expert_depths == home
    after = model.expert_state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name].float()) for name in before)


@pytest.mark.parametrize("depths", [[], [0, 0], [99]])
def test_an_expert_moves_to_as_many_depths_that_exist(variant: Variant, depths) -> None:
    model = variant.model()
    home = model.expert_depths
    with pytest.raises(ValueError, match=r"depths|blocks"):
        model.move_expert(depths)
    with pytest.raises(ValueError, match=f"has {len(home)} blocks"):
        model.move_expert(range(len(home) - 1) if len(home) > 1 else (0, 1))
    assert model.expert_depths == home


def test_an_expert_that_is_extended_keeps_its_blocks_and_copies_the_backbones(
    variant: Variant,
) -> None:
    model = variant.model()
    home = model.expert_depths
    before = {name: tensor.clone() for name, tensor in model.expert_state_dict().items()}
    everywhere = range(len(model.expert_blocks))
    model.extend_expert(everywhere)
    assert model.expert_depths == tuple(everywhere) != home
    after = model.expert_state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    backbone = model.state_dict()
    further = after.keys() - before.keys()
    assert further
    assert all(torch.equal(after[name], backbone[backbone_twin(name)]) for name in further)


def test_an_expert_is_extended_beside_what_it_has_only(variant: Variant) -> None:
    model = variant.model()
    home = model.expert_depths
    with pytest.raises(ValueError, match="lacks some of them"):
        model.extend_expert(set(range(len(model.expert_blocks))) - {home[0]})
    with pytest.raises(ValueError, match="not usable"):
        model.extend_expert([*home, 99])
    assert model.expert_depths == home
