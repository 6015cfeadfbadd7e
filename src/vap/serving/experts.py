"""Expert files as the service sees them: by their headers, without torch."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open


def expert_blocks(file: Path) -> list[int]:
    """Return the blocks of the backbone that an expert file is coupled to.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no expert file.
    """
    try:
        with safe_open(file, framework="numpy") as stored:
            header = stored.metadata() or {}
        blocks: list[int] = json.loads(header["depths"])
    except FileNotFoundError:
        raise FileNotFoundError(
            f"There is no expert file {file}. Correct the setting experts."
        ) from None
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(
            f"{file} is no expert file. Save one with save_expert or `vap expert extract`."
        ) from error
    return blocks
