"""Blocks that come and go compute what blocks that stay compute."""

import copy
import weakref
from contextlib import nullcontext

import pytest
import torch
from accelerate.hooks import CpuOffload
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.utils.torch_utils import get_module_execution_device
from torch import nn

from tests.pipelines.golden import load
from vap.acceleration import offload
from vap.acceleration.offload import offload_blocks, offload_layers, offload_vae
from vap.acceleration.quantize import quantize

CPU = torch.device("cpu")


class Chain(nn.Module):
    """Blocks of two sizes, some with a buffer, run one after the other."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(8, 8 + 8 * (i % 3)),
                nn.BatchNorm1d(8 + 8 * (i % 3)),
                nn.Linear(8 + 8 * (i % 3), 8),
            )
            for i in range(depth)
        ).eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = x + block(x)
        return x


@pytest.mark.parametrize("depth", [1, 2, 3, 6])
def test_streamed_blocks_give_the_same_bits_again_and_again(depth: int) -> None:
    chain, x = Chain(depth), torch.randn(4, 8)
    expected = chain(x)
    offload_blocks(chain.blocks, CPU)
    for _ in range(3):
        assert torch.equal(chain(x), expected)


def test_a_place_is_not_read_after_it_was_given_away(monkeypatch) -> None:
    """Every copy first spoils the place that it goes to."""
    chain, x = Chain(5), torch.randn(4, 8)
    expected = chain(x)
    offload_blocks(chain.blocks, CPU)
    copy_ = torch.Tensor.copy_

    def spoil_first(target: torch.Tensor, source: torch.Tensor, **options: object) -> torch.Tensor:
        target.fill_(255)
        return copy_(target, source, **options)

    monkeypatch.setattr(torch.Tensor, "copy_", spoil_first)
    assert torch.equal(chain(x), expected)
    assert torch.equal(chain(x), expected)


def test_blocks_may_be_skipped_or_fail() -> None:
    chain, x = Chain(4), torch.randn(4, 8)
    plain = copy.deepcopy(chain)
    offload_blocks(chain.blocks, CPU)
    chain(x)
    for skipping in ([0, 2, 3], [3], [1, 0]):
        for depth in skipping:
            assert torch.equal(chain.blocks[depth](x), plain.blocks[depth](x))
    with pytest.raises(RuntimeError):
        chain.blocks[1](torch.randn(4, 3))
    assert torch.equal(chain(x), plain(x))


def test_weights_wait_in_main_memory_packed_and_stay_readable() -> None:
    chain = Chain(3)
    state = copy.deepcopy(chain.state_dict())
    offload_blocks(chain.blocks, CPU)
    chain(torch.randn(4, 8))
    for name, tensor in chain.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    for block in chain.blocks:
        stores = {tensor.untyped_storage().data_ptr() for tensor in block.parameters()}
        assert len(stores) == 1


def test_an_adapter_added_later_is_used() -> None:
    chain, x = Chain(2), torch.randn(4, 8)
    offload_blocks(chain.blocks, CPU)
    chain.blocks[1][2] = nn.Sequential(chain.blocks[1][2], nn.Linear(8, 8))
    fresh = chain(x)
    chain.blocks[1][2][1].weight.data.mul_(2)
    assert not torch.equal(chain(x), fresh)


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 6])
def test_weights_changed_between_passes_count_from_the_next_on(depth: int, elsewhere: bool) -> None:
    """As adapters are merged: in place, or by giving a weight other memory."""
    chain, x = Chain(depth), torch.randn(4, 8)
    plain = copy.deepcopy(chain)
    offload_blocks(chain.blocks, CPU)
    chain(x)
    for model in (chain, plain):
        for block in model.blocks:
            weight = block[0].weight
            if elsewhere:
                weight.data = weight.data.clone() + 0.5
            else:
                weight.data += 0.5
    for _ in range(2):
        assert torch.equal(chain(x), plain(x))


def test_a_waiting_vae_says_where_it_computes_and_is_not_taken_for_model_offload() -> None:
    vae, transformer = load("wan").vae, nn.Linear(2, 2)
    offload_vae(vae, transformer, torch.device("meta"))
    assert vae.device == CPU
    assert get_module_execution_device(vae) == torch.device("meta")
    assert not isinstance(vae._hf_hook, CpuOffload)


def test_a_vae_comes_to_work_and_leaves_before_denoising(monkeypatch) -> None:
    vae, transformer = load("wan").vae, nn.Linear(2, 2)
    moves = []
    monkeypatch.setattr(vae, "to", lambda place: moves.append(str(place)) or vae)
    monkeypatch.setattr(type(vae), "device", torch.device("meta"))
    offload_vae(vae, transformer, torch.device("meta"))
    monkeypatch.setattr(vae, "_decode", lambda *_: DecoderOutput(torch.zeros(1)))
    vae.decode(torch.zeros(1))
    transformer(torch.zeros(1, 2))
    assert moves == ["cpu", "meta", "cpu"]


def test_weights_of_eight_bits_stream_too() -> None:
    chain, x = Chain(4), torch.randn(4, 8)
    quantize(chain.blocks, "int8")
    expected = chain(x)
    offload_blocks(chain.blocks, CPU)
    assert torch.equal(chain(x), expected)


def test_layers_of_a_module_stream() -> None:
    chain, x = Chain(2), torch.randn(4, 8)
    expected = chain(x)
    offload_layers(chain, CPU)
    assert torch.equal(chain(x), expected)


def test_memory_that_cannot_be_pinned_is_reported(monkeypatch) -> None:
    class Refusing:
        def cudaHostRegister(self, *_: int) -> int:  # noqa: N802 - CUDA's own name
            return 2

    monkeypatch.setattr(offload.torch.cuda, "cudart", Refusing)
    with pytest.raises(MemoryError, match="could not be pinned"):
        offload._pin(torch.zeros(8))


@pytest.mark.parametrize("kind", ["cuda", "xpu"])
def test_the_stream_that_computes_is_that_of_the_blocks_device(kind, monkeypatch) -> None:
    """Not of the current device, which may be another."""
    monkeypatch.setattr(torch.accelerator, "current_stream", lambda device: f"of {device}")
    assert offload._computing_stream(torch.device(kind, 1)) == f"of {kind}:1"


def test_every_wait_names_its_stream(monkeypatch) -> None:
    told = []

    class Event:
        def __init__(self, name: str) -> None:
            self.name = name

        def wait(self, stream: object) -> None:
            told.append(("wait", self.name, stream))

        def record(self, stream: object) -> None:
            told.append(("record", self.name, stream))

    names = iter(["copied 0", "copied 1", "used 0", "used 1"])
    copying = nullcontext()
    monkeypatch.setattr(offload, "_side_stream", lambda _: copying)
    monkeypatch.setattr(offload, "_computing_stream", lambda _: "computing")
    monkeypatch.setattr(offload, "_event", lambda _: Event(next(names)))
    blocks = Chain(2).blocks
    stream = offload._BlockStream(blocks, CPU)
    stream.before(0)()
    stream.after(0)()
    stream.release()
    assert told == [
        ("record", "used 0", "computing"),
        ("record", "used 1", "computing"),
        ("wait", "used 0", copying),
        ("record", "copied 0", copying),
        ("wait", "copied 0", "computing"),
        ("wait", "used 1", copying),
        ("record", "copied 1", copying),
        ("record", "used 0", "computing"),
        ("wait", "copied 0", "computing"),
        ("wait", "copied 1", "computing"),
    ]


def test_the_places_of_blocks_are_free_while_others_work() -> None:
    chain, x = Chain(3), torch.randn(4, 8)
    expected = chain(x)
    release = offload_blocks(chain.blocks, CPU)
    chain(x)
    place = weakref.ref(release.__self__._places[0])
    release()
    assert place() is None
    assert torch.equal(chain(x), expected)


def test_devices_without_streams_offload_in_order(monkeypatch) -> None:
    """As Metal: its leaves would be refused, and its blocks have no stream to come on."""
    asked = {}
    monkeypatch.setattr(
        "diffusers.hooks.apply_group_offloading", lambda _, **options: asked.update(options)
    )
    mps = torch.device("mps")
    offload_layers(nn.Linear(2, 2), mps)
    assert asked["use_stream"] is False
    assert (
        offload._side_stream(mps) is offload._event(mps) is offload._computing_stream(mps) is None
    )
