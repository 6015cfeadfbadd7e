"""A text encoder that is read layer by layer."""

import pytest
import torch

from tests.pipelines.golden import FOLDER, load
from vap.acceleration import offload, text_encoder
from vap.acceleration.plan import MemoryPlan
from vap.acceleration.text_encoder import is_unloaded
from vap.files.folders import weight_files
from vap.loading import memory


@pytest.fixture(params=["wan", "cogvideox"])
def encoders(request, monkeypatch):
    """One that is read by layers, some rows at a time, and the same read whole."""
    monkeypatch.setattr(text_encoder, "_READ_BYTES", 100)
    whole = load(request.param).text_encoder
    hollow = text_encoder.text_encoder_on_demand(
        FOLDER / request.param, torch.float32, torch.device("cpu")
    )
    hollow._forward_pre_hooks.clear()
    text_encoder._read_by_layer(hollow, weight_files(FOLDER / request.param / "text_encoder"))
    return hollow, whole


def test_one_layer_at_a_time_encodes_as_all_do(encoders) -> None:
    hollow, whole = encoders
    held = []

    def count(*_: object) -> None:
        here = {
            id(layer) for layer in hollow.modules() if layer._parameters and not is_unloaded(layer)
        }
        held.append(len(here))

    for layer in hollow.modules():
        if layer._parameters:
            layer.register_forward_hook(count)
    ids = torch.arange(12)[None]
    with torch.no_grad():
        for _ in range(2):
            found = hollow(ids).last_hidden_state
            torch.testing.assert_close(found, whole(ids).last_hidden_state)
    assert max(held) <= 1
    assert is_unloaded(hollow)


def test_its_state_is_read_whole(encoders) -> None:
    hollow, whole = encoders
    state = hollow.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in whole.state_dict().items())


def test_on_an_accelerator_it_says_where_it_computes_and_in_what() -> None:
    encoder = text_encoder.text_encoder_on_demand(
        FOLDER / "wan", torch.float16, torch.device("meta")
    )
    assert encoder.device.type == "meta"
    dtypes = {name.split(".")[-2]: p.dtype for name, p in encoder.named_parameters()}
    assert (dtypes["q"], dtypes["wo"]) == (torch.float16, torch.float32)


@pytest.mark.parametrize("family", ["wan", "cogvideox"])
@pytest.mark.parametrize("way", [None, "group"])
def test_a_pipeline_with_an_encoder_in_files_computes_on_its_accelerator(
    family, way, monkeypatch
) -> None:
    monkeypatch.setattr(memory, "move_apart_from", lambda *_: None)
    monkeypatch.setattr(offload, "offload_layers", lambda *_: None)  # not for a device of no module
    device = torch.device("meta")
    encoder = text_encoder.text_encoder_on_demand(FOLDER / family, torch.float32, device)
    pipeline = load(family, text_encoder=encoder)
    memory.place(pipeline, MemoryPlan("by hand", "offload", offload=way), device)
    assert pipeline._execution_device == device
    assert pipeline.text_encoder.device == device
    assert is_unloaded(pipeline.text_encoder)
