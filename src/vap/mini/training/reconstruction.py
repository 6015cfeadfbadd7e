"""What makes a video autoencoder: close pixels, close edges and motion, smooth latents."""

from __future__ import annotations

from torch import Tensor


def difference_distance(a: Tensor, b: Tensor) -> Tensor:
    """L1 distance between the neighbor differences of two videos: edges and motion.

    Args:
        a: Video ``[B, C, T, H, W]``.
        b: Video of the same shape.
    """
    error = a - b
    return sum((error.diff(dim=axis).abs().mean() for axis in (2, 3, 4)), error.new_zeros(())) / 3


def reconstruction_losses(
    decoded: Tensor,
    video: Tensor,
    divergence: Tensor,
    *,
    gradient_weight: float,
    kl_weight: float,
) -> dict[str, Tensor]:
    """Losses of an autoencoder step.

    Args:
        decoded: Reconstruction ``[B, 3, T, H, W]`` in [-1, 1].
        video: Truth of the same shape.
        divergence: KL divergence of each clip's posterior, summed over its elements, ``[B]``.
        gradient_weight: Weight of :func:`difference_distance`.
        kl_weight: Weight of the divergence per pixel value, which keeps it independent of size.
    """
    l1 = (decoded - video).abs().mean()
    edges = difference_distance(decoded, video)
    kl = divergence.sum() / video.numel()
    # Pixels span 2, so the peak power is 4.
    psnr = 10 * (4 / (decoded - video).detach().square().mean().clamp_min(1e-10)).log10()
    loss = l1 + gradient_weight * edges + kl_weight * kl
    return {"loss": loss, "l1": l1, "edges": edges, "kl": kl, "psnr": psnr}
