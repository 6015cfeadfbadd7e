"""Calibration files: found by kind, refused when damaged."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from diffusers import FlowMatchEulerDiscreteScheduler
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.pipelines.golden import load
from vap.acceleration.calibration import (
    FOLDER,
    Calibration,
    Chosen,
    Kind,
    find_calibration,
    settings_for,
)
from vap.acceleration.profiles import GUESSES, Settings
from vap.pipelines.denoise import Reuse

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def content(kind: Kind, **settings: Any) -> dict[str, Any]:
    return {
        "kind": kind.model_dump(),
        "settings": {"fast": settings},
        "provenance": {"model": "some"},
    }


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return load("wan")


def test_measured_settings_come_before_guesses(pipeline: Any, tmp_path: Path) -> None:
    kind = Kind.of(pipeline)
    guess = settings_for("fast", kind, tmp_path)
    assert guess.settings == GUESSES["fast"]
    assert guess.guessed
    written = content(kind, steps=0.25, reuse={"references": 3})
    (tmp_path / "some.json").write_text(json.dumps(written))
    found = settings_for("fast", kind, tmp_path)
    assert found == Chosen(Settings(0.25, Reuse(references=3)), "measured on some")
    assert settings_for("turbo", kind, tmp_path).settings == GUESSES["turbo"]
    assert settings_for("exact", kind, tmp_path).settings == Settings()


def test_references_that_are_not_kept_leave_the_rest_of_a_profile() -> None:
    chosen = Chosen(GUESSES["fast"], "guessed", guessed=True)
    assert chosen.keeps_references
    without = chosen.without_kept_references()
    assert not without.keeps_references
    kept = replace(without.settings.reuse, references=2)
    assert replace(without.settings, reuse=kept) == GUESSES["fast"]


def test_a_scheduler_that_does_not_say_what_is_predicted_has_a_kind_too() -> None:
    kind = Kind.by("wan", FlowMatchEulerDiscreteScheduler(), 50, guided=True)
    assert kind.prediction_type == "None"


def test_another_kind_of_model_has_no_part_in_it(pipeline: Any, tmp_path: Path) -> None:
    other = Kind.of(pipeline).model_copy(update={"prediction_type": "sample"})
    (tmp_path / "some.json").write_text(json.dumps(content(other, steps=0.25)))
    assert find_calibration(Kind.of(pipeline), tmp_path) is None


@examples(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=json_values)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "damaged.json"
    path.write_text(json.dumps(value))
    with pytest.raises(ValueError, match=r"damaged\.json is not a valid calibration"):
        Calibration.load(path)


@pytest.mark.parametrize(
    "settings", [{"steps": 0}, {"steps": 2}, {"reuse": {"model": 0}}, {"speed": 3}]
)
def test_settings_out_of_range_are_refused(
    pipeline: Any, tmp_path: Path, settings: dict[str, Any]
) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(content(Kind.of(pipeline), **settings)))
    with pytest.raises(ValueError, match=r"wrong\.json is not a valid calibration"):
        Calibration.load(path)


def test_every_calibration_that_ships_can_be_read_and_says_where_it_comes_from() -> None:
    for path in FOLDER.glob("*.json"):
        calibration = Calibration.load(path)
        assert {"model", "weights", "torch", "measured"} <= calibration.provenance.keys()
