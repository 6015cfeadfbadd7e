"""The step caches of diffusers, for comparison: which blocks they skip they decide as they go."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import torch

_RATIOS = re.compile(r"Calibration Results: (\[[^]]*\])")
_MODULES = r"blocks\.\d+\.(attn1|attn2|ffn)$"
_RETAINED = 0.1


def cache_of_diffusers(name: str, amount: float, steps: int, ratios: list[float]) -> Any:
    """A cache's configuration.

    Args:
        name: ``FirstBlockCache``, ``MagCache`` or ``TaylorSeer``.
        amount: Its threshold; of TaylorSeer, every how many steps it computes.
        steps: Of a generation.
        ratios: Of MagCache, from :func:`calibrate`.
    """
    from diffusers.hooks import FirstBlockCacheConfig, MagCacheConfig, TaylorSeerCacheConfig

    if name == "FirstBlockCache":
        return FirstBlockCacheConfig(threshold=amount)
    if name == "MagCache":
        return MagCacheConfig(
            num_inference_steps=steps,
            mag_ratios=torch.tensor(ratios),
            threshold=amount,
            retention_ratio=_RETAINED,
        )
    return TaylorSeerCacheConfig(
        cache_interval=int(amount),
        disable_cache_before_step=2,
        max_order=1,
        cache_identifiers=[_MODULES],
        skip_predict_identifiers=[],
    )


@contextlib.contextmanager
def caching(transformer: Any, config: Any) -> Iterator[None]:
    """Let a transformer run with a cache for a while; None for none."""
    if config is None:
        yield
        return
    transformer.enable_cache(config)
    try:
        yield
    finally:
        transformer.disable_cache()


def calibrate(transformer: Any, generate: Callable[[], object], steps: int) -> list[float]:
    """The ratios that MagCache takes, as it measures them; it tells them to its log only.

    Args:
        transformer: With our blocks.
        generate: Makes one video.
        steps: That it takes.
    """
    from diffusers.hooks import MagCacheConfig

    heard: list[str] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("diffusers.hooks.mag_cache")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    config = MagCacheConfig(num_inference_steps=steps, calibrate=True)
    try:
        with caching(transformer, config), contextlib.redirect_stdout(io.StringIO()):
            generate()
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    found = [match for text in heard for match in _RATIOS.findall(text)]
    return [float(ratio) for ratio in json.loads(found[-1])]
