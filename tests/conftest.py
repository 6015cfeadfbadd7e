import hypothesis
import pytest
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

# A busy machine is no failure: examples may take as long as they like.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


@pytest.fixture(scope="session", autouse=True)
def quiet_loading() -> None:
    """No progress bars of weights being read between the results."""
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
