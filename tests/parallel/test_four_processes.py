"""Four processes in combined meshes give one process's result."""

from pathlib import Path
from typing import Any

import pytest

from tests.parallel.test_two_processes import CLOSE, attention_error, pipeline_errors
from tests.parallel.together import found_together
from vap.parallel import Mesh


def check() -> dict[str, Any]:
    both_ways = attention_error(Mesh(ring=2, ulysses=2))
    return {"attention": both_ways, **pipeline_errors("wan", ("guidance=2,ring=2",))}


@pytest.mark.slow
def test_ring_of_exchanges_and_guidance_apart(tmp_path: Path) -> None:
    for place, rank in enumerate(found_together(check, 4, tmp_path)):
        forwards = rank.pop("wan guidance=2,ring=2 forwards")
        assert forwards.pop("three passes") == (2 if place < 2 else 1)
        assert set(forwards.values()) == {1}
        assert rank.pop("wan guidance=2,ring=2 sent")["exchanged"] == 0
        assert len(rank) == 6
        assert max(rank.values()) < CLOSE
