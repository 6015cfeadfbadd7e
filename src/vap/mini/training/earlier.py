"""What one stage leaves for the next."""

from __future__ import annotations

from pathlib import Path


def output_of(stage: str, folder: Path) -> Path:
    """The folder that an earlier stage wrote.

    Without this check, a missing folder would be looked up as a name on a model hub.

    Args:
        stage: Name of the earlier stage.
        folder: Where the recipe says that its output is.

    Raises:
        FileNotFoundError: If the folder does not exist.
    """
    if not folder.is_dir():
        message = (
            f"There is no folder {str(folder)!r}. Run the recipe's {stage} stage first, from the "
            "same working directory, or give the folder that it wrote."
        )
        raise FileNotFoundError(message)
    return folder
