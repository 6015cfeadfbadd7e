import os
from pathlib import Path

# Before torch is imported, here and in every process that a test starts: tests run side by side,
# and threads of each that share the cores cost more than they bring.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("VAP_CAPTIONER", None)
os.environ["XDG_CACHE_HOME"] = str(Path(__file__).parents[1] / ".pytest_cache" / "home")

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
