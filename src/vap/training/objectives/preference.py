"""Direct preference optimization of a denoiser (Wallace et al. 2023, "Diffusion-DPO", eq. 14).

The adapted model should lower its loss on the winner more than on the loser, both measured
against the model without its adapter.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def win_margin(model: Tensor, reference: Tensor) -> Tensor:
    """(L_w - L_l) - (L_w^ref - L_l^ref) ``[B]``: negative where the model moved to the winner.

    Args:
        model: Denoising losses ``[2·B]`` at shared noise levels, those of the winners first.
        reference: The same of the reference model.
    """
    (winner, loser), (reference_winner, reference_loser) = model.chunk(2), reference.chunk(2)
    return (winner - loser) - (reference_winner - reference_loser)


def preference_loss(margin: Tensor, weight: Tensor, beta: float) -> Tensor:
    """-log σ(-0.5·β·margin) times the pair's weight, ``[B]``.

    Args:
        margin: Of :func:`win_margin`, ``[B]``.
        weight: Of the pairs, ``[B]``, see :mod:`vap.data.preferences`.
        beta: Strength of the penalty for leaving the reference model; 500 in the release.
    """
    return -F.logsigmoid(-0.5 * beta * margin) * weight
