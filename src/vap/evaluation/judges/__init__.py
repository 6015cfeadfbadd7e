"""Judges: models that look at videos and answer a question in JSON."""
