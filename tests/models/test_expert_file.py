"""Expert files from outside: read whole, or refused in words."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from vap.models.expert_file import read_expert, read_expert_info, write_expert

TENSORS = {"blocks.0.norm2_mot_ref.weight": torch.ones(3)}
HEADER = {
    "format": "vap-expert",
    "format_version": "1",
    "transformer": "WanVideoAsPromptTransformer3DModel",
    "depths": "[0]",
    "reference_positions": "before",
    "description": "",
}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("experts")


def test_what_is_written_is_read(tmp_path) -> None:
    file = write_expert(
        tmp_path / "expert.safetensors",
        TENSORS,
        transformer="Model",
        depths=(0, 4),
        reference_positions="discrete",
        description="Ünïcode",
    )
    info = read_expert_info(file)
    assert (info.depths, info.reference_positions) == ((0, 4), "discrete")
    assert info.description == "Ünïcode"
    assert info.shapes == {"blocks.0.norm2_mot_ref.weight": (3,)}
    assert torch.equal(read_expert(file)["blocks.0.norm2_mot_ref.weight"], torch.ones(3))


@given(contents=st.binary(max_size=200))
def test_any_bytes_are_refused_in_words(folder, contents: bytes) -> None:
    file = folder / "bytes.safetensors"
    file.write_bytes(contents)
    with pytest.raises(ValueError, match=r"not a safetensors file or is damaged|but not an expert"):
        read_expert_info(file)


@given(length=st.integers(0, 300))
def test_a_file_cut_short_is_refused(folder, length: int) -> None:
    whole = folder / "whole.safetensors"
    save_file(TENSORS, whole, metadata=HEADER)
    contents = whole.read_bytes()
    file = folder / "cut.safetensors"
    file.write_bytes(contents[: min(length, len(contents) - 1)])
    with pytest.raises(ValueError, match="damaged"):
        read_expert_info(file)


@given(
    key=st.sampled_from(sorted(HEADER)),
    value=st.none() | st.text(max_size=20) | JSON_VALUES.map(json.dumps),
)
def test_a_changed_header_is_read_or_refused(folder, key: str, value: str | None) -> None:
    header = {name: text for name, text in {**HEADER, key: value}.items() if text is not None}
    file = folder / "header.safetensors"
    save_file(TENSORS, file, metadata=header)
    try:
        info = read_expert_info(file)
    except ValueError as error:
        assert str(file) in str(error)  # noqa: PT017 - refusing is allowed, but in words
    else:
        assert all(depth >= 0 for depth in info.depths)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "not an expert"),
        ({"format_version": "2"}, "Update video-as-prompt"),
        ({"format_version": "new"}, "damaged"),
        ({"depths": "[-1]"}, "damaged"),
        ({"depths": "0"}, "damaged"),
        ({"reference_positions": "after"}, "damaged"),
    ],
)
def test_wrong_headers_are_refused(tmp_path, change: dict[str, str], words: str) -> None:
    file = tmp_path / "expert.safetensors"
    save_file(TENSORS, file, metadata={**HEADER, **change})
    with pytest.raises(ValueError, match=words):
        read_expert_info(file)


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no expert file at .*lost\.safetensors"):
        read_expert_info(tmp_path / "lost.safetensors")


def test_tensors_of_another_type_are_refused(tmp_path) -> None:
    file = tmp_path / "expert.safetensors"
    (name,) = TENSORS
    save_file({name: torch.ones(3, dtype=torch.int8)}, file, metadata=HEADER)
    with pytest.raises(ValueError, match=name):
        read_expert_info(file)
