"""Runs that contradict the paper: one function a script, whose comparisons must all come out against it."""

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
