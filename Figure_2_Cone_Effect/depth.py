"""Figure 2 (b): the deeper a random network, the narrower its cone.

Standard normal inputs pass through random linear layers with an activation after each. Width, inputs, layers, weights
and biases are the paper's, over ten seeds, where the paper has one. Beside it the released "no bias" experiment, whose
layers with an activation have PyTorch's biases.

    python Figure_2_Cone_Effect/depth.py
    python Figure_2_Cone_Effect/depth.py --layers 100
    python Figure_2_Cone_Effect/depth.py --activations relu tanh --no-released --seeds 30

Nothing is downloaded: the embedded and the paper preset are the same.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator
from tqdm import tqdm

import random_networks
from util import cli, figures, published, records
from util.numerics.arrays import as_count
from util.numerics.statistics import prediction_interval
from util.records import Comparison

RELU, CURVE = "figure_2b.relu_bias.", "figure_2b.curve."
LEVEL = 0.95

Curves = dict[tuple[str, str], pd.DataFrame]
"""(plot, network) -> mean cosines (seeds, layers from 0)."""
NAME = "depth"
PAPER_WIDTH, PAPER_BATCH = 512, 1024
LOOKS = tomllib.loads((Path(__file__).parent / "captions.toml").read_text())["networks"]
PLAIN = tuple(f"linear+{name}" for name in ("sigmoid", "relu", "leaky_relu", "maxout", "tanh"))
ORDERS = ("linear+relu", "linear+leaky_relu", "relu+linear", "linear+relu+linear", "linear+bias")
FIGURE = "biases N(0, 1/width)"
PANELS = {
    FIGURE: ("figure", (), ["figure"]),
    "no biases at all": ("none", (), []),
    "released “no bias”: biases of PyTorch": ("no_bias", (*PLAIN, "linear"), ["no_bias"]),
    "the same, other orders of layers": ("no_bias", (*ORDERS, "linear"), ["orders", "linear"]),
}
"""Title -> what was measured, its networks (all where none are named), and the published plots."""


@dataclass(frozen=True, kw_only=True)
class Settings(cli.Common):
    output: Path = cli.OUTPUTS / "Figure_2_Cone_Effect"
    seeds: int = 10
    """Random networks: seed, seed + 1, ... One seed's networks share its inputs and weights."""
    layers: int = 25
    """Depth of the networks."""
    units: int = PAPER_WIDTH
    """Width of the inputs and of every layer."""
    batch: int = PAPER_BATCH
    """Number of inputs."""
    activations: tuple[str, ...] = tuple(random_networks.ACTIVATIONS)
    """Some of sigmoid, relu, leaky_relu, tanh and none."""
    released: bool = True
    """The released "no bias" experiment too."""


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper"),
    "smoke": Settings(preset="smoke", seeds=3, layers=3),
}


def measure(settings: Settings, device: str) -> cli.Measured:
    """Mean cosines by depth, and the published curves beside them."""
    tables = curves(settings, device)
    comparable = (settings.units, settings.batch) == (PAPER_WIDTH, PAPER_BATCH)
    on = f"{settings.seeds} seeds, width {settings.units}, {settings.batch} inputs"
    found = compare(tables, on) if comparable else []
    last = tables[""].query("layers == @settings.layers").groupby(["activation", "bias"], sort=False)["mean_cosine"]
    about = {
        "name": "random inputs, weights and biases, shared by the networks of a seed",
        "data": f"drawn: {settings.batch} inputs N(0, I) of width {settings.units} for each seed",
        "model": f"random linear layers, weights N(0, 1/{settings.units}), each with an activation",
        "seeds": list(range(settings.seed, settings.seed + settings.seeds)),
    }
    return cli.Measured(
        tables=tables,
        data=[about],
        dtype="float32 layers, float64 sums",
        comparisons=found,
        left_out=[] if found else [f"the published curves: they have width {PAPER_WIDTH}, {PAPER_BATCH} inputs"],
        said=[
            f"{name}, bias {bias}: mean cosine {of.mean():.4f}, {of.min():.4f} to {of.max():.4f}"
            for (name, bias), of in last
        ],
    )


def curves(settings: Settings, device: str) -> dict[str, pd.DataFrame]:
    """``depth.csv``, by activation, bias, layers and seed, and ``depth_released.csv``, by network, layers and seed."""
    options = {"layers": settings.layers, "width": settings.units, "batch": settings.batch, "device": device}
    seeds, main, released = range(settings.seed, settings.seed + settings.seeds), {}, {}
    for seed in tqdm(seeds, desc=NAME, unit="seed", leave=False, disable=None):
        main[seed] = pd.DataFrame(random_networks.mean_cosine_by_depth(settings.activations, **options, seed=seed))
        if settings.released:
            released[seed] = pd.DataFrame(random_networks.released_by_depth(**options, seed=seed))
    tables = {"": tidy(main, ["activation", "bias"], settings.batch).astype({"bias": bool})}
    return tables | ({"released": tidy(released, ["network"], settings.batch)} if released else {})


def tidy(frames: dict[int, pd.DataFrame], names: list[str], batch: int) -> pd.DataFrame:
    """One row for each network, number of layers and seed, of a table for each seed with a column a network."""
    wide = pd.concat(frames, names=["seed", "layers"]).rename_axis(columns=names if len(names) > 1 else names[0])
    table = wide.swaplevel().sort_index().melt(value_name="mean_cosine", ignore_index=False).reset_index()
    table["mean_cosine_with_self"] = random_networks.with_self_pairs(table["mean_cosine"], batch)
    return table[[*names, "layers", "seed", "mean_cosine", "mean_cosine_with_self"]]


def draw(record: records.Record) -> plt.Figure:
    """A panel for each experiment, with the published curves in it."""
    compared, width = bool(record.about["comparisons"]), figures.width(record)
    found = {title: panel(record, *about[:2]) for title, about in PANELS.items()}
    found = {title: networks for title, networks in found.items() if networks}
    columns = 1 if width < 5 or len(found) % 2 else 2
    rows = len(found) // columns
    size = {"figsize": (width, 0.9 + rows * (2.3 if columns > 1 else 2.0)), "layout": "constrained", "squeeze": False}
    figure, axes = plt.subplots(rows, columns, **size, sharex=True, sharey=True)
    for (title, networks), ax in zip(found.items(), axes.flat, strict=True):
        draw_curves(ax, networks, PANELS[title][2] if compared else [], title)
    handles = {text: line for ax in axes.flat for line, text in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles=handles.values(), loc="outside lower center", ncols=2 if width < 5 else 4)
    return figure


def panel(record: records.Record, measured: str, networks: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    """Network -> seeds of one experiment, those that are named, or all."""
    found = by_network(record.tables).items()
    return {name: seeds for (plot, name), seeds in found if plot == measured and name in (networks or (name,))}


def draw_curves(ax: plt.Axes, networks: dict[str, pd.DataFrame], plots: list[str], title: str) -> None:
    """A line for each network, its band, and the readings of published plots."""
    for network, seeds in networks.items():
        look = LOOKS[network]
        ax.plot(seeds.mean(), **look)
        ax.fill_between(seeds.columns, seeds.min(), seeds.max(), color=look["color"], alpha=0.2, linewidth=0)
        for plot in plots:
            theirs = readings(plot, network)
            style = {"ms": 2.4, "mec": look["color"], "mew": 0.6, "mfc": "white", "zorder": 3}
            ax.plot(theirs[theirs.index <= seeds.columns[-1]], "D", **style)
    if title == FIGURE:
        figures.panel_title(ax, "b", title)
    else:
        ax.set_title(title, loc="left")
        ax.axhline(1 / np.pi, color=figures.INK, ls=":", lw=0.8, label=r"1/$\pi$")
    if plots:
        ax.plot([], "D", ms=3, mfc="none", mec=figures.MUTED, label="published, one seed")
    ax.fill_between([], [], color=figures.MUTED, alpha=0.2, lw=0, label="band: lowest to highest seed")
    ax.set(ylim=(-0.04, 1.04), xlabel="layers", ylabel="mean cosine")
    ax.label_outer()
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))


DRAWS = {"": draw}


def readings(plot: str, network: str) -> pd.Series:
    """Published values by number of layers, those that the plot shows; none where it has no such curve."""
    known = published.values()["figure_2b"]["curves"].get(plot, {})
    return pd.Series(known.get(network, []), dtype=float).dropna()


def by_network(tables: Mapping[str, pd.DataFrame], column: str = "mean_cosine_with_self") -> Curves:
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
    ours, nothing = by_network(tables), pd.DataFrame()
    relu = ours.get(("figure", "relu"), nothing)
    layers = readings("figure", "relu").index.intersection(relu.columns)
    found = [_value(f"{RELU}{layer}", relu[layer], on, at_once=len(layers)) for layer in layers]
    for key, number in published.numbers(CURVE).items():
        plot, network = key.removeprefix(CURVE).split(".")
        seeds = ours.get(("figure" if plot == "figure" else "no_bias", network), nothing)
        others = {" ".join(name): each for name, each in ours.items() if each is not seeds}
        found += _curve(key, readings(plot, network), seeds, others, number.judged_by.tolerance, on)
    different = by_network(tables, "mean_cosine")
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


def run(settings: Settings, reuse: bool = False) -> records.Record:
    """Measures, records, draws; with ``reuse`` a record of the same settings and code is taken."""
    as_count(settings.seeds, "--seeds", least=2)
    settings = replace(settings, activations=random_networks.activation_names(settings.activations))
    return cli.publish_run(NAME, settings, measure, DRAWS, **cli.words(__file__), reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
