"""Captions for generation: written where the user gives none."""

from vap.captioning.prompts import Prompts, read_prompts, with_prompts, write_prompts

__all__ = ["Prompts", "read_prompts", "with_prompts", "write_prompts"]
