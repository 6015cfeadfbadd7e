"""Texts read without their padding: one token stands for all of it."""

from typing import Any

import pytest
import torch
import wan_tiny
from predictions import calls_of, predict, relative_error, without_reference

from vap.models import wan_block
from vap.models.reference_cache import GenerationMemory
from vap.models.wan import WanVideoAsPromptTransformer3DModel, without_padding

CLOSE = 1e-6


def padded_after(arguments: dict[str, Any], target: int, reference: int) -> dict[str, Any]:
    """The arguments with texts of so many tokens, zeros behind them."""
    text = arguments["encoder_hidden_states"].clone()
    reference_text = arguments["reference_encoder_hidden_states"].clone()
    text[:, target:] = 0
    reference_text[:, :, reference:] = 0
    return {
        **arguments,
        "encoder_hidden_states": text,
        "reference_encoder_hidden_states": reference_text,
    }


@pytest.mark.parametrize(
    ("target", "reference"), [(20, 33), (7, 1), (0, 12), (511, 512), (512, 512)]
)
@pytest.mark.parametrize("with_reference", [True, False])
def test_predictions_are_those_of_512_tokens(
    target: int, reference: int, with_reference: bool
) -> None:
    model = wan_tiny.golden_model()
    arguments = padded_after(wan_tiny.golden_case()[0], target, reference)
    if not with_reference:
        arguments = without_reference(arguments)
    stock = predict(model, arguments)
    model.reads_padding_once = True
    assert relative_error(predict(model, arguments), stock) < CLOSE


def test_padding_counts_as_often_as_it_was_there(monkeypatch) -> None:
    model = wan_tiny.golden_model()
    arguments = padded_after(wan_tiny.golden_case()[0], 5, 5)
    stock = predict(model, arguments)
    shorter = {
        **arguments,
        "encoder_hidden_states": arguments["encoder_hidden_states"][:, :6],
    }
    for block in model.blocks:
        block.attn2.processor.text_tokens = 6
    assert relative_error(predict(model, shorter), stock) < CLOSE
    monkeypatch.setattr(wan_block, "_attention_with_padding", unweighted)
    assert relative_error(predict(model, shorter), stock) > 10 * CLOSE


def unweighted(*streams: torch.Tensor | int) -> torch.Tensor:
    """Attention in which the last token counts once."""
    query, key, value = (tokens.transpose(1, 2) for tokens in streams[:3])
    return torch.nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)


def test_fewer_tokens_are_projected() -> None:
    model = wan_tiny.golden_model()
    model.reads_padding_once = True
    target, reference = (
        calls_of(attention.to_k)
        for attention in (model.blocks[0].attn2, model.blocks[0].attn2_mot_ref)
    )
    predict(model, padded_after(wan_tiny.golden_case()[0], 20, 33))
    assert [tokens.shape[1] for (tokens,) in target] == [21]
    assert [tokens.shape[1] for (tokens,) in reference] == [34]


def test_passes_with_texts_of_other_lengths_do_not_disturb_each_other() -> None:
    model, (arguments, _) = wan_tiny.golden_model(), wan_tiny.golden_case()
    passes = [padded_after(arguments, *lengths) for lengths in ((20, 33), (1, 1))]
    stock = [predict(model, one) for one in passes]
    model.reads_padding_once = True
    memories = [GenerationMemory() for _ in passes]
    for _ in range(3):
        for one, memory, expected in zip(passes, memories, stock, strict=True):
            assert relative_error(predict(model, one, memory=memory), expected) < CLOSE


def test_turned_off_again_it_is_the_stock_function() -> None:
    model, (arguments, _) = wan_tiny.golden_model(), wan_tiny.golden_case()
    arguments = padded_after(arguments, 20, 33)
    stock = predict(model, arguments)
    model.reads_padding_once = True
    predict(model, arguments)
    model.reads_padding_once = False
    assert torch.equal(predict(model, arguments), stock)


@pytest.mark.parametrize(("given", "used"), [(77, 77), (77, 20), (600, 20)])
def test_texts_that_are_not_padded_to_512_tokens_are_read_as_they_are(
    given: int, used: int
) -> None:
    case = wan_tiny.golden_case()[0]
    model = without_images(wan_tiny.golden_model())
    padded = without_reference(padded_after(case, used, used))
    del padded["encoder_hidden_states_image"]
    text = torch.zeros(2, given, case["encoder_hidden_states"].shape[-1])
    text[:, :used] = case["encoder_hidden_states"][:, :used]
    stock = predict(model, padded, encoder_hidden_states=text)
    model.reads_padding_once = True
    predict(model, padded)  # leaves the length of its caption behind
    assert torch.equal(predict(model, padded, encoder_hidden_states=text), stock)


def without_images(
    model: WanVideoAsPromptTransformer3DModel,
) -> WanVideoAsPromptTransformer3DModel:
    """A model that reads no image tokens."""
    torch.manual_seed(0)
    config = {**model.config, "image_dim": None, "added_kv_proj_dim": None}
    return WanVideoAsPromptTransformer3DModel.from_config(config).eval()


@pytest.mark.parametrize(("used", "kept"), [(0, 1), (5, 6), (511, 512), (512, 512)])
def test_one_token_of_padding_is_left_behind_the_longest_text(used: int, kept: int) -> None:
    text = torch.zeros(2, 512, 3)
    text[0, :used] = 1
    text[1, : used // 2] = 1
    left, told = without_padding(text)
    assert torch.equal(left, text[:, :kept])
    assert told == kept
