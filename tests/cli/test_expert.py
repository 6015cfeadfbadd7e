import pytest

from tests.cli.running import COGVIDEOX, WAN, refusal, vap, vap_json
from vap.media import read_metadata


@pytest.fixture
def expert(here):
    options = ("-o", "expert.safetensors", "--description", "as [released]")
    return vap_json("expert", "extract", COGVIDEOX, *options)


def test_extract_and_info_tell_the_same(expert):
    assert expert["transformer"] == "CogVideoXVideoAsPromptTransformer3DModel"
    assert expert["description"] == "as [released]"
    assert expert["parameters"] > expert["tensors"] > len(expert["depths"]) > 0
    assert vap_json("expert", "info", "expert.safetensors") == expert
    shown = vap("expert", "info", "expert.safetensors").stdout
    assert "as [released]" in shown
    assert f"{expert['parameters']:,}" in shown


def test_the_models_own_expert_changes_nothing_but_the_record(expert, media, short, here):
    arguments = (*short, "--reference", media.clip)
    vap(*arguments, "-o", "own")
    vap(*arguments, "--expert", "expert.safetensors", "-o", "swapped")
    last = "frame_00008.png"
    assert (here / "own" / last).read_bytes() == (here / "swapped" / last).read_bytes()
    roles = [entry["role"] for entry in read_metadata("swapped")["inputs"]]
    assert roles == ["image", "expert", "reference"]
    vap("generate", "--repeat", "swapped", "-o", "again")
    assert (here / "again" / last).read_bytes() == (here / "swapped" / last).read_bytes()


def test_expert_of_another_variant_is_refused(expert, short_wan):
    message = refusal(*short_wan, "--expert", "expert.safetensors", "-o", "out.mp4")
    assert "expert.safetensors" in message


def test_what_is_no_expert_is_refused(here):
    assert "There is no expert file at nix" in refusal("expert", "info", "nix")
    weights = WAN / "vae" / "diffusion_pytorch_model.safetensors"
    assert "not an expert" in refusal("expert", "info", weights)
    assert "There is no model 'nix'" in refusal("expert", "extract", "nix", "-o", "e.safetensors")
    assert "nix does not exist" in refusal("expert", "extract", WAN, "-o", "nix/e.safetensors")
    assert list(here.iterdir()) == []
