"""Tables of results: Markdown for people, CSV and JSON for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from vap.evaluation.metrics.base import Metric
from vap.evaluation.report.bootstrap import FEWEST
from vap.evaluation.report.summary import Difference, Number, Results
from vap.evaluation.run_folder import RunFolder
from vap.files.atomic import atomic_file
from vap.files.json_files import write_json

RESULTS, TABLE, NUMBERS = "results.json", "table.md", "results.csv"
_DASH = "–"
_MANY = 10_000


def write_tables(run: RunFolder, results: Results, baseline: str) -> list[Path]:
    """Write results as JSON, CSV and Markdown into the run's folder."""
    write_json(run.folder / RESULTS, {"baseline": baseline, **results.as_json()})
    texts = {TABLE: markdown(run, results, baseline), NUMBERS: as_csv(results)}
    for name, text in texts.items():
        with atomic_file(run.folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [run.folder / name for name in (RESULTS, TABLE, NUMBERS)]


def markdown(run: RunFolder, results: Results, baseline: str) -> str:
    """All tables and what a reader has to know."""
    seeds = "1 seed" if len(run.record["seeds"]) == 1 else f"{len(run.record['seeds'])} seeds"
    intervals = "In brackets: 95 % bootstrap intervals over the cases."
    lines = [
        f"# {run.record['benchmark']['name']}",
        "",
        f"{len(run.cases)} cases, {seeds}. {intervals}",
        "",
        *_grid(run, results, None),
    ]
    groups = dict.fromkeys(n.group for n in results.numbers if n.group and n.condition is None)
    for group in groups:
        lines += ["", f"## {group}", "", *_grid(run, results, group)]
    lines += ["", *_compared(run, results, baseline)]
    lines += ["", "## Videos", "", *_efforts(run, results)]
    if notes := [*reasons(run, results), *results.failures]:
        lines += ["", "## Notes", "", *(f"- {_one_line(note)}" for note in notes)]
    return "\n".join(lines) + "\n"


def as_csv(results: Results) -> str:
    """A line for each number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = ("system", "metric", "group", "condition", "value", "low", "high", "cases", "reason")
    writer.writerow(heads)
    for each in results.numbers:
        low, high = each.interval or ("", "")
        place = (each.system, each.metric, each.group or "", each.condition or "")
        value = "" if each.value is None else each.value
        writer.writerow((*place, value, low, high, each.cases, _one_line(each.reason)))
    return text.getvalue()


def cell(metric: Metric, number: Number) -> str:
    """A number with its interval, or a dash."""
    if number.value is None:
        return _DASH
    return _with_interval(metric, number.value, number.interval)


def _grid(run: RunFolder, results: Results, group: str | None) -> Iterator[str]:
    """A row for each system, a column for each metric."""
    of_group = [n for n in results.numbers if n.group == group and n.condition is None]
    yield _line("system", "cases", *(each.title or each.name for each in run.metrics))
    yield _line("---", "---:", *("---:" for _ in run.metrics))
    for system in run.systems:
        found = {n.metric: n for n in of_group if n.system == system.name}
        counts = sorted({number.cases for number in found.values() if number.cases})
        shown = _DASH if not counts else "…".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
        cells = (cell(metric, found[metric.name]) for metric in run.metrics)
        yield _line(system.title or system.name, shown, *cells)


def _compared(run: RunFolder, results: Results, baseline: str) -> Iterator[str]:
    """Differences to the baseline, and pairs that chance may explain."""
    if len(run.systems) < 2:  # noqa: PLR2004 - a difference is of two
        return
    titles = {system.name: system.title or system.name for system in run.systems}
    yield f"## Differences to {titles[baseline]}"
    yield ""
    yield "Over the cases that both have. Bold: the interval leaves 0 out."
    yield ""
    yield _line("system", *(each.title or each.name for each in run.metrics))
    yield _line("---", *("---:" for _ in run.metrics))
    for name, title in titles.items():
        if name != baseline:
            cells = (_difference_cell(m, results.differences, name, baseline) for m in run.metrics)
            yield _line(title, *cells)
    yield ""
    yield from _indistinct(run, results)


def _difference_cell(
    metric: Metric, differences: Sequence[Difference], name: str, baseline: str
) -> str:
    for each in differences:
        if each.metric == metric.name and {each.system, each.other} == {name, baseline}:
            sign = 1 if each.system == name else -1
            low, high = each.interval or (0.0, 0.0)
            span = (low, high) if sign > 0 else (-high, -low)
            text = _with_interval(metric, sign * each.value, span if each.interval else None)
            return f"**{text}**" if each.distinguishable else text
    return _DASH


def _indistinct(run: RunFolder, results: Results) -> Iterator[str]:
    """What the differences cannot bear."""
    if all(each.interval is None for each in results.differences):
        yield f"With fewer than {FEWEST} cases, no difference can be judged."
        return
    yield "Not distinguishable at this number of cases:"
    yield ""
    for metric in run.metrics:
        of_metric = [each for each in results.differences if each.metric == metric.name]
        pairs = [
            f"{each.system} and {each.other}{_needed(each)}"
            for each in of_metric
            if not each.distinguishable
        ]
        if of_metric:
            yield f"- {metric.title or metric.name}: {'; '.join(pairs) or 'no pair'}."


def _needed(each: Difference) -> str:
    if each.interval is None or each.cases_needed is None or each.cases_needed <= each.cases:
        return ""
    if each.cases_needed > _MANY:
        return f" (over {_MANY:,} cases)"
    return f" (about {each.cases_needed:,} cases)"


def _efforts(run: RunFolder, results: Results) -> Iterator[str]:
    """What the videos took."""
    yield _line("system", "videos", "failed", "seconds each", "cost")
    yield _line("---", *("---:" for _ in range(4)))
    for system, each in zip(run.systems, results.efforts, strict=True):
        title = system.title or system.name
        counts = (str(each.videos), str(each.failed))
        yield _line(title, *counts, f"{each.seconds:.2f}", f"{each.cost:g}" if each.cost else _DASH)


def reasons(run: RunFolder, results: Results) -> list[str]:
    """Why there are dashes in the first table."""
    titles = {metric.name: metric.title or metric.name for metric in run.metrics}
    of_metrics = [f"{titles[name]}: {reason}" for name, reason in run.unusable.items()]
    return of_metrics + [
        f"{each.system}, {titles[each.metric]}: {each.reason}."
        for each in results.numbers
        if each.reason
        and each.group is None
        and each.condition is None
        and each.metric not in run.unusable
    ]


def _with_interval(metric: Metric, value: float, span: tuple[float, float] | None) -> str:
    text = number(value, metric.digits)
    if span is None:
        return text
    low, high = (number(end, metric.digits) for end in span)
    return f"{text} [{low}, {high}]"


def number(value: float, digits: int) -> str:
    """With a true minus, and without one before 0."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _line(*cells: str) -> str:
    shown = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(shown)} |"
