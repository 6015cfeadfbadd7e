"""What is written here beside what diffusers and torchao offer, measured on a CPU.

``python -m benchmarks.libraries [attention quantize offload parallel]``; docs/notes/performance.md
has the results. The step caches of diffusers are in ``python -m benchmarks.fidelity``.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.distributed as dist
from diffusers import ContextParallelConfig
from diffusers.hooks import apply_layerwise_casting
from diffusers.models._modeling_parallel import ParallelConfig
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.distributed.device_mesh import init_device_mesh

from vap.acceleration.attention import choose_attention, use_attention
from vap.acceleration.quantize import quantize
from vap.cost.denoiser import weightless_transformer
from vap.cost.released import RELEASED_MODELS
from vap.files.folders import RELEASED
from vap.models.attention import attention_kernel
from vap.models.wan_block import WanJointAttnProcessor
from vap.parallel.attention import ContextAttention
from vap.parallel.mesh import Groups, Mesh
from vap.parallel.tokens import TokenCounts, own_share

_TURNS = 3
_TOKENS, _HEADS, _HEAD_DIM = 2401, 8, 64  # no even share for two processes
_WIDTH, _HIDDEN = 1536, 8960  # of Wan 1.3B


def seconds(runs: Sequence[Callable[[], object]]) -> list[float]:
    """Least processor time of each, taken in turns."""
    best = [float("inf")] * len(runs)
    for _ in range(_TURNS):
        for place, run in enumerate(runs):
            start = time.process_time()
            run()
            best[place] = min(best[place], time.process_time() - start)
    return best


def error(found: torch.Tensor, expected: torch.Tensor) -> str:
    """Relative error; exactly 0 for the same bits."""
    return f"{float((found - expected).norm() / expected.norm()):.1e}"


def attention() -> Table:
    """Our CPU kernel beside diffusers' native backend."""
    table = Table("attention, float32", "time", "error")
    tokens = [torch.randn(1, _TOKENS, _HEADS, _HEAD_DIM) for _ in "qkv"]
    name = choose_attention(torch.device("cpu"), torch.float32)
    model = Layer()
    if name != "native":
        use_attention(model, name)
    ours = partial(attention_kernel(model.processor._attention_backend), *tokens)
    theirs = partial(attention_kernel(None), *tokens)
    own, stock = seconds([ours, theirs])
    table.add_row("diffusers, native", "1.00", "0")
    table.add_row(f"ours, {name}", f"{own / stock:.2f}", error(ours(), theirs()))
    return table


class Layer(nn.Module):
    """A transformer of one attention, for :func:`use_attention`."""

    processor = WanJointAttnProcessor()


def quantized() -> Table:
    """Weights of eight bits: ours, torchao's, and layers that diffusers casts."""
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_

    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(_WIDTH, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, _WIDTH))
    x = torch.randn(1, 256, _WIDTH)
    casting = {"storage_dtype": torch.float8_e4m3fn, "compute_dtype": torch.float32}
    ways: dict[str, Callable[[nn.Module], object]] = {
        "float32": lambda _: None,
        "ours, int8": lambda m: quantize([m], "int8"),
        "torchao, int8 weights": lambda m: quantize_(m, Int8WeightOnlyConfig()),
        "ours, fp8": lambda m: quantize([m], "fp8"),
        "torchao, fp8 weights": lambda m: quantize_(m, Float8WeightOnlyConfig()),
        "diffusers, fp8 layerwise casting": lambda m: apply_layerwise_casting(m, **casting),
    }
    models = {name: copy.deepcopy(plain) for name in ways}
    for name, change in ways.items():
        change(models[name])
    with torch.no_grad():
        expected = plain(x)
        spent = seconds([partial(model, x) for model in models.values()])
        errors = [error(model(x), expected) for model in models.values()]
    table = Table("linear layers", "time", "error")
    for name, each, wrong in zip(models, spent, errors, strict=True):
        table.add_row(name, f"{each / spent[0]:.2f}", wrong)
    return table


def offloaded() -> Table:
    """A block of Wan 14B on its way to the device: copies, and pinned main memory for all."""
    transformer = weightless_transformer(RELEASED_MODELS[RELEASED["wan"]], torch.bfloat16)
    ours = theirs = 0
    for block in transformer.expert_blocks:
        sizes = [tensor.nbytes for tensor in (*block.parameters(), *block.buffers())]
        ours += sum(-(-size // 256) * 256 for size in sizes)
        # Tensor.pin_memory, which diffusers calls, takes the next power of two.
        theirs += sum(1 << (size - 1).bit_length() for size in sizes)
    coupled, plain = (len([*transformer.expert_blocks[depth].parameters()]) for depth in (0, 1))
    table = Table("block offload, Wan 14B", "copies a block", "pinned GB")
    table.add_row("ours", "1", f"{ours / 1e9:.1f}")
    table.add_row("diffusers, block level", f"{plain}, coupled {coupled}", f"{theirs / 1e9:.1f}")
    return table


def _together(rank: int, rendezvous: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    generator = torch.Generator().manual_seed(0)
    whole = [torch.randn(1, _TOKENS, _HEADS, _HEAD_DIM, generator=generator) for _ in "qkv"]
    groups = Groups.of(Mesh(ulysses=2))
    counts = TokenCounts(groups.context)
    counts.note({"hidden_states": whole[0].flatten(2)})
    mine = [own_share(tensor, 1, groups.context) for tensor in whole]
    expected = own_share(attention_kernel(None)(*whole), 1, groups.context)
    config = ContextParallelConfig(ulysses_degree=2, ulysses_anything=True)
    names = config.mesh_dim_names
    config.setup(
        rank, 2, torch.device("cpu"), init_device_mesh("cpu", (1, 2), mesh_dim_names=names)
    )
    stock = ParallelConfig(context_parallel_config=config)
    runs = [
        partial(attention_kernel(None, parallel), *mine)
        for parallel in (ContextAttention(groups, counts), stock)
    ]
    calls = [_collectives(run) for run in runs]
    spent = seconds(runs)
    if rank == 0:
        table = Table("Ulysses, 2 gloo processes", "processor time", "collectives", "error")
        for name, place in (("diffusers, ulysses_anything", 1), ("ours", 0)):
            share = f"{spent[place] / spent[1]:.2f}"
            table.add_row(name, share, str(calls[place]), error(runs[place](), expected))
        Console(width=100).print(table)
    else:
        [run() for run in reversed(runs)]
    dist.barrier()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads of a device mesh may abort the interpreter's shutdown


def _collectives(run: Callable[[], object]) -> int:
    """How often processes wait for each other."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        run()
    return sum(event.name.startswith("gloo:") for event in profile.events())


def parallel() -> None:
    """Exchange of heads for tokens, with tokens that do not divide."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_together, args=(f"{folder}/rendezvous",), nprocs=2)


TOPICS: dict[str, Callable[[], Table | None]] = {
    "attention": attention,
    "quantize": quantized,
    "offload": offloaded,
    "parallel": parallel,
}


def main() -> None:
    """Measure what is asked for; everything by default."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("topics", nargs="*", help=f"of {', '.join(TOPICS)} (default: all)")
    torch.set_num_threads(1)
    for topic in parser.parse_args().topics or TOPICS:
        table = TOPICS[topic]()
        if table is not None:
            Console(width=100).print(table)


if __name__ == "__main__":
    main()
