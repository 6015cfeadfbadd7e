"""Context parallelism over two processes gives one process's output."""

from pathlib import Path

import pytest
import torch
from cogvideox_tiny import golden_case, golden_model, predict, relative_error
from diffusers import ContextParallelConfig
from diffusers.hooks.context_parallel import apply_context_parallel
from diffusers.models._modeling_parallel import ParallelConfig
from diffusers.models.attention_processor import Attention
from tests.ranks import gloo_rank
from torch.distributed.device_mesh import init_device_mesh

RANKS = 2


def _rank(rank: int, rendezvous: str) -> None:
    with gloo_rank(rank, RANKS, rendezvous):
        model = golden_model()
        arguments, expected = golden_case(2)
        half = predict(model, arguments, reference_strength=0.5)

        # What `enable_parallelism` does; it refuses a CPU.
        config = ContextParallelConfig(ulysses_degree=RANKS)
        mesh = init_device_mesh("cpu", config.mesh_shape, mesh_dim_names=config.mesh_dim_names)
        config.setup(rank, RANKS, torch.device("cpu"), mesh)
        for module in model.modules():
            if isinstance(module, Attention):
                module.processor._parallel_config = ParallelConfig(context_parallel_config=config)
        apply_context_parallel(model, config, model._cp_plan)

        tokens: list[int] = []
        model.transformer_blocks[1].ff_mot_ref.register_forward_hook(
            lambda _, inputs, __: tokens.append(inputs[0].shape[1])
        )
        assert relative_error(predict(model, arguments), expected) < 1e-5
        assert tokens == [2 * (226 + 36) // RANKS]
        assert relative_error(predict(model, arguments, reference_strength=0.5), half) < 1e-5


@pytest.mark.slow
def test_two_ranks_share_both_streams_and_agree(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_rank, args=(str(tmp_path / "rendezvous"),), nprocs=RANKS)
