"""What makes a run itself: a recipe that differs in it does not continue its checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vap.files.shared import EXPERT_FILE
from vap.files.weights import LORA_FILE
from vap.training.sections import Section

Identity = dict[str, Any]
"""Values of a recipe by their dotted keys, such as ``loop.seed``."""

# Where a run computes, writes and reports.
_LEFT_OUT: Any = {
    "output": True,
    "validation": True,
    "hardware": True,
    "run": {"sharding", "shard", "context", "trackers", "project"},
    "loop": {"stop", "math_attention", "compile", "threads", "log_every", "checkpoint_every"},
}
_SHOWN = 5


def identity_of(recipe: Section) -> Identity:
    """Everything of a recipe but where it computes, writes and reports."""
    return dict(_flat(recipe.model_dump(mode="json", exclude=_LEFT_OUT)))


def check_continues(output: Path, before: Identity, now: Identity) -> None:
    """Refuse a recipe that would not continue the run of an output folder.

    More or fewer steps of a constant schedule change nothing about those that were taken.
    """
    differing = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    if now.get("optimizer.schedule") == "constant" and "loop.steps" in differing:
        differing.remove("loop.steps")
    if not differing:
        return
    changes = [f"{key} was {before.get(key)!r} and is {now.get(key)!r}" for key in differing]
    more = f"; and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    raise ValueError(
        f"The run in {output} was started with another recipe: "
        f"{'; '.join(changes[:_SHOWN])}{more}. "
        f"Restore these values, or set output to a new folder and {_way_on(output)}."
    )


def _way_on(output: Path) -> str:
    for key, file in (("model.expert", EXPERT_FILE), ("model.lora", LORA_FILE)):
        if (output / file).is_file():
            return f"continue from {key}={output / file}"
    return "start from its files there (with model.expert, model.lora or start)"


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
