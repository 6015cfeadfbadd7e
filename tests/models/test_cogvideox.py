import copy
import inspect
import json

import pytest
import torch
from cogvideox_tiny import (
    FOLDER,
    golden_case,
    golden_model,
    predict,
    relative_error,
    without_reference,
)
from diffusers import CogVideoXTransformer3DModel
from predictions import expert_parameters

from vap.models.cogvideox import CogVideoXVideoAsPromptTransformer3DModel

TINY = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "in_channels": 8,
    "out_channels": 4,
    "time_embed_dim": 8,
    "text_embed_dim": 8,
    "num_layers": 2,
    "sample_width": 8,
    "sample_height": 4,
    "max_text_seq_length": 6,
    "use_rotary_positional_embeddings": True,
}


@pytest.fixture(scope="module")
def model() -> CogVideoXVideoAsPromptTransformer3DModel:
    return golden_model()


@pytest.fixture(scope="module")
def stock(model: CogVideoXVideoAsPromptTransformer3DModel) -> CogVideoXTransformer3DModel:
    return stock_twin(model)


def stock_twin(model: CogVideoXVideoAsPromptTransformer3DModel) -> CogVideoXTransformer3DModel:
    known = inspect.signature(CogVideoXTransformer3DModel.__init__).parameters
    config = {name: value for name, value in model.config.items() if name in known}
    twin = CogVideoXTransformer3DModel(**config)
    twin.load_state_dict({k: v for k, v in model.state_dict().items() if "_mot_ref" not in k})
    return twin.eval()


def test_released_size_has_exactly_the_released_tensors() -> None:
    released = json.loads((FOLDER.parent / "cogvideox-5b-shapes.json").read_text())
    with torch.device("meta"):
        model = CogVideoXVideoAsPromptTransformer3DModel(**released["config"])
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    assert shapes == released["parameters"]


def test_released_checkpoint_loads_completely_and_saves_the_same(tmp_path) -> None:
    model, info = CogVideoXVideoAsPromptTransformer3DModel.from_pretrained(
        FOLDER, subfolder="transformer", output_loading_info=True
    )
    assert not any(info.values())
    model.save_pretrained(tmp_path)
    again = CogVideoXVideoAsPromptTransformer3DModel.from_pretrained(tmp_path)
    assert again.expert_depths == (0, 1, 2)
    assert all(torch.equal(t, again.state_dict()[n]) for n, t in model.state_dict().items())


@pytest.mark.parametrize("references", [1, 2])
def test_output_equals_the_released_models(model, references: int) -> None:
    arguments, expected = golden_case(references)
    assert relative_error(predict(model, arguments), expected) < 1e-5


def test_missing_rotary_tables_are_made(model) -> None:
    arguments, expected = golden_case(2)
    output = predict(model, arguments, image_rotary_emb=None, reference_rotary_emb=None)
    assert relative_error(output, expected) < 1e-5


def test_reference_positions_matter(model) -> None:
    arguments, expected = golden_case(1)
    shared = predict(model, arguments, reference_rotary_emb=arguments["image_rotary_emb"])
    assert relative_error(shared, expected) > 1e-3


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("rotated", [False, True])
def test_without_reference_the_bits_are_the_stock_models(fused: bool, rotated: bool) -> None:
    model = golden_model()
    twin = stock_twin(model)
    if fused:
        model.fuse_qkv_projections()
        twin.fuse_qkv_projections()
    arguments = without_reference(golden_case(1)[0])
    if not rotated:
        del arguments["image_rotary_emb"]
    assert torch.equal(predict(model, arguments), predict(twin, arguments))


def test_without_reference_the_expert_is_not_touched(stock) -> None:
    model = golden_model()
    for parameter in expert_parameters(model).values():
        parameter.data.fill_(float("nan"))
    arguments, _ = golden_case(1)
    expected = predict(stock, without_reference(arguments))
    assert torch.equal(predict(model, without_reference(arguments)), expected)
    assert torch.equal(predict(model, arguments, reference_strength=0.0), expected)


def test_blocks_of_a_1_5_checkpoint_run_as_stock_and_read_references() -> None:
    torch.manual_seed(0)
    model = CogVideoXVideoAsPromptTransformer3DModel(
        **TINY, patch_size_t=2, ofs_embed_dim=8, block_idx_with_mot_ref=[0, 1]
    ).eval()
    latents, text = torch.randn(1, 4, 8, 4, 8), torch.randn(1, 6, 8)
    target_table, reference_table = model.rotary_tables((4, 4, 8), references=1)
    assert target_table is not None
    assert reference_table is not None
    assert target_table[0].shape == reference_table[0].shape == (2 * 2 * 4, 16)
    arguments = {
        "hidden_states": latents,
        "encoder_hidden_states": text,
        "timestep": torch.tensor([500]),
        "ofs": torch.tensor([2.0]),
        "image_rotary_emb": target_table,
    }
    expected = predict(stock_twin(model), arguments)
    assert torch.equal(predict(model, arguments), expected)
    guided = predict(
        model,
        arguments,
        reference_hidden_states=latents[:, None],
        reference_encoder_hidden_states=text[:, None],
    )
    assert guided.shape == expected.shape
    assert relative_error(guided, expected) > 1e-4


def test_expert_copied_from_the_backbone_sees_the_target_twice() -> None:
    # With equal weights, inputs and positions, reference and target tokens are the same tokens,
    # so attention over both is attention over one.
    model = golden_model().initialize_expert()
    arguments = without_reference(golden_case(1)[0])
    doubled = predict(
        model,
        arguments,
        reference_hidden_states=arguments["hidden_states"][:, None],
        reference_encoder_hidden_states=arguments["encoder_hidden_states"][:, None],
        reference_rotary_emb=arguments["image_rotary_emb"],
    )
    assert relative_error(doubled, predict(model, arguments)) < 1e-5


def test_expert_file_turns_a_stock_backbone_into_the_released_model(tmp_path, stock) -> None:
    file = golden_model().save_expert(tmp_path / "expert.safetensors")
    stock.save_pretrained(tmp_path / "backbone")
    model = CogVideoXVideoAsPromptTransformer3DModel.from_pretrained(tmp_path / "backbone")
    assert model.expert_depths == ()
    arguments, expected = golden_case(2)
    assert relative_error(predict(model.load_expert(file), arguments), expected) < 1e-5


def test_a_copied_model_uses_its_own_expert() -> None:
    model = golden_model()
    twin = copy.deepcopy(model)
    for parameter in expert_parameters(model).values():
        parameter.data.fill_(float("nan"))
    arguments, expected = golden_case(1)
    assert relative_error(predict(twin, arguments), expected) < 1e-5


def test_half_precision_keeps_the_stock_bits_and_stays_close() -> None:
    arguments, expected = golden_case(1)
    half = {
        name: value.bfloat16() if name.endswith("hidden_states") else value
        for name, value in arguments.items()
    }
    model = golden_model().to(torch.bfloat16)
    output = predict(model, half)
    assert output.dtype == torch.bfloat16
    assert relative_error(output.float(), expected) < 0.05
    alone = without_reference(half)
    twin = stock_twin(model).to(torch.bfloat16)
    assert torch.equal(predict(model, alone), predict(twin, alone))


def test_order_of_references_is_told_by_their_positions_alone(model) -> None:
    arguments, expected = golden_case(2)
    swapped = {
        name: arguments[name].flip(1)
        for name in ("reference_hidden_states", "reference_encoder_hidden_states")
    }
    half = arguments["reference_rotary_emb"][0].shape[0] // 2
    tables = tuple(table.roll(half, dims=0) for table in arguments["reference_rotary_emb"])
    assert relative_error(predict(model, arguments, **swapped), expected) > 1e-4
    moved = predict(model, arguments, **swapped, reference_rotary_emb=tables)
    assert relative_error(moved, expected) < 1e-5


def test_reference_timestep_is_the_targets_by_default(model) -> None:
    arguments, expected = golden_case(1)
    same = predict(model, arguments, reference_timestep=arguments["timestep"])
    assert torch.equal(same, predict(model, arguments))
    clean = predict(model, arguments, reference_timestep=torch.zeros(2, dtype=torch.int64))
    assert relative_error(clean, expected) > 1e-5


def test_strength_blends_own_and_joint_attention_in_one_block() -> None:
    model = golden_model()
    block = model.transformer_blocks[0]
    torch.manual_seed(0)
    video, text = torch.randn(1, 36, 64), torch.randn(1, 5, 64)
    reference = {
        "reference_hidden_states": torch.randn(1, 36, 64),
        "reference_encoder_hidden_states": torch.randn(1, 5, 64),
    }
    with torch.no_grad():
        own = block.attn1(video, text)
        joint = block.attn1(video, text, **reference)
        blended = block.attn1(video, text, **reference, reference_strength=0.25)
    assert len(own) == 2
    for part, alone, coupled in zip(blended[:2], own, joint[:2], strict=True):
        torch.testing.assert_close(part, torch.lerp(alone, coupled, 0.25), rtol=1e-5, atol=1e-6)
    assert torch.equal(blended[2], joint[2])


def test_strength_moves_the_output_from_backbone_to_reference(model) -> None:
    arguments, expected = golden_case(1)
    distances = [
        relative_error(predict(model, arguments, reference_strength=strength), expected)
        for strength in (0.0, 0.5, 1.0)
    ]
    assert distances[0] > distances[1] > distances[2]


def test_nothing_is_computed_for_the_reference_after_its_last_reader() -> None:
    model = golden_model()
    last = model.transformer_blocks[model.expert_depths[-1]]
    unread = last.norm2_mot_ref, last.ff_mot_ref, last.attn1_mot_ref.to_out[0]
    calls: list[torch.nn.Module] = []
    for module in unread:
        module.register_forward_hook(lambda module, *_: calls.append(module))
    arguments, expected = golden_case(2)
    assert relative_error(predict(model, arguments), expected) < 1e-5
    assert not calls


def test_reference_passes_a_block_without_expert_unchanged(model) -> None:
    block = model.transformer_blocks[3]
    torch.manual_seed(0)
    video, text, temb = torch.randn(1, 4, 64), torch.randn(1, 5, 64), torch.randn(1, 24)
    reference = torch.randn(1, 8, 64), torch.randn(1, 10, 64)
    outputs = block(video, text, temb, None, None, *reference, temb)
    assert outputs[2] is reference[0]
    assert outputs[3] is reference[1]


@pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan")])
def test_strength_outside_zero_to_one_is_refused(model, strength: float) -> None:
    with pytest.raises(ValueError, match="between 0"):
        predict(model, golden_case(1)[0], reference_strength=strength)


def test_reference_without_an_expert_is_refused() -> None:
    model = golden_model().remove_expert()
    arguments, _ = golden_case(1)
    with pytest.raises(ValueError, match="no expert"):
        predict(model, arguments)
    assert torch.equal(
        predict(model, without_reference(arguments)),
        predict(golden_model(), without_reference(arguments)),
    )


def test_reference_without_its_text_is_refused(model) -> None:
    with pytest.raises(ValueError, match="missing"):
        predict(model, golden_case(1)[0], reference_encoder_hidden_states=None)


def test_fewer_texts_than_references_are_refused(model) -> None:
    arguments, _ = golden_case(2)
    text = arguments["reference_encoder_hidden_states"][:, :1]
    with pytest.raises(ValueError, match="needs its text"):
        predict(model, arguments, reference_encoder_hidden_states=text)


@pytest.mark.parametrize("wrong", ["no reference axis", "fewer frames"])
def test_reference_of_another_size_is_refused(model, wrong: str) -> None:
    arguments, _ = golden_case(1)
    latents = arguments["reference_hidden_states"]
    latents = latents[:, 0] if wrong == "no reference axis" else latents[:, :, :2]
    with pytest.raises(ValueError, match="target's size"):
        predict(model, arguments, reference_hidden_states=latents)


def test_attention_mask_is_refused(model) -> None:
    mask = torch.ones(2, 262)
    with pytest.raises(ValueError, match="not supported"):
        predict(
            model,
            without_reference(golden_case(1)[0]),
            attention_kwargs={"attention_mask": mask},
        )


@pytest.mark.parametrize(
    "option",
    [
        {"attention_head_dim_mot_ref": 64},
        {"supported_effect_types": ["melt"]},
        {"num_ref_embeddings": 2},
        {"reference_train_mode": "residual"},
        {"ablation_single_encoder": True},
        {"ablation_residual_addition": True},
        {"reference_positions": "after"},
        {"block_idx_with_mot_ref": [2]},
        {"block_idx_with_mot_ref": [0, 0]},
    ],
)
def test_configurations_that_no_release_has_are_refused(option: dict) -> None:
    with pytest.raises(
        ValueError, match=r"_mot_ref|types|embeddings|mode|ablation|positions|depths"
    ):
        CogVideoXVideoAsPromptTransformer3DModel(**TINY, **option)
