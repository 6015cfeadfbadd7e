import pytest

from tests.pipelines.golden import FAMILIES, Golden, golden


@pytest.fixture(scope="session")
def wan() -> Golden:
    return golden("wan")


@pytest.fixture(scope="session")
def cogvideox() -> Golden:
    return golden("cogvideox")


@pytest.fixture(params=FAMILIES)
def case(request: pytest.FixtureRequest) -> Golden:
    """Both variants, one after the other."""
    return request.getfixturevalue(request.param)
