"""What diffusers and peft offer around a transformer works with the reference stream as well."""

from collections.abc import Iterator

import gguf
import pytest
import torch
from diffusers import (
    FirstBlockCacheConfig,
    GGUFQuantizationConfig,
    LayerSkipConfig,
    MagCacheConfig,
    TaylorSeerCacheConfig,
    TorchAoConfig,
)
from diffusers.hooks import apply_layer_skip
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from predictions import calls_of, predict, relative_error, without_reference
from wan_tiny import FOLDER, TOKENS, golden_case, golden_model, stock_twin, two_references

from vap.models.wan import WanVideoAsPromptTransformer3DModel

EXACT = 1e-5


@pytest.fixture
def default_backend() -> Iterator[None]:
    """Choosing a backend for one model also changes diffusers' process-wide default."""
    before, _ = _AttentionBackendRegistry.get_active_backend()
    yield
    _AttentionBackendRegistry.set_active_backend(before)


@pytest.mark.usefixtures("default_backend")
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("name", ["_native_math", "flex"])
def test_attention_backend_reaches_joint_attention(name: str, monkeypatch) -> None:
    expected = predict(golden_model(), two_references())
    backend = AttentionBackendName(name)
    attend, keys = _AttentionBackendRegistry._backends[backend], []

    def spy(**kwargs):
        keys.append(kwargs["key"].shape[1])
        return attend(**kwargs)

    monkeypatch.setitem(_AttentionBackendRegistry._backends, backend, spy)
    model = golden_model()
    model.set_attention_backend(name)
    assert relative_error(predict(model, two_references()), expected) < EXACT
    assert keys.count(3 * TOKENS) == 2
    assert keys.count(TOKENS) == 2


def test_fused_projections_keep_the_output_and_can_be_undone() -> None:
    arguments, expected = golden_case()
    model = golden_model()
    names = set(model.state_dict())
    model.fuse_qkv_projections()
    fused = set(model.state_dict())
    assert "blocks.0.attn1_mot_ref.to_qkv.weight" in fused
    assert "blocks.0.attn2_mot_ref.to_kv.weight" in fused
    assert "blocks.0.attn2_mot_ref.to_added_kv.weight" in fused
    assert relative_error(predict(model, arguments), expected) < EXACT
    model.unfuse_qkv_projections()
    assert set(model.state_dict()) == names
    assert relative_error(predict(model, arguments), expected) < EXACT


def test_gradient_checkpointing_keeps_the_experts_gradients() -> None:
    arguments, _ = golden_case()
    gradients = []
    for checkpointing in (False, True):
        model = golden_model().freeze_backbone()
        if checkpointing:
            model.enable_gradient_checkpointing()
        calls = calls_of(model.blocks[0].ffn_mot_ref)
        model(**arguments).sample.square().mean().backward()
        assert len(calls) == 1 + checkpointing
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert "patch_embedding_mot_ref.weight" in gradients[0]
    assert all("_mot_ref" in name for name in gradients[0])
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


@pytest.mark.parametrize("stream", ["attn1", "attn1_mot_ref"])
def test_lora_scale_reaches_both_streams(stream: str) -> None:
    arguments, expected = golden_case()
    model = golden_model()
    targets = [f"blocks.{depth}.{stream}.to_q" for depth in (0, 2)]
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
    arguments, expected = golden_case()
    model = golden_model()
    model.enable_group_offload(
        onload_device=torch.device("cpu"),
        offload_device=torch.device("cpu"),
        offload_type=level,
        num_blocks_per_group=1 if level == "block_level" else None,
        offload_to_disk_path=str(tmp_path),
    )
    # On disk now; what is left in memory must not be read before it is brought back.
    for depth, name in ((0, "attn1"), (0, "attn2_mot_ref"), (2, "attn1_mot_ref"), (3, "ffn")):
        for module in getattr(model.blocks[depth], name).modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.data = torch.full_like(module.weight, float("nan"))
    for _ in range(2):
        assert relative_error(predict(model, arguments), expected) < EXACT


def test_layerwise_casting_stores_the_expert_in_eight_bits() -> None:
    arguments, expected = golden_case()
    model = golden_model()
    model.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    block = model.blocks[0]
    assert block.ffn_mot_ref.net[2].weight.dtype == torch.float8_e4m3fn
    assert block.norm2_mot_ref.weight.dtype == torch.float32
    assert model.patch_embedding_mot_ref.weight.dtype == torch.float32
    assert model.condition_embedder_mot_ref.time_proj.weight.dtype == torch.float32
    assert EXACT < relative_error(predict(model, arguments), expected) < 0.2


def test_int8_weights_keep_the_output_close() -> None:
    torchao = pytest.importorskip("torchao.quantization")
    arguments, expected = golden_case()
    model = golden_model()
    torchao.quantize_(model, torchao.Int8WeightOnlyConfig())
    assert type(model.blocks[0].attn1_mot_ref.to_q.weight) is not torch.nn.Parameter
    assert EXACT < relative_error(predict(model, arguments), expected) < 0.05


def test_a_quantized_backbone_takes_an_expert_file(tmp_path) -> None:
    torchao = pytest.importorskip("torchao.quantization")
    arguments, expected = golden_case()
    expert = golden_model().save_expert(tmp_path / "expert.safetensors")
    model = WanVideoAsPromptTransformer3DModel.from_pretrained(
        FOLDER,
        subfolder="transformer",
        quantization_config=TorchAoConfig(torchao.Int8WeightOnlyConfig()),
        dtype=torch.float32,
    )
    assert type(model.blocks[0].attn1.to_q.weight) is not torch.nn.Parameter
    model.load_expert(expert)
    assert type(model.blocks[0].attn1.to_q.weight) is not torch.nn.Parameter
    assert type(model.blocks[0].attn1_mot_ref.to_q.weight) is torch.nn.Parameter
    assert EXACT < relative_error(predict(model, arguments), expected) < 0.05


def write_gguf(path, model: torch.nn.Module) -> None:
    """Backbone weights, matrices in eight bits, as in published Wan GGUF files."""
    writer = gguf.GGUFWriter(str(path), "wan")
    for name, tensor in model.state_dict().items():
        weights = tensor.numpy()
        if weights.ndim == 2 and weights.shape[1] % 32 == 0 and "embedder" not in name:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(weights, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_gguf_backbone_takes_an_expert_file(tmp_path) -> None:
    arguments, expected = golden_case()
    released = golden_model()
    stock = stock_twin(released)
    stock.save_config(tmp_path / "transformer")
    write_gguf(tmp_path / "backbone.gguf", stock)
    expert = released.save_expert(tmp_path / "expert.safetensors")
    model = WanVideoAsPromptTransformer3DModel.from_single_file(
        str(tmp_path / "backbone.gguf"),
        config=str(tmp_path),
        subfolder="transformer",
        quantization_config=GGUFQuantizationConfig(compute_dtype=torch.float32),
        dtype=torch.float32,
    )
    alone = without_reference(arguments)
    backbone_error = relative_error(predict(model, alone), predict(stock, alone))
    assert EXACT < backbone_error < 0.02
    model.load_expert(expert)
    assert model.blocks[0].attn1.to_q.weight.dtype == torch.uint8
    assert model.blocks[0].attn1_mot_ref.to_q.weight.dtype == torch.float32
    assert relative_error(predict(model, arguments), expected) < 0.02


@pytest.mark.slow
def test_repeated_blocks_compile_without_a_graph_break() -> None:
    arguments, expected = golden_case()
    model = golden_model()
    model.compile_repeated_blocks(fullgraph=True, backend="eager")
    assert relative_error(predict(model, arguments), expected) < EXACT
    torch.compiler.reset()


def _steps(model, arguments, timesteps) -> list[torch.Tensor]:
    """Guided steps as the pipeline makes them: two passes a step, each with its own cache."""
    outputs = []
    for timestep in timesteps:
        for context, sign in (("cond", 1.0), ("uncond", -1.0)):
            text = sign * arguments["encoder_hidden_states"]
            with model.cache_context(context):
                outputs.append(
                    predict(
                        model,
                        arguments,
                        timestep=torch.full((2,), timestep),
                        encoder_hidden_states=text,
                    )
                )
    return outputs


@pytest.mark.parametrize("case", [lambda: golden_case()[0], two_references])
def test_first_block_cache_is_exact_until_it_skips(case) -> None:
    arguments = case()
    expected = _steps(golden_model(), arguments, (900, 500))
    model = golden_model()
    model.enable_cache(FirstBlockCacheConfig(threshold=0.0))
    for output, exact in zip(_steps(model, arguments, (900, 500)), expected, strict=True):
        assert relative_error(output, exact) < EXACT


def test_first_block_cache_is_the_stock_models_without_a_reference() -> None:
    arguments = without_reference(golden_case()[0])
    outputs = []
    for model in (golden_model(), stock_twin(golden_model())):
        model.enable_cache(FirstBlockCacheConfig(threshold=10.0))
        outputs.append(_steps(model, arguments, (900, 890)))
    assert all(torch.equal(*pair) for pair in zip(*outputs, strict=True))


def test_first_block_cache_skips_every_later_block() -> None:
    arguments = two_references()
    expected = _steps(golden_model(), arguments, (900, 890))
    model = golden_model()
    model.enable_cache(FirstBlockCacheConfig(threshold=10.0))
    first, later = calls_of(model.blocks[0].ffn), calls_of(model.blocks[2].attn1_mot_ref.to_k)
    outputs = _steps(model, arguments, (900, 890))
    assert (len(first), len(later)) == (4, 2)
    for output, exact in zip(outputs[:2], expected[:2], strict=True):
        assert relative_error(output, exact) < EXACT
    for output, exact in zip(outputs[2:], expected[2:], strict=True):
        assert EXACT < relative_error(output, exact) < 0.1


def test_mag_cache_skips_every_block() -> None:
    arguments = two_references()
    expected = _steps(golden_model(), arguments, (900, 890))
    model = golden_model()
    model.enable_cache(
        MagCacheConfig(mag_ratios=[1.0] * 4, num_inference_steps=4, retention_ratio=0.0)
    )
    calls = calls_of(model.blocks[0].ffn_mot_ref)
    outputs = _steps(model, arguments, (900, 890))
    assert len(calls) == 2
    for output, exact in zip(outputs[:2], expected[:2], strict=True):
        assert relative_error(output, exact) < EXACT
    for output, exact in zip(outputs[2:], expected[2:], strict=True):
        assert relative_error(output, exact) < 0.1


def test_skipping_one_block_leaves_the_reference_to_the_next() -> None:
    arguments = two_references()
    model = golden_model()
    block = model.blocks[1]
    # A block without an expert and with all outputs zero changes nothing.
    for layer in (block.attn1.to_out[0], block.attn2.to_out[0], block.ffn.net[2]):
        layer.weight.data.zero_()
        layer.bias.data.zero_()
    expected = predict(model, arguments)
    skipping = golden_model()
    apply_layer_skip(skipping, LayerSkipConfig(indices=[1], fqn="blocks"))
    assert relative_error(predict(skipping, arguments), expected) < EXACT


def test_taylorseer_predicts_joint_attention() -> None:
    arguments, _ = golden_case()
    timesteps = (900, 890, 880)
    expected = _steps(golden_model(), arguments, timesteps)
    model = golden_model()
    model.enable_cache(
        TaylorSeerCacheConfig(
            cache_interval=2,
            disable_cache_before_step=2,
            max_order=1,
            taylor_factors_dtype=torch.float32,
            cache_identifiers=[r"blocks\.\d+\.(attn1|ffn)"],
        )
    )
    calls = calls_of(model.blocks[0].attn1_mot_ref.to_q)
    outputs = _steps(model, arguments, timesteps)
    assert len(calls) == 2 * 2
    for output, exact in zip(outputs[:4], expected[:4], strict=True):
        assert relative_error(output, exact) < EXACT
    for output, exact in zip(outputs[4:], expected[4:], strict=True):
        assert relative_error(output, exact) < 0.1
