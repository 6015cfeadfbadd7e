"""``vap train``: run one stage of a training recipe."""

from __future__ import annotations

import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vap.cli import options
from vap.cli.console import quiet_libraries, reporting, results, show_json
from vap.process import is_first

if TYPE_CHECKING:
    from vap.training.sections import Recipe

_MEMORY_ADVICE = (
    "Lower loop.batch_size, set model.gradient_checkpointing to true or model.weights to bfloat16, "
    "or shard the weights over several accelerators with run.sharding. For the stages sft, dpo "
    "and distill, --dry-run predicts the memory."
)


class _AboveTheBar(logging.Handler):
    """Write to the current standard error, which a progress bar may replace."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{self.format(record)}\n")


def train(
    recipe: Annotated[
        Path,
        typer.Argument(
            help="YAML file of the stage, or the name of a packaged recipe such as wan-14b/expert.",
            show_default=False,
        ),
    ],
    override: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value: --set loop.steps=100. Repeatable."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check the recipe and print parameters, memory, steps and time, without training.",
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Stop with an error if there is no checkpoint to continue from."
        ),
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Run a training recipe. After an interruption, run again to continue."""
    with reporting(as_json=as_json and is_first(), memory_advice=_MEMORY_ADVICE):
        from vap.training.recipe import load_recipe
        from vap.training.stages import run_recipe

        quiet_libraries()
        logging.basicConfig(
            level=logging.INFO, format="%(asctime)s %(message)s", handlers=[_AboveTheBar()]
        )
        checked = load_recipe(recipe, tuple(override or ()))
        if dry_run:
            _show_plan(checked, as_json=as_json)
            return
        if resume:
            _require_checkpoint(checked.output)
        output = run_recipe(checked)
        if not is_first():
            return
        if as_json:
            show_json({"output": str(output)})
        else:
            results.print(f"wrote {output}", soft_wrap=True)


def _show_plan(recipe: Recipe, *, as_json: bool) -> None:
    from vap.training.checks import problems_of
    from vap.training.run_plan import plan_run
    from vap.training.tuning_config import TuningStage

    if not isinstance(recipe, TuningStage):
        raise ValueError(
            f"--dry-run plans the stages sft, dpo and distill; this recipe's is {recipe.stage}."
        )
    problems = problems_of(recipe)
    wrong = [problem for problem in problems if not isinstance(problem, FileNotFoundError)]
    if wrong:
        said = "\n".join(f"  {problem}" for problem in problems)
        raise ValueError(f"This recipe has errors:\n{said}")
    plan = plan_run(recipe)
    if as_json:
        missing = [str(problem) for problem in problems]
        show_json({**asdict(plan), "memory": plan.memory, "fits": plan.fits, "missing": missing})
        return
    results.print("\n".join(plan.lines()), soft_wrap=True)
    for problem in problems:
        results.print(f"missing     {problem}", soft_wrap=True)


def _require_checkpoint(output: Path) -> None:
    if not any((output / name).is_dir() for name in ("checkpoint", "checkpoint.previous")):
        raise FileNotFoundError(
            f"There is no checkpoint in {output}. To start a new run, leave out --resume."
        )
