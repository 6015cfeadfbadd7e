"""Tables of docs/performance.md from the files that runs wrote, so that no figure is typed.

``python -m benchmarks.page`` renders every table again. In the page a table stands between
``<!-- table: NAME -->`` and ``<!-- end of table -->``; NAME is a file of ``benchmarks/results``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import torch_versions
from benchmarks.systems import ROOT

PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "benchmarks" / "results"
_TABLE = re.compile(
    r"(?P<begin><!-- table: (?P<name>[\w.-]+) -->\n).*?(?P<end><!-- end of table -->)", re.DOTALL
)
_MEBIBYTE, _TERA = 1 << 20, 1e12
_RUN_HEAD = (
    *("system", "precision", "seconds (range)", "encode", "denoise", "decode", "speed-up"),
    *("processor s", "speed-up by it", "of denoising", "peak MiB", "of ceiling", "error"),
)
_CURVE_HEAD = (
    "over",
    "amounts",
    "denoising s",
    "exponent",
    "peak MiB",
    "exponent",
    "operations: exponent",
)


def rendered(page: str, results: Path) -> str:
    """The page with its tables made again.

    Args:
        page: Markdown.
        results: Folder of the files.

    Raises:
        FileNotFoundError: If a file that the page names is missing.
    """

    def table(found: re.Match[str]) -> str:
        content = json.loads((results / found["name"]).read_text())
        lines = _curves(content) if "exponents" in content else _run(content)
        return f"{found['begin']}{lines}\n{found['end']}"

    return _TABLE.sub(table, page)


def main() -> None:
    """Rewrite the page."""
    PAGE.write_text(rendered(PAGE.read_text(), RESULTS))


def _run(found: dict[str, Any]) -> str:
    """Rows of a run, the prediction below each precision's."""
    rows = []
    reference = found["rows"][0]["processor_stages"]["denoise"]
    for row in found["rows"]:
        low, high = row["spread"]
        rows.append(
            (
                row["system"],
                row["dtype"],
                f"{row['seconds']:.1f} ({low:.1f} – {high:.1f})",
                *(f"{seconds:.1f}" for seconds in row["stages"].values()),
                f"{row['speed_up']:.2f}×",
                f"{row['processor_seconds']:.1f}",
                f"{row['processor_speed_up']:.2f}×",
                f"{reference / row['processor_stages']['denoise']:.2f}×",
                f"{row['peak_memory_bytes'] / _MEBIBYTE:,.0f}",
                f"{row['ceiling_share']:.0%}",
                f"{row['relative_error']:.1e}" if row["relative_error"] else "–",
            )
        )
        expected = row["predicted"]
        if expected is not None:
            stages = (f"{seconds:.1f}" for seconds in expected["stages"].values())
            peak = f"{expected['peak_memory_bytes'] / _MEBIBYTE:,.0f}"
            name = f"*{row['system']}, predicted*"
            rest = ("", "", "", "", peak, "", "")
            rows.append((name, row["dtype"], f"{expected['seconds']:.1f}", *stages, *rest))
    ceilings = found["ceiling_flop_per_second"].items()
    rates = ", ".join(f"{rate / _TERA:.2f} TFLOP/s in {dtype}" for dtype, rate in ceilings)
    machine = found["machine"]
    below = (
        f"{found['steps']} steps, {found['tokens']:,} tokens a stream, "
        f"{found['flop'] / _TERA:.2f} TFLOP; runs of each: {found['repeats']}, on "
        f"{machine['device']} ({machine['cores']} cores, {found['threads']} used), "
        f"torch {torch_versions(found['rows'], machine.get('torch', ''))}; ceiling {rates}."
    )
    return f"{_markdown(_RUN_HEAD, rows)}\n\n{below}"


def _curves(found: dict[str, Any]) -> str:
    """A row an axis: amounts, what they took, exponents."""
    rows = []
    for axis, exponents in found["exponents"].items():
        points = [point for point in found["points"] if point["axis"] == axis]
        peaks = (f"{point['peak_memory_bytes'] / _MEBIBYTE:,.0f}" for point in points)
        rows.append(
            (
                axis,
                ", ".join(f"{point['work']:,}" for point in points),
                ", ".join(f"{point['denoise']:.1f}" for point in points),
                f"{exponents['denoise']:.2f}",
                ", ".join(peaks),
                f"{exponents['peak_memory_bytes']:.2f}",
                f"{exponents['flop']:.2f}",
            )
        )
    return _markdown(_CURVE_HEAD, rows)


def _markdown(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
