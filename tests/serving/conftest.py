import pytest

from vap.serving.jobs.queue import Jobs
from vap.serving.settings import Settings


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(data=tmp_path / "data")


@pytest.fixture
def queue(settings) -> Jobs:
    jobs = Jobs(settings)
    yield jobs
    jobs.database.close()
