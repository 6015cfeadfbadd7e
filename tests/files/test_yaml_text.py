from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vap.files.yaml_text import LARGEST, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("[no, true]", ["no", True]),
        ("'no'", "no"),
        ("precision: no", {"precision": "no"}),
        ("null", None),
        ("", None),
        ("1.5", 1.5),
    ],
)
def test_words_are_words_and_booleans_are_true_and_false(text: str, value: object) -> None:
    assert parse_yaml(text) == value


def test_a_bomb_of_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    with pytest.raises(ValueError, match="characters"):
        parse_yaml("\n".join(lines))
    with pytest.raises(ValueError, match="characters"):
        parse_yaml("x" * (LARGEST + 1))


def test_a_key_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="steps"):
        parse_yaml("steps: 1\nsteps: 2")


@given(st.text())
def test_any_text_is_a_value_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        parse_yaml(text)
