from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from vap.evaluation.case import Case
from vap.evaluation.systems.base import Job
from vap.evaluation.systems.lora import ConditionLora
from vap.evaluation.systems.registry import SYSTEMS
from vap.files.names import BUNDLED_FOLDER
from vap.files.weights import LORA_FILE
from vap.media import read_clip

pytestmark = pytest.mark.slow  # a model for each condition

DEMO = BUNDLED_FOLDER / "demo"
LAYER = "transformer.blocks.0.attn1.to_q"
WIDTH = 160


def write_lora(path: Path, size: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    save_file(
        {
            f"{LAYER}.lora_A.weight": torch.randn(2, WIDTH),
            f"{LAYER}.lora_B.weight": size * torch.randn(WIDTH, 2),
        },
        path,
    )


@pytest.fixture
def loras(tmp_path: Path) -> Path:
    folder = tmp_path / "loras"
    write_lora(folder / "melt" / LORA_FILE, 1.0)
    write_lora(folder / "freeze.safetensors", 0.0)
    return folder


def case(condition: str) -> Case:
    return Case(condition, condition, DEMO / "image.png", DEMO / "reference.mp4", prompt="a castle")


def system(loras: Path, **changes: object) -> ConditionLora:
    config = {"kind": "lora", "name": "lora", "model": "vap-mini", "num_inference_steps": 1}
    made = SYSTEMS.build({**config, "loras": str(loras), **changes}, "test")
    assert isinstance(made, ConditionLora)
    return made


def test_each_condition_has_its_own_weights(loras: Path, tmp_path: Path) -> None:
    jobs = [
        Job(case(name), 0, tmp_path / name, DEMO / "reference.mp4") for name in ("melt", "freeze")
    ]
    outcomes = list(system(loras).run(jobs, tmp_path))
    assert [outcome.error for outcome in outcomes] == [None, None]
    backbone = SYSTEMS.build(
        {"kind": "i2v", "name": "i2v", "model": "vap-mini", "num_inference_steps": 1}, "test"
    )
    [alone] = backbone.run([Job(case("melt"), 0, tmp_path / "alone", None)], tmp_path)
    assert alone.error is None
    melt, freeze, without = (
        read_clip(tmp_path / name).frames for name in ("melt", "freeze", "alone")
    )
    np.testing.assert_array_equal(freeze, without)  # its LoRA changes nothing
    assert not np.array_equal(melt, without)


def test_other_conditions_are_not_covered(loras: Path) -> None:
    made = system(loras)
    made.check()
    assert made.covers(case("melt"))
    assert made.covers(case("freeze"))
    assert not made.covers(case("burn"))


def test_the_identity_changes_with_a_lora(loras: Path) -> None:
    before = system(loras).identity()
    write_lora(loras / "freeze.safetensors", 0.5)
    after = system(loras).identity()
    assert before["loras"]["melt"] == after["loras"]["melt"]
    assert before["loras"]["freeze"] != after["loras"]["freeze"]


def test_a_folder_without_loras_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "image.png")
    with pytest.raises(FileNotFoundError, match=tmp_path.name):
        system(tmp_path).check()
