"""Losses that a pair of towers is trained with, of unit rows and a logit scale, by name in ``LOSSES``.

All take (image rows (n, d), text rows (n, d), logit scale = 1/tau) and give a scalar; row i pairs with row i, rows are
unit-norm, and logits are cosines times the logit scale. Trap: each depends on the batch size, so compare at one size.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..errors import UserError

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(image rows, text rows, logit scale = 1/tau) -> scalar loss; rows are unit-norm, row i pairs with row i."""

UNIFORMITY_SHARPNESS = 2.0
"""t of the Gaussian kernel exp(-t |x - y|^2) (Wang and Isola 2020, section 4.1)."""

RELEASED = (
    "https://github.com/Weixin-Liang/Modality-Gap/blob/8e20cb24efa4c5f89aad694f2f65eb43ffc46d10/"
    "Table_1_Implications_CLIP_Zero_Shot/training/utils.py"
)
"""Where the released training code keeps its losses."""


def info_nce(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], logit_scale: Tensor) -> Tensor:
    """Symmetric InfoNCE: cross-entropy of the matched pair among the batch, both ways, averaged; nats, >= 0.

    Paper: equation 1. Source: open_clip's ``ClipLoss``; ``ce_loss`` in the released code (``RELEASED``).
    """
    from open_clip.loss import ClipLoss  # open_clip takes seconds to import

    return ClipLoss()(x, y, logit_scale)


def info_nce_uniformity(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], logit_scale: Tensor) -> Tensor:
    """InfoNCE plus the uniformity of each modality, averaged over the two.

    Source: ``ce_loss`` and ``uniform_loss`` of the released code (``RELEASED``), summed with weight 1.
    """
    return info_nce(x, y, logit_scale) + mean_uniformity(x, y)


def within_modality_negatives(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], logit_scale: Tensor) -> Tensor:
    """InfoNCE whose negatives are the other modality's rows *and* the other rows of the same modality; nats, >= 0.

    An image is told from n texts and n - 1 images, itself left out; texts likewise; both ways averaged.

    Source: ``dual_ce_loss`` of the released code (``RELEASED``), which takes 10,000 from a row's logit with itself
    where this leaves it out.
    """
    own = torch.eye(len(x), dtype=torch.bool, device=x.device)
    labels = torch.arange(len(x), device=x.device)
    across = logit_scale * x @ y.T
    losses = []
    for rows, logits in ((x, across), (y, across.T)):
        within = (logit_scale * rows @ rows.T).masked_fill(own, -math.inf)
        losses.append(cross_entropy(torch.cat([logits, within], 1), labels))
    return (losses[0] + losses[1]) / 2


def without_hard_pairs(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], logit_scale: Tensor) -> Tensor:
    """InfoNCE over the pairs that are already matched right: each way, rows whose nearest is another are left out.

    The mean is over the rows that remain, each way; 0, without a gradient, where none does (a model that ranks
    nothing right then moves by weight decay and momentum alone).

    Source: ``simple_ce_loss`` of the released code (``RELEASED``), which adds 1e-6 to the number of rows.
    """
    labels = torch.arange(len(x), device=x.device)
    across = logit_scale * x @ y.T
    losses = []
    for logits in (across, across.T):
        right = logits.argmax(1) == labels
        each = cross_entropy(logits, labels, reduction="none")
        losses.append((each * right).sum() / right.sum().clamp(min=1))
    return (losses[0] + losses[1]) / 2


def alignment_uniformity(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], logit_scale: Tensor) -> Tensor:
    """Alignment plus the modalities' mean uniformity, without InfoNCE; the logit scale has no say.

    Source: Wang and Isola 2020, equations 2 and 3, each with weight 1, uniformity within each modality.
    """
    return alignment(x, y) + mean_uniformity(x, y)


def cua(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], logit_scale: Tensor) -> Tensor:
    """InfoNCE + uniformity + alignment, each with weight 1 (CUA).

    Source: Fahim et al. 2024, "It's not a modality gap: characterizing and addressing the contrastive gap".
    """
    return info_nce(x, y, logit_scale) + alignment_uniformity(x, y, logit_scale)


def cuaxu(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], logit_scale: Tensor) -> Tensor:
    """CUA + cross-modal uniformity, each with weight 1 (CUAXU). Source: as ``cua``."""
    return cua(x, y, logit_scale) + cross_uniformity(x, y)


def alignment(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> Tensor:
    """Mean squared distance of matched rows, in [0, 4]. Source: Wang and Isola 2020, equation 2 with alpha = 2."""
    return (x - y).square().sum(1).mean()


def uniformity(x: Float[Tensor, "n d"]) -> Tensor:
    """Log of the mean of exp(-2 |x_i - x_j|^2) over unordered pairs i < j, in [-8, 0]; 0 when all rows are one.

    Source: Wang and Isola 2020, equation 3 with t = 2.
    """
    _need_two(x)
    i, j = torch.triu_indices(len(x), len(x), offset=1, device=x.device)
    return _log_mean_kernel(_squared_distances(x, x)[i, j])


def mean_uniformity(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> Tensor:
    """``uniformity`` within each modality, averaged over the two."""
    return (uniformity(x) + uniformity(y)) / 2


def cross_uniformity(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> Tensor:
    """Log of the mean of exp(-2 |x_i - y_j|^2) over i != j, matched pairs left out, in [-8, 0].

    Source: Fahim et al. 2024, cross-modal uniformity.
    """
    _need_two(x)
    return _log_mean_kernel(_squared_distances(x, y)[~torch.eye(len(x), dtype=torch.bool, device=x.device)])


def _need_two(x: Tensor) -> None:
    if len(x) < 2:
        raise UserError(f"uniformity needs at least 2 rows, not {len(x)}; raise the batch")


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(n, m), from one product: no square root, so the gradient is finite where rows are equal."""
    return x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T


def _log_mean_kernel(squared: Tensor) -> Tensor:
    return torch.logsumexp(-UNIFORMITY_SHARPNESS * squared, 0) - math.log(len(squared))


_CONTRASTIVE = (info_nce, info_nce_uniformity, within_modality_negatives, without_hard_pairs)
LOSSES: dict[str, Loss] = {loss.__name__: loss for loss in (*_CONTRASTIVE, alignment_uniformity, cua, cuaxu)}
"""Every loss by its name, as ``TrainingSettings.loss`` gives it."""
