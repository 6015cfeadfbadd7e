"""Stands in for the package of this name: what is red is not safe for work."""

from types import SimpleNamespace
from typing import Any

import numpy as np


class NSFWClassifier:
    """Scores an image by its color."""

    def __init__(self, *, providers: list[str], intra_op_num_threads: int) -> None:
        assert providers == ["CPUExecutionProvider"]
        assert intra_op_num_threads == 1

    def classify(self, image: Any) -> SimpleNamespace:
        red, green, _ = np.asarray(image).reshape(-1, 3).mean(0) / 255
        return SimpleNamespace(nsfw=max(0.0, red - green))
