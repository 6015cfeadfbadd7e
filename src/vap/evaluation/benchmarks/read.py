"""Read a benchmark, whatever form it has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from vap.data.table_files import SUFFIXES
from vap.effects.manifest import MANIFEST
from vap.evaluation.benchmarks.base import Benchmark
from vap.evaluation.benchmarks.packs import read_packs
from vap.evaluation.benchmarks.table import read_cases
from vap.files.names import did_you_mean

Progress = Callable[[int, int], None]

SYNTH = {"synth": False, "synth-drawn": True}
"""Names of the benchmarks that VAP-Synth renders, and whether theirs is the drawn world."""


def read_benchmark(
    name_or_path: str,
    *,
    folder: Path,
    cases: int | None = None,
    conditions: Sequence[str] = (),
    seed: int | None = None,
    root: Path | None = None,
    progress: Progress | None = None,
) -> Benchmark:
    """Read or render a benchmark.

    Args:
        name_or_path: ``synth`` or ``synth-drawn``; a table with the columns of VAP-Data's
            ``benchmark.csv``; an effect pack (``manifest.yaml``) or a folder of such packs.
        folder: Of the run; rendered cases are written to ``folder/benchmark``.
        cases: Use only so many; all by default, 24 of VAP-Synth.
        conditions: Use only cases of these.
        seed: Of VAP-Synth: another seed, other cases.
        root: Folder that the paths of a table start at; the table's own by default.
        progress: Told how many cases are rendered, of how many.

    Raises:
        FileNotFoundError: If there is no such benchmark, or some of its media are missing.
        ValueError: If it cannot be read; the message names the row or file.
    """
    if cases is not None and cases < 1:
        raise ValueError(f"cases={cases}: at least one case is needed.")
    if name_or_path in SYNTH:
        from vap.evaluation.benchmarks.synth import SEED, render_benchmark

        seed = SEED if seed is None else seed
        return render_benchmark(
            folder / "benchmark",
            cases,
            conditions=conditions,
            seed=seed,
            drawn=SYNTH[name_or_path],
            progress=progress,
        )
    if seed is not None:
        raise ValueError(f"seed={seed} draws the cases of VAP-Synth; {name_or_path} has its own.")
    path = Path(name_or_path)
    if path.suffix.lower() in SUFFIXES:
        return read_cases(
            path, folder=folder / "benchmark", root=root, cases=cases, conditions=conditions
        )
    if path.is_dir():
        return read_packs(path, cases=cases, conditions=conditions)
    raise FileNotFoundError(
        f"There is no benchmark {name_or_path!r}.{did_you_mean(name_or_path, SYNTH)} Give 'synth', "
        f"'synth-drawn', a .csv or .parquet table, a folder with {MANIFEST}, or a folder of such "
        "folders."
    )
