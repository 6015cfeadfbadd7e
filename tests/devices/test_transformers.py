"""Transformers on a GPU that is not there: every tensor is made where it is read."""

import pytest
import torch

from tests.devices.fake import CUDA, fake_cuda
from tests.devices.making import FAMILIES, inputs_of, transformer
from vap.models.reference_cache import GenerationMemory, StepMemory

SMALL = {"wan": (3, 8, 8), "cogvideox": None}
FULL = {"wan": (13, 60, 104), "cogvideox": (13, 60, 90)}


def size_of(family, model):
    config = model.config
    if family == "wan":
        return SMALL["wan"]
    frames = (config.sample_frames - 1) // config.temporal_compression_ratio + 1
    return frames, config.sample_height, config.sample_width


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("batch", "references", "strength"), [(1, 0, 1.0), (2, 3, 0.5)])
def test_a_step_stays_on_its_device_whatever_is_kept(family, batch, references, strength):
    with fake_cuda():
        model = transformer(family)
        arguments = inputs_of(family, model, batch, references, size_of(family, model))
        arguments["reference_strength"] = strength
        memory = GenerationMemory()
        for use in (None, "run", "record", "read"):
            kept = {"memory": memory, "step": StepMemory(use=use)} if use else {}
            assert model(**arguments, **kept, return_dict=False)[0].device == CUDA


@pytest.mark.parametrize("family", FAMILIES)
def test_tables_that_are_not_given_are_made_on_the_device(family):
    with fake_cuda():
        model = transformer(family)
        arguments = inputs_of(family, model, 1, 1, size_of(family, model))
        given = {name: value for name, value in arguments.items() if "rotary" not in name}
        assert model(**given, return_dict=False)[0].device == CUDA


@pytest.mark.parametrize("family", FAMILIES)
def test_the_released_size_runs_with_three_references(family):
    with fake_cuda():
        model = transformer(family, full_size=True)
        arguments = inputs_of(family, model, 1, 3, FULL[family])
        output = model(**arguments, reference_strength=0.5, return_dict=False)[0]
        assert output.device == CUDA


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["encoder_hidden_states", "reference_hidden_states", "weight"])
def test_a_tensor_on_another_device_is_an_error(family, name):
    """Of the harness: without this the tests above would show nothing."""
    with fake_cuda():
        model = transformer(family)
        arguments = inputs_of(family, model, 1, 1, size_of(family, model))
        if name == "weight":
            key = model.expert_blocks[0].attn1_mot_ref.to_k
            key.weight = torch.nn.Parameter(
                torch.empty(key.weight.shape, dtype=torch.bfloat16), requires_grad=False
            )
        else:
            arguments[name] = torch.empty(arguments[name].shape, dtype=torch.bfloat16)
        with pytest.raises(RuntimeError, match="device"):
            model(**arguments, return_dict=False)
