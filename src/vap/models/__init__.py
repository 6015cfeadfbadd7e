"""The two transformers that read reference videos, and the expert they share."""
