"""Context parallelism over two processes gives one process's output."""

from pathlib import Path

import pytest
import torch
from diffusers import ContextParallelConfig
from diffusers.hooks.context_parallel import apply_context_parallel
from diffusers.models._modeling_parallel import ParallelConfig
from diffusers.models.transformers.transformer_wan import WanAttention
from predictions import calls_of, predict, relative_error
from tests.ranks import gloo_rank
from torch.distributed.device_mesh import init_device_mesh
from wan_tiny import TOKENS, golden_model, two_references

RANKS = 2


def _rank(rank: int, rendezvous: str) -> None:
    with gloo_rank(rank, RANKS, rendezvous):
        model, arguments = golden_model(), two_references()
        expected = predict(model, arguments)
        half = predict(model, arguments, reference_strength=0.5)

        # What `enable_parallelism` does; it refuses a CPU.
        config = ContextParallelConfig(ulysses_degree=RANKS)
        mesh = init_device_mesh("cpu", config.mesh_shape, mesh_dim_names=config.mesh_dim_names)
        config.setup(rank, RANKS, torch.device("cpu"), mesh)
        for module in model.modules():
            if isinstance(module, WanAttention):
                module.processor._parallel_config = ParallelConfig(context_parallel_config=config)
        apply_context_parallel(model, config, model._cp_plan)

        target, reference = calls_of(model.blocks[2].ffn), calls_of(model.blocks[0].ffn_mot_ref)
        assert relative_error(predict(model, arguments), expected) < 1e-5
        assert target[0][0].shape[1] == reference[0][0].shape[1] == TOKENS // RANKS
        assert relative_error(predict(model, arguments, reference_strength=0.5), half) < 1e-5


@pytest.mark.slow
def test_two_ranks_share_both_streams_and_agree(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_rank, args=(str(tmp_path / "rendezvous"),), nprocs=RANKS)
