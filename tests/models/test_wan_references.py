"""Several references: what tells them apart, and what each of them sees."""

import pytest
import torch
from predictions import calls_of, predict, relative_error
from wan_tiny import TOKENS, golden_model, two_references

REFERENCE_ARGUMENTS = (
    "reference_hidden_states",
    "reference_encoder_hidden_states",
    "reference_encoder_hidden_states_image",
)


def exchanged(arguments: dict) -> dict:
    return {name: arguments[name].flip(1) for name in REFERENCE_ARGUMENTS}


@pytest.mark.parametrize("mode", ["shared", "before", "height", "width", "discrete"])
def test_order_of_references_is_told_by_their_positions_alone(mode: str) -> None:
    model = golden_model()
    model.register_to_config(reference_positions=mode)
    arguments = two_references()
    given = predict(model, arguments)
    difference = relative_error(predict(model, arguments, **exchanged(arguments)), given)
    assert difference < 1e-5 if mode == "shared" else difference > 1e-4


def test_the_second_reference_matters() -> None:
    model, arguments = golden_model(), two_references()
    one = {name: arguments[name][:, :1] for name in REFERENCE_ARGUMENTS}
    assert relative_error(predict(model, arguments, **one), predict(model, arguments)) > 1e-3


@pytest.mark.parametrize("condition", REFERENCE_ARGUMENTS[1:])
def test_a_reference_attends_to_its_own_text_and_image_only(condition: str) -> None:
    model, arguments = golden_model(), two_references()
    changed = arguments[condition].clone()
    changed[:, 1] *= -1.0
    # What the second block with an expert is given: nothing but the first such block's
    # cross-attention can have told it of the change.
    streams = calls_of(model.blocks[2].attn1_mot_ref.to_q)
    predict(model, arguments)
    predict(model, arguments, **{condition: changed})
    before, after = (tokens.unflatten(0, (2, 2)) for (tokens,) in streams)
    assert torch.equal(before[:, 0], after[:, 0])
    assert relative_error(after[:, 1], before[:, 1]) > 1e-4


@pytest.mark.parametrize("condition", REFERENCE_ARGUMENTS[1:])
def test_changing_one_references_text_reaches_the_other_through_joint_attention(
    condition: str,
) -> None:
    model, arguments = golden_model().remove_expert(), two_references()
    model.add_expert([0, 2, 3]).initialize_expert()
    changed = arguments[condition].clone()
    changed[:, 1] *= -1.0
    streams = calls_of(model.blocks[3].attn1_mot_ref.to_q)
    predict(model, arguments)
    predict(model, arguments, **{condition: changed})
    before, after = (tokens.unflatten(0, (2, 2)) for (tokens,) in streams)
    assert not torch.equal(before[:, 0], after[:, 0])


def test_no_token_is_computed_twice() -> None:
    model, arguments = golden_model(), two_references()
    target = calls_of(model.blocks[0].ffn)
    reference = calls_of(model.blocks[0].ffn_mot_ref)
    text = calls_of(model.condition_embedder_mot_ref.text_embedder)
    joint = calls_of(model.blocks[0].attn1.to_out[0])
    predict(model, arguments)
    ((target_tokens,),) = target
    ((reference_tokens,),) = reference
    ((text_tokens,),) = text
    ((attended,),) = joint
    batch, references = 2, 2
    assert target_tokens.shape[:2] == attended.shape[:2] == (batch, TOKENS)
    assert reference_tokens.shape[:2] == (batch * references, TOKENS)
    assert text_tokens.shape[:2] == (batch * references, 512)


def test_samples_of_a_batch_do_not_see_each_others_references() -> None:
    model, arguments = golden_model(), two_references()
    together = predict(model, arguments)
    for row in range(2):
        alone = {name: tensor[row : row + 1] for name, tensor in arguments.items()}
        assert relative_error(predict(model, alone), together[row : row + 1]) < 1e-5
