"""``vap data``: check, filter, split, pair, summarize, convert, build and show datasets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as Grid

from vap.cli.console import FAILED, reporting
from vap.cli.data_build import build
from vap.cli.data_console import (
    print_counts,
    print_problems,
    print_result,
    progress_bars,
)
from vap.cli.data_options import AsJson, Faulty, OutTable, Root, Seed, Splits, TableFile
from vap.cli.options import App
from vap.data.benchmark import check_benchmark, read_benchmark
from vap.data.check import check_table, load_table
from vap.data.pairing import PairingRules, pair_clips
from vap.data.row_selection import SelectionRules, check_names, filter_table
from vap.data.rows import KNOWN_SPLITS, OnError
from vap.data.split import SplitBy, split_rows
from vap.data.summary import summarize
from vap.data.table import Table, read_table, write_table

app = App(
    name="data",
    help="Check, filter, split, pair, summarize, convert, build and show datasets.",
    epilog="Exit codes: 0 success, 1 check found errors, 2 unusable table or wrong usage.",
    no_args_is_help=True,
)

_CONDITIONS = 200  # that the text of a summary lists


@app.command()
def check(
    table: TableFile,
    root: Root = None,
    allow_split: Annotated[
        list[str] | None, typer.Option(help="Allow this split as well. Repeatable.")
    ] = None,
    benchmark: Annotated[bool, typer.Option(help="The table is a benchmark.")] = False,
    limit: Annotated[
        int, typer.Option(help="Number of errors to print; --json prints all.", min=0)
    ] = 20,
    as_json: AsJson = False,
) -> None:
    """List the errors in a table by row; with --root, also check that the files exist."""
    with reporting(as_json=as_json):
        if benchmark:
            cases = read_benchmark(table, on_error="skip")
            checked = cases if root is None else check_benchmark(cases, root)
            sound, problems = len(checked.cases), checked.problems
        else:
            splits = KNOWN_SPLITS.union(allow_split or ())
            clips = check_table(read_table(table, on_error="skip"), root=root, splits=splits)
            sound, problems = len(clips.rows), clips.problems
        kinds = Counter(str(problem.kind) for problem in problems)
        result = {
            "sound_rows": sound,
            "faults": dict(kinds.most_common()),
            "problems": problems,
        }
        print_result(
            result, as_json, lambda out: print_problems(out, sound, kinds, problems[:limit])
        )
    if problems:
        raise typer.Exit(FAILED)


@app.command("filter")
def filter_command(
    table: TableFile,
    output: OutTable,
    above: Annotated[
        float | None, typer.Option(help="Keep scores above this: 5 for CogVideoX, 10 for Wan.")
    ] = None,
    split: Splits = None,
    condition: Annotated[
        list[str] | None, typer.Option(help="Keep this condition. Repeatable.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="Drop this condition. Repeatable.")
    ] = None,
    at_most: Annotated[
        int | None,
        typer.Option(help="Keep at most this many rows per condition, best scores first."),
    ] = None,
    unusable: Annotated[bool, typer.Option(help="Keep rows with _valid ≤ 0.")] = False,
    root: Root = None,
    on_error: Faulty = "refuse",
    as_json: AsJson = False,
) -> None:
    """Write the rows that match; drop references to removed rows."""
    with reporting(as_json=as_json):
        rules = SelectionRules(
            above=above,
            splits=frozenset(split) if split else None,
            conditions=frozenset(condition) if condition else None,
            without=frozenset(without or ()),
            at_most=at_most,
            unusable=unusable,
        )
        loaded = _load(table, root, on_error)
        check_names("--split", split or (), (row.split for row in loaded.rows))
        for option, names in (("--condition", condition), ("--without", without)):
            check_names(option, names or (), (row.condition for row in loaded.rows))
        kept, gone = filter_table(loaded, rules)
        write_table(kept, output)
        result = {"rows": len(kept.rows), "gone": gone, "skipped": _skipped(loaded)}
        print_counts({**result, "written": str(output)}, as_json)


@app.command()
def split(
    table: TableFile,
    output: OutTable,
    share: Annotated[
        list[str], typer.Option(help="Share of a split, such as test=0.1; train takes the rest.")
    ],
    by: Annotated[
        SplitBy, typer.Option(help="Split the clips of each condition, or assign whole conditions.")
    ] = "clip",
    seed: Seed = 0,
    on_error: Faulty = "refuse",
    as_json: AsJson = False,
) -> None:
    """Assign each row to a split by the hash of its path or condition."""
    with reporting(as_json=as_json):
        loaded = _load(table, None, on_error)
        rows = split_rows(loaded.rows, _shares(share), by=by, seed=seed)
        write_table(replace(loaded, rows=rows), output)
        counts = dict(sorted(Counter(row.split for row in rows).items()))
        result = {"rows": len(rows), "splits": counts, "skipped": _skipped(loaded)}
        print_counts({**result, "written": str(output)}, as_json)


@app.command()
def pair(
    table: TableFile,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The .jsonl file to write.")
    ],
    preferences: Annotated[
        bool, typer.Option(help="Write preference pairs (winner, loser) for DPO instead.")
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(help="Use scores above this: 5 (default) for CogVideoX, 10 for Wan."),
    ] = None,
    split: Splits = None,
    references: Annotated[
        int | None, typer.Option(help="Most references per sample. Default: 1.")
    ] = None,
    reference_drop: Annotated[
        float | None,
        typer.Option(help="Probability of dropping each reference after the first. Default: 0."),
    ] = None,
    caption_drop: Annotated[
        float | None,
        typer.Option(help="Probability of emptying a sample's captions. Default: 0."),
    ] = None,
    epoch: Annotated[int, typer.Option(help="Number of the epoch.", min=0)] = 0,
    seed: Seed = 0,
    root: Root = None,
    on_error: Faulty = "skip",
    as_json: AsJson = False,
) -> None:
    """Write the training samples of one epoch: targets with references, or preference pairs."""
    with reporting(as_json=as_json):
        from vap.data.exports import write_preferences, write_samples
        from vap.data.preferences import PreferenceRules, mine_preferences

        _check_suffix(output, ".jsonl")
        loaded = _load(table, root, on_error)
        check_names("--split", split or (), (row.split for row in loaded.rows))
        rows, splits = loaded.rows, frozenset(split or ("train",))
        given: dict[str, Any] = {
            "threshold": threshold,
            "references": references,
            "reference_drop": reference_drop,
            "caption_drop": caption_drop,
        }
        given = {name: value for name, value in given.items() if value is not None}
        if preferences:
            _refuse_pairing_options(given)
            pairs = mine_preferences(rows, PreferenceRules(splits=splits, seed=seed), epoch=epoch)
            result: dict[str, Any] = {"pairs": write_preferences(pairs, output)}
        else:
            rules = PairingRules(splits=splits, seed=seed, **given)
            pairing = pair_clips(rows, rules)
            drawn = (pairing.draw(index, epoch) for index in range(len(pairing)))
            result = {
                "samples": write_samples(drawn, output),
                "borrowed_references": pairing.borrowed,
                "gone": pairing.gone,
            }
        print_counts({**result, "skipped": _skipped(loaded), "written": str(output)}, as_json)


@app.command()
def summary(table: TableFile, on_error: Faulty = "skip", as_json: AsJson = False) -> None:
    """Count clips, splits, scores and references, in total and per condition."""
    with reporting(as_json=as_json):
        loaded = _load(table, None, on_error)
        counted = summarize(loaded.rows)
        whole = {name: value for name, value in asdict(counted).items() if name != "conditions"}
        whole["faults"] = len(loaded.problems)

        def show_grid(out: Console) -> None:
            print_counts(whole, as_json=False)
            grid = Grid("condition", "clips", "mean score", "without reference", "splits")
            for one in counted.conditions[:_CONDITIONS]:
                splits = ", ".join(f"{name} {count}" for name, count in one.splits.items())
                cells = (one.name, str(one.clips), f"{one.mean_score:.1f}")
                grid.add_row(*cells, str(one.without_reference), splits)
            out.print(grid)
            if (more := len(counted.conditions) - _CONDITIONS) > 0:
                out.print(f"… and {more} more; --json lists them")

        print_result({**asdict(counted), "faults": len(loaded.problems)}, as_json, show_grid)


@app.command()
def convert(
    table: TableFile, output: OutTable, on_error: Faulty = "refuse", as_json: AsJson = False
) -> None:
    """Convert a table to CSV or Parquet by suffix; only unreadable rows are errors."""
    with reporting(as_json=as_json):
        read = read_table(table, on_error=on_error)
        write_table(read, output)
        skipped = len(read.problems)
        print_counts({"rows": len(read.rows), "skipped": skipped, "written": str(output)}, as_json)


app.command()(build)


@app.command()
def show(
    table: TableFile,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The .html page to write.")
    ],
    root: Annotated[
        Path | None,
        typer.Option(help="Folder that the paths are relative to. Default: the table's folder."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Heading. Default: the table's name.")] = None,
    per_condition: Annotated[int, typer.Option(help="Clips to show per condition.", min=1)] = 5,
    embed: Annotated[
        bool, typer.Option(help="Embed small previews instead of linking the clips.")
    ] = False,
    on_error: Faulty = "skip",
    as_json: AsJson = False,
) -> None:
    """Write an HTML page about a dataset: conditions, scores and sample videos."""
    from vap.data.dataset_page import write_page

    with reporting(as_json=as_json):
        _check_suffix(output, ".html")
        loaded = _load(table, None, on_error)
        with progress_bars() as progress:
            shown = write_page(
                loaded.rows,
                output,
                root=table.parent if root is None else root,
                title=table.stem if title is None else title,
                per_condition=per_condition,
                samples="embedded" if embed else "linked",
                progress=progress,
            )
        result = {"rows": len(loaded.rows), "skipped": _skipped(loaded), **asdict(shown)}
        print_counts({**result, "written": str(output)}, as_json)


def _check_suffix(out: Path, suffix: str) -> None:
    """Refuse another format, and so the table itself, before anything is read."""
    if out.suffix.lower() != suffix:
        raise ValueError(f"{out} has the wrong suffix: it must end in {suffix}.")


def _load(table: Path, root: Path | None, on_error: OnError) -> Table:
    """A checked table; the command checks its splits."""
    return load_table(table, root=root, splits=None, on_error=on_error)


def _skipped(table: Table) -> int:
    """Rows that were left out for their faults."""
    return len({problem.row for problem in table.problems if problem.drops_row})


def _refuse_pairing_options(given: Mapping[str, object]) -> None:
    """Preferences are mined from the scores of whole conditions: what makes samples is not read."""
    if given:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(
            f"--preferences reads no {named}. Leave it out, or leave out --preferences."
        )


def _shares(texts: Sequence[str]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for text in texts:
        name, _, share = text.partition("=")
        if name in shares:
            raise ValueError(f"--share {text!r}: {name} has a share already. Give each split once.")
        try:
            shares[name] = float(share)
        except ValueError as error:
            raise ValueError(
                f"--share {text!r} is not a name and a number: write, for example, test=0.1."
            ) from error
    return shares
