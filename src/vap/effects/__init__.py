"""Effects: references with captions and settings, to keep, share and use by name."""
