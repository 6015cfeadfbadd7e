"""Runs end with the same rows whatever happens on the way, and nothing is made twice."""

import json
import multiprocessing
import os
import signal
from contextlib import suppress
from dataclasses import replace

import psutil
import pytest
from filelock import FileLock

from tests.evaluation.standins import (
    Blind,
    Brightness,
    Broken,
    Far,
    Liar,
    Orphaned,
    Painted,
    Silent,
    Use,
    logged,
    make_benchmark,
)
from vap.evaluation.journal import Journal
from vap.evaluation.plan import Evaluation
from vap.evaluation.run import run
from vap.evaluation.workers import Workers


def rows(output, name="videos.jsonl"):
    return [json.loads(line) for line in (output / name).read_text().splitlines()]


@pytest.fixture
def benchmark(tmp_path):
    return make_benchmark(tmp_path / "media")


@pytest.fixture
def logs(tmp_path):
    return tmp_path / "logs"


def evaluation(benchmark, logs, **settings):
    seeds = settings.pop("seeds", (0,))
    return Evaluation(
        benchmark,
        [
            Painted(name="painted", log_folder=logs, **settings),
            Blind(name="blind", log_folder=logs),
        ],
        [Brightness(name="brightness", log_folder=logs), Use(name="use")],
        seeds,
    )


def test_every_case_system_seed_and_variant_is_made_and_scored_once(benchmark, logs, tmp_path):
    output = tmp_path / "out"
    summary = run(evaluation(benchmark, logs, seeds=(0, 7)), output)
    painted, blind = 6 * 2 * 3, 5 * 2  # three variants; one case of another is not covered
    assert (summary.videos, summary.failed_videos) == (painted + blind, 0)
    assert len(logged(logs, "painted.log")) == painted
    assert len(logged(logs, "blind.log")) == blind
    found = rows(output)
    assert found[0] == {
        "system": "painted",
        "case": "case0",
        "seed": 0,
        "variant": "own",
        "identity": found[0]["identity"],
        "file": "videos/painted/case0-s0",
        "sha256": found[0]["sha256"],
        "seconds": 0.5,
        "cost": 1.0,
        "error": None,
        "details": {"gray": 100},
    }
    assert summary.scores == len(rows(output, "scores.jsonl")) == (6 + 5) * 2 + 6 * 2


def test_a_finished_run_makes_nothing_again(benchmark, logs, tmp_path):
    output, asked = tmp_path / "out", evaluation(benchmark, logs)
    run(asked, output)
    before = {name: (output / name).read_bytes() for name in ("videos.jsonl", "scores.jsonl")}
    made = len(logged(logs, "painted.log")), len(logged(logs, "brightness.log"))
    run(asked, output)
    assert (len(logged(logs, "painted.log")), len(logged(logs, "brightness.log"))) == made
    assert {name: (output / name).read_bytes() for name in before} == before


def test_the_swapped_reference_is_the_next_case_of_another_condition(benchmark, logs, tmp_path):
    output = tmp_path / "out"
    run(evaluation(benchmark, logs), output)
    grays = {
        (row["case"], row["variant"]): row["details"]["gray"]
        for row in rows(output)
        if row["system"] == "painted"
    }
    assert (grays["case0", "own"], grays["case0", "swapped"]) == (100, 120)  # melt, then pan
    assert grays["case5", "swapped"] == 120  # after the last comes the first of another
    assert {gray for (_, variant), gray in grays.items() if variant == "none"} == {100}


def test_what_a_change_decides_is_made_again_and_nothing_else(benchmark, logs, tmp_path):
    output = tmp_path / "out"
    run(evaluation(benchmark, logs), output)
    run(evaluation(benchmark, logs, shade=5), output)
    assert len(logged(logs, "painted.log")) == 2 * 18
    assert len(logged(logs, "blind.log")) == 5
    assert {row["details"]["gray"] for row in rows(output) if row["variant"] == "none"} == {105}


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_video_counts_only_as_it_was_recorded(damage, benchmark, logs, tmp_path):
    output, asked = tmp_path / "out", evaluation(benchmark, logs)
    run(asked, output)
    before = rows(output, "scores.jsonl")
    frame = output / "videos/blind/case1-s0/frame_00000.png"
    if damage == "changed":
        frame.write_bytes((output / "videos/painted/case3-s0/frame_00000.png").read_bytes())
    else:
        frame.unlink()
    run(asked, output)
    assert logged(logs, "blind.log").count("case1:0:own") == 2
    assert len(logged(logs, "blind.log")) == 6
    assert rows(output, "scores.jsonl") == before


def test_a_changed_image_makes_the_case_again(benchmark, logs, tmp_path):
    output, asked = tmp_path / "out", evaluation(benchmark, logs)
    run(asked, output)
    image = benchmark.cases[1].image
    image.write_bytes(benchmark.cases[2].image.read_bytes())
    run(asked, output)
    assert logged(logs, "blind.log").count("case1:0:own") == 2
    assert len(logged(logs, "blind.log")) == 6


def test_failures_are_rows_and_are_tried_again(benchmark, logs, tmp_path):
    output = tmp_path / "out"
    broken = Evaluation(
        benchmark,
        [
            Painted(name="painted", log_folder=logs, fails_on=("case2",)),
            Broken(name="broken", log_folder=logs),
        ],
        [Brightness(name="brightness", log_folder=logs, fails_on=("case3",))],
    )
    summary = run(broken, output)
    assert (summary.videos, summary.failed_videos) == (5 + 1, 1 + 5)
    assert (summary.scores, summary.failed_scores) == (4 + 1, 1)
    errors = {(row["system"], row["case"]): row["error"] for row in rows(output) if row["error"]}
    assert errors["painted", "case2"] == "ValueError: as told"
    assert errors["broken", "case5"] == "RuntimeError: no more"
    healed = Evaluation(
        benchmark,
        [Painted(name="painted", log_folder=logs), Painted(name="broken", log_folder=logs)],
        [Brightness(name="brightness", log_folder=logs)],
    )
    summary = run(healed, output)
    assert (summary.failed_videos, summary.failed_scores) == (0, 0)
    assert sorted(logged(logs, "painted.log")) == [f"case{n}:0:own" for n in range(6)]


def test_a_score_that_is_no_number_is_a_failure(benchmark, logs, tmp_path):
    metrics = [Brightness(name="brightness", log_folder=logs, scale=float("nan"))]
    systems = [Blind(name="blind", log_folder=logs)]
    summary = run(Evaluation(benchmark, systems, metrics), tmp_path / "out")
    assert (summary.scores, summary.failed_scores) == (0, 5)


def test_other_systems_of_a_folder_stay_recorded(benchmark, logs, tmp_path):
    output = tmp_path / "out"
    metrics = [Brightness(name="brightness", log_folder=logs)]
    first = Evaluation(benchmark, [Painted(name="one", log_folder=logs)], metrics)
    second = Evaluation(benchmark, [Painted(name="two", log_folder=logs)], metrics)
    for asked in (first, second, first):
        run(asked, output)
    assert len(logged(logs, "one.log")) == 6
    assert {row["system"] for row in rows(output, "scores.jsonl")} == {"one", "two"}


def test_cases_can_be_left_out_and_come_back(benchmark, logs, tmp_path):
    output = tmp_path / "out"
    systems = [Blind(name="blind", log_folder=logs)]
    metrics = [Brightness(name="brightness", log_folder=logs)]
    for cases in (benchmark.cases, benchmark.cases[:2], benchmark.cases):
        run(Evaluation(replace(benchmark, cases=cases), systems, metrics), output)
    assert len(logged(logs, "blind.log")) == len(logged(logs, "brightness.log")) == 5


def test_videos_of_other_benchmarks_are_mp4(logs, tmp_path):
    benchmark = make_benchmark(tmp_path / "media", exact=False, count=2)
    output, asked = tmp_path / "out", [Far(name="far", log_folder=logs)]
    run(Evaluation(benchmark, asked, []), output)
    video = output / "videos/far/case0-s0.mp4"
    content = video.read_bytes()
    video.unlink()
    run(Evaluation(benchmark, asked, []), output)
    assert video.read_bytes() == content
    assert len(logged(logs, "far.log")) == 3


def test_a_video_that_is_told_and_not_there_is_a_failure(benchmark, logs, tmp_path):
    systems = [Liar(name="liar", log_folder=logs), Silent(name="silent", log_folder=logs)]
    summary = run(Evaluation(benchmark, systems, []), tmp_path / "out")
    assert (summary.videos, summary.failed_videos) == (0, 12)
    errors = {row["system"]: row["error"] for row in rows(tmp_path / "out")}
    assert "case5-s0" in errors["liar"]
    assert "without a video" in errors["silent"]


def test_two_runs_do_not_write_one_folder(benchmark, logs, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    with FileLock(output / ".lock"), pytest.raises(ValueError, match="Another run"):
        run(evaluation(benchmark, logs), output)


def test_remote_systems_work_beside_local_ones(benchmark, logs, tmp_path):
    systems = [Far(name="far", log_folder=logs), Painted(name="painted", log_folder=logs)]
    summary = run(Evaluation(benchmark, systems, []), tmp_path / "out")
    assert (summary.videos, summary.failed_videos) == (5 + 6, 0)


_MOMENTS = [
    {"dies_before": "case0:0:own"},
    {"dies_after": "case0:0:own"},
    {"dies_after": "case2:0:own"},
    {"dies_before": "case5:0:own"},
    {"dies_after": "case1:0:none"},
    {"dies_before": "case3:0:swapped"},
    {"dies_before": "case4:0:swapped"},
    {"dies_after": "case5:0:swapped"},
    {"dies_on": "painted:case0:0"},
    {"dies_on": "painted:case4:0"},
    {"dies_on": "blind:case5:0"},
    *({"dies_in_line": line} for line in (1, 2, 4, 9, 10, 12, 18, 24, 31)),
]
"""Before and after a video, before a score, and within the line of either."""


def _die_in_line(line):
    """End the process when half of a line of a journal is in its file."""
    add, left = Journal.add, line

    def half(journal, rows):
        nonlocal left
        left -= 1
        add(journal, rows)
        if left == 0:
            journal._path.write_bytes(journal._path.read_bytes()[:-40])
            os.kill(os.getpid(), signal.SIGKILL)

    Journal.add = half


def _interrupted(benchmark, logs, output, moment):
    asked = evaluation(benchmark, logs)
    change = {name: value for name, value in moment.items() if name in Painted.model_fields}
    if "dies_in_line" in moment:
        _die_in_line(moment["dies_in_line"])
    painted = asked.systems[0].model_copy(update={"at_once": 2, **change})
    brightness = asked.metrics[0].model_copy(update={"dies_on": moment.get("dies_on", "")})
    run(Evaluation(benchmark, [painted, asked.systems[1]], [brightness, asked.metrics[1]]), output)


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_rows(benchmark, logs, tmp_path):
    whole, context = tmp_path / "whole", multiprocessing.get_context("fork")
    _interrupted(benchmark, tmp_path / "other", whole, {})
    for place, moment in enumerate(_MOMENTS):
        output, own = tmp_path / f"killed{place}", logs / str(place)
        child = context.Process(target=_interrupted, args=(benchmark, own, output, moment))
        child.start()
        child.join()
        assert child.exitcode == -9
        _interrupted(benchmark, own, output, {})
        for name in ("videos.jsonl", "scores.jsonl"):
            assert rows(output, name) == rows(whole, name), moment
        # Made again is at most what was made when the process ended: a batch, or a score.
        assert len(logged(own, "painted.log")) <= 18 + 2
        assert len(logged(own, "blind.log")) <= 5 + 1
        assert len(logged(own, "brightness.log")) <= 11 + 1


@pytest.mark.slow
def test_workers_end_with_the_run_that_started_them(benchmark, logs, tmp_path):
    asked = Evaluation(benchmark, [Orphaned(name="orphaned", log_folder=logs)], [])
    context = multiprocessing.get_context("fork")
    child = context.Process(
        target=run, args=(asked, tmp_path / "out"), kwargs={"workers": Workers(2)}
    )
    child.start()
    child.join()
    assert child.exitcode == -9
    for pid in logged(logs, "pids.log"):
        with suppress(psutil.NoSuchProcess):
            psutil.Process(int(pid)).wait(timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [Workers(2), Workers(2, ray="local")], ids=["local", "ray"])
def test_several_processes_end_with_the_same_rows(workers, benchmark, logs, tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    run(evaluation(benchmark, logs), alone)
    run(evaluation(benchmark, logs), together, workers=workers)
    for name in ("videos.jsonl", "scores.jsonl"):
        assert rows(alone, name) == rows(together, name)


@pytest.mark.parametrize(
    ("workers", "gpus", "address"),
    [
        (Workers(2), True, "local"),  # Ray gives each process a GPU of its own
        (Workers(2), False, None),
        (Workers(1), True, None),
        (Workers(1, ray="auto"), False, "auto"),
    ],
)
def test_processes_that_share_gpus_are_those_of_ray(workers, gpus, address, monkeypatch):
    monkeypatch.setattr("torch.accelerator.is_available", lambda: gpus)
    assert workers.address() == address
    assert workers.several == (workers != Workers(1))


def test_no_workers_are_refused():
    with pytest.raises(ValueError, match="workers=0"):
        Workers(0)
