"""JSON files that appear whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vap.files.atomic import atomic_file


def write_json(path: Path, value: Any) -> None:
    """Write plain values, whole or not at all."""
    with atomic_file(path) as temporary:
        text = json.dumps(value, indent=2, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
