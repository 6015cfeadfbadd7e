"""Points of speed and fidelity: which become profiles, and what is written of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.fidelity import rendered
from benchmarks.fidelity_report import as_dict, calibration, choose, plots, table
from benchmarks.fidelity_runs import Point
from benchmarks.fidelity_settings import LIBRARY, candidates

from vap.acceleration.calibration import Kind

KIND = Kind(
    family="wan",
    scheduler="UniPCMultistepScheduler",
    prediction_type="sample",
    steps=12,
    guided=False,
)


def point(name: str, denoise: float, psnr: float, gap: float) -> Point:
    stages = {"encode": 0.1, "denoise": denoise, "decode": 0.1}
    gaps = {"seen": gap, "heldout": gap, "all": gap}
    return Point(name, stages, psnr, psnr - 5, 0.9, gaps, dict.fromkeys(gaps, 0.5), 24.0)


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    chosen = candidates(12, guided=False)
    speeds = {"exact": (1.2, 60, 0.5), "6 steps": (0.6, 40, 0.49), "3 steps": (0.3, 29, 0.49)}
    speeds |= {"2 steps": (0.2, 26, 0.46), "1 step": (0.1, 22, 0.50)}
    speeds |= {"MagCache 0.24": (0.1, 50, 1)}
    others = {name: (1.1, 50, 0.5) for name in chosen if name not in speeds}
    return as_dict([point(name, *figures) for name, figures in (speeds | others).items()], chosen)


def found_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"profiles": choose(rows, rows), "rows": rows, "others": rows}


def test_profiles_are_the_fastest_that_lose_little_enough(rows: list[dict[str, Any]]) -> None:
    assert choose(rows, rows) == {"fast": "6 steps", "turbo": "2 steps"}


def test_a_profile_holds_on_other_cases_too(rows: list[dict[str, Any]]) -> None:
    worse = [{**row, "psnr": 29 if row["name"] == "6 steps" else row["psnr"]} for row in rows]
    slower = choose(rows, worse)["fast"]
    assert slower not in {"6 steps", "2 steps"}
    assert choose(rows, [row for row in rows if row["name"] == "2 steps"]) == {"turbo": "2 steps"}


def test_guidance_and_a_student_are_tried_where_there_are_any() -> None:
    plain, both = candidates(4, guided=False), candidates(4, guided=True, student=True)
    assert "guidance every 2" not in plain
    assert not any(one.settings.student for one in plain.values())
    assert both["guidance every 2"].settings.reuse.guidance == 2
    assert both["student, 1 step, bfloat16 VAE"].settings.student
    assert both["student, 1 step, bfloat16 VAE"].settings.steps == pytest.approx(0.25)
    assert next(iter(both)) == "exact"


def test_where_nothing_is_good_enough_no_profile_is_chosen(rows: list[dict[str, Any]]) -> None:
    bad = [{**row, "gap_lost": 0.1 if row["name"] != "exact" else 0.0} for row in rows]
    assert choose(bad, bad) == {}


def test_speed_is_relative_to_exact(rows: list[dict[str, Any]]) -> None:
    half = next(row for row in rows if row["name"] == "6 steps")
    assert half["denoise_speed_up"] == pytest.approx(2.0)
    assert half["speed_up"] == pytest.approx(1.4 / 0.8)
    assert half["gap_lost"] == pytest.approx(0.01)


def test_a_calibration_keeps_settings_and_what_they_gave(rows: list[dict[str, Any]]) -> None:
    found = found_of(rows) | {"provenance": {"model": "some"}}
    made = calibration(found, KIND)
    assert made.settings["fast"].steps == pytest.approx(0.5)
    assert made.provenance["measured"]["turbo"]["setting"] == "2 steps"
    assert made.provenance["model"] == "some"
    assert made.provenance["measured"]["turbo"]["psnr_elsewhere"] == 26


def test_the_page_has_the_figures_of_the_file(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    found = found_of(rows)
    (tmp_path / "fidelity-some.json").write_text(json.dumps(found))
    page = "before\n<!-- fidelity: some -->\nold\n<!-- end of table -->\nafter"
    made = rendered(page, tmp_path)
    assert made.startswith("before\n<!-- fidelity: some -->\n| setting |")
    assert table(found) in made
    assert "6 steps (**fast**)" in made
    assert "old" not in made


def test_both_plots_are_drawn(rows: list[dict[str, Any]]) -> None:
    drawn = plots({"rows": rows})
    assert "Fidelity against speed" in drawn
    assert "References kept" in drawn


@pytest.mark.parametrize("guided", [True, False])
def test_candidates_begin_with_exact_and_keep_guidance_only_where_there_is_any(
    guided: bool,
) -> None:
    chosen = candidates(50, guided=guided)
    assert next(iter(chosen)) == "exact"
    kept = [one for one in chosen.values() if one.settings.reuse.guidance > 1]
    assert bool(kept) is guided
    assert all(one.step_cache for one in chosen.values() if one.group == LIBRARY)
