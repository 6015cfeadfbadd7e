"""What a step holds beside the weights at the size of the release, by kernel of attention."""

import pytest
import torch

from vap.acceleration.attention import use_attention
from vap.cost.denoiser import denoising_step, weightless_transformer
from vap.cost.devices import known_gpu
from vap.cost.footprint import Video
from vap.cost.released import RELEASED_MODELS
from vap.cost.trace import trace
from vap.files.folders import RELEASED
from vap.loading.memory import predictions

WAN = RELEASED_MODELS[RELEASED["wan"]]
GB = 1e9


@pytest.mark.parametrize("kernel", ["native", "cudnn"])
def test_a_step_that_keeps_nothing_holds_two_streams_of_one_block(kernel: str) -> None:
    transformer = weightless_transformer(WAN, torch.bfloat16)
    use_attention(transformer, kernel)
    step = denoising_step(
        WAN, transformer, WAN.shape, guidance=True, references=1, dtype=torch.bfloat16, keep=False
    )
    assert trace(step, [transformer]).peak_bytes == pytest.approx(3.41 * GB, rel=0.01)


def test_wan_14b_fits_8_gb_and_with_fp8_a_computer_of_32() -> None:
    found = predictions(WAN, Video.native(WAN), known_gpu("4090"), torch.bfloat16)
    plans = {each.plan.name: each for each in found}
    nothing, narrow = plans["block-level offload, no caches"], plans["block-level offload, fp8"]
    assert nothing.device_bytes == pytest.approx(7.7 * GB, rel=0.01)
    assert nothing.host_bytes == pytest.approx(43.4 * GB, rel=0.01)
    assert narrow.host_bytes < 24 * GB
    assert plans["text-encoder offload"].host_bytes == 0
