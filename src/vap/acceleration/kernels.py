"""Products, convolutions and attention of the CPU, each by the library that is fastest there.

Torch calls MKL for float32, which leaves half of some AVX-512 processors unused; oneDNN does not,
but has no bfloat16 on processors without its instructions. So the choice is measured, once on a
machine. Results are equal to rounding. diffusers' dispatcher has none of these kernels but torch's.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from vap.files.cache import cache_folder

PRECISIONS = (torch.float32, torch.bfloat16)
_PLAIN_TENSORS = (torch.Tensor, torch.nn.Parameter)

_Kernel = Callable[..., torch.Tensor]

TORCH, ONEDNN, FLOAT32, SIGMOID = "torch", "onednn", "float32", "sigmoid"

_logger = logging.getLogger(__name__)

# Another kernel takes torch's place if it needs less than this share of its time.
_CLEARLY = 0.97
_TURNS = 30
# Environment variables that change what torch's libraries do.
_SETTINGS = ("ATEN_", "DNNL_", "MKL_", "ONEDNN_")
# A kernel that needs so many times the fastest's time is not timed again.
_HOPELESS = 8.0
# Scores that are computed at once, 1.25 MiB: they stay in a core's cache while they are normalized.
# Fewer (200,000) take 6 % longer over 2,852 tokens on a quiet core.
_SCORES = 320_000
# Rows of a hidden layer that stay in a core's cache through a GELU.
_ROWS = 64
_TWICE = 2 * math.sqrt(2 / math.pi)
# Scores of a head up to which all heads go at once: calling is slower than computing there.
_SMALL = 2**16


@dataclass(frozen=True, slots=True)
class Kernels:
    """What is fastest on this processor in one precision.

    Each is ``torch`` (its own choice), ``onednn``, ``float32`` (computed in it), or, for a GELU,
    ``sigmoid`` (in place after the linear layer).
    """

    linear: str = TORCH
    linear_gelu: str = TORCH
    convolution: str = TORCH
    attention: str = TORCH


_chosen: dict[torch.dtype, Kernels] = {}


def fastest_kernels(dtype: torch.dtype) -> Kernels:
    """What to use in a precision; measured where this machine does not know it yet."""
    # A plain dictionary, which torch.compile reads without tracing what is behind it.
    if dtype not in _chosen:
        _chosen[dtype] = _kept(dtype)
    return _chosen[dtype]


def linear(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Any:
    """``rows · weightᵀ + bias`` by the fastest kernel."""
    return _LINEAR[fastest_kernels(rows.dtype).linear](rows, weight, bias)


def linear_gelu(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, approximate: str
) -> torch.Tensor:
    """A linear layer and the GELU after it by the fastest kernel."""
    return _LINEAR_GELU[fastest_kernels(rows.dtype).linear_gelu](rows, weight, bias, approximate)


def convolution(
    volume: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *sizes: Any
) -> torch.Tensor:
    """A 3D convolution by the fastest kernel; stride, padding, dilation and groups last."""
    kernel = _CONVOLUTION[fastest_kernels(volume.dtype).convolution]
    return kernel(volume, weight, bias, *sizes)


def _onednn_linear(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> Any:
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")


def _torch_linear_gelu(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, approximate: str
) -> Any:
    return F.gelu(F.linear(rows, weight, bias), approximate=approximate)


def _onednn_linear_gelu(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, approximate: str
) -> Any:
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "gelu", [], approximate)


def _sigmoid_linear_gelu(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, approximate: str
) -> Any:
    """The GELU by tanh is ``x · sigmoid(2 · …)``, without the tanh that is slow in AVX2."""
    if approximate != "tanh":
        return _onednn_linear_gelu(rows, weight, bias, approximate)
    hidden = linear(rows, weight, bias)
    for part in hidden.flatten(0, -2).split(_ROWS):
        slope = part.square().mul_(0.044715 * _TWICE).add_(_TWICE)
        part.mul_(slope.mul_(part).sigmoid_())
    return hidden


def _onednn_convolution(
    volume: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Any:
    # Torch takes a loop over samples instead for inputs that it thinks small, at a tenth of the
    # speed; it measures them without their width.
    sizes = list(padding), list(stride), list(dilation)
    return torch.ops.mkldnn._convolution_pointwise(
        volume, weight, bias, *sizes, groups, "none", [], ""
    )


def torch_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Torch's own attention: ``[B, N, heads, d]``, keys and values ``[B, M, heads, d]``."""
    attended = F.scaled_dot_product_attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
    )
    return attended.transpose(1, 2)


def onednn_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Full attention of ``[B, N, heads, d]`` on a CPU, head by head and some queries at a time.

    Scores are computed and normalized in float32; in bfloat16 their weights are rounded before
    they meet the values, as in torch's own kernel.
    """
    if not runs_here(query, key):
        return torch_attention(query, key, value)
    scaled = query.float() * query.shape[-1] ** -0.5
    if query.shape[1] * key.shape[1] <= _SMALL:
        return _attend_heads(scaled, key.float(), value)
    output = torch.empty_like(query, memory_format=torch.contiguous_format)
    for sample in range(len(query)):
        for head in range(query.shape[2]):
            queries = scaled[sample, :, head].contiguous()
            keys = key[sample, :, head].float().contiguous()
            columns = value[sample, :, head].t().contiguous()
            _attend_head(queries, keys, columns, output[sample, :, head])
    return output


def _attend_heads(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Attention of all heads: ``[B, N, heads, d]``, keys and values ``[B, M, heads, d]``."""
    batch = len(queries)
    rows, columns, read = (
        tokens.transpose(1, 2).flatten(0, 1) for tokens in (queries, keys, values)
    )
    scores = torch.bmm(rows, columns.transpose(1, 2))
    weights = torch.softmax(scores, dim=-1, out=scores).to(read.dtype)
    return torch.bmm(weights, read).unflatten(0, (batch, -1)).transpose(1, 2)


def _attend_head(
    queries: torch.Tensor, keys: torch.Tensor, columns: torch.Tensor, output: torch.Tensor
) -> None:
    """Attention of one head: ``[N, d]``, ``[M, d]``, values ``[d, M]``, written to ``[N, d]``."""
    count = max(1, _SCORES // len(keys))
    for start in range(0, len(queries), count):
        rows = slice(start, start + count)
        scores = linear(queries[rows], keys)
        torch.softmax(scores, dim=-1, out=scores)
        output[rows] = linear(scores.to(columns.dtype), columns)


def runs_here(tokens: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether an operator that has no gradient and no other device may take these."""
    if type(weight) not in _PLAIN_TENSORS:  # quantized, or spread over processes
        return False
    needs_gradient = torch.is_grad_enabled() and (tokens.requires_grad or weight.requires_grad)
    same = tokens.dtype == weight.dtype and tokens.dtype in PRECISIONS
    return same and tokens.is_cpu and weight.is_cpu and not needs_gradient and tokens.numel() > 0


def _by_float32(kernel: _Kernel) -> _Kernel:
    """A kernel of torch on the same inputs in float32, its result rounded back."""

    def compute(*inputs: Any) -> torch.Tensor:
        wide = (each.float() if isinstance(each, torch.Tensor) else each for each in inputs)
        return kernel(*wide).to(inputs[0].dtype)

    return compute


float32_attention = _by_float32(torch_attention)

# The first is torch's own.
_LINEAR: dict[str, _Kernel] = {
    TORCH: F.linear,
    ONEDNN: _onednn_linear,
    FLOAT32: _by_float32(F.linear),
}
_LINEAR_GELU: dict[str, _Kernel] = {
    TORCH: _torch_linear_gelu,
    ONEDNN: _onednn_linear_gelu,
    FLOAT32: _by_float32(_torch_linear_gelu),
    SIGMOID: _sigmoid_linear_gelu,
}
_CONVOLUTION: dict[str, _Kernel] = {
    TORCH: F.conv3d,
    ONEDNN: _onednn_convolution,
    FLOAT32: _by_float32(F.conv3d),
}
_ATTENTION: dict[str, _Kernel] = {
    TORCH: torch_attention,
    ONEDNN: onednn_attention,
    FLOAT32: float32_attention,
}
_ALL = {
    "linear": _LINEAR,
    "linear_gelu": _LINEAR_GELU,
    "convolution": _CONVOLUTION,
    "attention": _ATTENTION,
}
# What rounds too often in one precision, or is nothing else than torch's own in the other.
_POINTLESS = {torch.float32: FLOAT32, torch.bfloat16: SIGMOID}


def _kept(dtype: torch.dtype) -> Kernels:
    """The stored choice of this machine, or a new measurement; the first one stored counts."""
    machine = _machine(dtype)
    name = hashlib.sha256(json.dumps(machine).encode()).hexdigest()[:16]
    file = cache_folder() / f"kernels-{name}.json"
    kept = _read(file)
    if kept is None:
        measured = _measure(dtype)
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            # Two processes that begin at once are to end with the same kernels, and the same bits.
            with file.open("x", encoding="utf-8") as new:
                new.write(json.dumps({**asdict(measured), "machine": machine}, indent=2) + "\n")
        kept = _read(file) or measured
    _logger.info("fastest in %s on this processor: %s", dtype, kept)
    return kept


def _read(file: Path) -> Kernels | None:
    """The contents of a file, or None if it is missing or unusable; an unusable file is removed."""
    try:
        content = json.loads(file.read_text("utf-8"))
        if all(content[name] in kernels for name, kernels in _ALL.items()):
            return Kernels(**{name: content[name] for name in _ALL})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        pass
    with suppress(OSError):
        file.unlink()
    return None


def _machine(dtype: torch.dtype) -> dict[str, Any]:
    """All that the fastest kernel may depend on."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return {
        "processor": f"{platform.machine()} {platform.processor()}",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "settings": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(_SETTINGS) and not name.endswith("_THREADS")
        },
        "features": {key: value for key, value in sorted(capabilities.items()) if value},
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "precision": str(dtype),
    }


@torch.no_grad()
def _measure(dtype: torch.dtype) -> Kernels:
    """Race the kernels at sizes of a small model, for about a second."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    product = drawn(256, 512), drawn(512, 512), drawn(512)
    volume = (
        drawn(1, 32, 5, 24, 24),
        drawn(32, 32, 3, 3, 3),
        drawn(32),
        (1,) * 3,
        (0,) * 3,
        (1,) * 3,
        1,
    )
    tokens = drawn(1, 600, 2, 64), drawn(1, 1200, 2, 64), drawn(1, 1200, 2, 64)
    inputs: dict[str, tuple[Any, ...]] = {
        "linear": product,
        "linear_gelu": (*product, "tanh"),
        "convolution": volume,
        "attention": tokens,
    }
    for name, kernels in _ALL.items():
        # What comes later is built on the fastest linear layer.
        fastest = _race(kernels, inputs[name])
        _chosen[dtype] = replace(_chosen.get(dtype, Kernels()), **{name: fastest})
    return _chosen[dtype]


def _race(kernels: Mapping[str, _Kernel], inputs: tuple[Any, ...]) -> str:
    """The fastest of those that run here; torch's own unless another is clearly faster."""
    # With one thread its own time counts, which other work on the machine leaves alone; Windows
    # counts it in steps of 16 ms.
    alone = torch.get_num_threads() == 1 and sys.platform != "win32"
    now = time.thread_time if alone else time.perf_counter
    best = dict.fromkeys(kernels, math.inf)
    best.pop(_POINTLESS[inputs[0].dtype], None)
    for turn in range(_TURNS):
        for name in list(best):
            start = now()
            try:
                kernels[name](*inputs)
            except (AttributeError, RuntimeError):  # no such operator, or not on this processor
                del best[name]
                continue
            if turn:  # the first prepares
                best[name] = min(best[name], now() - start)
        if turn:
            limit = _HOPELESS * min(best.values())
            best = {name: seconds for name, seconds in best.items() if seconds < limit}
    fastest = min(best, key=lambda name: best[name])
    return fastest if best[fastest] < _CLEARLY * best.get(TORCH, math.inf) else TORCH
