"""What diffusers and peft offer around a transformer works with the reference stream as well."""

import pytest
import torch
from cogvideox_tiny import golden_case, golden_model, predict, relative_error
from diffusers import (
    FasterCacheConfig,
    FirstBlockCacheConfig,
    LayerSkipConfig,
    MagCacheConfig,
    PyramidAttentionBroadcastConfig,
    TaylorSeerCacheConfig,
)
from diffusers.hooks import apply_layer_skip
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from predictions import calls_of

EXACT = 1e-5


def use_native_by_default() -> None:
    """Choosing a backend for one model also changes diffusers' process-wide default."""
    _AttentionBackendRegistry.set_active_backend(AttentionBackendName.NATIVE)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("backend", ["_native_math", "flex"])
def test_attention_backend_reaches_joint_attention(backend: str, monkeypatch) -> None:
    arguments, expected = golden_case(2)
    model = golden_model()
    model.set_attention_backend(backend)
    use_native_by_default()
    name = AttentionBackendName(backend)
    attend, tokens = _AttentionBackendRegistry._backends[name], []

    def spy(**kwargs):
        tokens.append(kwargs["key"].shape[1])
        return attend(**kwargs)

    monkeypatch.setitem(_AttentionBackendRegistry._backends, name, spy)
    assert relative_error(predict(model, arguments), expected) < EXACT
    one_video = 226 + 36
    assert tokens == [3 * one_video] * 3 + [one_video]


def test_fused_projections_keep_the_output_and_can_be_undone() -> None:
    arguments, expected = golden_case(2)
    model = golden_model()
    names = set(model.state_dict())
    model.fuse_qkv_projections()
    assert "transformer_blocks.0.attn1_mot_ref.to_qkv.weight" in model.state_dict()
    assert relative_error(predict(model, arguments), expected) < EXACT
    model.unfuse_qkv_projections()
    assert set(model.state_dict()) == names
    assert relative_error(predict(model, arguments), expected) < EXACT


def test_gradient_checkpointing_keeps_the_experts_gradients() -> None:
    arguments, _ = golden_case(1)
    gradients = []
    for checkpointing in (False, True):
        model = golden_model().freeze_backbone()
        if checkpointing:
            model.enable_gradient_checkpointing()
        model(**arguments).sample.square().mean().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert "patch_embed_mot_ref.proj.weight" in gradients[0]
    assert all("_mot_ref" in name for name in gradients[0])
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


@pytest.mark.parametrize("stream", ["attn1", "attn1_mot_ref"])
def test_lora_scale_reaches_both_streams(stream: str) -> None:
    arguments, expected = golden_case(1)
    model = golden_model()
    targets = [f"transformer_blocks.{depth}.{stream}.to_q" for depth in (0, 1)]
    model.add_adapter(LoraConfig(r=4, target_modules=targets, init_lora_weights=False))
    assert f"{targets[0]}.lora_A.weight" in get_peft_model_state_dict(model)
    off = predict(model, arguments, attention_kwargs={"scale": 0.0})
    assert relative_error(off, expected) < EXACT
    weak, full = (
        relative_error(predict(model, arguments, attention_kwargs={"scale": scale}), expected)
        for scale in (0.1, 1.0)
    )
    assert EXACT < weak < full
    assert relative_error(predict(model, arguments), expected) == full


@pytest.mark.parametrize("level", ["block_level", "leaf_level"])
def test_group_offloading_brings_every_weight_back(level: str, tmp_path) -> None:
    arguments, expected = golden_case(2)
    model = golden_model()
    model.enable_group_offload(
        onload_device=torch.device("cpu"),
        offload_device=torch.device("cpu"),
        offload_type=level,
        num_blocks_per_group=1 if level == "block_level" else None,
        offload_to_disk_path=str(tmp_path),
    )
    # On disk now; what is left in memory must not be read before it is brought back.
    for depth, name in ((0, "attn1"), (0, "attn1_mot_ref"), (1, "ff_mot_ref"), (3, "ff")):
        for module in getattr(model.transformer_blocks[depth], name).modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.data = torch.full_like(module.weight, float("nan"))
    for _ in range(2):
        assert relative_error(predict(model, arguments), expected) < EXACT


def test_layerwise_casting_stores_the_expert_in_eight_bits() -> None:
    arguments, expected = golden_case(1)
    model = golden_model()
    model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    block = model.transformer_blocks[0]
    assert block.ff_mot_ref.net[2].weight.dtype == torch.float8_e4m3fn
    assert block.norm1_mot_ref.linear.weight.dtype == torch.float32
    assert model.patch_embed_mot_ref.proj.weight.dtype == torch.float32
    assert EXACT < relative_error(predict(model, arguments), expected) < 0.2


def test_int8_weights_keep_the_output_close() -> None:
    torchao = pytest.importorskip("torchao.quantization")
    arguments, expected = golden_case(1)
    model = golden_model()
    torchao.quantize_(model, torchao.Int8WeightOnlyConfig())
    assert type(model.transformer_blocks[0].attn1_mot_ref.to_q.weight) is not torch.nn.Parameter
    assert EXACT < relative_error(predict(model, arguments), expected) < 0.05


@pytest.mark.slow
def test_repeated_blocks_compile_without_a_graph_break() -> None:
    arguments, expected = golden_case(1)
    model = golden_model()
    model.compile_repeated_blocks(fullgraph=True, backend="eager")
    assert relative_error(predict(model, arguments), expected) < EXACT
    torch.compiler.reset()


def _steps(model, arguments, timesteps) -> list[torch.Tensor]:
    outputs = []
    for timestep in timesteps:
        with model.cache_context("cond_uncond"):
            outputs.append(predict(model, arguments, timestep=torch.full((2,), timestep)))
    return outputs


def _calls(module: torch.nn.Module) -> list[int]:
    calls: list[int] = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


@pytest.mark.parametrize("references", [1, 2])
def test_first_block_cache_is_exact_until_it_skips(references: int) -> None:
    arguments, _ = golden_case(references)
    expected = _steps(golden_model(), arguments, (900, 500))
    model = golden_model()
    model.enable_cache(FirstBlockCacheConfig(threshold=0.0))
    for output, exact in zip(_steps(model, arguments, (900, 500)), expected, strict=True):
        assert relative_error(output, exact) < EXACT


def test_first_block_cache_skips_every_later_block() -> None:
    arguments, _ = golden_case(2)
    expected = _steps(golden_model(), arguments, (900, 890))
    model = golden_model()
    model.enable_cache(FirstBlockCacheConfig(threshold=10.0))
    first, later = (_calls(model.transformer_blocks[depth].ff) for depth in (0, 1))
    outputs = _steps(model, arguments, (900, 890))
    assert (len(first), len(later)) == (2, 1)
    assert relative_error(outputs[0], expected[0]) < EXACT
    assert relative_error(outputs[1], expected[1]) < 0.1


def test_mag_cache_skips_every_block() -> None:
    arguments, _ = golden_case(2)
    expected = _steps(golden_model(), arguments, (900, 890))
    model = golden_model()
    model.enable_cache(
        MagCacheConfig(mag_ratios=[1.0] * 4, num_inference_steps=4, retention_ratio=0.0)
    )
    calls = _calls(model.transformer_blocks[1].ff_mot_ref)
    outputs = _steps(model, arguments, (900, 890))
    assert len(calls) == 1
    assert relative_error(outputs[0], expected[0]) < EXACT
    assert relative_error(outputs[1], expected[1]) < 0.1


def test_skipping_one_block_leaves_the_reference_to_the_next() -> None:
    arguments, _ = golden_case(2)
    model = golden_model()
    block = model.transformer_blocks[1]
    # A block whose gates are all zero changes nothing.
    for norm in (block.norm1, block.norm2, block.norm1_mot_ref, block.norm2_mot_ref):
        norm.linear.weight.data.zero_()
        norm.linear.bias.data.zero_()
    expected = predict(model, arguments)
    skipping = golden_model()
    apply_layer_skip(skipping, LayerSkipConfig(indices=[1], fqn="transformer_blocks"))
    assert relative_error(predict(skipping, arguments), expected) < EXACT


def test_taylorseer_predicts_joint_attention() -> None:
    arguments, _ = golden_case(1)
    timesteps = (900, 890, 880)
    expected = _steps(golden_model(), arguments, timesteps)
    model = golden_model()
    model.enable_cache(
        TaylorSeerCacheConfig(
            cache_interval=2,
            disable_cache_before_step=2,
            max_order=1,
            taylor_factors_dtype=torch.float32,
            cache_identifiers=[r"transformer_blocks\.\d+\.(attn1|ff)"],
        )
    )
    calls = _calls(model.transformer_blocks[0].attn1_mot_ref.to_q)
    outputs = _steps(model, arguments, timesteps)
    assert len(calls) == 2
    assert relative_error(outputs[1], expected[1]) < EXACT
    assert relative_error(outputs[2], expected[2]) < 0.1


def test_pyramid_attention_broadcast_reuses_joint_attention() -> None:
    arguments, _ = golden_case(1)
    expected = _steps(golden_model(), arguments, (500, 490))
    model = golden_model()
    model.enable_cache(
        PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=2, current_timestep_callback=lambda: 500
        )
    )
    calls = _calls(model.transformer_blocks[0].attn1_mot_ref.to_q)
    outputs = _steps(model, arguments, (500, 490))
    assert len(calls) == 1
    assert relative_error(outputs[1], expected[1]) < 0.1


@pytest.mark.parametrize("references", [1, 2])
def test_faster_cache_leaves_out_the_unconditional_half_of_the_references_too(
    references: int,
) -> None:
    arguments, _ = golden_case(references)
    expected = _steps(golden_model(), arguments, (500, 490))
    model = golden_model()
    model.enable_cache(
        FasterCacheConfig(
            spatial_attention_timestep_skip_range=(-1, -1),
            unconditional_batch_skip_range=2,
            current_timestep_callback=lambda: 500,
            tensor_format="BFCHW",
        )
    )
    calls = calls_of(model.transformer_blocks[0].attn1_mot_ref.to_q)
    outputs = _steps(model, arguments, (500, 490))
    assert [len(tokens) for (tokens,) in calls] == [2, 1]
    for output, exact in zip(outputs, expected, strict=True):
        assert output.shape == exact.shape
        assert relative_error(output[1:], exact[1:]) < EXACT
