import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.batch.making import requests_of
from vap.batch.ledger import BatchFolder, Outcome


def done(request) -> Outcome:
    return Outcome(
        request.name, request.digest, "done", request.inputs, output=f"{request.name}.mp4"
    )


def is_done(folder, request, suffix) -> bool:
    return replace(folder, suffix=suffix).has_video(folder.of(request))


def test_a_video_is_done_if_it_is_there_and_its_request_has_not_changed(tmp_path):
    folder = BatchFolder(tmp_path, ".mp4", "run")
    (one,) = requests_of({"name": "one"})
    (changed,) = requests_of({"name": "one", "seed": 1})
    assert not is_done(folder, one, ".mp4")
    folder.write(done(one))
    assert not is_done(folder, one, ".mp4")
    (tmp_path / "one.mp4").touch()
    assert is_done(folder, one, ".mp4")
    assert not is_done(folder, one, ".webm")
    assert not is_done(folder, changed, ".mp4")
    folder.write(Outcome(one.name, one.digest, "started", one.inputs))
    assert not is_done(folder, one, ".mp4")


def test_the_same_words_in_another_folder_are_another_request(tmp_path):
    folder = BatchFolder(tmp_path, ".mp4", "run")
    (one,) = requests_of({"name": "one"}, folder=tmp_path / "a")
    (other,) = requests_of({"name": "one"}, folder=tmp_path / "b")
    assert one.digest == other.digest
    for status in ("failed", "done"):
        folder.write(Outcome("one", one.digest, status, one.inputs, output="one.mp4"))
        assert folder.of(one) is not None
        assert folder.of(other) is None
    (tmp_path / "one.mp4").touch()
    with pytest.raises(FileExistsError, match="different files than one"):
        folder.adopt(other)
    assert folder.adopt(one) == folder.of(one) is not None


@given(st.binary() | st.text().map(str.encode))
def test_a_damaged_entry_is_as_none(tmp_path_factory, content):
    folder = BatchFolder(tmp_path_factory.mktemp("ledger"), ".mp4", "run")
    (one,) = requests_of({"name": "one"})
    folder.write(done(one))
    folder._path("one").write_bytes(content)
    assert folder.of(one) is None


def test_the_manifest_has_a_line_for_each_request_in_order(tmp_path):
    folder = BatchFolder(tmp_path, ".mp4", "run")
    requests = requests_of({"name": "a"}, {"name": "b"}, {"name": "c"})
    error = {"type": "ValueError", "message": "so bad"}
    folder.write(Outcome("b", requests[1].digest, "failed", requests[1].inputs, error=error))
    folder.write(done(requests[2]))
    lines = [json.loads(line) for line in folder.write_manifest(requests).open()]
    assert [line["name"] for line in lines] == ["a", "b", "c"]
    assert [line["status"] for line in lines] == ["pending", "failed", "done"]
    assert lines[1]["error"] == error
    assert lines[2]["output"] == "c.mp4"
