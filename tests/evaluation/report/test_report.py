"""Tables of a run: numbers with intervals, differences in pairs, and reasons for dashes."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.evaluation.standins import (
    METRICS,
    SYSTEMS,
    Blind,
    Brightness,
    Lacking,
    Painted,
    make_benchmark,
)
from vap.evaluation.metrics.gap import Gap
from vap.evaluation.metrics.psnr import FirstFrame
from vap.evaluation.plan import Evaluation
from vap.evaluation.report.bootstrap import cases_needed, combined, interval, resampled
from vap.evaluation.report.sheets import write_sheets
from vap.evaluation.report.summary import summarize
from vap.evaluation.report.tables import cell, markdown, write_tables
from vap.evaluation.rows import ScoreRow
from vap.evaluation.run import run
from vap.evaluation.run_folder import read_run_folder

NO_BOUNDS: dict[str, np.ndarray] = {}
MEAN = FirstFrame(name="mean")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two systems: one fails on the cases of a condition, the other covers fewer."""
    folder = tmp_path_factory.mktemp("run")
    logs = folder / "logs"
    evaluation = Evaluation(
        make_benchmark(folder / "media"),
        [
            Painted(name="painted", log_folder=logs, fails_on=("case2", "case4")),
            Blind(name="blind", title="never | looks", log_folder=logs),
        ],
        [Brightness(name="brightness", title="gray", log_folder=logs)],
        seeds=(0, 2),
    )
    run(evaluation, folder / "out")
    return read_run_folder(folder / "out", SYSTEMS, METRICS)


def number(results, system, metric="brightness", group=None, condition=None):
    place = (system, metric, group, condition)
    return next(
        each
        for each in results.numbers
        if (each.system, each.metric, each.group, each.condition) == place
    )


def test_a_run_is_read_as_it_was_asked_for(finished):
    assert [case.name for case in finished.cases] == [f"case{n}" for n in range(6)]
    assert all(case.image.is_file() for case in finished.cases)
    assert [system.name for system in finished.systems] == ["painted", "blind"]
    assert finished.video("blind", finished.cases[0]).is_dir()
    assert finished.video("painted", finished.cases[4]) is None


def test_a_number_is_the_mean_over_cases_of_the_mean_over_seeds(finished):
    found = number(summarize(finished), "painted")
    per_case = {}
    for row in finished.scores:
        if row.system == "painted":
            per_case.setdefault(row.case, []).append(row.value)
    assert found.cases == 4
    assert found.value == pytest.approx(np.mean([np.mean(each) for each in per_case.values()]))
    low, high = number(summarize(finished), "blind").interval
    assert low <= number(summarize(finished), "blind").value <= high


def test_groups_and_conditions_have_numbers_of_their_own(finished):
    results = summarize(finished)
    assert number(results, "painted", group="odd").cases == 3
    assert number(results, "painted", group="even", condition="pan").cases == 0
    few = number(results, "painted", group="odd", condition="melt")
    assert (few.cases, few.interval) == (2, None)


def test_the_effort_of_each_system_is_told(finished):
    painted, blind = summarize(finished).efforts
    assert (painted.videos, painted.failed, painted.seconds, painted.cost) == (8, 4, 0.5, 8)
    assert (blind.videos, blind.failed) == (10, 0)


def test_scores_of_videos_that_changed_are_not_shown(finished, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(finished.folder, folder)
    lines = (folder / "videos.jsonl").read_text().splitlines()
    row = next(json.loads(line) for line in lines if json.loads(line)["sha256"])
    with (folder / "videos.jsonl").open("a") as file:
        file.write(json.dumps({**row, "sha256": "0" * 64}) + "\n")
    scores = {each.key for each in read_run_folder(folder, SYSTEMS, METRICS).scores}
    gone = {each.key for each in finished.scores} - scores
    assert gone == {(row["system"], row["case"], row["seed"], "brightness")}


def test_a_metric_that_cannot_run_has_dashes_and_a_reason(tmp_path):
    systems = [Painted(name="painted", log_folder=tmp_path)]
    metrics = [Lacking(name="lacking"), Brightness(name="brightness", log_folder=tmp_path)]
    asked = Evaluation(make_benchmark(tmp_path / "media"), systems, metrics)
    summary = run(asked, tmp_path / "out")
    assert (summary.videos, summary.scores, summary.failed_scores) == (6, 6, 0)  # no variants
    found = read_run_folder(tmp_path / "out", SYSTEMS, METRICS)
    lacking = number(summarize(found), "painted", "lacking")
    assert (lacking.value, lacking.reason) == (None, "Give lacking.safetensors.")
    table = markdown(found, summarize(found), "painted")
    assert table.count("Give lacking.safetensors.") == 1


def test_results_repeat(finished):
    assert summarize(finished) == summarize(finished)


def test_differences_are_over_the_cases_that_both_have(finished):
    (found,) = summarize(finished).differences
    assert (found.system, found.other, found.cases) == ("blind", "painted", 3)
    both = {row.case for row in finished.scores if row.system == "painted"} - {"case3"}
    means = {
        system: np.mean([r.value for r in finished.scores if r.system == system and r.case in both])
        for system in ("painted", "blind")
    }
    assert found.value == pytest.approx(means["blind"] - means["painted"])


def test_a_dash_has_its_reason(finished):
    found = number(summarize(finished), "painted", group="even", condition="pan")
    assert (found.value, found.reason) == (None, "ValueError: as told")
    uncovered = number(summarize(finished), "blind", group="odd", condition="zoom")
    assert uncovered.reason == "the system does not cover these"


def test_tables_are_written_for_people_and_programs(finished):
    results = summarize(finished)
    written = write_tables(finished, results, "painted")
    assert [path.name for path in written] == ["results.json", "table.md", "results.csv"]
    table = written[1].read_text()
    assert "| system | cases | gray |" in table
    assert "never \\| looks" in table
    assert "painted: 4 videos failed; case2: ValueError: as told" in table
    assert json.loads(written[0].read_text())["numbers"] == [
        json.loads(json.dumps(each)) for each in results.as_json()["numbers"]
    ]
    rows = list(csv.DictReader(written[2].read_text().splitlines()))
    assert float(rows[0]["value"]) == number(results, "painted").value


def test_few_cases_bear_no_difference(finished):
    assert "fewer than 5 cases" in markdown(finished, summarize(finished), "painted")


@pytest.mark.parametrize(
    ("needed", "shown"),
    [(7, ""), (900, " (about 900 cases)"), (10**6, " (over 10,000 cases)")],
)
def test_pairs_that_chance_may_explain_are_listed(needed, shown, finished):
    results = summarize(finished)
    (pair,) = results.differences
    unclear = replace(pair, cases=8, interval=(-1.0, 1.0), cases_needed=needed)
    text = markdown(finished, replace(results, differences=(unclear,)), "painted")
    assert f"- gray: blind and painted{shown}." in text


def test_sheets_show_cases_and_systems(finished, tmp_path):
    names = [path.name for path in write_sheets(finished, "painted", tmp_path)]
    assert names == ["even.png", "even-systems.png", "odd.png", "odd-systems.png"]


def test_a_gap_is_a_ratio_of_means_with_the_bounds_of_the_same_cases():
    gap = Gap(name="gap")
    static, best = np.array([1.0, 0.01]), np.array([0.0, 0.0])
    value = combined(gap, np.array([0.0, 0.03]), {"static": static, "autoencoder": best})
    assert value == pytest.approx(0.98 / 1.01)
    assert combined(gap, np.array([0.1]), {"static": best[:1], "autoencoder": static[:1]}) is None


def test_a_number_without_its_bounds_says_what_it_needs(finished):
    gap = Gap(name="gap")
    scores = tuple(
        ScoreRow("painted", case.name, 0, "gap", "id", "sha", 0.5) for case in finished.cases
    )
    found = number(summarize(replace(finished, metrics=(gap,), scores=scores)), "painted", "gap")
    assert found.value is None
    assert "static and autoencoder" in found.reason


def test_intervals_hold_the_mean_as_often_as_they_say():
    """Of 200 samples of a normal distribution, about 95 % of the intervals hold its mean."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        low, high = interval(resampled(MEAN, rng.normal(3, 1, 40), NO_BOUNDS))
        held += low <= 3 <= high
    assert 180 <= held <= 198


def test_few_cases_have_no_interval():
    assert resampled(MEAN, np.ones(4), NO_BOUNDS) is None
    assert interval(resampled(MEAN, np.ones(5), NO_BOUNDS)) == (1, 1)


def test_paired_resamples_see_a_small_steady_difference():
    rng = np.random.default_rng(0)
    first = rng.normal(0, 10, 50)
    spread = resampled(MEAN, first + 0.1, NO_BOUNDS) - resampled(MEAN, first, NO_BOUNDS)
    low, high = interval(spread)
    assert low == pytest.approx(0.1)
    assert high == pytest.approx(0.1)


def test_cases_needed_grow_with_the_square_of_what_chance_does():
    spread = np.random.default_rng(0).normal(0, 1, 100_000)
    assert cases_needed(1.96, spread, 100) == pytest.approx(100, abs=2)
    assert cases_needed(0.98, spread, 100) == pytest.approx(400, abs=6)
    assert cases_needed(0.0, spread, 100) is None


@pytest.mark.parametrize(
    ("value", "span", "shown"),
    [
        (-0.04, None, "0.0"),
        (-3.26, (-4.0, 1.0), "−3.3 [−4.0, 1.0]"),
        (None, None, "–"),
    ],
)
def test_cells_have_a_true_minus_and_none_before_zero(value, span, shown, finished):
    found = replace(summarize(finished).numbers[0], value=value, interval=span)
    assert cell(MEAN, found) == shown


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="vap eval run"):
        read_run_folder(tmp_path, SYSTEMS, METRICS)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="damaged"):
        read_run_folder(tmp_path, SYSTEMS, METRICS)
