"""Objectives: what a network is given and what its output costs."""
