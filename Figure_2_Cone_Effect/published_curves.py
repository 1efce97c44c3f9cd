"""The published curves of Figure 2 (b) beside ours: a value, or all readings of a plot, in a prediction band."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from util import published
from util.numerics.statistics import prediction_interval
from util.records import Comparison

RELU, CURVE = "figure_2b.relu_bias.", "figure_2b.curve."
LEVEL = 0.95

Curves = dict[tuple[str, str], pd.DataFrame]
"""(plot, network) -> mean cosines (seeds, layers from 0)."""


def readings(plot: str, network: str) -> pd.Series:
    """Published values by number of layers, those that the plot shows; none where it has no such curve."""
    known = published.values()["figure_2b"]["curves"].get(plot, {})
    return pd.Series(known.get(network, []), dtype=float).dropna()


def curves(tables: Mapping[str, pd.DataFrame], column: str = "mean_cosine_with_self") -> Curves:
    """The seeds of every network: plot "figure" with biases, "none" without any, others with the released ones."""
    main = tables[""].rename(columns={"activation": "network"})
    parts = {"figure": main[main["bias"]], "none": main[~main["bias"]], "no_bias": tables.get("released")}
    found = {}
    for plot, table in parts.items():
        for network, part in [] if table is None else table.groupby("network", sort=False):
            found[plot, network] = part.pivot(index="seed", columns="layers", values=column)
    return found


def compare(tables: Mapping[str, pd.DataFrame], on: str) -> list[Comparison]:
    """Every published value and curve whose network was measured, of the paper's width and number of inputs."""
    ours, nothing = curves(tables), pd.DataFrame()
    relu = ours.get(("figure", "relu"), nothing)
    layers = readings("figure", "relu").index.intersection(relu.columns)
    found = [_value(f"{RELU}{layer}", relu[layer], on, at_once=len(layers)) for layer in layers]
    for key, number in published.numbers(CURVE).items():
        plot, network = key.removeprefix(CURVE).split(".")
        seeds = ours.get(("figure" if plot == "figure" else "no_bias", network), nothing)
        others = {" ".join(name): each for name, each in ours.items() if each is not seeds}
        found += _curve(key, readings(plot, network), seeds, others, number.judged_by.tolerance, on)
    different = curves(tables, "mean_cosine")
    for key, source, about, layer, note in (
        ("figure_2b.sigmoid_2_layers", ours, ("figure", "sigmoid"), 2, ""),
        ("figure_2b.one_over_pi", different, ("none", "relu"), 1, "the limit of a wide layer, different inputs"),
        ("figure_2b.no_bias.tanh", ours, ("none", "tanh"), 25, "the released tanh layers have biases: see its curve"),
    ):
        if layer in (seeds := source.get(about, nothing)):
            found.append(_value(key, seeds[layer], on, note))
    return found


def _band(seeds: pd.Series, at_once: int) -> tuple[float, float]:
    """Where one further seed lies at one of several layers, so that it lies inside at all of them: Bonferroni."""
    return prediction_interval(seeds, 1 - (1 - LEVEL) / at_once)


def _value(key: str, seeds: pd.Series, on: str, note: str = "", at_once: int = 1) -> Comparison:
    """One published value beside the seeds: judged by the tolerance of its rule, else by the prediction interval."""
    low, high = _band(seeds, at_once)
    number, interval = published.numbers()[key], f"95% prediction, {len(seeds)} seeds"
    agrees = bool(low <= number.value <= high) if number.judged_by.tolerance is None else None
    interval += f", {at_once} layers at once" if at_once > 1 else ""
    return published.compare(key, float(seeds.mean()), on, agrees, note, low, high, True, interval)


def _inside(theirs: pd.Series, seeds: pd.DataFrame, error: float) -> pd.Series:
    """Whether each reading lies in the band of one further seed, widened by the error of reading."""
    low, high = np.array([_band(seeds[layer], len(theirs)) for layer in theirs.index]).T
    return (low - error <= theirs) & (theirs <= high + error)


def _curve(
    key: str, whole: pd.Series, seeds: pd.DataFrame, others: Mapping[str, pd.DataFrame], error: float, on: str
) -> list[Comparison]:
    """All readings of a curve together, judged where every layer was measured; none where no layer was.

    The note names the other networks whose bands hold all of its readings, which the curve does not tell from its own.
    """
    theirs = whole.reindex(seeds.columns).dropna().clip(upper=1)
    if theirs.empty:
        return []
    inside = _inside(theirs, seeds, error)
    farthest = (theirs - seeds[theirs.index].mean()).abs().idxmax()
    note = f"farthest at {farthest} layers: {theirs[farthest]:.4g}, ours {seeds[farthest].mean():.4g}"
    if not inside.all():
        note += f"; outside at {', '.join(map(str, theirs.index[~inside]))} layers"
    same = [name for name, each in others.items() if _inside(theirs, each, error).all()]
    note += f"; also inside: {', '.join(same)}" if same else "; no other network here has it inside"
    agrees = bool(inside.all()) if len(theirs) == len(whole) else None
    ours = f"{inside.sum()} of {len(theirs)} readings inside"
    return [published.compare(key, ours, on, agrees, note, own=True)]
