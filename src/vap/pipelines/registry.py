"""Which pipeline class a variant has."""

from __future__ import annotations

from typing import Any

from vap.shapes import Family


def pipeline_class(family: Family) -> Any:
    """The pipeline class of a variant."""
    if family == "wan":
        from vap.pipelines.wan import WanVideoAsPromptPipeline

        return WanVideoAsPromptPipeline
    from vap.pipelines.cogvideox import CogVideoXVideoAsPromptPipeline

    return CogVideoXVideoAsPromptPipeline
