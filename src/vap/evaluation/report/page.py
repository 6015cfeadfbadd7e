"""A run as one HTML page that needs nothing else: tables, plots, the best and the worst cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment

from vap.evaluation.case import Case
from vap.evaluation.metrics.base import Metric
from vap.evaluation.report.summary import Difference, Number, Results, by_case
from vap.evaluation.report.tables import number, reasons
from vap.evaluation.run_folder import RunFolder
from vap.files.atomic import atomic_file
from vap.media import MediaError
from vap.media.preview import small_image, small_video

PAGE = "report/index.html"
_DASH = "–"
_SHOWN = 3
"""Cases that are shown of the best and of the worst."""


def write_page(run: RunFolder, results: Results, baseline: str) -> Path:
    """Write the page into the run's folder.

    The best and the worst cases are those of the baseline in the first metric that it has.
    """
    package = resources.files("vap.evaluation.report")
    template = Environment(autoescape=True, trim_blocks=True).from_string(
        (package / "page.html").read_text(encoding="utf-8")
    )
    published = yaml.safe_load((package / "published.yaml").read_text(encoding="utf-8"))
    seeds = len(run.record["seeds"])
    text = template.render(
        name=run.record["benchmark"]["name"],
        cases=len(run.cases),
        seeds="1 seed" if seeds == 1 else f"{seeds} seeds",
        metrics=[{"title": _title(metric)} for metric in run.metrics],
        systems=[_title(system) for system in run.systems],
        rows=_rows(run, results),
        published=_published(run.metrics, published["rows"]),
        source=published["source"],
        baseline=_titles(run)[baseline],
        differences=_differences(run, results, baseline),
        plots=[_plot(results, metric) for metric in run.metrics],
        conditions=[_conditions(run, results, metric) for metric in run.metrics],
        shown=_shown(run, baseline),
        notes=[*reasons(run, results), *results.failures],
        made_with=", ".join(f"{name} {value}" for name, value in run.record["versions"].items()),
    )
    path = run.folder / PAGE
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _title(item: Any) -> str:
    title: str = item.title or item.name
    return title


def _titles(run: RunFolder) -> dict[str, str]:
    return {system.name: _title(system) for system in run.systems}


def _rows(run: RunFolder, results: Results) -> list[dict[str, Any]]:
    """The first table: all cases."""
    found = {(n.system, n.metric): n for n in _of(results, None)}
    rows = []
    for system in run.systems:
        own = [found[system.name, metric.name] for metric in run.metrics]
        cells = [_cell(metric, each) for metric, each in zip(run.metrics, own, strict=True)]
        cases = max((each.cases for each in own), default=0)
        rows.append({"system": _title(system), "cases": cases or _DASH, "cells": cells})
    return rows


def _of(results: Results, group: str | None) -> list[Number]:
    return [n for n in results.numbers if n.group == group and n.condition is None]


def _cell(metric: Metric, each: Number) -> tuple[str, str]:
    if each.value is None:
        return _DASH, ""
    return number(each.value, metric.digits), _span(metric, each.interval)


def _span(metric: Metric, interval: tuple[float, float] | None) -> str:
    if interval is None:
        return ""
    low, high = (number(end, metric.digits) for end in interval)
    return f"{low} … {high}"


def _published(
    metrics: Sequence[Metric], rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Published rows, where the run has a metric of theirs."""
    if not any(metric.kind in rows[0] for metric in metrics):
        return []
    return [
        {"system": row["system"], "cells": [row.get(metric.kind, _DASH) for metric in metrics]}
        for row in rows
    ]


def _differences(run: RunFolder, results: Results, baseline: str) -> list[dict[str, Any]]:
    found = {(each.system, each.other, each.metric): each for each in results.differences}

    def cell(name: str, metric: Metric) -> dict[str, Any]:
        if (name, baseline, metric.name) in found:
            return _difference(metric, found[name, baseline, metric.name], 1)
        if (baseline, name, metric.name) in found:
            return _difference(metric, found[baseline, name, metric.name], -1)
        return {"value": _DASH}

    return [
        {"system": title, "cells": [cell(name, metric) for metric in run.metrics]}
        for name, title in _titles(run).items()
        if name != baseline
    ]


def _difference(metric: Metric, each: Difference, sign: int) -> dict[str, Any]:
    span = None if each.interval is None else sorted(sign * end for end in each.interval)
    needed = each.cases_needed or 0
    return {
        "value": number(sign * each.value, metric.digits),
        "span": _span(metric, None if span is None else (span[0], span[1])),
        "apart": each.distinguishable,
        "needed": f"{needed:,}" if not each.distinguishable and needed > each.cases else "",
    }


def _plot(results: Results, metric: Metric) -> dict[str, Any]:
    """A dot with its interval for each system of each group, on one scale."""
    groups = list(dict.fromkeys(n.group for n in results.numbers if n.group is not None))
    parts = [*groups] if len(groups) > 1 else [None]
    numbers = [n for part in parts for n in _of(results, part) if n.metric == metric.name]
    ends = [end for n in numbers if n.value is not None for end in (n.value, *(n.interval or ()))]
    low, high = min(ends, default=0.0), max(ends, default=1.0)

    def x(value: float) -> float:
        return round(180 + 160 * (value - low) / ((high - low) or 1.0), 1)

    marks: list[dict[str, Any]] = []
    y = 0
    for part in parts:
        if part is not None:
            y += 22
            marks.append({"head": part, "y": y})
        for each in (n for n in numbers if n.group == part and n.value is not None):
            y += 18
            assert each.value is not None
            start, end = each.interval or (each.value, each.value)
            marks.append(
                {
                    "label": each.system[:26],
                    "y": y,
                    "x": x(each.value),
                    "low": x(start),
                    "high": x(end),
                    "value": number(each.value, metric.digits),
                }
            )
    return {"title": _title(metric), "height": y + 8, "marks": marks}


def _conditions(run: RunFolder, results: Results, metric: Metric) -> dict[str, Any]:
    """A line for each condition; the color is the value's place between the extremes."""
    found = {
        (n.condition, n.system): n.value
        for n in results.numbers
        if n.metric == metric.name and n.condition is not None and n.value is not None
    }
    low, high = min(found.values(), default=0.0), max(found.values(), default=1.0)

    def cell(value: float | None) -> tuple[str, float]:
        if value is None:
            return _DASH, 0.0
        return number(value, metric.digits), round((value - low) / ((high - low) or 1.0), 3)

    names = dict.fromkeys(condition for condition, _ in found)
    return {
        "title": _title(metric),
        "rows": [
            {
                "condition": name,
                "cells": [cell(found.get((name, system.name))) for system in run.systems],
            }
            for name in names
        ],
    }


def _shown(run: RunFolder, baseline: str) -> list[dict[str, Any]]:
    """The best and the worst cases of the baseline, with all videos."""
    for metric in run.metrics:
        values = by_case(run, metric)
        scores = {case: value for (system, case), value in values.items() if system == baseline}
        if not scores:
            continue
        better = -1 if metric.lower_is_better else 1
        order = sorted(scores, key=lambda case: -better * scores[case])
        cases = {case.name: case for case in run.cases}
        count = min(_SHOWN, (len(order) + 1) // 2)
        why = f"By {_title(metric)} of {_titles(run)[baseline]}."
        parts = {"Best cases": order[:count], "Worst cases": order[count:][-count:]}
        return [
            {
                "title": title,
                "why": why,
                "cases": [_case(run, metric, values, cases[name]) for name in names],
            }
            for title, names in parts.items()
            if names
        ]
    return []


def _case(
    run: RunFolder, metric: Metric, values: Mapping[tuple[str, str], float], case: Case
) -> dict[str, Any]:
    """What the page shows of a case, with small copies of its media."""

    def of_system(system: Any) -> dict[str, Any]:
        rows = [
            row
            for row in run.videos
            if (row.system, row.case, row.variant) == (system.name, case.name, "own")
        ]
        file = next((row.file for row in rows if row.error is None), None)
        value = values.get((system.name, case.name))
        return {
            "system": _title(system),
            "video": None if file is None else _video(run.folder / file),
            "value": _DASH if value is None else number(value, metric.digits),
        }

    return {
        "name": case.name,
        "condition": case.condition,
        "reference": _video(case.reference),
        "image": small_image(case.image),
        "videos": [of_system(system) for system in run.systems],
    }


def _video(path: Path) -> str | None:
    try:
        return small_video(path)
    except (MediaError, OSError):
        return None
