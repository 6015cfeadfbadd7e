"""Kinds of systems that can be compared, and ready-made ones."""

from __future__ import annotations

from pathlib import Path

from vap.evaluation.registry import Registry
from vap.evaluation.systems.base import System

_HERE = "vap.evaluation.systems"

SYSTEMS: Registry[System] = Registry(
    "system",
    {
        "static": f"{_HERE}.bounds:Static",
        "autoencoder": f"{_HERE}.bounds:Autoencoder",
        "truth": f"{_HERE}.bounds:Truth",
        "vap": f"{_HERE}.pipelines:VideoAsPrompt",
        "i2v": f"{_HERE}.pipelines:WithoutReference",
        "lora": f"{_HERE}.lora:ConditionLora",
        "vace": f"{_HERE}.vace:Vace",
        "folder": f"{_HERE}.folder:Folder",
        "kling-effects": f"{_HERE}.kling:KlingEffects",
        "kling-image-to-video": f"{_HERE}.kling:KlingImageToVideo",
        "kling-motion-control": f"{_HERE}.kling:KlingMotionControl",
        "vidu-template": f"{_HERE}.vidu:ViduTemplate",
        "vidu-image-to-video": f"{_HERE}.vidu:ViduImageToVideo",
        "videos-api": f"{_HERE}.videos_api:VideosApi",
        "videos-api-reference": f"{_HERE}.videos_api:VideosApiReference",
    },
    (Path(__file__).parent / "configs",),
)
