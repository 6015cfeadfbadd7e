from tests.mini.conftest import tiny  # noqa: F401 - the same checkpoint
