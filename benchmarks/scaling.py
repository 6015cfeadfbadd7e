"""One video over several processes: what is sent, on paper, and how much faster it is, measured.

Run: ``python -m benchmarks.scaling paper``     bytes and times a step, up to 64 GPUs
     ``torchrun --nproc-per-node 2 -m benchmarks.scaling speed``     seconds a step, by mesh
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

import torch
import torch.distributed as dist

from benchmarks.sizes import SIZES, Size
from benchmarks.traffic import Streams, traffic
from vap.models.wan import WanVideoAsPromptTransformer3DModel
from vap.parallel import Mesh, processes
from vap.parallel.apply import SplitPasses, share_tokens
from vap.parallel.mesh import Groups
from vap.parallel.session import own_device
from vap.pipelines.denoiser import Guidance
from vap.pipelines.wan_denoiser import WanConditions, WanDenoiser, WanReference

# Bytes a second that a GPU sends in practice, about three quarters of what is advertised:
# NVLink 4 between the eight of a machine, 400 Gb/s InfiniBand a GPU between machines.
NVLINK, INFINIBAND = 340e9, 37e9
MACHINE = 8
# Seconds of a step with guidance on one H200, if matrix products ran at their measured ceiling.
FLOORS = {"wan-14b": 152 / 50, "cogvideox-5b": 123 / 50}
MESHES = (
    Mesh(guidance=2),
    Mesh(ulysses=2),
    Mesh(ring=2),
    Mesh(guidance=2, ulysses=2),
    Mesh(ulysses=4),
    Mesh(guidance=2, ulysses=4),
    Mesh(ulysses=8),
    Mesh(ring=8),
    Mesh(guidance=2, ulysses=8),
    Mesh(guidance=2, ring=2, ulysses=8),
    Mesh(guidance=2, ring=4, ulysses=8),
)
_COGVIDEOX_TEXT = 226
_SEED = 0


def streams_of(size: Size, references: int = 1) -> Streams:
    """What is sent about for a video of a size."""
    config = size.transformer
    video = size.compression.tokens(size.shape)
    tokens = video + (_COGVIDEOX_TEXT if size.family == "cogvideox" else 0)
    return Streams(
        width=config["num_attention_heads"] * config["attention_head_dim"],
        blocks=config["num_layers"],
        coupled=len(config["block_idx_with_mot_ref"]),
        target=tokens,
        references=references * tokens,
        video=video,
        output=64,
        shared=tokens * (1 + references) if size.family == "wan" else 0,
        bytes_per_prediction=4 if size.family == "cogvideox" else 2,
    )


def paper() -> None:
    """Print Markdown tables of traffic, and of the time that it takes if nothing overlaps."""
    for name, floor in FLOORS.items():
        print(f"\n{name}, seconds a step on one GPU at least {floor:.2f}\n")
        print("| GPUs | mesh | Ulysses | ring | predictions | computing | sending | of the step |")
        print("|---:|---|---:|---:|---:|---:|---:|---:|")
        streams = streams_of(SIZES[name])
        for mesh in MESHES:
            sent = traffic(mesh, streams)
            # The innermost axes fill a machine; what goes further uses the network.
            exchange = NVLINK if mesh.ulysses <= MACHINE else INFINIBAND
            around = NVLINK if mesh.context <= MACHINE else INFINIBAND
            apart = NVLINK if mesh.size <= MACHINE else INFINIBAND
            sending = (
                sent.ulysses / exchange + (sent.ring + sent.gather) / around + sent.guidance / apart
            )
            computing = floor / mesh.size
            print(
                f"| {mesh.size} | {mesh} | {sent.ulysses / 1e9:.2f} GB | {sent.ring / 1e9:.2f} GB "
                f"| {(sent.gather + sent.guidance) / 1e6:.1f} MB | {1e3 * computing:.0f} ms "
                f"| {1e3 * sending:.0f} ms | {sending / (sending + computing):.0%} |"
            )


def speed(size: Size, repeats: int) -> None:
    """Measure a guided step in this process alone and by every mesh of all, interleaved."""
    device = own_device()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    with processes(device) as count, torch.inference_mode():
        meshes = [mesh for mesh in (Mesh(), *MESHES) if mesh.size in {1, count}]
        steps = {str(mesh): _step(size, mesh, device) for mesh in meshes}
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(repeats + 1):
            for mesh, (name, step) in zip(meshes, steps.items(), strict=True):
                dist.barrier()
                start = time.perf_counter()
                if mesh.size > 1 or dist.get_rank() == 0:
                    step()
                    torch.accelerator.synchronize() if device != "cpu" else None
                dist.barrier()
                seconds[name].append(time.perf_counter() - start)
        if dist.get_rank() == 0:
            rows = [
                {
                    "mesh": name,
                    "seconds": statistics.median(taken[1:]),
                    "least": min(taken[1:]),
                    "most": max(taken[1:]),
                }
                for name, taken in seconds.items()
            ]
            print(json.dumps({"size": size.name, "device": device, "rows": rows}, indent=1))


def _step(size: Size, mesh: Mesh, device: str) -> Callable[[], torch.Tensor]:
    """A guided step of a model with random weights."""
    torch.manual_seed(_SEED)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    with torch.device(device):
        transformer = WanVideoAsPromptTransformer3DModel(**size.transformer).eval()
        if dtype != torch.float32:
            transformer.to(dtype)
        latent = size.compression.latent(size.shape, 16)
        place = (latent.frames, latent.height, latent.width)
        text, image = size.text_width, size.transformer["image_dim"]
        noise = torch.randn(1, 16, *place, dtype=dtype)
        conditions = WanConditions(
            text=torch.randn(1, 512, text, dtype=dtype),
            negative_text=torch.randn(1, 512, text, dtype=dtype),
            image=torch.randn(1, 257, image, dtype=dtype),
            latents=torch.randn(1, 20, *place, dtype=dtype),
        )
        reference = WanReference(
            latents=torch.randn(1, 1, 36, *place, dtype=dtype),
            text=torch.randn(1, 1, 512, text, dtype=dtype),
            image=torch.randn(1, 1, 257, image, dtype=dtype),
        )
        timestep = torch.tensor(500)
    passes = None
    if mesh.size > 1:
        groups = Groups.of(mesh)
        passes = SplitPasses(groups.guidance) if mesh.guidance > 1 else None
        if mesh.context > 1:
            share_tokens(transformer, groups)
    denoiser = WanDenoiser(
        transformer, conditions, reference, Guidance(size.guidance_scale), passes=passes
    )
    return lambda: denoiser.predict(noise, timestep)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("what", choices=("paper", "speed"))
    parser.add_argument("--size", default="cpu-mid-wan", help="a Wan size of benchmarks.sizes")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.what == "paper":
        paper()
    else:
        speed(SIZES[arguments.size], arguments.repeats)


if __name__ == "__main__":
    main()
