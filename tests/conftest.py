import pytest
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging


@pytest.fixture(scope="session", autouse=True)
def quiet_loading() -> None:
    """No progress bars of weights being read between the results."""
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
