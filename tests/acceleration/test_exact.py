"""The exact profile gives the released numbers and says no where it must."""

import copy
from typing import Any

import pytest
import torch
from diffusers.models.activations import GELU
from diffusers.models.attention_dispatch import _AttentionBackendRegistry
from diffusers.models.autoencoders.autoencoder_kl_wan import WanUpsample
from torch import nn

from tests.pipelines.golden import Golden, golden, load, relative_error, wait
from vap.acceleration import attention as choosing
from vap.acceleration.attention import choose_attention
from vap.acceleration.exact import apply_exact
from vap.acceleration.kernels import onednn_attention
from vap.acceleration.onednn import OneDnnGelu, OneDnnLinear, use_onednn

CLOSE = 1e-5


@pytest.fixture(scope="module", params=["wan", "cogvideox"])
def case(request: pytest.FixtureRequest) -> Golden:
    return golden(request.param)


def released(case: Golden, **changes: Any) -> dict[str, Any]:
    return case.prompted(num_inference_steps=case.settings["num_inference_steps"], **changes)


def test_the_released_numbers_stay(case: Golden) -> None:
    pipeline = apply_exact(load(case.family))
    output = case.run(released(case), pipeline)
    assert relative_error(output, case.expected["pipeline.out.latents"]) < CLOSE
    assert type(pipeline.transformer.proj_out) is OneDnnLinear


def test_half_precision_stays_as_close_as_without_it(case: Golden) -> None:
    expected = case.expected["pipeline.out.latents"]
    plain, fast = load(case.family, dtype="bf16"), apply_exact(load(case.family, dtype="bf16"))
    before, after = (
        relative_error(case.run(released(case), pipeline).float(), expected)
        for pipeline in (plain, fast)
    )
    assert after < 1.5 * before


def test_a_model_that_waits_in_main_memory_is_set_up_for_where_it_computes(case: Golden) -> None:
    pipeline = wait(load(case.family), "meta")
    apply_exact(pipeline)
    assert pipeline.transformer.device.type == "cpu"
    assert type(pipeline.transformer.proj_out) is nn.Linear
    assert not getattr(pipeline.transformer, "reads_padding_once", False)
    processors = [getattr(each, "processor", None) for each in pipeline.transformer.modules()]
    backends = {getattr(each, "_attention_backend", None) for each in processors}
    assert onednn_attention not in backends


def test_an_unknown_attention_is_refused_with_the_names_there_are(case: Golden) -> None:
    with pytest.raises(ValueError, match=r"'fast' is unknown.*onednn.*native"):
        apply_exact(load(case.family), attention="fast")


def test_an_approximate_attention_is_refused(case: Golden) -> None:
    with pytest.raises(ValueError, match="approximates"):
        apply_exact(load(case.family), attention="sage")


def test_a_named_attention_is_for_this_model_only(case: Golden) -> None:
    default, _ = _AttentionBackendRegistry.get_active_backend()
    pipeline = apply_exact(load(case.family), attention="_native_math")
    assert _AttentionBackendRegistry.get_active_backend()[0] == default
    output = case.run(released(case), pipeline)
    assert relative_error(output, case.expected["pipeline.out.latents"]) < CLOSE


@pytest.mark.parametrize(
    ("capability", "package", "dtype", "chosen"),
    [
        ((9, 0), True, torch.bfloat16, "_flash_3"),
        ((9, 0), False, torch.bfloat16, "cudnn"),
        ((8, 9), True, torch.bfloat16, "cudnn"),
        ((7, 5), False, torch.float16, "native"),
        ((9, 0), True, torch.float32, "native"),
    ],
)
def test_gpus_get_the_best_kernel_they_can_run(
    monkeypatch, capability, package, dtype, chosen
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: True)
    monkeypatch.setattr(
        choosing.importlib.util, "find_spec", lambda _: object() if package else None
    )
    assert choose_attention(torch.device("cuda"), dtype) == chosen


def test_onednn_attention_is_refused_off_the_cpu() -> None:
    with pytest.raises(ValueError, match="'onednn' is for cpu"):
        choosing.check_attention("onednn", torch.device("cuda"))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 6e-3)])
@pytest.mark.parametrize("shape", [(1, 5, 7), (2, 600, 33), (2, 300, 300)])
def test_onednn_attention_is_attention(dtype, tolerance, shape) -> None:
    batch, queries, keys = shape
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(batch, n, 2, 16, generator=generator).to(dtype) for n in (queries, keys, keys)
    )
    exact = nn.functional.scaled_dot_product_attention(
        *(tensor.double().transpose(1, 2) for tensor in (query, key, value))
    ).transpose(1, 2)
    with torch.no_grad():
        output = onednn_attention(query, key, value)
    assert output.dtype == dtype
    assert output.shape == query.shape
    assert relative_error(output.double(), exact) < tolerance


def test_onednn_layers_keep_results_gradients_and_hooks() -> None:
    torch.manual_seed(0)
    stock = nn.Sequential(GELU(24, 40, approximate="tanh"), nn.Linear(40, 8, bias=False))
    fast = copy.deepcopy(stock)
    assert use_onednn(fast) == 3
    assert [type(layer) for layer in fast] == [OneDnnGelu, OneDnnLinear]
    tokens = torch.randn(3, 5, 24)
    with torch.no_grad():
        assert relative_error(fast(tokens), stock(tokens)) < 1e-6
        called = []
        hook = fast[0].proj.register_forward_hook(lambda *_: called.append(True))
        assert relative_error(fast(tokens), stock(tokens)) < 1e-6
        hook.remove()
    assert called == [True]
    for model in (stock, fast):
        model(tokens).sum().backward()
    assert torch.equal(fast[1].weight.grad, stock[1].weight.grad)
    assert fast.state_dict().keys() == stock.state_dict().keys()


def test_vae_latents_and_frames_stay(case: Golden) -> None:
    plain, fast = load(case.family).vae, apply_exact(load(case.family)).vae
    clip = torch.rand(1, 3, 9, 48, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        latents = plain.encode(clip).latent_dist.mode()
        assert relative_error(fast.encode(clip).latent_dist.mode(), latents) < CLOSE
        frames = plain.decode(latents).sample
        assert relative_error(fast.decode(latents).sample, frames) < CLOSE


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_upsampling_without_float32_gives_the_same_bits(dtype) -> None:
    stock = nn.Sequential(WanUpsample(scale_factor=(2.0, 2.0), mode="nearest-exact"))
    fast = copy.deepcopy(stock)
    assert use_onednn(fast) == 1
    pictures = torch.randn(2, 3, 5, 7).to(dtype)
    assert torch.equal(fast(pictures), stock(pictures))


def test_layers_that_are_more_than_linear_are_left_alone() -> None:
    class Quantized(nn.Linear):
        pass

    layer = Quantized(4, 4)
    assert use_onednn(layer) == 0
    assert type(layer) is Quantized


def test_quantized_weights_compute_as_before() -> None:
    quantization = pytest.importorskip("torchao.quantization")
    layer = nn.Sequential(nn.Linear(64, 64))
    quantization.quantize_(layer, quantization.Int8WeightOnlyConfig())
    tokens = torch.randn(3, 64)
    with torch.no_grad():
        expected = layer(tokens)
        use_onednn(layer)
        assert torch.equal(layer(tokens), expected)
