"""What the fidelity runs found: a file, a table, two plots, and which points become profiles."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.fidelity_runs import Point
from benchmarks.fidelity_settings import (
    EXACT,
    GUIDANCE,
    LIBRARY,
    REFERENCES,
    STEPS,
    STUDENT,
    TOGETHER,
    Candidate,
)
from benchmarks.svg import Line, Panel, draw
from vap.acceleration.calibration import Calibration, Kind

LEAST_PSNR = {"fast": 30.0, "turbo": 25.0}
"""Of a profile to ``exact``, mean over the cases in dB, and as much over others."""
MOST_LOST = {"fast": 0.02, "turbo": 0.05}
"""Gap closed that a profile may lose."""
_HEAD = (
    *("setting", "denoise s", "speed-up", "whole s", "speed-up"),
    *("PSNR dB (worst)", "elsewhere", "SSIM"),
    *("gap closed, seen", "held out", "lost", "recognized, seen", "held out", "first frame dB"),
)


def as_dict(points: Sequence[Point], chosen: Mapping[str, Candidate]) -> list[dict[str, Any]]:
    """Rows of the JSON file."""
    exact = points[0]
    return [
        {
            **asdict(point),
            "group": chosen[point.name].group,
            "amount": chosen[point.name].amount,
            "step_cache": chosen[point.name].step_cache,
            "settings": asdict(chosen[point.name].settings),
            "seconds": point.seconds,
            "speed_up": exact.seconds / point.seconds,
            "denoise_speed_up": exact.stages["denoise"] / point.stages["denoise"],
            "gap_lost": _lost(exact, point),
        }
        for point in points
    ]


def suits(row: Mapping[str, Any], profile: str) -> bool:
    """Whether a point loses little enough for a profile."""
    close = row["psnr"] >= LEAST_PSNR[profile] and row["gap_lost"] <= MOST_LOST[profile]
    return close and not row["step_cache"]


def choose(
    rows: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """The profiles: of the points that lose little enough, the fastest.

    Args:
        rows: Points on the cases that are timed.
        others: The same on cases that nothing was chosen by; a point that is missing there is
            not chosen.

    Returns:
        Names of rows by profile; a profile that no point suits is left out.
    """
    found = {}
    for profile in MOST_LOST:
        confirmed = {row["name"] for row in others if suits(row, profile)}
        left = [row for row in rows if suits(row, profile) and row["name"] in confirmed]
        best = max(left, key=lambda row: row["speed_up"], default=None)
        if best is not None and best["group"] != EXACT:
            found[profile] = best["name"]
    return found


def calibration(found: Mapping[str, Any], kind: Kind) -> Calibration:
    """The calibration file that a run gives."""
    rows = {row["name"]: row for row in found["rows"]}
    others = {row["name"]: row for row in found["others"]}
    kept = ("denoise_speed_up", "speed_up", "psnr", "ssim", "gap_lost", "gap_closed", "recognized")
    return Calibration.model_validate(
        {
            "kind": kind,
            "settings": {
                profile: rows[name]["settings"] for profile, name in found["profiles"].items()
            },
            "provenance": {
                **found["provenance"],
                "measured": {
                    profile: {
                        "setting": name,
                        **{key: rows[name][key] for key in kept},
                        "psnr_elsewhere": others[name]["psnr"],
                    }
                    for profile, name in found["profiles"].items()
                },
            },
        }
    )


def table(found: Mapping[str, Any]) -> str:
    """Markdown."""
    names = {name: profile for profile, name in found["profiles"].items()}
    elsewhere = {row["name"]: f"{row['psnr']:.1f}" for row in found["others"]}
    lines = ["| " + " | ".join(_HEAD) + " |", "|" + "---|" * len(_HEAD)]
    for row in found["rows"]:
        profile = names.get(row["name"])
        name = f"{row['name']} (**{profile}**)" if profile else row["name"]
        gap, seen = row["gap_closed"], row["recognized"]
        lines.append(
            f"| {name} | {row['stages']['denoise']:.3f} | {row['denoise_speed_up']:.2f}× "
            f"| {row['seconds']:.3f} | {row['speed_up']:.2f}× "
            f"| {row['psnr']:.1f} ({row['worst_psnr']:.1f}) | {elsewhere.get(row['name'], '')} "
            f"| {row['ssim']:.3f} "
            f"| {_number(gap['seen'])} | {_number(gap['heldout'])} | {row['gap_lost']:+.3f} "
            f"| {seen['seen']:.2f} | {seen['heldout']:.2f} | {row['first_frame']:.1f} |"
        )
    return "\n".join(lines)


def plots(found: Mapping[str, Any]) -> str:
    """The front, and the error over the reuse of references, as SVG."""
    rows = found["rows"]
    groups = {group: _of(rows, group) for group in (STEPS, REFERENCES, GUIDANCE, TOGETHER, STUDENT)}
    for row in _of(rows, LIBRARY):
        groups.setdefault(row["step_cache"], []).append(row)
    front = [
        Line(name, [(row["denoise_speed_up"], row["psnr"]) for row in group])
        for name, group in groups.items()
        if group
    ]
    kept = _of(rows, REFERENCES)
    error = Line("to exact", [(row["amount"], _error(row["psnr"])) for row in kept])
    speed = "denoising, times faster"
    left = Panel("Fidelity against speed", speed, "PSNR, dB", front)
    right = Panel("References kept", "run at every k-th step", "error (RMS)", [error])
    return draw([[left, right]])


def write(found: Mapping[str, Any], path: Path) -> None:
    """Write the JSON file."""
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _of(rows: Sequence[Mapping[str, Any]], group: str) -> list[Mapping[str, Any]]:
    chosen = [row for row in rows if row["group"] == group]
    return sorted(chosen, key=lambda row: row["denoise_speed_up"])


def _lost(exact: Point, point: Point) -> float:
    before, after = exact.gap_closed["all"], point.gap_closed["all"]
    assert before is not None
    assert after is not None
    return before - after


def _error(psnr: float) -> float:
    """Root mean square error of values in 0 … 1."""
    return 10 ** (-psnr / 20)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
