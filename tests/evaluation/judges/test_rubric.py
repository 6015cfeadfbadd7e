from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vap.evaluation.judges.rubric import read_rubric


def test_the_rubric_that_ships_has_a_text_for_every_condition():
    rubric = read_rubric()
    assert rubric.version == 1
    assert "100" in rubric.of("melt")
    assert rubric.of("melt") == rubric.default


def test_a_condition_may_have_a_text_of_its_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("version: 3\ndefault: any\nconditions: {melt: It must drip.}\n")
    rubric = read_rubric(path)
    assert (rubric.version, rubric.of("melt"), rubric.of("burn")) == (3, "It must drip.", "any")
    path.write_text("version: 4\ndefault: any\n")
    assert read_rubric(path).sha256 != rubric.sha256


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("default: x", "version"),
        ("version: 1\ndefault: ''", "default"),
        ("version: 1\ndefault: x\ncondition: {}", "condition"),
        ("[", "YAML"),
        ("", "rubric"),
    ],
)
def test_what_is_no_rubric_is_named(tmp_path, text, named):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=named):
        read_rubric(path)
    with pytest.raises(FileNotFoundError):
        read_rubric(tmp_path / "none.yaml")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_rubric_or_a_value_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)
    try:
        rubric = read_rubric(path)
    except ValueError:
        return
    assert rubric.default
