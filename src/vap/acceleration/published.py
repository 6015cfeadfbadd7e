"""Step caches as their authors calibrated them: published, not measured here.

MagCache (arXiv 2506.09045, Apache-2.0) skips steps whose residual it predicts from the ratio of
magnitudes of successive steps. Its authors measured the ratios on the plain Wan2.1 14B
image-to-video model at 480p in 40 steps; references may change them.
"""

from __future__ import annotations

from typing import Any

# fmt: off
_WAN_I2V_480P = (
    1.0, 0.98783, 0.97559, 0.98311, 0.98202, 0.9888, 0.98762, 0.98957, 0.99052, 0.99383,
    0.98857, 0.99065, 0.98845, 0.99057, 0.98957, 0.98601, 0.98823, 0.98756, 0.98808, 0.98721,
    0.98571, 0.98543, 0.98157, 0.98411, 0.97952, 0.98149, 0.9774, 0.97825, 0.97355, 0.97085,
    0.97056, 0.96588, 0.96113, 0.9567, 0.94961, 0.93973, 0.93217, 0.91878, 0.90955, 0.92617,
)
# fmt: on
_MOST_SKIPPED, _RETAINED = 4, 0.2


def published_mag_cache(steps: int, threshold: float = 0.12) -> Any:
    """MagCache for Wan2.1 14B with its authors' ratios, for generations of so many steps.

    ``pipeline.transformer.enable_cache(published_mag_cache(50))`` turns it on,
    ``pipeline.transformer.disable_cache()`` off.
    """
    from diffusers import MagCacheConfig

    return MagCacheConfig(
        threshold=threshold,
        max_skip_steps=_MOST_SKIPPED,
        retention_ratio=_RETAINED,
        num_inference_steps=steps,
        mag_ratios=list(_WAN_I2V_480P),
    )
