import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vap.serving.jobs.request import NamedEffect, SavedPrompt, Upload, VideoRequest
from vap.serving.settings import Settings, read_settings

IMAGE = "file_00000000"


def test_references_are_told_apart_by_their_keys():
    request = VideoRequest.model_validate_json(
        json.dumps({"image": IMAGE, "references": [{"upload": IMAGE}, {"effect": "me/burn"}]})
    )
    assert [type(each) for each in request.references] == [Upload, NamedEffect]
    alone = VideoRequest(image=IMAGE, references=[{"prompt": "prompt_00000000"}])
    assert isinstance(alone.references[0], SavedPrompt)


@pytest.mark.parametrize(
    "fields",
    [
        {"promt": "x"},
        {"image": "../../etc/passwd"},
        {"references": [{"upload": "/etc/passwd"}]},
        {"references": [{"effect": "../x\x00"}]},
        {"references": [{"prompt": "prompt_00000000"}, {"effect": "burn"}]},
        {"reference_prompts": ["one"]},
        {"seconds": 2, "num_frames": 9},
        {"seconds": float("nan")},
        {"size": "0x64"},
        {"size": "64"},
        {"seed": -1},
        {"strength": 1.5},
    ],
)
def test_what_no_model_can_do_is_refused(fields):
    with pytest.raises(ValidationError):
        VideoRequest.model_validate({"image": IMAGE, **fields})


def test_an_unknown_field_is_told_with_the_nearest_name():
    with pytest.raises(ValidationError, match="'prompt'"):
        VideoRequest.model_validate({"image": IMAGE, "promt": "x"})
    with pytest.raises(ValidationError, match="'upload'"):
        VideoRequest.model_validate({"image": IMAGE, "references": [{"uplaod": IMAGE}]})


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(list(VideoRequest.model_fields)), _json, max_size=4))
def test_any_json_is_a_request_or_a_validation_error(fields):
    try:
        request = VideoRequest.model_validate({"image": IMAGE, **fields})
    except ValidationError:
        return
    assert VideoRequest.model_validate_json(request.model_dump_json(exclude_none=True)) == request


def test_options_come_before_the_environment_and_that_before_the_file(tmp_path):
    file = tmp_path / "serve.yaml"
    file.write_text("port: 1\nmax_queued: 1\nretention_hours: 1\n")
    read = read_settings(
        file, {"VAP_SERVE_PORT": "2", "VAP_SERVE_MODELS": "wan,cogvideox", "OTHER": "x"}, port=3
    )
    assert (read.port, read.max_queued, read.models) == (3, 1, ("wan", "cogvideox"))
    assert Settings(data=tmp_path).database_url == f"sqlite:///{tmp_path / 'jobs.sqlite'}"


def test_experts_are_named_by_options_the_environment_and_the_file(tmp_path):
    file = tmp_path / "serve.yaml"
    file.write_text("models: [a, b]\nexperts: {x: x.st, y: {file: y.st, model: b}}\n")
    read = read_settings(file, {})
    assert read.experts_of("a") == {"x": Path("x.st")}
    assert read.experts_of("b") == {"y": Path("y.st")}
    for experts in (["z=z.st", "w=w=.st"], "z=z.st,w=w=.st"):
        read = read_settings(file, {}, experts=experts)
        assert read.experts_of("a") == {"z": Path("z.st"), "w": Path("w=.st")}


@pytest.mark.parametrize(
    "experts", [{"a": "x.st"}, {"x": {"file": "x.st", "model": "c"}}, {"../x": "x.st"}, ["x"], 5]
)
def test_experts_without_a_model_or_a_name_are_refused(experts):
    with pytest.raises(ValidationError):
        Settings(models=("a", "b"), experts=experts)


@pytest.mark.parametrize("text", ["prot: 1", "[1]", "port: 70000", "a: b: c", "\x00"])
def test_wrong_settings_are_refused(text, tmp_path):
    file = tmp_path / "serve.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"\w"):
        read_settings(file, {})
