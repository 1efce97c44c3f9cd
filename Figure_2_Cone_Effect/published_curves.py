"""The published curves of Figure 2 (b) beside ours: a value, or all readings of a plot, in a prediction band."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float

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


def band(seeds: pd.DataFrame) -> Float[np.ndarray, "2 layers"]:
    """Lower and upper limits: the curve of one further seed lies between them, at all its layers, with 95% or more."""
    level = 1 - (1 - LEVEL) / seeds.shape[1]
    return np.array([prediction_interval(seeds[layer], level) for layer in seeds]).T


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
    ours, known = curves(tables), published.numbers(CURVE)
    found = _values(ours["figure", "relu"], on) if ("figure", "relu") in ours else []
    for key, number in known.items():
        plot, network = key.removeprefix(CURVE).split(".")
        seeds = ours.get(("figure" if plot == "figure" else "no_bias", network))
        if seeds is not None:
            found += _curve(key, readings(plot, network), seeds, number.judged_by.tolerance, on)
    return found + _single(ours, curves(tables, "mean_cosine"), on)


def _values(seeds: pd.DataFrame, on: str) -> list[Comparison]:
    """The printed curve, value by value."""
    theirs = readings("figure", "relu").reindex(seeds.columns).dropna()
    seeds = seeds[theirs.index]
    interval = f"95% prediction, {len(seeds)} seeds, {len(theirs)} layers at once"
    found = []
    for (layers, value), low, high in zip(theirs.items(), *band(seeds), strict=True):
        agrees = bool(low <= value <= high)
        mean = float(seeds[layers].mean())
        found.append(published.compare(f"{RELU}{layers}", mean, on, agrees, "", low, high, True, interval))
    return found


def _curve(key: str, whole: pd.Series, seeds: pd.DataFrame, error: float, on: str) -> list[Comparison]:
    """All readings of a curve together, judged where every layer was measured; none where no layer was."""
    theirs = whole.reindex(seeds.columns).dropna().clip(upper=1)
    if theirs.empty:
        return []
    seeds = seeds[theirs.index]
    low, high = band(seeds)
    inside = (low - error <= theirs) & (theirs <= high + error)
    farthest = (theirs - seeds.mean()).abs().idxmax()
    note = f"farthest at {farthest} layers: {theirs[farthest]:.4g}, ours {seeds[farthest].mean():.4g}"
    if not inside.all():
        note += f"; outside at {', '.join(map(str, theirs.index[~inside]))} layers"
    agrees = bool(inside.all()) if len(theirs) == len(whole) else None
    ours = f"{inside.sum()} of {len(theirs)} readings inside"
    return [published.compare(key, ours, on, agrees, note, own=True)]


def _single(ours: Curves, others: Curves, on: str) -> list[Comparison]:
    """The text's 0.99, the line at 1/pi, and tanh without any bias; ``others`` are without self-pairs."""
    found, interval = [], f"95% prediction, {len(next(iter(ours.values())))} seeds"
    if 2 in (seeds := ours.get(("figure", "sigmoid"), pd.DataFrame())):
        low, high = prediction_interval(seeds[2])
        text = seeds[2].mean(), on, None, "", low, high, True, interval
        found.append(published.compare("figure_2b.sigmoid_2_layers", *text))
    places = {
        "figure_2b.one_over_pi": (others, "relu", 1, "the arc-cosine kernel of unrelated vectors"),
        "figure_2b.no_bias.tanh": (ours, "tanh", 25, "the released tanh layers have biases: see its curve"),
    }
    for key, (source, network, layers, note) in places.items():
        if layers in (seeds := source.get(("none", network), pd.DataFrame())):
            low, high = prediction_interval(seeds[layers])
            agrees = bool(low <= published.numbers()[key].value <= high)
            found.append(published.compare(key, seeds[layers].mean(), on, agrees, note, low, high, True, interval))
    return found
