"""Training that only the bundled model needs."""
