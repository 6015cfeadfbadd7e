"""A checkpoint of many shards is loaded without holding it twice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.pipelines.golden import FOLDER
from vap.pipelines.base import pipeline_class

_MIB = 1 << 20
# Peak memory of the process before and after a transformer was loaded; ru_maxrss would remember the
# process that started it.
_MEASURE = """
import re, sys
from pathlib import Path
import torch
from vap.loading.pipeline import load_transformer
from vap.pipelines.base import pipeline_class
pipeline_class("wan")
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
load_transformer(sys.argv[1])
before = peak()
model = load_transformer(sys.argv[2], dtype=getattr(torch, sys.argv[3]))
after = peak()
print((after - before) * 1024, sum(p.nbytes for p in model.parameters()))
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A folder whose transformer has 200 MiB in shards of 20 MiB, the rest as in the golden."""
    folder = tmp_path_factory.mktemp("sharded")
    for part in (FOLDER / "wan").iterdir():
        (folder / part.name).symlink_to(part)
    (folder / "transformer").unlink()
    config = json.loads((FOLDER / "wan" / "transformer" / "config.json").read_text())
    known = {key: value for key, value in config.items() if not key.startswith("_")}
    known |= {"num_layers": 40, "ffn_dim": 16384, "block_idx_with_mot_ref": [0]}
    with torch.device("meta"):
        model = pipeline_class("wan").transformer_class(**known)
    model = model.to_empty(device="cpu").to(torch.float16)
    for parameter in model.parameters():
        parameter.data.fill_(0.5)
    model.save_pretrained(folder / "transformer", max_shard_size="20MB")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_loading_holds_the_model_and_one_shard(checkpoint: Path, dtype: str) -> None:
    command = [sys.executable, "-c", _MEASURE, str(FOLDER / "wan"), str(checkpoint), dtype]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    grown, weights = map(int, result.stdout.split())
    assert weights > 80 * _MIB
    assert len(list((checkpoint / "transformer").glob("*-of-*.safetensors"))) > 3
    assert grown < weights + 45 * _MIB
