"""Metrics: a video in, a number out."""
