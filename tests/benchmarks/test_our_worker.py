from dataclasses import replace

import pytest
import torch
from benchmarks.checkpoint import write_checkpoint
from benchmarks.measured.our_worker import generate, load
from benchmarks.plan import Plan
from benchmarks.sizes import SIZES
from benchmarks.systems import profile_system


@pytest.mark.parametrize("name", ["tiny", "tiny-cogvideox"])
def test_a_model_made_on_the_device_generates_what_a_written_one_does(name, tmp_path):
    latents = []
    for needs_gpu in (False, True):
        size, folder = replace(SIZES[name], needs_gpu=needs_gpu), tmp_path / str(needs_gpu)
        write_checkpoint(size, folder)
        plan = Plan(size, [profile_system("exact", {})], ["float32"], 2, 1, 1, "cpu")
        ((_, job),) = plan.work(folder)
        assert job.created_on_device == needs_gpu
        latents.append(generate(load(job), job, steps=2))
    torch.testing.assert_close(*latents)
