"""How a run begins, and what it says where it cannot go on."""

import multiprocessing
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs

from tests.ranks import gloo_rank
from vap.training import trainer
from vap.training.recipe import parse_recipe


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
        trainer.train(SimpleNamespace(validate_every=every), recipe)

    waits = [each for each in told["kwargs_handlers"] if isinstance(each, InitProcessGroupKwargs)]
    assert bool(waits) == bool(every)
    assert all(each.timeout >= timedelta(hours=1) for each in waits)


def one_with_a_bad_loss(rank: int, rendezvous: Path) -> None:
    """Be one of two processes, of which the second has the bad loss; write what is said."""
    import os

    os.environ["LOCAL_RANK"] = str(rank)
    with gloo_rank(rank, 2, rendezvous):
        batch = SimpleNamespace(names=(f"clip-of-{rank}.mp4",))
        loss = torch.tensor((0.25, float("nan"))[rank])
        try:
            trainer.check_finite(Accelerator(cpu=True), loss, batch, 7)
        except FloatingPointError as error:
            (rendezvous.parent / f"said-{rank}").write_text(str(error), encoding="utf-8")


def test_every_process_names_the_one_whose_loss_is_not_finite_and_its_clip(tmp_path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vap.training.trainer"])
    processes = [
        context.Process(target=one_with_a_bad_loss, args=(rank, tmp_path / "meet"))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    expected = "The loss is nan at step 7 in process 1 on clip-of-1.mp4; no weight was changed."
    for rank in range(2):
        assert (tmp_path / f"said-{rank}").read_text(encoding="utf-8") == expected
