"""Drawing of Figure 2 (c) from its record: the embeddings of many seeds by UMAP and PCA, and their spectra."""

from collections.abc import Callable, Sequence
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from encoder_options import PAPER_SEEDS, RESNET, TEXT, VISION
from tower_inputs import NOISE
from util import figures, published, records

RESNET_50, TRAINED_50 = "ResNet-50", "ResNet-50, trained"
COLOURS = {RESNET: figures.SERIES[1], VISION: figures.NON_TEXT, TEXT: figures.TEXT}
PUBLISHED = {VISION: "vision", TEXT: "text", RESNET: "resnet"}
"""Their names in the keys."""
PICTURES = "pictures and captions"


def draw(record: records.Record, method: str = "umap", height: float = 1.3) -> plt.Figure:
    """UMAP, or PCA, of every encoder on real inputs and on noise."""
    return picture(record, [partial(draw_cloud, record, facts, method) for facts in shown(record)], height)


draw_pca = partial(draw, method="pca", height=1.1)


def draw_resnets(record: records.Record) -> plt.Figure:
    """ResNet-50 by UMAP and PCA."""
    found, left_out = shown(record, resnets=True), "left out: see the record"
    panels = [partial(draw_cloud, record, facts, method) for facts in found for method in ("umap", "pca")]
    return picture(record, panels or [lambda ax: ax.set_title(left_out)], height=1.4)


def draw_spectra(record: records.Record) -> plt.Figure:
    """Singular values on real inputs and on noise, and the published ones."""
    kinds: dict[str, list] = {}
    for facts in [*shown(record), *shown(record, resnets=True)]:
        of_50 = facts["encoder"] in (RESNET_50, TRAINED_50)
        kind = "noise" if facts["input"] == NOISE else facts["input"] if of_50 else PICTURES
        kinds.setdefault(kind, []).append(facts)
    figure = picture(record, [partial(draw_spectrum, record, kind, parts) for kind, parts in kinds.items()], 1.2)
    handles = {text: line for ax in figure.axes for line, text in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles=handles.values(), loc="outside lower center", ncols=6 if figures.width(record) > 5 else 2)
    return figure


DRAWS = {"": draw, "_pca": draw_pca, "_spectrum": draw_spectra, "_resnet50": draw_resnets}


def shown(record: records.Record, resnets: bool = False) -> list[pd.Series]:
    """The paper's three encoders, or ResNet-50: a page's row is of one kind of input, a column's of one encoder."""
    table = record.tables[""]
    table = table[table["encoder"].isin([RESNET_50, TRAINED_50]) == resnets].assign(noise=lambda t: t["input"] == NOISE)
    table = table.assign(order=pd.factorize(table["encoder"])[0])
    order = ["noise", "order"] if figures.width(record) > 5 else ["order", "noise"]
    return [facts for _, facts in table.sort_values(order).iterrows()]


def picture(record: records.Record, panels: Sequence[Callable[[plt.Axes], None]], height: float) -> plt.Figure:
    """Panels in rows of three on a page, of two or one in a column; ``height`` is a panel's over its width."""
    width = figures.width(record)
    columns = 3 if width > 5 and len(panels) % 3 == 0 else 1 + (len(panels) % 2 == 0)
    rows = len(panels) // columns
    size = (width, rows * min(height * width / columns, 2.7))  # inches
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for panel, ax in zip(panels, axes.flat, strict=True):
        panel(ax)
    return figure


def of(table: pd.DataFrame, facts) -> pd.DataFrame:
    """Rows of one encoder on one input, as the facts say."""
    return table[(table["encoder"] == facts.encoder) & (table["input"] == facts.input)]


def draw_cloud(record: records.Record, facts: pd.Series, method: str, ax: plt.Axes) -> None:
    """All embeddings of one encoder: a colour for each seed, those of neighbouring seeds far apart."""
    points = of(record.tables["points"], facts).query("method == @method")
    colours = points["seed"] * 0.618034 % 1  # by the golden section, so that none lies on another
    ax.scatter(points["x"], points["y"], s=5, c=colours, cmap="turbo", linewidths=0, alpha=0.8)
    networks = f"{facts['n_seeds']} {'models' if facts['encoder'] == TRAINED_50 else 'seeds'}"
    heading = [facts["encoder"], facts["input"], f"{networks} x {facts['n']} inputs"]
    if method == "umap":
        for seed, (x, y) in points.groupby("seed")[["x", "y"]].median().iterrows():
            ax.annotate(seed, (x, y), (2, 1), textcoords="offset points", fontsize=figures.LEAST_POINTS)
        heading.append(f"cosine {facts['within_cosine']:.2f} within, {facts['between_cosine']:z.2f} between")
        heading.append(f"seed explains {facts['explained_by_seed']:.0%}")
        ax.set(xlabel="UMAP 1", ylabel="UMAP 2")
    else:
        first, second = of(record.tables["spectrum"], facts)["explained_variance_ratio"].iloc[:2]
        ax.set(xlabel=f"component 1 ({first:.1%})", ylabel=f"component 2 ({second:.1%})")
    letter = "$\\bf{(c)}$ " if method == "umap" and ax is ax.figure.axes[0] and facts["encoder"] in COLOURS else ""
    ax.set_title(letter + figures.plain("\n".join(heading)), fontsize=6.2, loc="left")
    ax.set(xmargin=0.06, ymargin=0.06, xticks=[], yticks=[])


def draw_spectrum(record: records.Record, kind: str, encoders: Sequence[pd.Series], ax: plt.Axes) -> None:
    """Singular values over the first, ours and the published, and a line after component n_seeds - 1."""
    for facts in encoders:
        values = of(record.tables["spectrum"], facts).query("singular_value > 1e-3 * singular_value.max()")
        style = {"ms": 2, "lw": 0.9, "color": COLOURS.get(facts["encoder"], figures.INK), "label": facts["encoder"]}
        ax.plot(values["component"], values["singular_value"] / values["singular_value"].max(), ".-", **style)
    seeds = encoders[0]["n_seeds"]
    ax.axvline(seeds - 0.5, color=figures.MUTED, ls="--", lw=0.8, zorder=0, label="after component n_seeds - 1")
    if kind == PICTURES and seeds == PAPER_SEEDS:
        ax.plot([], [], "x", ms=3, mew=0.7, color=figures.MUTED, label="published")
        for encoder, theirs in published.values()["figure_2c"]["singular_values"].items():
            ax.plot(range(1, len(theirs) + 1), np.array(theirs) / theirs[0], "x", ms=2, mew=0.6, color=COLOURS[encoder])
    ax.set(yscale="log", ylim=(0.01, 1.2), xlabel="principal component", ylabel="singular value over the first")
    ax.set_title(f"{kind}, {seeds} seeds", loc="left", fontsize=6.5)
