"""One idea in each file."""
