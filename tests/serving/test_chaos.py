"""The full size: VAP_CHAOS=200,20,3,20,600 pytest tests/serving/test_chaos.py"""

from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.serving.chaos import Scale, free_port, run_chaos, scale_of
from tests.serving.postgresql import postgresql
from vap.serving.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
STANDARD = Scale(jobs=40, clients=4, workers=3, kills=6, seconds=90)


@contextmanager
def sqlite(tmp_path):
    yield f"sqlite:///{tmp_path / 'jobs.sqlite'}"


@pytest.mark.parametrize("database", ["postgresql", "sqlite"])
def test_all_jobs_end_exactly_once_while_service_and_workers_are_killed(
    database, tmp_path, samples
):
    scale = scale_of(STANDARD)
    if database == "sqlite":
        scale = replace(scale, workers=1)
    with postgresql() if database == "postgresql" else sqlite(tmp_path) as url:
        settings = Settings(
            data=tmp_path,
            database=url,
            port=free_port(),
            lease_seconds=3,
            requests_per_minute=0,
            max_queued_per_key=1000,
            allow_private_addresses=True,
        )
        numbers = run_chaos(settings, scale, samples.image)
    assert numbers["completed"] > scale.jobs / 2
    assert numbers["canceled"]
    assert numbers["restarted"]
