import pytest
import torch
from accelerate.state import AcceleratorState

from tests.training.tuning_tiny import VARIANTS, write_dataset


@pytest.fixture(scope="session")
def datasets(tmp_path_factory):
    """Folders of random encodings by variant."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("datasets")
    return {variant: write_dataset(root / variant, variant) for variant in VARIANTS}


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """Let each test choose its precision: accelerate remembers the first one of a process."""
    AcceleratorState._reset_state()
