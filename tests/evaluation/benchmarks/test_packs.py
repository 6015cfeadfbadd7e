"""Effect packs in the format of openeffect."""

import numpy as np
import pytest
import yaml
from PIL import Image

from vap.evaluation.benchmarks.read import read_benchmark
from vap.media import write_video

MANIFEST = {
    "manifest_version": 1,
    "id": "someone/glow",
    "name": "Glow",
    "category": "light",
    "showcases": [{"preview": "preview.mp4", "inputs": {"image": "image.png"}}],
    "inputs": {"image": {"type": "image", "label": "Your photo", "hint": "A face"}},
    "generation": {"models": ["kling"], "prompt": "The eyes\nglow.", "negative_prompt": "blur"},
}


@pytest.fixture
def pack(tmp_path):
    def make(name, **changes):
        folder = tmp_path / "packs" / name
        folder.mkdir(parents=True)
        write_video(np.zeros((3, 16, 16, 3), np.uint8), folder / "preview.mp4", 8)
        Image.new("RGB", (16, 16)).save(folder / "image.png")
        text = yaml.safe_dump({**MANIFEST, **changes})
        (folder / "manifest.yaml").write_text(text, encoding="utf-8")
        return folder

    return make


def test_each_effect_is_shown_on_its_own_image_and_on_those_of_the_others(pack, tmp_path):
    for name in ("glow", "melt", "orbit"):
        pack(name)
    (tmp_path / "packs/LICENSE").write_text("MIT")
    benchmark = read_benchmark(str(tmp_path / "packs"), folder=tmp_path)
    assert (benchmark.name, benchmark.exact, len(benchmark.cases)) == ("packs", False, 9)
    groups = [(case.name, case.condition, case.group) for case in benchmark.cases]
    assert groups[:3] == [(name, name, "own image") for name in ("glow", "melt", "orbit")]
    assert ("melt-on-glow", "melt", "other image") in groups
    crossed = next(case for case in benchmark.cases if case.name == "melt-on-glow")
    assert crossed.reference.parent.name == "melt"
    assert crossed.image.parent.name == "glow"
    assert (crossed.prompt, crossed.reference_prompt) == ("The eyes glow.", "The eyes glow.")
    assert crossed.truth is None


def test_a_single_pack_is_one_case(pack, tmp_path):
    benchmark = read_benchmark(str(pack("glow")), folder=tmp_path)
    assert [case.name for case in benchmark.cases] == ["glow"]


@pytest.mark.parametrize(
    ("changes", "error", "named"),
    [
        ({"showcases": []}, ValueError, "showcase"),
        ({"showcases": [{"preview": "preview.mp4"}]}, ValueError, "image"),
        ({"id": None}, ValueError, "id"),
        (
            {"showcases": [{"preview": "../../secret.mp4", "inputs": {"image": "image.png"}}]},
            ValueError,
            "secret",
        ),
        (
            {"showcases": [{"preview": "gone.mp4", "inputs": {"image": "image.png"}}]},
            FileNotFoundError,
            "gone",
        ),
        ({"showcases": [{"preview": "preview.mp4", "inputs": {}}]}, ValueError, "image"),
    ],
)
def test_a_faulty_manifest_is_named_with_its_key(changes, error, named, pack, tmp_path):
    folder = pack("glow", **changes)
    with pytest.raises(error, match=rf"manifest\.yaml.*{named}"):
        read_benchmark(str(folder), folder=tmp_path)


def test_a_folder_without_packs_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"manifest\.yaml"):
        read_benchmark(str(tmp_path), folder=tmp_path)
