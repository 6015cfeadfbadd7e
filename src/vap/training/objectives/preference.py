"""Direct preference optimization of a denoiser (Wallace et al. 2023, "Diffusion-DPO", eq. 14).

The adapted model should lower its loss on the winner more than on the loser, both measured
against the model without its adapter.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class DenoisingLosses:
    """Denoising losses of winners and losers at shared noise levels, each ``[B]``."""

    winner: Tensor
    loser: Tensor


def win_margin(model: DenoisingLosses, reference: DenoisingLosses) -> Tensor:
    """(L_w - L_l) - (L_w^ref - L_l^ref) ``[B]``: negative where the model moved to the winner."""
    return (model.winner - model.loser) - (reference.winner - reference.loser)


def preference_loss(margin: Tensor, weight: Tensor, beta: float) -> Tensor:
    """-log σ(-0.5·β·margin) times the pair's weight, ``[B]``.

    Args:
        margin: Of :func:`win_margin`, ``[B]``.
        weight: Of the pairs, ``[B]``, see :mod:`vap.data.preferences`.
        beta: Strength of the penalty for leaving the reference model; 500 in the release.
    """
    return -F.logsigmoid(-0.5 * beta * margin) * weight
