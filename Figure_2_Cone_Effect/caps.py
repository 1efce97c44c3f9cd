"""The share of the unit sphere that a cap covers: the size of the cone, in 2, 3 and 512 dimensions."""

import math

import numpy as np
import pandas as pd
from scipy.special import betainc

from util import UserError
from util.numerics.arrays import as_count

DIMENSIONS = (2, 3, 512)
PAPERS = "half of 55.94"
HALF_ANGLES = {
    PAPERS: 55.94 / 2,
    "arccos(0.56)": math.degrees(math.acos(0.56)),
    "arccos(sqrt(0.56))": math.degrees(math.acos(math.sqrt(0.56))),
}
"""Degrees, for ResNet-18's mean cosine of 0.56: the paper's, a pair's, and from a row to the mean direction."""


def cap_fraction(degrees: float, dim: int) -> float:
    """Share of the unit sphere in ``dim`` >= 2 dimensions within ``degrees`` of a point, at most 90, in [0, 1/2].

    Half the regularised incomplete beta function at sin^2 of the half-angle, with (dim - 1)/2 and 1/2. Paper: section
    2.1, which takes half of the angle between two rows for it.
    """
    if not 0 <= degrees <= 90:
        raise UserError(f"the half-angle of a cap must lie from 0 to 90 degrees, not {degrees}")
    return float(betainc((as_count(dim, "dim", least=2) - 1) / 2, 0.5, math.sin(math.radians(degrees)) ** 2)) / 2


def table() -> pd.DataFrame:
    """The shares of all half-angles: half_angle, degrees, dim, fraction, log10_fraction."""
    rows = [
        {"half_angle": name, "degrees": degrees, "dim": dim, "fraction": cap_fraction(degrees, dim)}
        for name, degrees in HALF_ANGLES.items()
        for dim in DIMENSIONS
    ]
    return pd.DataFrame(rows).assign(log10_fraction=lambda table: np.log10(table["fraction"]))
