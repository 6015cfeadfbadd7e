"""Attention that is chosen for accelerators, as far as a CPU can run it."""

import pytest
import torch
from torch.nn import functional as F

from vap.acceleration import accelerator_attention, attention, fast_products
from vap.acceleration.accelerator_attention import CudnnAttention, chunked_attention
from vap.models.attention import Projections, joint_attention

CUDA = torch.device("cuda", 1)


def streams(*tokens: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, count, 3, 8, generator=generator) for count in tokens]


def plain(*tensors: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in tensors)).transpose(1, 2)


@pytest.fixture
def tried(monkeypatch) -> list[object]:
    """Makes every kernel of cuDNN fail, and lists the tries."""
    monkeypatch.setattr(accelerator_attention, "_WITHOUT_PLAN", set())
    tries = []

    def refuse(backend: object) -> None:
        tries.append(backend)
        raise RuntimeError("cuDNN Frontend error: No execution plans support the graph.")

    monkeypatch.setattr(accelerator_attention, "sdpa_kernel", refuse)
    return tries


@pytest.mark.parametrize("compiled", [False, True])
def test_cudnn_is_tried_once_at_each_size_and_replaced_where_it_has_no_plan(tried, compiled):
    attend = CudnnAttention()
    if compiled:
        attend = torch.compile(attend.__call__, backend="eager", fullgraph=True)
    for tokens in ((5, 9, 9), (5, 9, 9), (4, 9, 9)):
        tensors = streams(*tokens)
        torch.testing.assert_close(attend(*tensors), plain(*tensors))
    assert len(tried) == 2


def test_memory_that_is_out_is_no_missing_plan(monkeypatch):
    def fail(_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(accelerator_attention, "sdpa_kernel", fail)
    with pytest.raises(torch.OutOfMemoryError):
        CudnnAttention()(*streams(3, 3, 3))


def test_streams_are_joined_as_cudnn_reads_them():
    class Reading(CudnnAttention):
        def __call__(self, *tensors: torch.Tensor) -> torch.Tensor:
            assert all(tensor.transpose(1, 2).is_contiguous() for tensor in tensors)
            return plain(*tensors)

    parts = streams(4, 4, 4, 6, 6, 6)
    read, stock = (
        joint_attention([Projections(*parts[:3]), Projections(*parts[3:])], backend=backend)
        for backend in (Reading(), None)
    )
    for found, expected in zip(read, stock, strict=True):
        torch.testing.assert_close(found, expected)


def test_metal_attends_with_some_queries_at_a_time(monkeypatch):
    monkeypatch.setattr(accelerator_attention, "_SCORES_BYTES", 2 * 4 * 2 * 3 * 9)
    tensors = streams(7, 9, 9)
    torch.testing.assert_close(chunked_attention(*tensors), plain(*tensors))
    assert attention.choose_attention(torch.device("mps"), torch.bfloat16) == "chunked"


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """Says what is installed: capability of the GPU, packages, kernels downloaded from the Hub."""

    def install(capability: tuple[int, int], packages: set[str], repository: str = "") -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
        monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: True)
        found = lambda name: object() if name in packages else None  # noqa: E731
        monkeypatch.setattr(attention.importlib.util, "find_spec", found)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        if repository:
            (tmp_path / f"models--{repository}" / "snapshots" / "1").mkdir(parents=True)

    return install


FLASH, SAGE = "kernels-community--flash-attn3", "SageAttention--sage-attention"
BLACKWELL = "SageAttention--sage-blackwell"


@pytest.mark.parametrize(
    ("packages", "repository", "chosen"),
    [({"kernels"}, FLASH, "_flash_3_hub"), ({"kernels"}, SAGE, "cudnn"), (set(), FLASH, "cudnn")],
)
def test_a_hopper_takes_the_hubs_kernel_if_it_was_downloaded(gpu, packages, repository, chosen):
    gpu((9, 0), packages, repository)
    assert attention.choose_attention(CUDA, torch.bfloat16) == chosen


@pytest.mark.parametrize(
    ("capability", "packages", "repository", "chosen"),
    [
        ((12, 0), {"kernels", "sageattention"}, BLACKWELL, "sage_blackwell_hub"),
        ((8, 9), {"kernels", "sageattention"}, BLACKWELL, "sage"),
        ((8, 9), {"kernels"}, SAGE, "sage_hub"),
        ((8, 9), {"kernels"}, "", None),
    ],
)
def test_quantized_attention_is_the_newest_that_is_installed(
    gpu, capability, packages, repository, chosen
):
    gpu(capability, packages, repository)
    assert fast_products.quantized_attention(CUDA) == chosen


@pytest.mark.parametrize(
    ("capability", "packages", "compiled", "able"),
    [
        ((8, 9), {"torchao"}, True, True),
        ((8, 9), {"torchao", "mslk"}, False, False),
        ((9, 0), {"torchao", "mslk"}, False, True),
        ((9, 0), {"torchao"}, False, False),
        ((8, 0), {"torchao"}, True, False),
    ],
)
def test_fp8_products_are_for_gpus_that_gain_by_them(gpu, capability, packages, compiled, able):
    gpu(capability, packages)
    assert fast_products.can_multiply_fp8(CUDA, torch.bfloat16, compiled=compiled) == able
