from __future__ import annotations

import json
import subprocess
import sys
from inspect import signature

import pytest
from typer.testing import CliRunner

from tests.data.clips_on_disk import made_clip
from tests.data.rows import clip
from vap.cli.data import app, build
from vap.data.benchmark import write_benchmark
from vap.data.build import BuildRules
from vap.data.rows import BenchmarkRow
from vap.data.table import Table, read_table, write_table


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def run_json(*arguments, code=0):
    return json.loads(run(*arguments, "--json", code=code).stdout)


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "sound.csv"
    rows = [clip(f"{i}.mp4", score=float(i), references=("9.mp4",)) for i in range(9)]
    write_table(Table((*rows, clip("9.mp4", score=95.0))), path)
    return path


@pytest.fixture
def faulty(tmp_path):
    path = tmp_path / "faulty.csv"
    write_table(Table((clip("a", references=("a",)), clip("a"), clip("b", split="odd"))), path)
    return path


def test_check_lists_faults_by_row_and_ends_with_1(faulty, sound):
    found = run_json("check", faulty, code=1)
    assert [(fault["row"], fault["kind"]) for fault in found["problems"]] == [
        (1, "self-reference"),
        (2, "duplicate-path"),
        (3, "unknown-split"),
    ]
    assert found["sound_rows"] == 1
    shown = run("check", faulty, "--limit", "1", "--allow-split", "odd", code=1).stdout
    assert "2 valid rows, 2 errors" in shown
    assert "and 1 more" in shown
    run("check", sound)


def test_check_looks_for_files_and_reads_benchmarks(sound, tmp_path):
    assert run_json("check", sound, "--root", tmp_path, code=1)["faults"] == {"missing-file": 10}
    benchmark = tmp_path / "benchmark.csv"
    write_benchmark([BenchmarkRow("a", "b", "", ""), BenchmarkRow("a", "a", "", "")], benchmark)
    (tmp_path / "a").touch()
    found = run_json("check", benchmark, "--benchmark", "--root", tmp_path, code=1)
    assert [(fault["row"], fault["kind"]) for fault in found["problems"]] == [(1, "missing-file")]
    run("check", benchmark, "--benchmark")


def test_filter_split_and_convert_write_tables(sound, tmp_path):
    run("filter", sound, "-o", tmp_path / "good.parquet", "--above", "5", "--at-most", "3")
    assert [row.video for row in read_table(tmp_path / "good.parquet").rows] == [
        "7.mp4",
        "8.mp4",
        "9.mp4",
    ]
    counts = run_json("split", sound, "-o", tmp_path / "split.csv", "--share", "test=0.2")
    assert counts["splits"] == {"test": 2, "train": 8}
    run("convert", sound, "-o", tmp_path / "same.parquet")
    assert read_table(tmp_path / "same.parquet") == read_table(sound)


def test_pair_writes_samples_or_preferences(sound, tmp_path):
    out = tmp_path / "pairs.jsonl"
    result = run_json("pair", sound, "-o", out, "--threshold", "5", "--references", "2")
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert result["samples"] == len(lines) == 4
    assert (lines[0]["video"], lines[0]["references"]) == ("6.mp4", ["9.mp4"])
    assert lines[0]["reference_captions"] == ["caption of 9.mp4"]
    write_table(Table((clip("w", score=90.0), clip("r", score=100.0), clip("l", score=5.0))), sound)
    assert run_json("pair", sound, "-o", out, "--preferences")["pairs"] == 2
    pair = json.loads(out.read_text(encoding="utf-8").splitlines()[0])
    assert (pair["winner"], pair["loser"], pair["reference"]) == ("w", "l", "r")
    assert pair["weight"] == pytest.approx(85 * 0.02 / (2 / 3 * 1 / 3) ** 0.5)


def test_summary_counts_in_text_and_json(sound):
    assert run_json("summary", sound)["conditions"][0]["clips"] == 10
    assert "mean score: 13.1" in run("summary", sound).stdout


def test_build_and_show_make_a_table_and_a_page(tmp_path):
    for name in ("a", "b"):
        made_clip(tmp_path / "clips" / "melt" / f"{name}.mp4", seed=ord(name))
    (tmp_path / "clips" / "melt" / "broken.mp4").write_bytes(b"no video")
    table, page = tmp_path / "table.csv", tmp_path / "page.html"
    built = run_json("build", tmp_path / "clips", "-o", table, "--captions", "template")
    assert built["rows"] == 2
    assert [drop["video"] for drop in built["dropped"]] == ["melt/broken.mp4"]
    assert built["root"] == str(tmp_path / "clips")
    shown = run_json("show", table, "-o", page, "--root", built["root"])
    assert (shown["shown"], shown["missing"]) == (2, 0)
    assert 'src="clips/melt/a.mp4"' in page.read_text(encoding="utf-8")


def test_refused_tables_end_with_2_and_write_nothing(faulty, tmp_path):
    out = tmp_path / "out.csv"
    refused = run_json("filter", faulty, "-o", out, code=2)
    assert len(refused["error"]["problems"]) == 2
    assert not out.exists()
    run("filter", faulty, "-o", out, "--on-error", "skip")
    assert len(read_table(out).rows) == 2
    made_clip(tmp_path / "clips" / "melt" / "a.mp4")
    no_caption = run("build", tmp_path / "clips", "-o", tmp_path / "new.csv", code=2)
    assert "a.txt with its caption is missing" in no_caption.stderr
    assert not (tmp_path / "new.csv").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "missing.csv"),
        ("check",),
        ("convert", "{sound}", "-o", "out.json"),
        ("split", "{sound}", "-o", "out.csv", "--share", "test"),
        ("split", "{sound}", "-o", "out.csv", "--share", "test=2"),
        ("pair", "{sound}", "-o", "out.jsonl", "--caption-drop", "2"),
        ("filter", "{sound}", "-o", "out.csv", "--on-error", "ignore"),
        ("split", "{sound}", "-o", "out.csv", "--share", "test=.25", "--share", "test=.5"),
        ("build", ".", "-o", "out.csv", "--captions", "model"),
        (
            "build",
            ".",
            "-o",
            "out.csv",
            "--captions",
            "template",
            "--judge",
            "constant",
            "--score",
            "-1",
        ),
        ("build", ".", "-o", "out.csv", "--duplicates", "100"),
    ],
)
def test_wrong_usage_ends_with_2(sound, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made_clip(tmp_path / "melt" / "a.mp4")
    result = run(*(argument.format(sound=sound) for argument in arguments), code=2)
    assert result.stderr
    assert not list(tmp_path.glob("out.*"))


def test_defaults_of_build_are_those_of_the_library():
    defaults = {name: option.default for name, option in signature(build).parameters.items()}
    rules = BuildRules()
    for name in ("duplicates", "references", "choice", "workers", "seed"):
        assert defaults[name] == getattr(rules, name)


def test_an_interrupted_build_ends_with_130_and_writes_nothing(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("vap.data.clip_files.read_clip", interrupted)
    made_clip(tmp_path / "clips" / "melt" / "a.mp4")
    run("build", tmp_path / "clips", "-o", tmp_path / "out.csv", code=130)
    assert not (tmp_path / "out.csv").exists()


def test_naming_the_commands_loads_no_video_library():
    code = "import sys, vap.cli.data; sys.exit(bool({'numpy', 'av', 'torch'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("command", ["pair", "filter", "split", "show"])
def test_rows_that_are_left_out_are_counted(faulty, tmp_path, command):
    out = tmp_path / ("out.jsonl" if command == "pair" else "out.csv")
    out = tmp_path / "page.html" if command == "show" else out
    more = ["--share", "test=0.5"] if command == "split" else []
    for name in "ab":
        (tmp_path / name).touch()
    found = run_json(command, faulty, "-o", out, *more, "--on-error", "skip")
    assert found["skipped"] == 1


@pytest.mark.parametrize(
    "option", ["--threshold", "--references", "--reference-drop", "--caption-drop"]
)
def test_options_of_samples_are_refused_beside_preferences(sound, tmp_path, option):
    refused = run("pair", sound, "-o", tmp_path / "out.jsonl", "--preferences", option, "1", code=2)
    assert option in refused.output
    assert not (tmp_path / "out.jsonl").exists()


def test_build_looks_at_folder_and_place_before_it_loads_a_model(tmp_path):
    nowhere = tmp_path / "nowhere"
    model = ["--captions", "model", "--model", "owner/no-such-model"]
    assert "nowhere" in run("build", nowhere, "-o", tmp_path / "t.csv", *model, code=2).output
    made_clip(tmp_path / "clips" / "melt" / "a.mp4")
    out = tmp_path / "missing" / "t.csv"
    assert "missing" in run("build", tmp_path / "clips", "-o", out, *model, code=2).output


@pytest.mark.parametrize("command", ["pair", "show"])
def test_a_table_is_not_written_over_by_another_format(sound, command):
    before = sound.read_bytes()
    assert "must end in ." in run(command, sound, "-o", sound, code=2).stderr
    assert sound.read_bytes() == before


def test_a_page_without_its_clips_is_refused_and_says_what_to_give(sound, tmp_path):
    page = tmp_path / "page.html"
    assert "--root" in run("show", sound, "-o", page, code=2).stderr
    assert not page.exists()
    (tmp_path / "9.mp4").touch()
    shown = run_json("show", sound, "-o", page, "--per-condition", "10")
    assert (shown["shown"], shown["missing"], shown["unreadable"]) == (1, 9, 0)
    embedded = run_json("show", sound, "-o", page, "--per-condition", "10", "--embed")
    assert (embedded["shown"], embedded["missing"], embedded["unreadable"]) == (0, 9, 1)


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        (("--template", "{name}"), "--captions template"),
        (("--model", "owner/name", "--captions", "template"), "--captions model"),
        (("--score", "50", "--captions", "template"), "--judge constant"),
    ],
)
def test_build_refuses_options_that_nothing_reads(tmp_path, options, needed):
    made_clip(tmp_path / "clips" / "melt" / "a.mp4")
    refused = run("build", tmp_path / "clips", "-o", tmp_path / "out.csv", *options, code=2)
    assert f"{options[0]} is read only with {needed}" in refused.stderr
    assert not (tmp_path / "out.csv").exists()


def test_build_takes_its_template_and_score(tmp_path):
    made_clip(tmp_path / "clips" / "melt" / "a.mp4")
    out = tmp_path / "out.csv"
    constant = ("--captions", "template", "--judge", "constant")
    for more, caption, score in (
        ((), "a, melt", 100),
        (("--template", "so {name}", "--score", "5"), "so a", 5),
    ):
        run("build", tmp_path / "clips", "-o", out, *constant, *more)
        [row] = read_table(out).rows
        assert (row.caption, row.score) == (caption, score)


@pytest.mark.parametrize(
    ("command", "option", "name", "said"),
    [
        ("filter", "--condition", "metl", "did you mean 'melt'?"),
        ("filter", "--without", "metl", "did you mean 'melt'?"),
        ("filter", "--split", "tset", "there are: train."),
        ("pair", "--split", "trian", "did you mean 'train'?"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_nearest(sound, tmp_path, command, option, name, said):
    out = tmp_path / ("out.jsonl" if command == "pair" else "out.csv")
    refused = run(command, sound, "-o", out, option, name, code=2)
    assert f"{option} {name!r} is in no row of the table; {said}" in refused.stderr
    assert not out.exists()


def test_build_refuses_a_distance_before_it_decodes(tmp_path):
    with pytest.raises(ValueError, match="out of range"):
        BuildRules(duplicates=50)
