import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from vap.parallel import blockwise
from vap.parallel.blockwise import attend_part, plain_attention


def tensors(tokens: int, keys: int, scale: float = 1.0):
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, tokens, 3, 16), (2, keys, 3, 16), (2, keys, 3, 16)]
    return [scale * torch.randn(shape, generator=generator) for shape in shapes]


def whole(query, key, value):
    parts = (tensor.transpose(1, 2) for tensor in (query, key, value))
    return scaled_dot_product_attention(*parts).transpose(1, 2)


@pytest.mark.parametrize("cuts", [[7, 4], [1, 10], [3, 3, 3, 2]])
@pytest.mark.parametrize("scale", [1.0, 12.0])
def test_parts_joined_are_the_whole(cuts, scale):
    query, key, value = tensors(5, 11, scale)
    parts = [
        attend_part(query, keys, values)
        for keys, values in zip(key.split(cuts, 1), value.split(cuts, 1), strict=True)
    ]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined.joined(part)
    torch.testing.assert_close(joined.output, whole(query, key, value), rtol=1e-5, atol=1e-5)


def test_parts_of_half_precision_are_joined_in_full():
    query, key, value = (tensor.bfloat16() for tensor in tensors(5, 12))
    first, second = (
        attend_part(query, keys, values)
        for keys, values in zip(key.chunk(2, 1), value.chunk(2, 1), strict=True)
    )
    joined = first.joined(second)
    assert joined.output.dtype == joined.log_sum.dtype == torch.float32
    torch.testing.assert_close(
        joined.output, whole(query, key, value).float(), rtol=2e-2, atol=2e-2
    )


def test_the_formula_and_the_kernel_agree():
    query, key, value = tensors(5, 11)
    kernel = attend_part(query, key, value)
    output, log_sum = plain_attention(*(part.transpose(1, 2) for part in (query, key, value)))
    torch.testing.assert_close(kernel.output, output.transpose(1, 2), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(kernel.log_sum[..., 0], log_sum.transpose(1, 2))


@pytest.mark.parametrize(
    ("backend", "capability", "cudnn"),
    [
        (None, 9, True),
        (None, 8, False),
        ("native", 9, True),
        ("_native_flash", 9, False),
        ("_native_cudnn", 8, True),
    ],
)
def test_a_gpus_kernel_is_the_one_asked_for_or_its_fastest(backend, capability, cudnn, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (capability, 0))
    assert blockwise._prefers_cudnn(backend, torch.device("cuda")) is cudnn


def test_rocm_has_no_cudnn(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert not blockwise._prefers_cudnn(None, torch.device("cuda"))
