import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.media.making import moving
from vap.media import (
    InputFile,
    MediaError,
    RunRecord,
    read_metadata,
    read_run,
    write_run,
    write_video,
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
records = st.builds(
    RunRecord,
    model=text,
    prompt=text,
    seed=st.integers(0, 2**63 - 1),
    fps=st.floats(1, 60),
    model_path=st.none() | text,
    model_id=st.none() | text,
    reference_prompts=st.lists(text, max_size=3).map(tuple),
    negative_prompt=st.none() | text,
    arguments=st.dictionaries(text, values, max_size=3),
    versions=st.dictionaries(text, text, max_size=3),
    inputs=st.lists(st.builds(InputFile, text, text, text, st.none() | text), max_size=2).map(
        tuple
    ),
)
RECORD = RunRecord(
    model="tiny",
    prompt="a toy",
    seed=7,
    fps=16.0,
    model_path="/models/tiny",
    arguments={"steps": 3},
    inputs=(InputFile("reference", "a.mp4", "0" * 64, "/home/me/a.mp4"),),
)


@given(records)
def test_json_round_trip_is_exact(record):
    assert RunRecord.from_json(record.to_json()) == record


@given(st.text(max_size=60) | values.map(json.dumps))
def test_anything_else_is_refused_in_words(content):
    with pytest.raises(MediaError):
        RunRecord.from_json(content)


def test_record_lies_beside_its_video(tmp_path):
    path = write_run(tmp_path / "out.mp4", RECORD)
    assert path.name == "out.mp4.json"
    assert read_run(tmp_path / "out.mp4") == read_run(path) == RECORD
    assert json.loads(path.read_text())["format"] == 1


def test_record_knows_versions_and_time_by_itself():
    assert RECORD.versions["torch"]
    assert RECORD.created.endswith("+00:00")


def test_what_is_embedded_does_not_depend_on_when_and_where(tmp_path):
    later = dataclasses.replace(RECORD, created="2030-01-01T00:00:00+00:00", model_path="/other")
    files = [
        write_video(moving(2), tmp_path / "a.mp4", 16, metadata=record.embedded()).read_bytes()
        for record in (RECORD, later)
    ]
    assert files[0] == files[1]
    found = read_metadata(tmp_path / "a.mp4")
    assert found["seed"] == 7
    assert found["inputs"] == [{"role": "reference", "name": "a.mp4", "sha256": "0" * 64}]
    assert "/home/me" not in json.dumps(found)


def changed(**changes):
    return json.dumps({**json.loads(RECORD.to_json()), **changes})


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (changed(promt="x"), r"unknown key 'promt'\. Did you mean 'prompt'"),
        (changed(inputs=[{"nam": "a"}]), r"unknown key 'nam'\. Did you mean 'name'"),
        (changed(seed="7"), "seed: .*integer"),
        (changed(format=2), r"record format is 2\. .*reads format 1"),
        (changed(inputs=[3]), r"inputs\.0"),
        ('{"format": 1, "model": "x"}', "prompt: .*required"),
        ("[]", "JSON list, not an object"),
        ("{", "not valid JSON"),
        ("[" * 10**5, "not valid JSON"),
    ],
)
def test_damaged_records_are_refused_by_what_is_wrong(tmp_path, content, match):
    path = tmp_path / "out.mp4.json"
    path.write_text(content)
    with pytest.raises(MediaError, match=match) as caught:
        read_run(path)
    assert "out.mp4.json" in str(caught.value)


def test_missing_record_is_refused(tmp_path):
    with pytest.raises(MediaError, match=r"out\.mp4\.json: the run record does not exist"):
        read_run(tmp_path / "out.mp4")


def test_binary_record_is_refused(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MediaError, match="not UTF-8"):
        read_run(tmp_path / "a.json")
