"""The rows of ``theorems.csv`` and what they say about the two theorems."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

import arc_cosine
import theorem_trials as theorems
from util.numerics.statistics import clopper_pearson, jackknife_interval
from util.records import Comparison

COLUMNS = (
    *("theorem", "cosine", "norm_ratio", "norm", "d_out", "layers", "in_condition", "n_trials", "estimate"),
    *("ci_low", "ci_high", "predicted", "case"),
)
LAYER = "ReLU layer, bias"
ONE_LAYER = {
    "pre-activation, bias": (False, True),
    "pre-activation, no bias": (False, False),
    "after ReLU, bias": (True, True),
    "after ReLU, no bias": (True, False),
}
"""Cases of theorem 2 with one layer: whether after ReLU, whether with a bias."""
ON_SPHERE, AS_FIGURE = "by depth, every layer's inputs on the unit sphere", "by depth, network as in Figure 2 (b)"
AVERAGE_COSINES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Of the inputs of one layer."""
TOLERANCE = 0.05
"""How far, beyond two standard errors, the slope of the mean cosine against d_out may be from -1: the next order,
1/d_out^2, bends the curve."""


def theorem_1(cosines: Sequence[float], norm_ratios: Sequence[float], norms: Sequence[float], **options):
    """Every cell of a grid at every d_out: how often the cosine grows, and its mean.

    Args:
        cosines: of the vectors u and v, in [-1, 1].
        norm_ratios: r = |u| / |v|.
        norms: |v|.
        options: widest, trials and seed of ``theorems.raise_cosines``.

    Returns:
        (table, convergence, slope): rows in ``COLUMNS``, estimates being probabilities and predictions 1 or 0; mean
        cosine, limit, excess and spread (sqrt(d_out) times the standard deviation) of the same cells; the slope of
        the excess with its standard error, None where the trials are too few for one.

    Raises:
        UserError: as ``theorems.raise_cosines``.
    """
    grid = {"cosine": cosines, "norm_ratio": norm_ratios, "norm": norms}
    cells = pd.MultiIndex.from_product([sorted(set(part)) for part in grid.values()], names=grid).to_frame(index=False)
    result = theorems.raise_cosines(*(cells[name].to_numpy(float) for name in grid), **options)
    cells["correlation"] = arc_cosine.preactivation_correlation(cells["cosine"], cells["norm_ratio"], cells["norm"])
    cells["limit"], cells["spread"] = result.limit, arc_cosine.cosine_spread(cells["correlation"])
    rows = cells.loc[cells.index.repeat(len(result.d_out))].reset_index(drop=True)
    rows["d_out"], rows["n_trials"] = (np.tile(part, len(cells)) for part in (result.d_out, result.n_trials))
    raised = result.raised.ravel()
    low, high = clopper_pearson(raised, rows["n_trials"])
    table = rows.assign(
        theorem=1,
        layers=1,
        case=LAYER,
        in_condition=rows["cosine"] < arc_cosine.largest_cosine(rows["norm_ratio"]),
        estimate=raised / rows["n_trials"],
        ci_low=low,
        ci_high=high,
        predicted=(rows["limit"] > rows["cosine"]).astype(float),
    )
    excess = result.excess.ravel()
    convergence = rows.assign(
        mean_cosine=rows["limit"] + excess, excess=excess, standard_error=result.excess_error.ravel()
    )
    return table[list(COLUMNS)], convergence, theorems.decay_slope(result)


def theorem_2(
    *, seeds: int, items: int, width: int, layers: int, seed: int, device: str, say: Callable[[], None] = lambda: None
) -> pd.DataFrame:
    """The share of the initialization after one layer, for all cases and average cosines, and by depth.

    Args:
        seeds, items: initializations and inputs, as in ``theorems.one_layer``.
        width: of the networks by depth; the single layers have half of it.
        layers: depth of the networks.
        seed: of everything random.
        device: where the networks by depth run.
        say: called once for each measurement.

    Returns:
        rows in ``COLUMNS``: the cosine is the average cosine of the layer's inputs, the theorem's bound; the trials
        are initializations; predictions are closed forms. No norm where inputs are not unit vectors.

    Raises:
        UserError: counts that are too small.
    """
    rows = []
    for case, (relu, bias) in ONE_LAYER.items():
        for cosine in AVERAGE_COSINES:
            share = theorems.one_layer(
                cosine, relu=relu, bias=bias, seeds=seeds, items=items, width=width // 2, seed=seed
            )
            rows.append(_share_row(case, share, 1, width // 2, bias and not relu))
            say()
    by_depth = theorems.by_depth(layers=layers, seeds=seeds, items=items, width=width, seed=seed, device=device)
    for on_sphere, shares in by_depth.items():
        case = ON_SPHERE if on_sphere else AS_FIGURE
        rows += [_share_row(case, share, layer, width, on_sphere) for layer, share in enumerate(shares, 1)]
    say()
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _share_row(case: str, share: theorems.Share, layers: int, width: int, in_condition: bool) -> tuple:
    norms = (np.nan, np.nan) if case == AS_FIGURE else (1.0, 1.0)
    interval = jackknife_interval(share.share, share.left_out)
    trials = len(share.left_out)
    values = (in_condition, trials, share.share, *interval, share.expected)
    return 2, share.cosine, *norms, width, layers, *values, case


def compare_1(table: pd.DataFrame, convergence: pd.DataFrame, slope: tuple[float, float] | None) -> list[Comparison]:
    """Theorem 1 beside what was counted: inside the condition, outside it, and the mean cosine."""
    cells = ["cosine", "norm_ratio", "norm"]
    margin = (convergence["limit"] - convergence["cosine"]) / convergence["spread"]
    table = table.assign(failures=table["d_out"] * (1 - table["estimate"]), margin=margin)
    inside = table[table["in_condition"]].groupby(cells)
    outside = table[~table["in_condition"]].groupby(cells).last()
    found = [_inside(inside, table["d_out"].max())] if len(inside) else []
    found += [_outside(outside)] if len(outside) else []
    if slope:
        note = f"standard error {slope[1]:.3f}; d_out from {theorems.LEAST_FITTED}"
        quantity = "slope of log |mean cosine - limit| against log d_out"
        agrees = abs(slope[0] + 1) < TOLERANCE + 2 * slope[1]
        found.append(Comparison("Theorem 1", quantity, None, slope[0], "all cells", agrees, note))
    return found


def _inside(cells, widest: int) -> Comparison:
    """d_out x failure rate: settled cells, whose peak is expected at half of the largest d_out or before, must fall."""
    peaks = cells["failures"].agg(["idxmax", "max"])
    at = cells.obj.loc[peaks["idxmax"]]
    settled = 2 * (arc_cosine.PEAK / at["margin"].to_numpy()) ** 2 <= widest
    first = cells.obj["d_out"].min()
    note = (
        f"falls from d_out {first} on in {(at['d_out'] == first).sum()}; elsewhere it rises first, the longer the "
        f"nearer the limit is to the cosine, and is largest at d_out {at['d_out'].max()} at the latest"
    )
    quantity = f"d_out x failure rate inside the condition, d_out {first} to {widest}, largest of all"
    agrees = bool((at["d_out"].to_numpy() < widest)[settled].all())
    return Comparison("Theorem 1", quantity, "bounded", peaks["max"].max(), f"{len(at)} cells", agrees, note)


def _outside(cells: pd.DataFrame) -> Comparison:
    """The majority at the largest d_out against the sign of limit - cosine."""
    widest, grown = cells["d_out"].max(), cells["predicted"] == 1
    right = (cells["estimate"] > 0.5) == grown
    decided = cells["margin"].abs() * np.sqrt(widest) >= 1
    note = (
        f"by the closed form the cosine grows in {grown.sum()} cells and falls in {(~grown).sum()}; in "
        f"{(~decided).sum()} the limit is within one standard deviation of the cosine ({(right & ~decided).sum()} of "
        "these agree)"
    )
    quantity = f"majority at d_out {widest} outside the condition, as the closed form predicts"
    ours = f"{(right & decided).sum()} of {decided.sum()}"
    return Comparison("Theorem 1", quantity, None, ours, f"{len(cells)} cells", bool(right[decided].all()), note)


def compare_2(table: pd.DataFrame) -> list[Comparison]:
    """Theorem 2 where its assumptions hold, where they do not, and where its bound fails."""
    rows = []
    for case in ("pre-activation, bias", ON_SPHERE, AS_FIGURE):
        part = table[table["case"] == case]
        difference, held = (part["estimate"] - part["cosine"]).min(), part["in_condition"].all()
        note = "" if held else "its inputs are not unit vectors, which the theorem assumes"
        quantity, bound = "share of the initialization less the average cosine, smallest", "not negative"
        rows.append(
            Comparison("Theorem 2", quantity, bound, difference, case, bool(difference >= 0) if held else None, note)
        )
    row = table[(table["case"] == "after ReLU, no bias") & np.isclose(table["cosine"], 0.5)].iloc[0]
    note = f"the theorem is about pre-activations; closed form {row['predicted']:.4f}"
    quantity, agrees = "share of the initialization at average cosine 0.5, less than that", bool(row["ci_high"] < 0.5)
    rows.append(Comparison("Theorem 2", quantity, None, row["estimate"], row["case"], agrees, note))
    return rows
