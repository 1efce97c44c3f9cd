"""Losses that a pair of towers is trained with, of unit rows and a logit scale, by name in ``LOSSES``.

All take (image rows (n, d), text rows (n, d), logit scale = 1/tau) and give a scalar; row i pairs with row i, rows are
unit-norm, and logits are cosines times the logit scale. Trap: each depends on the batch size, so compare at one size.
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

Rows = Float[Tensor, "n d"]


def info_nce(x: Rows, y: Rows, logit_scale: Tensor) -> Tensor:
    """Symmetric InfoNCE: cross-entropy of the matched pair among the batch, both ways, averaged; nats, >= 0.

    Paper: equation 1. Source: open_clip's ``ClipLoss``, as ``ce_loss`` of the released code.
    """
    from open_clip.loss import ClipLoss  # open_clip takes seconds to import

    return ClipLoss()(x, y, logit_scale)


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"info_nce": info_nce}
"""Every loss by its name, as ``TrainingSettings.loss`` gives it."""
