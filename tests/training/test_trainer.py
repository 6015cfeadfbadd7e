"""How a run begins."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from accelerate.utils import InitProcessGroupKwargs

from vap.training import trainer
from vap.training.config import parse_recipe


class Begun(Exception):  # noqa: N818 - ends the run on purpose
    pass


@pytest.mark.parametrize("every", [0, 100])
def test_processes_wait_for_hours_where_one_of_them_generates(every, tmp_path, monkeypatch):
    recipe = parse_recipe(
        {"stage": "vae", "output": str(tmp_path), "loop": {"steps": 1, "batch_size": 1}}
    )
    told = {}

    def accelerator(**arguments):
        told.update(arguments)
        raise Begun

    monkeypatch.setattr(trainer, "Accelerator", accelerator)
    with pytest.raises(Begun):
        trainer.train(SimpleNamespace(validate_every=every), recipe, recipe.loop, recipe.optimizer)

    waits = [each for each in told["kwargs_handlers"] if isinstance(each, InitProcessGroupKwargs)]
    assert bool(waits) == bool(every)
    assert all(each.timeout >= timedelta(hours=1) for each in waits)
