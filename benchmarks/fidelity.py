"""Speed and fidelity of the profiles' settings, measured together; and the profiles chosen by it.

``python -m benchmarks.fidelity --model vap-mini --name vap-mini`` measures, and writes
``benchmarks/results/fidelity-vap-mini.json``, the plots and, with ``--calibrate``, the calibration
that ``fast`` and ``turbo`` read. ``--page`` alone renders docs/profiles.md again.
"""

from __future__ import annotations

import argparse
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.page import rendered as with_runs
from vap.devices import has_fast_half

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "profiles.md"
IMAGES = ROOT / "docs" / "images"
_TABLE = re.compile(
    r"(?P<begin><!-- fidelity: (?P<name>[\w.-]+) -->\n).*?(?P<end><!-- end of table -->)", re.DOTALL
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, or render the page."""
    options = _parser().parse_args(arguments)
    if not options.page:
        _run(options)
    if PAGE.is_file():
        # Tables of whole runs as on the page of performance, and ours.
        page = with_runs(PAGE.read_text(encoding="utf-8"), RESULTS)
        PAGE.write_text(rendered(page, RESULTS), encoding="utf-8")
    return 0


def rendered(page: str, results: Path) -> str:
    """A page with its tables made again.

    Args:
        page: Markdown.
        results: Folder of the files.

    Raises:
        FileNotFoundError: If a file that the page names is missing.
    """
    import json

    from benchmarks.fidelity_report import table

    def replaced(found: re.Match[str]) -> str:
        content = json.loads((results / f"fidelity-{found['name']}.json").read_text("utf-8"))
        return f"{found['begin']}{table(content)}\n{found['end']}"

    return _TABLE.sub(replaced, page)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fidelity", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--model", default="vap-mini", help="name or folder of a Wan model")
    parser.add_argument("--name", default="vap-mini", help="of the files that are written")
    half = has_fast_half(torch.device("cpu"))
    parser.add_argument(
        "--dtype",
        default="bfloat16" if half else "float32",
        help="of all settings (default: bfloat16, and float32 on a processor without it)",
    )
    parser.add_argument("--cases", type=int, default=48, help="of vap eval mini (default: 48)")
    parser.add_argument(
        "--others",
        type=int,
        default=48,
        help="cases of the next seed, on which a profile must hold as well (default: 48)",
    )
    parser.add_argument("--seed", type=int, default=2026, help="of the cases (default: 2026)")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs (default: 5)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: 1)")
    parser.add_argument("--calibrate", action="store_true", help="write the calibration as well")
    parser.add_argument("--page", action="store_true", help="only render docs/profiles.md")
    return parser


def _run(options: argparse.Namespace) -> None:
    import torch

    from benchmarks.fidelity_report import (
        MOST_LOST,
        as_dict,
        calibration,
        choose,
        plots,
        suits,
        write,
    )
    from benchmarks.fidelity_runs import measure
    from benchmarks.fidelity_settings import candidates
    from benchmarks.quiet import silence_loading
    from vap.acceleration.calibration import FOLDER, Kind
    from vap.acceleration.student import own_student
    from vap.loading.pipeline import load_pipeline

    silence_loading()
    torch.set_num_threads(options.threads)
    model = load_pipeline(options.model, dtype=options.dtype, device="cpu")
    kind = Kind.of(model)
    chosen = candidates(kind.steps, guided=kind.guided, student=own_student(model).is_dir())
    points = measure(
        model, chosen, cases=options.cases, seed=options.seed, repeats=options.repeats, tell=_tell
    )
    rows = as_dict(points, chosen)
    # The exact profile is among them, and first: it loses nothing to itself.
    able = [row["name"] for row in rows if any(suits(row, profile) for profile in MOST_LOST)]
    elsewhere = measure(
        model,
        {name: chosen[name] for name in able},
        cases=options.others,
        seed=options.seed + 1,
        repeats=1,
        tell=_tell,
    )
    others = as_dict(elsewhere, chosen)
    found: dict[str, Any] = {
        "provenance": _provenance(options),
        "profiles": choose(rows, others),
        "rows": rows,
        "others": others,
    }
    RESULTS.mkdir(exist_ok=True)
    write(found, RESULTS / f"fidelity-{options.name}.json")
    (IMAGES / f"fidelity-{options.name}.svg").write_text(plots(found), encoding="utf-8")
    if options.calibrate:
        text = calibration(found, kind).model_dump_json(indent=1)
        (FOLDER / f"{options.name}.json").write_text(text + "\n", encoding="utf-8")


def _provenance(options: argparse.Namespace) -> Mapping[str, Any]:
    """What the numbers depend on."""
    import torch

    from benchmarks.report import describe_machine
    from vap.files.names import resolve_folder
    from vap.files.weights import weights_hash

    return {
        "model": Path(options.model).name,
        "weights": weights_hash(resolve_folder(options.model))[:16],
        "dtype": options.dtype,
        "cases": options.cases,
        "others": options.others,
        "seed": options.seed,
        "repeats": options.repeats,
        "threads": options.threads,
        "system": platform.system(),
        **describe_machine(torch.device("cpu")),
    }


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
