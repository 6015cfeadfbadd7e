"""What a transformer keeps over the steps of a generation."""

from typing import Any

import cogvideox_tiny
import pytest
import torch
import wan_tiny
from predictions import calls_of, predict, relative_error, without_reference
from variants import VARIANTS, Variant

from vap.models.reference_cache import GenerationMemory, StepMemory


def steps(
    model: Any, arguments: dict[str, Any], memory: GenerationMemory | None
) -> list[torch.Tensor]:
    """Predictions at three steps, with other latents and another time at each."""
    generator = torch.Generator().manual_seed(0)
    outputs = []
    for time in (900, 500, 100):
        latents = torch.randn(arguments["hidden_states"].shape, generator=generator)
        changes = {
            "hidden_states": latents,
            "timestep": torch.full_like(arguments["timestep"], time),
        }
        outputs.append(predict(model, arguments, **changes, memory=memory))
    return outputs


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
@pytest.mark.parametrize("reference", [True, False])
def test_every_step_has_the_bits_it_has_without_memory(variant: Variant, reference: bool) -> None:
    model, (arguments, _) = variant.model(), variant.case()
    if not reference:
        arguments = without_reference(arguments)
    memory = GenerationMemory()
    for kept, anew in zip(
        steps(model, arguments, memory), steps(model, arguments, None), strict=True
    ):
        assert torch.equal(kept, anew)


def test_wan_embeds_conditions_and_projects_contexts_once() -> None:
    model, (arguments, _) = wan_tiny.golden_model(), wan_tiny.golden_case()
    once = (
        model.condition_embedder.text_embedder,
        model.condition_embedder_mot_ref.time_embedder,
        model.patch_embedding_mot_ref,
        model.blocks[1].attn2.to_k,
        model.blocks[0].attn2_mot_ref.add_v_proj,
        model.blocks[0].attn1_mot_ref.to_q,
        model.rope,
        model.reference_rope,
    )
    calls = [calls_of(module) for module in once]
    every = calls_of(model.blocks[2].attn1_mot_ref.to_q)
    steps(model, arguments, GenerationMemory())
    assert [len(made) for made in calls] == [1] * len(once)
    assert len(every) == 3


def test_cogvideox_embeds_references_once_but_their_time_at_every_step() -> None:
    model, (arguments, _) = cogvideox_tiny.golden_model(), cogvideox_tiny.golden_case(2)
    once, every = calls_of(model.patch_embed_mot_ref), calls_of(model.time_embedding_mot_ref)
    steps(model, arguments, GenerationMemory())
    assert (len(once), len(every)) == (1, 3)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
@pytest.mark.parametrize(
    "changed",
    ["encoder_hidden_states", "reference_encoder_hidden_states", "reference_hidden_states"],
)
def test_other_inputs_are_never_answered_from_memory(variant: Variant, changed: str) -> None:
    model, (arguments, _) = variant.model(), variant.case()
    memory = GenerationMemory()
    predict(model, arguments, memory=memory)
    other = {**arguments, changed: arguments[changed].flip(-1)}
    assert torch.equal(predict(model, other, memory=memory), predict(model, other))
    assert torch.equal(predict(model, arguments, memory=memory), predict(model, arguments))


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_reference_may_come_and_go(variant: Variant) -> None:
    model, (arguments, expected) = variant.model(), variant.case()
    memory = GenerationMemory()
    alone = predict(model, arguments, reference_strength=0.0, memory=memory)
    assert torch.equal(alone, predict(model, without_reference(arguments)))
    assert relative_error(predict(model, arguments, memory=memory), expected) < 1e-5


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_what_is_kept_takes_gradients_of_every_step(variant: Variant) -> None:
    model, (arguments, _) = variant.model(), variant.case()
    model.requires_grad_(True)
    gradients = []
    for memory in (GenerationMemory(), None):
        model.zero_grad()
        losses = [
            model(
                **{**arguments, "timestep": torch.full_like(arguments["timestep"], time)},
                memory=memory,
            )
            .sample.square()
            .mean()
            for time in (900, 500)
        ]
        sum(losses).backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    kept, anew = gradients
    assert kept.keys() == anew.keys()
    for name, expected in anew.items():
        torch.testing.assert_close(kept[name], expected, rtol=1e-4, atol=1e-7, msg=name)


def test_passes_share_the_first_self_attention_of_a_step() -> None:
    model, (arguments, _) = wan_tiny.golden_model(), wan_tiny.golden_case()
    other = {
        name: arguments[name].flip(-1)
        for name in ("encoder_hidden_states", "reference_encoder_hidden_states")
    }
    expected = predict(model, arguments), predict(model, {**arguments, **other})
    first, second = (calls_of(model.blocks[depth].attn1.to_q) for depth in (0, 1))
    memories, step = (GenerationMemory(), GenerationMemory()), StepMemory()
    outputs = (
        predict(model, arguments, memory=memories[0], step=step),
        predict(model, {**arguments, **other}, memory=memories[1], step=step),
    )
    assert all(map(torch.equal, outputs, expected))
    assert (len(first), len(second)) == (1, 2)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_after_a_forward_no_block_knows_of_the_memory(variant: Variant) -> None:
    model, (arguments, _) = variant.model(), variant.case()
    memory = GenerationMemory()
    predict(model, arguments, memory=memory, step=StepMemory(use="record"))
    model.expert_blocks[1].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        predict(model, arguments, memory=memory)
    processors = [module.processor for module in model.modules() if hasattr(module, "processor")]
    assert {getattr(processor, "memory", None) for processor in processors} == {None}
