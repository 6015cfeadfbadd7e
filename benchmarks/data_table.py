"""Seconds to write, read, check, pair and draw a VAP-Data table of 100K rows.

Run: ``python benchmarks/data_table.py [--rows 100000] [--files]``
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from vap.data.check import check_table
from vap.data.pairing import PairingRules, pair_clips
from vap.data.preferences import PreferenceRules, mine_preferences
from vap.data.rows import ClipRow
from vap.data.table import Table, read_table, write_table

Result = TypeVar("Result")


def timed(what: str, work: Callable[[], Result]) -> Result:
    """Do the work and print how long it took."""
    start = time.perf_counter()
    result = work()
    print(f"{what:42} {time.perf_counter() - start:6.2f} s")
    return result


def made_table(rows: int) -> Table:
    """A table like the published one: 100 conditions, ten references and 900 characters a row."""
    rng = random.Random(0)  # noqa: S311  (made data)
    conditions = [f"condition_{index:03}" for index in range(100)]
    per_condition = rows // len(conditions)
    paths = {
        name: [f"vfx_videos/{name}/{i:06}.mp4" for i in range(per_condition)] for name in conditions
    }
    words = ("a", "woman", "in", "red", "slowly", "dissolves", "into", "glowing", "particles,")

    def caption() -> str:
        return " ".join(rng.choices(words, k=150))

    return Table(
        tuple(
            ClipRow(
                video=path,
                references=tuple(rng.sample(paths[name], min(10, per_condition))),
                caption=caption(),
                condition=name,
                split="train",
                score=float(rng.choice((0, 5, 20, 60, 85, 90, 95, 100))),
            )
            for name in conditions
            for path in paths[name]
        )
    )


def arrow_csv_rows(path: Path) -> int:
    """The alternative to the standard library's reader: pyarrow's, as Python objects."""
    from pyarrow import csv

    parsed = csv.read_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True))
    return len(list(zip(*(column.to_pylist() for column in parsed.columns), strict=True)))


def plain_csv_rows(path: Path) -> int:
    """The standard library's reader alone."""
    import csv

    with path.open(encoding="utf-8-sig", newline="") as file:
        return len(list(csv.reader(file, strict=True)))


def main() -> None:
    """Time every step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--files", action="store_true", help="also look for every file on disk")
    options = parser.parse_args()
    made = made_table(options.rows)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        csv_path, parquet_path = root / "vap_data.csv", root / "vap_data.parquet"
        timed("write CSV", lambda: write_table(made, csv_path))
        timed("write Parquet", lambda: write_table(made, parquet_path))
        sizes = [path.stat().st_size >> 20 for path in (csv_path, parquet_path)]
        print(f"{'sizes':42} {sizes[0]} and {sizes[1]} MiB")
        timed("  csv module alone", lambda: plain_csv_rows(csv_path))
        timed("  pyarrow.csv alone", lambda: arrow_csv_rows(csv_path))
        table = timed("read CSV", lambda: read_table(csv_path))
        assert timed("read Parquet", lambda: read_table(parquet_path)) == table
        sound = timed("check", lambda: check_table(table))
        if options.files:
            for row in table.rows:
                (root / row.video).parent.mkdir(parents=True, exist_ok=True)
                (root / row.video).touch()
            timed("check, with every file on disk", lambda: check_table(table, root=root))
        pairing = timed("pair", lambda: pair_clips(sound.rows, PairingRules(references=3)))
        timed("draw one epoch", lambda: [pairing.draw(index) for index in range(len(pairing))])
        timed("mine preferences", lambda: mine_preferences(sound.rows, PreferenceRules()))


if __name__ == "__main__":
    main()
