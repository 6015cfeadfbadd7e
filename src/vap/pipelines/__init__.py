"""Pipelines of both variants: they encode and decode; one denoising loop serves both."""
