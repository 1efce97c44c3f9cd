"""Losses that a pair of towers is trained with, of unit rows and a logit scale, by name in ``LOSSES``.

All take (image rows (n, d), text rows (n, d), logit scale = 1/tau) and give a scalar; row i pairs with row i, rows are
unit-norm, and logits are cosines times the logit scale. Trap: each depends on the batch size, so compare at one size.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import UserError

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
Rows = Float[Tensor, "n d"]

UNIFORMITY_SHARPNESS = 2.0
"""t of the Gaussian kernel exp(-t |x - y|^2) (Wang and Isola 2020, section 4.1)."""


def info_nce(x: Rows, y: Rows, logit_scale: Tensor) -> Tensor:
    """Symmetric InfoNCE: cross-entropy of the matched pair among the batch, both ways, averaged; nats, >= 0.

    Paper: equation 1. Source: open_clip's ``ClipLoss``, as ``ce_loss`` of the released code.
    """
    from open_clip.loss import ClipLoss  # open_clip takes seconds to import

    return ClipLoss()(x, y, logit_scale)


def alignment_uniformity(x: Rows, y: Rows, logit_scale: Tensor) -> Tensor:
    """Alignment plus mean uniformity, without InfoNCE: the logit scale has no say. Source: Wang and Isola 2020."""
    return alignment(x, y) + (uniformity(x) + uniformity(y)) / 2


def cua(x: Rows, y: Rows, logit_scale: Tensor) -> Tensor:
    """InfoNCE + uniformity + alignment, each with weight 1 (CUA).

    Source: Fahim et al. 2024, "It's not a modality gap: characterizing and addressing the contrastive gap".
    """
    return info_nce(x, y, logit_scale) + alignment_uniformity(x, y, logit_scale)


def cuaxu(x: Rows, y: Rows, logit_scale: Tensor) -> Tensor:
    """CUA + cross-modal uniformity, each with weight 1 (CUAXU). Source: as ``cua``."""
    return cua(x, y, logit_scale) + cross_uniformity(x, y)


def alignment(x: Rows, y: Rows) -> Tensor:
    """Mean squared distance of matched rows, in [0, 4]. Source: Wang and Isola 2020, equation 2 with alpha = 2."""
    return (x - y).square().sum(1).mean()


def uniformity(x: Rows) -> Tensor:
    """Log of the mean of exp(-2 |x_i - x_j|^2) over unordered pairs i < j, in [-8, 0]; 0 when all rows are one.

    Source: Wang and Isola 2020, equation 3 with t = 2.
    """
    return _log_mean_kernel(x, x, torch.ones(len(x), len(x), dtype=torch.bool, device=x.device).triu(1))


def cross_uniformity(x: Rows, y: Rows) -> Tensor:
    """Log of the mean of exp(-2 |x_i - y_j|^2) over i != j, matched pairs left out, in [-8, 0].

    Source: Fahim et al. 2024, cross-modal uniformity.
    """
    return _log_mean_kernel(x, y, ~torch.eye(len(x), dtype=torch.bool, device=x.device))


def _log_mean_kernel(x: Tensor, y: Tensor, chosen: Tensor) -> Tensor:
    """Squared distances come from one product: without a square root the gradient is finite where rows are equal."""
    if len(x) < 2:
        raise UserError(f"uniformity needs at least 2 rows, not {len(x)}; raise the batch")
    squared = (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T)[chosen]
    return torch.logsumexp(-UNIFORMITY_SHARPNESS * squared, 0) - math.log(len(squared))


LOSSES: dict[str, Loss] = {loss.__name__: loss for loss in (info_nce, alignment_uniformity, cua, cuaxu)}
"""Every loss by its name, as ``TrainingSettings.loss`` gives it."""
