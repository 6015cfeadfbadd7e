"""What one stage leaves for the next."""

from __future__ import annotations

from pathlib import Path


def output_of(stage: str, folder: Path) -> Path:
    """The folder that an earlier stage wrote.

    Without this check, a missing folder would be looked up as a name on a model hub.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"There is no folder {str(folder)!r}. Run the recipe's {stage} stage first, from the "
            "same working directory, or give the folder that it wrote."
        )
    return folder
