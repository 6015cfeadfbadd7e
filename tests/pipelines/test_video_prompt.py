"""Video prompts as files: exact on return, refused in words when they are anything else."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from vap.pipelines.video_prompt import ReferenceSource, VideoPrompt, saved_references
from vap.shapes import PixelShape

SOURCE = ReferenceSource("clip.mp4", "0" * 64, "a zoom – «ünïcode»", 23.976, (0, 2, 4))


def video_prompt(references: int = 1) -> VideoPrompt:
    generator = torch.Generator().manual_seed(references)
    return VideoPrompt(
        family="wan",
        fingerprint="abc",
        shape=PixelShape(9, 48, 64),
        has_last_frame=False,
        references=(SOURCE,) * references,
        tensors={
            "latents": torch.randn(references, 16, 3, 6, 8, generator=generator),
            "condition": torch.randn(references, 20, 3, 6, 8, generator=generator),
            "text": torch.randn(references, 4, 8, generator=generator).bfloat16(),
        },
    )


def header_of(prompt: VideoPrompt, folder) -> dict[str, str]:
    with safe_open(prompt.save(folder / "good.safetensors"), framework="pt") as stored:
        return stored.metadata()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("prompts")


@pytest.mark.parametrize("references", [1, 3])
def test_what_is_saved_is_loaded(tmp_path, references: int) -> None:
    prompt = replace(video_prompt(references), has_last_frame=True)
    again = VideoPrompt.load(prompt.save(tmp_path / "prompt.safetensors"))
    assert len(again) == references
    assert again.references == prompt.references
    assert again.captions == (SOURCE.caption,) * references
    assert (again.family, again.fingerprint) == ("wan", "abc")
    assert (again.shape, again.has_last_frame) == (PixelShape(9, 48, 64), True)
    assert again.tensors.keys() == prompt.tensors.keys()
    for name, tensor in prompt.tensors.items():
        assert again.tensors[name].dtype == tensor.dtype
        assert torch.equal(again.tensors[name], tensor)


def test_a_loaded_prompt_outlives_its_file(tmp_path) -> None:
    prompt = video_prompt()
    file = prompt.save(tmp_path / "prompt.safetensors")
    again = VideoPrompt.load(file)
    file.write_bytes(bytes(file.stat().st_size))
    assert torch.equal(again.tensors["latents"], prompt.tensors["latents"])


def test_joined_prompts_keep_their_order() -> None:
    one, two = video_prompt(1), video_prompt(2)
    joined = one.joined(two, one)
    assert len(joined) == 4
    assert torch.equal(joined.tensors["latents"][0], one.tensors["latents"][0])
    assert torch.equal(joined.tensors["latents"][1:3], two.tensors["latents"])
    assert torch.equal(joined.tensors["text"][3], one.tensors["text"][0])


def test_joined_prompts_are_where_the_first_is() -> None:
    here = video_prompt()
    elsewhere = replace(here, tensors={n: t.to("meta") for n, t in here.tensors.items()})
    joined = elsewhere.joined(here)
    assert {tensor.device.type for tensor in joined.tensors.values()} == {"meta"}
    assert joined.tensors["latents"].shape[0] == 2


def test_references_of_a_file_are_known_without_its_tensors(tmp_path) -> None:
    file = video_prompt(3).save(tmp_path / "prompt.safetensors")
    # Past the header, all is gone.
    size = 8 + int.from_bytes(file.read_bytes()[:8], "little")
    kept = file.read_bytes()[:size]
    file.write_bytes(kept + bytes(file.stat().st_size - size))
    assert saved_references(file) == (SOURCE,) * 3
    with pytest.raises(FileNotFoundError, match="no video prompt"):
        saved_references(tmp_path / "lost.safetensors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fingerprint": "xyz"}, "fingerprint is abc, but must be xyz"),
        ({"shape": PixelShape(5, 48, 64)}, "size is"),
        ({"has_last_frame": True}, "last-frame setting is False"),
    ],
)
def test_prompts_that_do_not_belong_together_are_refused(change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        video_prompt().joined(replace(video_prompt(), **change))


def test_a_prompt_fits_what_it_was_encoded_for() -> None:
    prompt = video_prompt()
    prompt.check_fits("wan", "abc", PixelShape(9, 48, 64), has_last_frame=False)
    prompt.check_fits("wan", None, PixelShape(9, 48, 64), has_last_frame=False)
    with pytest.raises(ValueError, match=r"encoders is abc.*encode_video_prompt"):
        prompt.check_fits("wan", "xyz", PixelShape(9, 48, 64), has_last_frame=False)


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch) -> None:
    file = video_prompt().save(tmp_path / "prompt.safetensors")
    before = file.read_bytes()
    monkeypatch.setattr("safetensors.torch.save_file", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        video_prompt(2).save(file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no video prompt at .*lost\.safetensors"):
        VideoPrompt.load(tmp_path / "lost.safetensors")


@given(contents=st.binary(max_size=200))
def test_any_bytes_are_refused_in_words(folder, contents: bytes) -> None:
    file = folder / "bytes.safetensors"
    file.write_bytes(contents)
    with pytest.raises(ValueError, match="not a video prompt"):
        VideoPrompt.load(file)


@given(share=st.floats(0, 0.999))
def test_a_file_cut_short_is_refused(folder, share: float) -> None:
    contents = video_prompt().save(folder / "whole.safetensors").read_bytes()
    file = folder / "cut.safetensors"
    file.write_bytes(contents[: int(share * len(contents))])
    with pytest.raises(ValueError, match="damaged"):
        VideoPrompt.load(file)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["frames", "height", "width", "name", "sha256", "caption", "fps"]),
            inner,
        )
    ),
    max_leaves=6,
)


@given(
    key=st.sampled_from(
        ["format", "format_version", "family", "fingerprint", "shape", "has_last_frame"]
        + ["references"] * 4
    ),
    value=st.none() | st.text(max_size=20) | JSON_VALUES.map(json.dumps),
)
def test_a_changed_header_is_read_or_refused(folder, key: str, value: str | None) -> None:
    prompt = video_prompt()
    changed = {**header_of(prompt, folder), key: value}
    file = folder / "header.safetensors"
    save_file(
        dict(prompt.tensors),
        file,
        metadata={name: text for name, text in changed.items() if text is not None},
    )
    try:
        loaded = VideoPrompt.load(file)
    except ValueError as error:
        assert str(file) in str(error)  # noqa: PT017 - refusing is allowed, but in words
    else:
        assert len(loaded) == 1
        assert isinstance(loaded.shape.frames, int)
        assert isinstance(loaded.has_last_frame, bool)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "vap-expert"}, "is not a video prompt"),
        ({"format_version": "2"}, "Update video-as-prompt"),
        ({"family": "flux"}, "damaged"),
        ({"references": "[]"}, "names 0 references"),
    ],
)
def test_wrong_headers_are_refused(tmp_path, change: dict[str, str], words: str) -> None:
    prompt = video_prompt()
    file = tmp_path / "prompt.safetensors"
    save_file(dict(prompt.tensors), file, metadata={**header_of(prompt, tmp_path), **change})
    with pytest.raises(ValueError, match=words):
        VideoPrompt.load(file)


@pytest.mark.parametrize("name", ["latents", "condition", "text"])
def test_missing_or_surplus_encodings_are_refused(tmp_path, name: str) -> None:
    prompt = video_prompt()
    header = header_of(prompt, tmp_path)
    file = tmp_path / "prompt.safetensors"
    save_file({n: t for n, t in prompt.tensors.items() if n != name}, file, metadata=header)
    with pytest.raises(ValueError, match=f"lacks {name}"):
        VideoPrompt.load(file)
    save_file(
        {
            **prompt.tensors,
            name: prompt.tensors[name].repeat(2, *[1] * (prompt.tensors[name].ndim - 1)),
        },
        file,
        metadata=header,
    )
    with pytest.raises(ValueError, match="lacks encodings of some"):
        VideoPrompt.load(file)


def test_encodings_of_other_axes_are_refused(tmp_path) -> None:
    prompt = video_prompt()
    file = tmp_path / "prompt.safetensors"
    tensors = prompt.tensors | {"latents": prompt.tensors["latents"][0:1, 0].contiguous()}
    save_file(tensors, file, metadata=header_of(prompt, tmp_path))
    with pytest.raises(ValueError, match="latents") as refused:
        VideoPrompt.load(file)
    assert str(file) in str(refused.value)


def test_encodings_of_other_sizes_than_the_model_reads_are_refused() -> None:
    prompt, sizes = video_prompt(), {"latents": (16, 3, 6, 8), "condition": (20, 3, 6, 8)}
    prompt.check_sizes(sizes | {"text": (8,)})
    with pytest.raises(ValueError, match="'text'"):
        prompt.check_sizes(sizes | {"text": (16,)})
