"""Figure 2 (b): the deeper a random network, the narrower its cone.

Standard normal inputs pass through random linear layers with an activation after each. The mean cosine between any two
of them grows with depth; without biases it stays at zero for tanh and for no activation, which are odd. Width 512,
1024 inputs, 25 layers, weights and biases N(0, 1/512), all as in the paper, over ten seeds, where the paper has one.

    python Figure_2_Cone_Effect/depth.py
    python Figure_2_Cone_Effect/depth.py --activations all --layers 100
    python Figure_2_Cone_Effect/depth.py --activations relu tanh --bias with --seeds 30

Nothing is downloaded: the embedded and the paper preset are the same.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from tqdm import tqdm

from util import cli, cone, figures, published, records
from util.numerics.arrays import as_count
from util.numerics.statistics import prediction_interval

NAME = "depth"
KEY = "figure_2b.relu_bias."
BIASES = {"both": (True, False), "with": (True,), "without": (False,)}
PAPER_WIDTH, PAPER_BATCH = 512, 1024
CAPTIONS = {
    NAME: "Mean cosine over all pairs of different inputs against the number of random layers: mean over seeds, and a "
    "band from the lowest seed to the highest. Left: with biases; the diamonds are the published ReLU curve, one seed. "
    "Right: the same weights without biases. The published values include self-pairs, which adds (1 - mean)/n, 0.001 "
    "for n = 1024 unrelated inputs, less than a line's width.",
}
PUBLISHED = {"marker": "D", "ls": "none", "ms": 3.5, "mfc": "white", "mec": figures.INK, "mew": 0.8, "zorder": 5}
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
}


@dataclass(frozen=True, kw_only=True)
class Settings(cli.Common):
    output: Path = cli.OUTPUTS / "Figure_2_Cone_Effect"
    seeds: int = 10
    """Random networks: seed, seed + 1, ... One seed's networks share its inputs and weights."""
    layers: int = 25
    """Depth of the networks."""
    width: int = PAPER_WIDTH
    """Of the inputs and of every layer."""
    batch: int = PAPER_BATCH
    """Number of inputs."""
    activations: tuple[str, ...] = cone.PAPER_ACTIVATIONS
    """sigmoid, relu, leaky_relu, tanh, none, and from the appendix gelu, quick_gelu, elu, maxout; or all."""
    bias: Literal["both", "with", "without"] = "both"
    """Networks with biases, without, or both."""


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper"),
    "smoke": Settings(preset="smoke", seeds=3, layers=3),
}


def measure(settings: Settings, device: str) -> cli.Measured:
    """Mean cosines by depth, and the published curve beside them."""
    table = curves(settings, device)
    comparable = (settings.width, settings.batch) == (PAPER_WIDTH, PAPER_BATCH)
    found = compare(table, settings) if comparable else []
    last = table[table["layers"] == settings.layers].groupby(["activation", "bias"], sort=False)["mean_cosine"]
    said = [
        f"{activation} {'with' if bias else 'without'} biases: mean cosine {seeds.mean():.4f} "
        f"({seeds.min():.4f} to {seeds.max():.4f})"
        for (activation, bias), seeds in last
    ]
    if found:
        said.append(f"{sum(c.agrees for c in found)} of {len(found)} published values inside the prediction interval")
    needs = f"ReLU with biases, width {PAPER_WIDTH}, {PAPER_BATCH} inputs"
    return cli.Measured(
        tables={"": table},
        data=[
            {
                "name": "random inputs, weights and biases, shared by the networks of a seed",
                "data": f"drawn: {settings.batch} inputs N(0, I) of width {settings.width} for each seed",
                "model": f"random linear layers, entries N(0, 1/{settings.width}), each with an activation",
                "seeds": list(range(settings.seed, settings.seed + settings.seeds)),
            }
        ],
        dtype="float32 layers, float64 sums",
        comparisons=found,
        left_out=[] if found else [f"the published curve beside ours: it is for {needs}"],
        said=said,
    )


def curves(settings: Settings, device: str) -> pd.DataFrame:
    """The rows of ``depth.csv``: mean cosine for every activation, bias, number of layers and seed."""
    options = {name: getattr(settings, name) for name in ("activations", "layers", "width", "batch")}
    options |= {"biases": BIASES[settings.bias], "device": device}
    seeds, frames = range(settings.seed, settings.seed + settings.seeds), {}
    for seed in tqdm(seeds, desc=NAME, unit="seed", leave=False, disable=None):
        frames[seed] = pd.DataFrame(cone.mean_cosine_by_depth(**options, seed=seed))
    wide = pd.concat(frames, names=["seed", "layers"]).rename_axis(columns=["activation", "bias"])
    table = wide.swaplevel().sort_index().melt(value_name="mean_cosine", ignore_index=False).reset_index()
    table["mean_cosine_with_self"] = cone.with_self_pairs(table["mean_cosine"], settings.batch)
    columns = ["activation", "bias", "layers", "seed", "mean_cosine", "mean_cosine_with_self"]
    return table.astype({"bias": bool})[columns]


def compare(table: pd.DataFrame, settings: Settings) -> list[records.Comparison]:
    """Each published value and whether it lies where one further seed would; none without ReLU and biases."""
    on = f"{settings.seeds} seeds, width {settings.width}, {settings.batch} inputs"
    ours = table[(table["activation"] == "relu") & table["bias"]].groupby("layers")["mean_cosine_with_self"]
    found, interval = [], f"95% prediction, {settings.seeds} seeds"
    for key, number in published.numbers(KEY).items():
        if (layers := int(key.removeprefix(KEY))) in ours.groups:
            seeds = ours.get_group(layers)
            low, high = prediction_interval(seeds)
            agrees = low <= number.value <= high
            found.append(published.compare(key, seeds.mean(), on, agrees, "", low, high, True, interval))
    return found


def draw(record: records.Record) -> plt.Figure:
    """Mean cosine against depth with and without biases, and the published curve."""
    table, theirs = record.tables[""], [row["published"] for row in record.about["comparisons"]]
    biases = table["bias"].unique()
    figure, axes = plt.subplots(1, len(biases), figsize=(0.6 + 3.4 * len(biases), 3.3), layout="constrained")
    axes = np.atleast_1d(axes)
    for ax, bias in zip(axes, biases, strict=True):
        draw_curves(ax, table[table["bias"] == bias])
        figures.panel_title(ax, "b", "with biases" if bias else "without biases")
    if theirs:
        axes[0].plot(theirs, label="published (ReLU, one seed)", **PUBLISHED)
    axes[0].set_ylabel("mean cosine")
    band = Patch(color=figures.MUTED, alpha=0.2, lw=0, label="band: lowest to highest seed")
    handles = [*axes[0].get_legend_handles_labels()[0], band]
    figure.legend(handles=handles, loc="outside lower center", ncols=2 * len(biases))
    return figure


def draw_curves(ax: plt.Axes, table: pd.DataFrame) -> None:
    """One line for each activation, the mean over seeds, with a band from the lowest to the highest."""
    for activation, part in table.groupby("activation", sort=False):
        label, colour, dashes = LABELS[activation]
        seeds = part.groupby("layers")["mean_cosine"]
        ax.fill_between(seeds.mean().index, seeds.min(), seeds.max(), color=colour, alpha=0.2, linewidth=0)
        ax.plot(seeds.mean(), color=colour, ls=dashes, label=label)
    ax.set_xlabel("layers")
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
