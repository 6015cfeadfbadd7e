from tests.batch.conftest import inputs  # noqa: F401 - the same files
