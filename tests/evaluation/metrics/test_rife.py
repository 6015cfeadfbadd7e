from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.evaluation.metrics.tiny import moving, sample_of
from vap.evaluation.metrics.motion_smoothness import MotionSmoothness
from vap.evaluation.metrics.rife import Rife, load_rife


@pytest.mark.parametrize("features", [0, 3])
def test_rife_takes_its_sizes_from_its_weights(tmp_path, features):
    torch.manual_seed(0)
    model = Rife([16, 12, 8], (8, 4), 5 + features, features)
    tensors = {f"module.{name}": value for name, value in model.state_dict().items()}
    tensors["module.teacher.conv0.weight"] = torch.zeros(1)
    save_file(tensors, tmp_path / "rife.safetensors")
    halfway = load_rife(tmp_path / "rife.safetensors", "cpu")
    first, second = moving(2, frames=2, height=30, width=50)
    predicted = halfway(first, second)
    pair = torch.nn.functional.pad(
        torch.from_numpy(np.stack([first, second])).permute(0, 3, 1, 2) / 255,
        (0, 14, 0, 2),
        mode="replicate",
    )
    with torch.no_grad():
        expected = model(pair[:1], pair[1:])[0, :, :30, :50].clamp(0, 1) * 255
    assert predicted.shape == (30, 50, 3)
    assert (predicted == expected.permute(1, 2, 0).to(torch.uint8).numpy()).all()


def test_rife_without_flow_blends_both_frames(tmp_path):
    model = Rife([8, 8], (4, 4), 5, 0)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    save_file(model.state_dict(), tmp_path / "rife.safetensors")
    weights = tmp_path / "rife.safetensors"
    metric = MotionSmoothness(name="m", interpolator="RIFE", weights=weights, device="cpu")
    frames = np.stack([np.full((16, 16, 3), value, np.uint8) for value in (0, 60, 100)])
    assert metric.score(sample_of(tmp_path, frames)).value == pytest.approx(100 * (1 - 10 / 255))


def test_rife_warps_each_frame_by_its_own_flow(tmp_path):
    model = Rife([8, 8], (4, 4), 5, 0)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    # Both blocks say: 1.5 pixels to the left for the first frame, to the right for the second.
    for block, scale in ((model.block0, 2), (model.block1, 1)):
        shifts = torch.tensor([-1.5, 0, 1.5, 0, 0]) / scale / 2
        block.lastconv[0].bias.data[:] = shifts.repeat_interleave(4)
    first, second = torch.zeros(2, 1, 3, 16, 32)
    first[..., 10], second[..., 13] = 1, 1
    with torch.no_grad():
        between = model(first, second)
    assert between[0, 0, 8].nonzero().flatten().tolist() == [11, 12]


def test_weights_that_are_not_of_rife_are_refused(tmp_path):
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="other"):
        load_rife(tmp_path / "other.safetensors", "cpu")
