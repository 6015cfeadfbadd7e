import copy
import json

import pytest
import torch
from predictions import calls_of, expert_parameters, predict, relative_error, without_reference
from wan_tiny import FOLDER, TOKENS, golden_case, golden_model, stock_twin, two_references

from vap.models.wan import WanVideoAsPromptTransformer3DModel

TINY = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 36,
    "text_dim": 8,
    "freq_dim": 8,
    "ffn_dim": 16,
    "num_layers": 3,
}


@pytest.fixture(scope="module")
def model() -> WanVideoAsPromptTransformer3DModel:
    return golden_model()


def test_released_size_has_exactly_the_released_tensors() -> None:
    released = json.loads((FOLDER.parent / "wan-14b-shapes.json").read_text())
    with torch.device("meta"):
        model = WanVideoAsPromptTransformer3DModel(**released["config"])
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    assert shapes == released["parameters"]


def test_released_checkpoint_loads_completely_and_saves_the_same(tmp_path) -> None:
    model, info = WanVideoAsPromptTransformer3DModel.from_pretrained(
        FOLDER, subfolder="transformer", output_loading_info=True
    )
    assert not any(info.values())
    model.save_pretrained(tmp_path)
    again = WanVideoAsPromptTransformer3DModel.from_pretrained(tmp_path)
    assert again.expert_depths == (0, 2)
    assert all(torch.equal(t, again.state_dict()[n]) for n, t in model.state_dict().items())


def test_output_equals_the_released_models(model) -> None:
    arguments, expected = golden_case()
    assert relative_error(predict(model, arguments), expected) < 1e-5


def test_too_few_positions_are_refused_by_name() -> None:
    arguments, _ = golden_case()
    model = golden_model()
    model.register_to_config(rope_max_seq_len=2)
    with pytest.raises(ValueError, match="rope_max_seq_len=2"):
        predict(model, arguments)


def test_reference_timestep_is_one_by_default(model) -> None:
    arguments, expected = golden_case()
    assert relative_error(predict(model, arguments, reference_timestep=None), expected) < 1e-5
    later = predict(model, arguments, reference_timestep=torch.tensor([500, 500]))
    assert relative_error(later, expected) > 1e-4


def test_reference_positions_matter() -> None:
    arguments, expected = golden_case()
    model = golden_model()
    model.register_to_config(reference_positions="shared")
    assert relative_error(predict(model, arguments), expected) > 1e-2


@pytest.mark.parametrize("fused", [False, True])
def test_without_reference_the_bits_are_the_stock_models(fused: bool) -> None:
    model = golden_model()
    twin = stock_twin(model)
    if fused:
        model.fuse_qkv_projections()
        twin.fuse_qkv_projections()
    arguments = without_reference(golden_case()[0])
    assert torch.equal(predict(model, arguments), predict(twin, arguments))


def test_without_reference_the_expert_is_not_touched() -> None:
    model = golden_model()
    for parameter in expert_parameters(model).values():
        parameter.data.fill_(float("nan"))
    arguments, _ = golden_case()
    expected = predict(stock_twin(golden_model()), without_reference(arguments))
    assert torch.equal(predict(model, without_reference(arguments)), expected)
    assert torch.equal(predict(model, arguments, reference_strength=0.0), expected)


def test_half_precision_keeps_the_stock_bits_and_stays_close() -> None:
    arguments, expected = golden_case()
    half = {
        name: value.bfloat16() if value.is_floating_point() else value
        for name, value in arguments.items()
    }
    model = WanVideoAsPromptTransformer3DModel.from_pretrained(
        FOLDER, subfolder="transformer", dtype=torch.bfloat16
    )
    output = predict(model, half)
    assert output.dtype == torch.bfloat16
    assert relative_error(output.float(), expected) < 0.05
    twin = stock_twin(model)
    for name, tensor in model.state_dict().items():
        if "_mot_ref" not in name:
            twin.get_parameter(name).data = tensor
    alone = without_reference(half)
    assert torch.equal(predict(model, alone), predict(twin, alone))


def test_half_precision_keeps_the_same_modules_in_float32_in_both_streams() -> None:
    model = WanVideoAsPromptTransformer3DModel.from_pretrained(
        FOLDER, subfolder="transformer", dtype=torch.bfloat16
    )
    dtypes = {name: parameter.dtype for name, parameter in model.named_parameters()}
    assert dtypes["blocks.0.scale_shift_table_mot_ref"] == torch.float32
    assert dtypes["blocks.0.attn1_mot_ref.to_q.weight"] == torch.bfloat16
    for name, dtype in dtypes.items():
        assert dtypes[name.replace("_mot_ref", "")] == dtype, name


def test_expert_copied_from_the_backbone_sees_the_target_twice() -> None:
    # With equal weights, inputs, time and positions, reference and target tokens are the same
    # tokens, so attention over both is attention over one.
    model = golden_model()
    model.remove_expert().add_expert(range(4)).initialize_expert()
    model.register_to_config(reference_positions="shared")
    arguments = without_reference(golden_case()[0])
    doubled = predict(
        model,
        arguments,
        reference_hidden_states=arguments["hidden_states"][:, None],
        reference_encoder_hidden_states=arguments["encoder_hidden_states"][:, None],
        reference_encoder_hidden_states_image=arguments["encoder_hidden_states_image"][:, None],
        reference_timestep=arguments["timestep"],
    )
    assert relative_error(doubled, predict(model, arguments)) < 1e-5


def test_a_copied_model_uses_its_own_expert() -> None:
    model = golden_model()
    twin = copy.deepcopy(model)
    for parameter in expert_parameters(model).values():
        parameter.data.fill_(float("nan"))
    arguments, expected = golden_case()
    assert relative_error(predict(twin, arguments), expected) < 1e-5


def test_strength_blends_own_and_joint_attention_in_one_block(model) -> None:
    block, (cosines, sines) = model.blocks[0], torch.randn(2, 1, TOKENS, 1, 32)
    torch.manual_seed(0)
    target, reference = torch.randn(2, 1, TOKENS, 64)
    rotary = cosines, sines
    joined = {"reference_hidden_states": reference, "reference_rotary_emb": rotary}
    with torch.no_grad():
        own = block.attn1(target, None, None, rotary)
        joint = block.attn1(target, None, None, rotary, **joined)
        blended = block.attn1(target, None, None, rotary, **joined, reference_strength=0.25)
    torch.testing.assert_close(blended[0], torch.lerp(own, joint[0], 0.25), rtol=1e-5, atol=1e-6)
    assert torch.equal(blended[1], joint[1])


def test_strength_moves_the_output_from_backbone_to_reference(model) -> None:
    arguments, expected = golden_case()
    distances = [
        relative_error(predict(model, arguments, reference_strength=strength), expected)
        for strength in (0.0, 1e-4, 0.5, 1.0)
    ]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] - distances[1] < 1e-4
    assert distances[2] > 1e-3 > distances[3]


@pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan")])
def test_strength_outside_zero_to_one_is_refused(model, strength: float) -> None:
    with pytest.raises(ValueError, match="between 0"):
        predict(model, golden_case()[0], reference_strength=strength)


def test_nothing_is_computed_for_the_reference_after_its_last_reader() -> None:
    model = golden_model()
    last = model.blocks[2]
    unread = last.norm2_mot_ref, last.attn2_mot_ref, last.ffn_mot_ref, last.attn1_mot_ref.to_out[0]
    calls = [calls_of(module) for module in unread]
    read = calls_of(last.attn1_mot_ref.to_k)
    arguments, expected = golden_case()
    assert relative_error(predict(model, arguments), expected) < 1e-5
    assert calls == [[], [], [], []]
    assert len(read) == 1


def test_reference_passes_a_block_without_expert_unchanged(model) -> None:
    reference = torch.randn(1, TOKENS, 64)
    rotary = torch.ones(1, TOKENS, 1, 32), torch.zeros(1, TOKENS, 1, 32)
    tokens, context, modulation = (torch.randn(1, n, 64) for n in (TOKENS, 517, 6))
    with torch.no_grad():
        outputs = model.blocks[1](
            tokens, context, modulation, rotary, reference, context, modulation, rotary
        )
    assert outputs[1] is reference


def test_reference_without_an_expert_is_refused() -> None:
    model = golden_model().remove_expert()
    arguments, _ = golden_case()
    with pytest.raises(ValueError, match=r"no expert.*load_expert.*add_expert"):
        predict(model, arguments)
    assert torch.equal(
        predict(model, without_reference(arguments)),
        predict(golden_model(), without_reference(arguments)),
    )


def test_reference_without_its_text_is_refused(model) -> None:
    with pytest.raises(ValueError, match="missing"):
        predict(model, golden_case()[0], reference_encoder_hidden_states=None)


def test_fewer_texts_than_references_are_refused(model) -> None:
    arguments = two_references()
    text = arguments["reference_encoder_hidden_states"][:, :1]
    with pytest.raises(ValueError, match="needs its text"):
        predict(model, arguments, reference_encoder_hidden_states=text)


def test_fewer_image_tokens_than_references_are_refused(model) -> None:
    arguments = two_references()
    tokens = arguments["reference_encoder_hidden_states_image"][:, :1]
    with pytest.raises(ValueError, match="image tokens"):
        predict(model, arguments, reference_encoder_hidden_states_image=tokens)


def test_reference_without_its_own_axis_is_refused(model) -> None:
    arguments, _ = golden_case()
    latents = arguments["reference_hidden_states"][:, 0]
    with pytest.raises(ValueError, match=r"\[B, R, C, F, H, W\]"):
        predict(model, arguments, reference_hidden_states=latents)


def test_reference_may_have_another_number_of_frames_than_the_target(model) -> None:
    arguments, expected = golden_case()
    latents = arguments["reference_hidden_states"]
    output = predict(model, arguments, reference_hidden_states=latents[:, :, :, :2])
    assert output.shape == expected.shape


@pytest.mark.parametrize("images", [False, True])
def test_backbones_without_image_tokens_read_references(images: bool) -> None:
    torch.manual_seed(0)
    options = {"image_dim": 10, "added_kv_proj_dim": 24} if images else {}
    model = WanVideoAsPromptTransformer3DModel(**TINY, **options, block_idx_with_mot_ref=[0, 1])
    model.eval()
    arguments = {
        "hidden_states": torch.randn(1, 36, 2, 4, 4),
        "timestep": torch.tensor([500]),
        "encoder_hidden_states": torch.randn(1, 512, 8),
        "encoder_hidden_states_image": torch.randn(1, 3, 10) if images else None,
    }
    alone = predict(model, arguments)
    assert torch.equal(alone, predict(stock_twin(model), arguments))
    guided = predict(
        model,
        arguments,
        reference_hidden_states=torch.randn(1, 1, 36, 2, 4, 4),
        reference_encoder_hidden_states=torch.randn(1, 1, 512, 8),
        reference_encoder_hidden_states_image=torch.randn(1, 1, 3, 10) if images else None,
    )
    assert relative_error(guided, alone) > 1e-3


def test_first_last_frame_backbones_give_each_reference_both_its_images() -> None:
    torch.manual_seed(0)
    model = WanVideoAsPromptTransformer3DModel(
        **TINY,
        image_dim=10,
        added_kv_proj_dim=24,
        pos_embed_seq_len=6,
        block_idx_with_mot_ref=[0, 1],
    ).eval()
    pairs = torch.randn(2 * 2, 3, 10)
    arguments = {
        "hidden_states": torch.randn(2, 36, 2, 4, 4),
        "timestep": torch.tensor([500, 500]),
        "encoder_hidden_states": torch.randn(2, 512, 8),
        "encoder_hidden_states_image": pairs,
    }
    # The stock model takes first and last image as neighbors in the batch.
    stock = predict(stock_twin(model), arguments)
    assert torch.equal(predict(model, arguments), stock)
    joined = {"encoder_hidden_states_image": pairs.reshape(2, 6, 10)}
    assert torch.equal(predict(model, arguments, **joined), stock)
    latents, text = torch.randn(2, 2, 36, 2, 4, 4), torch.randn(2, 2, 512, 8)
    tokens = torch.randn(2, 2, 6, 10)
    both = predict(
        model,
        {**arguments, **joined},
        reference_hidden_states=latents,
        reference_encoder_hidden_states=text,
        reference_encoder_hidden_states_image=tokens,
    )
    second_alone = predict(
        model,
        {name: value[1:] for name, value in {**arguments, **joined}.items()},
        reference_hidden_states=latents[1:],
        reference_encoder_hidden_states=text[1:],
        reference_encoder_hidden_states_image=tokens[1:],
    )
    assert relative_error(both[1:], second_alone) < 1e-5


@pytest.mark.parametrize(
    "option",
    [
        {"attention_head_dim_mot_ref": 64},
        {"supported_effect_types": ["melt"]},
        {"num_ref_embeddings": 2},
        {"reference_train_mode": "residual"},
        {"reference_positions": "after"},
        {"block_idx_with_mot_ref": [3]},
        {"block_idx_with_mot_ref": [0, 0]},
        {"block_idx_with_mot_ref": [-1]},
    ],
)
def test_configurations_that_no_release_has_are_refused(option: dict) -> None:
    with pytest.raises(ValueError, match=r"_mot_ref|types|embeddings|mode|positions|depths"):
        WanVideoAsPromptTransformer3DModel(**TINY, **option)
