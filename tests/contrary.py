"""Runs that contradict the paper: one function a script, whose comparisons must all come out against it."""

import numpy as np
import pandas as pd


def depth():
    """Every network's mean cosine is 0.5 at every depth."""
    import published_curves
    import released_layers
    from util import cone

    counts = pd.MultiIndex.from_product([range(26), (0, 1)], names=["layers", "seed"]).to_frame(index=False)
    counts = counts.assign(mean_cosine=0.5 + 1e-6 * counts["seed"], mean_cosine_with_self=0.5 + 1e-6 * counts["seed"])
    kinds = [(name, bias) for name in cone.PAPER_ACTIVATIONS for bias in (True, False)]
    main = [counts.assign(activation=name, bias=bias) for name, bias in kinds]
    released = [counts.assign(network=name) for name in released_layers.LAYERS]
    return published_curves.compare({"": pd.concat(main), "released": pd.concat(released)}, "a constant")


def initializations():
    """One cone for all seeds, and singular values that fall evenly."""
    import initializations as script

    names = [(encoder, "MSCOCO val2017") for encoder in script.PUBLISHED]
    names += [(script.VISION, script.NOISE), (script.TRAINED_50, "MSCOCO val2017")]
    about = pd.DataFrame(names, columns=["encoder", "input"])
    table = about.assign(n=5000, n_seeds=25, nearest_own_cone=0.04)
    values = pd.DataFrame({"component": range(1, 51), "singular_value": 0.99 ** np.arange(50)})
    values = values.assign(explained_variance_ratio=0.01 * values["singular_value"])
    return script.compare(table, about.merge(values, how="cross"))


def theorems():
    """A failure rate that the width does not lower, and a share that is a thousandth below the average cosine."""
    import theorem_1
    import theorem_2

    cell = {"cosine": 0.5, "norm_ratio": 1.0, "norm": 1.0, "in_condition": True}
    first = pd.DataFrame({"d_out": (8, 16, 32, 64), "estimate": 0.9}).assign(**cell)
    cases = ("pre-activation, bias", theorem_2.ON_SPHERE, theorem_2.AS_FIGURE)
    second = pd.DataFrame({"case": cases, "estimate": 0.499, "cosine": 0.5, "in_condition": (True, True, False)})
    return theorem_1.comparisons(first) + theorem_2.comparisons(second)
