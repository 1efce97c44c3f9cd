"""Figure 2 (b): the deeper a random network, the narrower its cone.

Standard normal inputs pass through random linear layers with an activation after each. The mean cosine between any two
of them grows with depth; without biases it stays at zero for tanh and for no activation, which are odd. Width 512,
1024 inputs, 25 layers, weights and biases N(0, 1/512), all as in the paper, over ten seeds, where the paper has one.
Beside it the released "no bias" experiment, whose layers with an activation have PyTorch's biases.

    python Figure_2_Cone_Effect/depth.py
    python Figure_2_Cone_Effect/depth.py --activations all --layers 100
    python Figure_2_Cone_Effect/depth.py --activations relu tanh --bias with --no-released --seeds 30

Nothing is downloaded: the embedded and the paper preset are the same.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from tqdm import tqdm

import published_curves
import released_layers
from util import cli, cone, figures, records
from util.numerics.arrays import as_count

NAME = "depth"
BIASES = {"both": (True, False), "with": (True,), "without": (False,)}
PAPER_WIDTH, PAPER_BATCH = 512, 1024
CAPTIONS = {
    NAME: "Mean cosine over all pairs against the number of random layers: mean over seeds, and a band from the lowest "
    "seed to the highest. Above: the paper's networks, with biases N(0, 1/width) and the same weights without. Below: "
    "the released 'no bias' experiment, whose layers with an activation have PyTorch's biases, uniform on "
    "+-1/sqrt(width), and its other orders of layers. Diamonds: published, one seed, most of them read from a plot. "
    "Dotted: 1/pi, what one wide ReLU layer makes of unrelated inputs. Self-pairs are included, as published: they "
    "add (1 - mean)/n, 0.001 for n = 1024 unrelated inputs.",
}
LABELS = {
    "sigmoid": ("sigmoid", figures.SERIES[1], "-"),
    "relu": ("ReLU", figures.SERIES[0], "-"),
    "leaky_relu": ("leaky ReLU", figures.SERIES[4], (0, (2.5, 1.5))),
    "tanh": ("tanh", figures.SERIES[2], "-"),
    "none": ("none (linear)", figures.SERIES[3], (0, (4, 2))),
    "gelu": ("GELU", figures.SERIES[5], "-"),
    "quick_gelu": ("quick GELU", figures.INK, (0, (2.5, 1.5))),
    "elu": ("ELU", figures.SERIES[2], (0, (1, 1))),
    "maxout": ("maxout", figures.MUTED, "-"),
    "relu+linear": ("ReLU, linear", "#6A3D9A", "-"),
    "linear+relu+linear": ("linear, ReLU, linear, ReLU", figures.SERIES[5], "-"),
}
LABELS |= {f"linear+{name}": LABELS[name] for name in ("sigmoid", "relu", "leaky_relu", "tanh", "maxout")}
LABELS |= {"linear": LABELS["none"], "linear+bias": ("linear with bias", figures.INK, (0, (1, 1)))}
ORDERS = ("linear+relu", "linear+leaky_relu", "relu+linear", "linear+relu+linear", "linear", "linear+bias")
"""Networks of the last panel; the released plot has the others before it."""
PANELS = {
    "figure": "biases N(0, 1/width)",
    "none": "no biases at all",
    "no_bias": "released \u201cno bias\u201d: PyTorch\u2019s biases",
    "orders": "the same, other orders of layers",
}


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
    activations: tuple[str, ...] = cone.PAPER_ACTIVATIONS
    """sigmoid, relu, leaky_relu, tanh, none, and from the appendix gelu, quick_gelu, elu, maxout; or all."""
    bias: Literal["both", "with", "without"] = "both"
    """Networks with biases, without, or both."""
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
    found = published_curves.compare(tables, on) if comparable else []
    table = tables[""]
    last = table[table["layers"] == settings.layers].groupby(["activation", "bias"], sort=False)["mean_cosine"]
    said = [
        f"{activation} {'with' if bias else 'without'} biases: mean cosine {seeds.mean():.4f} "
        f"({seeds.min():.4f} to {seeds.max():.4f})"
        for (activation, bias), seeds in last
    ]
    if found:
        said.append(f"{sum(bool(c.agrees) for c in found)} of {len(found)} published values and curves like ours")
    return cli.Measured(
        tables=tables,
        data=[
            {
                "name": "random inputs, weights and biases, shared by the networks of a seed",
                "data": f"drawn: {settings.batch} inputs N(0, I) of width {settings.units} for each seed",
                "model": f"random linear layers, weights N(0, 1/{settings.units}), each with an activation",
                "seeds": list(range(settings.seed, settings.seed + settings.seeds)),
            }
        ],
        dtype="float32 layers, float64 sums",
        comparisons=found,
        left_out=[] if found else [f"the published curves: they have width {PAPER_WIDTH}, {PAPER_BATCH} inputs"],
        said=said,
    )


def curves(settings: Settings, device: str) -> dict[str, pd.DataFrame]:
    """``depth.csv``, by activation, bias, layers and seed, and ``depth_released.csv``, by network, layers and seed."""
    options = {"layers": settings.layers, "width": settings.units, "batch": settings.batch, "device": device}
    chosen = {"activations": settings.activations, "biases": BIASES[settings.bias]}
    seeds, main, released = range(settings.seed, settings.seed + settings.seeds), {}, {}
    for seed in tqdm(seeds, desc=NAME, unit="seed", leave=False, disable=None):
        main[seed] = pd.DataFrame(cone.mean_cosine_by_depth(**options, **chosen, seed=seed))
        if settings.released:
            released[seed] = pd.DataFrame(released_layers.mean_cosine_by_depth(**options, seed=seed))
    tables = {"": tidy(main, ["activation", "bias"], settings.batch).astype({"bias": bool})}
    return tables | ({"released": tidy(released, ["network"], settings.batch)} if released else {})


def tidy(frames: dict[int, pd.DataFrame], names: list[str], batch: int) -> pd.DataFrame:
    """One row for each network, number of layers and seed, of a table for each seed with a column a network."""
    wide = pd.concat(frames, names=["seed", "layers"]).rename_axis(columns=names if len(names) > 1 else names[0])
    table = wide.swaplevel().sort_index().melt(value_name="mean_cosine", ignore_index=False).reset_index()
    table["mean_cosine_with_self"] = cone.with_self_pairs(table["mean_cosine"], batch)
    return table[[*names, "layers", "seed", "mean_cosine", "mean_cosine_with_self"]]


def draw(record: records.Record) -> plt.Figure:
    """A panel for each experiment, with the published curves in it."""
    shown = panels(published_curves.curves(record.tables))
    compared, width = bool(record.about["comparisons"]), figures.width(record)
    columns = min(len(shown), 1 if width < 5 else 2)
    rows = -(-len(shown) // columns)
    size = {"figsize": (width, 0.9 + rows * (2.3 if columns > 1 else 2.0)), "layout": "constrained"}
    figure, axes = plt.subplots(rows, columns, **size, squeeze=False, sharex=True, sharey=True)
    for ax, (panel, networks) in zip(axes.flat, shown.items(), strict=False):
        draw_curves(ax, networks, panel if compared else "")
        if panel == "figure":
            figures.panel_title(ax, "b", PANELS[panel])
        else:
            ax.set_title(PANELS[panel], loc="left")
    for ax in axes.flat[len(shown) :]:
        ax.set_axis_off()
    for ax in axes[-1]:
        ax.set_xlabel("layers")
    for ax in axes[:, 0]:
        ax.set_ylabel("mean cosine")
    handles = {text: line for ax in axes.flat for line, text in zip(*ax.get_legend_handles_labels(), strict=True)}
    marks = [Patch(color=figures.MUTED, alpha=0.2, lw=0, label="band: lowest to highest seed")]
    if compared:
        diamond = Line2D(
            [], [], marker="D", ls="none", ms=3, mfc="none", mec=figures.MUTED, label="published, one seed"
        )
        marks = [diamond, *marks]
    figure.legend(handles=[*handles.values(), *marks], loc="outside lower center", ncols=2 if columns == 1 else 4)
    return figure


def panels(curves: published_curves.Curves) -> dict[str, dict[str, pd.DataFrame]]:
    """Panel -> network -> seeds, for the panels that were measured."""
    found = {panel: {} for panel in PANELS}
    for (plot, network), seeds in curves.items():
        if plot != "no_bias" or network not in ORDERS[2:] or network == "linear":
            found[plot][network] = seeds
        if plot == "no_bias" and network in ORDERS:
            found["orders"][network] = seeds
    return {panel: networks for panel, networks in found.items() if networks}


def draw_curves(ax: plt.Axes, networks: dict[str, pd.DataFrame], plot: str) -> None:
    """A line for each network, its band, and the readings of a published plot."""
    for network, seeds in networks.items():
        label, colour, dashes = LABELS[network]
        ax.fill_between(seeds.columns, seeds.min(), seeds.max(), color=colour, alpha=0.2, linewidth=0)
        ax.plot(seeds.mean(), color=colour, ls=dashes, label=label)
        for source in {"orders": ("orders", "linear")}.get(plot, (plot,)):
            theirs = published_curves.readings(source, network)
            style = {"ms": 2.4, "mec": colour, "mew": 0.6, "mfc": "white", "zorder": 3}
            ax.plot(theirs[theirs.index <= seeds.columns[-1]], "D", **style)
    if {"relu", "linear+relu"} & set(networks) and plot != "figure":
        ax.axhline(1 / np.pi, color=figures.INK, ls=":", lw=0.8, label="1/$\pi$")
    ax.set_ylim(-0.04, 1.04)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def run(settings: Settings, reuse: bool = False) -> records.Record:
    """Measures, records, draws; with ``reuse`` a record of the same settings and code is taken."""
    as_count(settings.seeds, "--seeds", least=2)
    settings = replace(settings, activations=cone.activation_names(settings.activations))
    title = "Figure 2 (b): the mean cosine against depth in random networks"
    return cli.publish_run(NAME, settings, measure, {"": draw}, title=title, captions=CAPTIONS, reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
