"""Closed forms of one random ReLU layer: the arc-cosine kernel, and what follows from it for theorems 1 and 2.

Notation of theorem 1: vectors u and v of cosine c and norms |u| = r |v|, with the norm ratio r; "norm" is |v|. A layer
is relu(W x + b) with independent entries of W and b from N(0, 1/d_out).
"""

import numpy as np

PEAK = 1.19
"""Where x^2 Phi(-x) is largest, Phi the normal distribution: d_out times the failure rate of theorem 1 has its peak
where the limit of the cosine is this many standard deviations (``cosine_spread`` / sqrt(d_out)) above the cosine."""


def largest_cosine(norm_ratio):
    """The condition of theorem 1: the cosine must be below 2/(r + 1/r), in (0, 1]; number or array in and out."""
    return 2 / (norm_ratio + 1 / norm_ratio)


def preactivation_correlation(cosine, norm_ratio, norm):
    """Correlation of the two pre-activations W u + b and W v + b of one unit, in [-1, 1].

    Args:
        cosine: of u and v, in [-1, 1].
        norm_ratio: r = |u| / |v|, above 0.
        norm: |v|, so that |u| is r times it.

    Given u and v, the d_out pairs of coordinates are independent and Gaussian with covariance
    [[|u|^2 + 1, u.v + 1], [u.v + 1, |v|^2 + 1]] / d_out. A cosine knows no scale, and ReLU keeps it, so this
    correlation is all that the cosine after the layer depends on; the width of the inputs drops out.
    """
    square = norm**2
    return (cosine * norm_ratio * square + 1) / np.sqrt((norm_ratio**2 * square + 1) * (square + 1))


def arc_cosine_kernel(correlation):
    """Limit of the cosine after a ReLU layer as d_out grows: 2 E[relu(x) relu(y)] for standard normal x, y.

    Args:
        correlation: of the two pre-activations, in [-1, 1]; number or array.

    Returns:
        (sqrt(1 - rho^2) + (pi - arccos rho) rho) / pi, in [0, 1].

    Source: Cho and Saul, Kernel methods for deep learning (2009), degree 1.
    """
    rho = np.clip(correlation, -1.0, 1.0)
    return (np.sqrt(1 - rho**2) + (np.pi - np.arccos(rho)) * rho) / np.pi


def cosine_spread(correlation):
    """sqrt(d_out) times the standard deviation of the cosine after a wide ReLU layer.

    Args:
        correlation: of the two pre-activations, in [-1, 1]; number or array (k,).

    The cosine is to first order its limit kappa plus the mean over units of 2 x y - kappa (x^2 + y^2), x and y the
    outputs. Their fourth moments are integrals over the angle at which both are positive, where the square of the
    radius of a Gaussian pair contributes E[R^4] = 8; Gauss-Legendre integrates the trigonometric polynomial exactly.
    """
    theta = np.arccos(np.clip(np.asarray(correlation, np.float64), -1.0, 1.0))
    nodes, weights = np.polynomial.legendre.leggauss(24)
    half = (np.pi - theta)[..., None] / 2  # both positive for angles from theta - pi/2 to pi/2
    angle = theta[..., None] / 2 + half * nodes
    x, y = np.cos(angle), np.cos(angle - theta[..., None])
    kappa = arc_cosine_kernel(correlation)

    def moment(i: int, j: int):
        return 8 / (2 * np.pi) * (half * weights * x**i * y**j).sum(-1)

    fourth = 1.5  # E[x^4] of a rectified standard normal
    variance = (4 + 2 * kappa**2) * moment(2, 2) - 4 * kappa * (moment(3, 1) + moment(1, 3)) + 2 * kappa**2 * fourth
    return np.sqrt(np.maximum(variance, 0))


def seed_share(cosine, *, relu: bool, bias: bool):
    """Var[E[h|Theta]] / Var[h] for one random layer on unit inputs, all pairs of them of the same cosine.

    Args:
        cosine: of the inputs, in [-1, 1]; number or array.
        relu: whether h is the output of ReLU, or the pre-activation.
        bias: whether the layer has one, of the same variance as a pre-activation without it.

    Returns:
        for pre-activations their correlation rho, which is the cosine c without a bias and (1 + c)/2 with one; after
        ReLU (E[relu(x) relu(y)] - E[relu]^2) / (E[relu^2] - E[relu]^2) = (pi kappa(rho) - 1) / (pi - 1).

    Paper: theorem 2, which bounds the share from below by the average cosine. Trap: after ReLU without a bias the
    share is smaller than the cosine (0.43 at 0.5): the theorem is about pre-activations.
    """
    rho = (1 + np.asarray(cosine)) / 2 if bias else np.asarray(cosine)
    return (np.pi * arc_cosine_kernel(rho) - 1) / (np.pi - 1) if relu else rho
