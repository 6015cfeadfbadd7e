"""A client for the local server."""

from functools import partial

import httpx2
import pytest


@pytest.fixture(scope="session", autouse=True)
def no_certificates():
    """Clients that do not read the certificates of the machine, which takes most of their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx2, "Client", partial(httpx2.Client, verify=False))
        yield
