from tests.batch.conftest import inputs as inputs  # the same files
