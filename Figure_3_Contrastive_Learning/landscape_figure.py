"""Figure 3 (a-d), drawn from the record of ``loss_landscape.py``."""

from collections.abc import Iterator, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from landscape_minima import FLAT, no_minimum, temperature_label
from util import figures, published
from util.records import Record

SMALL_CLIP = "small CLIP, generated scenes"
"""Name of the embeddings that every checkout has."""
PUBLISHED = {system: f"published {about['title']}" for system, about in published.SYSTEMS.items()}
PUBLISHED["clip"] = CLIP = "published CLIP ViT-B/16, MSCOCO"
FURTHER = tuple(name for name in PUBLISHED.values() if name != CLIP)
"""Published systems of which the paper has no Figure 3."""
PANELS = (1 / 100, 1 / 50, 1.0)
"""Temperatures of panels b, c and d."""


def of_paper(record: Record) -> list[str]:
    """The sets of embeddings in the paper's layout: the published CLIP, the small one in its place, or your own."""
    names = list(record.about["results"])
    return [CLIP] if CLIP in names else [name for name in names if name not in FURTHER]


def is_sigmoid(record: Record) -> bool:
    """Whether the loss is SigLIP's."""
    return record.about["settings"].get("loss") == "sigmoid"


def grid(record: Record, panels: int, page: int, column: int, height: float, **first) -> tuple[Figure, list[Axes]]:
    """A figure of the record's width, so many panels side by side in either width; options of the first panel."""
    side = min(panels, page if figures.width(record) == figures.WIDTHS["page"] else column)
    rows = -(-panels // side)
    figure = plt.figure(figsize=(figures.width(record), height * rows + 0.35), layout="constrained")
    axes = [figure.add_subplot(rows, side, 1 + k, **(first if k == 0 else {})) for k in range(panels)]
    for ax in axes[::side]:
        ax.set_ylabel(f"{'sigmoid' if is_sigmoid(record) else 'contrastive'} loss (nats)")
    return figure, axes


def curves_of(record: Record, name: str, temperatures=PANELS) -> Iterator[tuple[float, pd.DataFrame, pd.Series]]:
    """(temperature, loss curve, its row of the minima) of one set at these temperatures, or at its first three."""
    parts = [record.tables[what] for what in ("", "minima")]
    table, minima = (part[part["embeddings"] == name] for part in parts)
    present = table["temperature"].unique()
    for tau in [tau for tau in present if np.isclose(tau, temperatures).any()] or present[:3]:
        yield tau, table[table["temperature"] == tau], minima[minima["temperature"] == tau].iloc[0]


def draw(record: Record, strip: bool = False) -> Figure:
    """Panels a-d as the paper's, for CLIP, or for each of your own sets; ``strip``: of one, at two temperatures."""
    letters, names, every = ("", of_paper(record)[-1:], 2) if strip else ("abcd", of_paper(record), 1)
    rows = [(name, list(curves_of(record, name))[::every]) for name in names]
    sides = 1 + len(rows[0][1])
    figure, axes = grid(record, sides * len(rows), sides, 1 if sides % 2 else 2, 1.9)
    label = axes[0].get_ylabel()
    for k, (name, curves) in enumerate(rows):
        first, *others = axes[k * sides : (k + 1) * sides]
        draw_points(first, record, name, letters[:1])
        for letter, ax, (tau, curve, lowest) in zip(letters[1:] or " " * sides, others, curves, strict=False):
            if letters and not is_sigmoid(record):
                style = {"color": figures.MUTED, "lw": 0.9, "ls": ":", "label": "as released (image to text)"}
                ax.plot(curve["signed_gap_distance"], curve["loss_as_released"], **style)
            draw_curve(ax, curve, lowest, figures.INK, "sigmoid loss" if is_sigmoid(record) else "symmetric loss")
            if np.isfinite(lowest["gap_low"]):
                style = {"color": figures.MUTED, "alpha": 0.3, "lw": 0, "label": "95% over batches"}
                ax.axvspan(lowest["gap_low"], lowest["gap_high"], **style)
            said = marked(letter, f"{'τ =' if letters else 'temperature'} {temperature_label(tau)}")
            ax.set_ylabel(label)
            ax.set_title(said, loc="left")
    return legend(figure)


def marked(letter: str, title: str) -> str:
    """A panel's title behind its letter, where it has one."""
    return f"$\\bf{{({letter})}}$ {title}" if letter.strip() else title


def draw_temperatures(record: Record) -> Figure:
    """Every temperature in a panel of its own, one curve for each set of embeddings."""
    names = [name for name in record.about["results"] if name not in FURTHER]
    present = record.tables[""]["temperature"].unique()
    figure, axes = grid(record, len(present), 3, 2, 1.6)
    for name, colour in zip(names, figures.SERIES * len(names), strict=False):
        for ax, (tau, curve, lowest) in zip(axes, curves_of(record, name, present), strict=True):
            draw_curve(ax, curve, lowest, colour, figures.plain(name))
            ax.set_title(f"temperature {temperature_label(tau)}", loc="left")
    return legend(figure, columns=3)


def draw_systems(record: Record) -> Figure:
    """The sets of embeddings beside CLIP, or all there are, each with three temperatures on one axis of losses."""
    everything = list(record.about["results"])
    names = [name for name in everything if name not in of_paper(record)] or everything
    figure, axes = grid(record, len(names), 4, 2, 1.95)
    for ax, name in zip(axes, names, strict=True):
        for colour, (tau, curve, lowest) in zip(figures.SERIES, curves_of(record, name), strict=False):
            draw_curve(ax, curve, lowest, colour, f"temperature {temperature_label(tau)}")
        if not is_sigmoid(record):
            ax.axhline(np.log(lowest["batch"]), color=figures.MUTED, ls=":", lw=0.9, label="chance")
        ax.set_title(title(record, name).replace(", ", ",\n").replace(": ", "\n", 1), loc="left")
        log_losses(ax)
    share_heights(axes)
    return legend(figure)


def log_losses(ax: Axes) -> None:
    """A logarithmic axis of losses, whose ticks are plain numbers."""
    ax.set_yscale("log")
    ax.yaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), minor_locator=NullLocator(), major_formatter="{x:g}")


def share_heights(axes: Sequence[Axes]) -> None:
    """One range of heights for panels that are compared."""
    ends = np.array([ax.get_ylim() for ax in axes])
    for ax in axes:
        ax.set_ylim(ends[:, 0].min(), ends[:, 1].max())


def title(record: Record, name: str) -> str:
    """Name and size of one set of embeddings."""
    return f"{figures.plain(name)}: {record.about['results'][name]['n_pairs']} pairs"


def draw_points(ax: Axes, record: Record, name: str, letter: str) -> None:
    """Both modalities on two principal components, with an arrow from each centroid along a positive shift."""
    facts, points = record.about["results"][name], record.tables["points"]
    points, colours = points[points["embeddings"] == name], (figures.NON_TEXT, figures.TEXT)
    for (modality, part), colour in zip(points.groupby("modality", sort=False), colours, strict=True):
        ax.scatter(part["pc1"], part["pc2"], s=3, color=colour, alpha=0.45, linewidths=0)
        ax.scatter([], [], s=12, color=colour, label=figures.plain(modality))
    for at, sign in zip(np.array(facts["centroids"]), (-1, 1), strict=True):
        tip = at + sign * np.array(facts["direction"]) * 0.42 * facts["gap_distance"]
        style = {"arrowstyle": "-|>", "color": figures.INK, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", xy=tip, xytext=at, arrowprops=style, zorder=4)
        ax.plot(*at, "o", color=figures.INK, ms=3.5, zorder=5)
    ax.margins(0.08)
    ratio = facts["explained_variance_ratio"]
    ax.set(xlabel=f"PC 1 ({ratio[0]:.0%} of variance)", ylabel=f"PC 2 ({ratio[1]:.0%})")
    gap = marked(letter, f"gap distance {facts['gap_distance']:.2f}")
    ax.set_title(f"{title(record, name)}\n{gap}", loc="left")


def draw_curve(ax: Axes, curve: pd.DataFrame, lowest: pd.Series, colour: str, label: str) -> None:
    """Loss against signed gap distance, with the default gap and the lowest point marked."""
    ax.plot(curve["signed_gap_distance"], curve["loss"], color=colour, label=label)
    ax.axvline(lowest["default_gap"], color=colour, ls="--", lw=0.9, label="default gap")
    why, at = no_minimum(lowest), curve["loss"].idxmin()
    style = {"marker": "v" if why else "o", "ls": "", "ms": 5, "mfc": "white", "mec": colour, "mew": 1.3}
    style |= {"label": why or "lowest loss", "zorder": 5, "clip_on": False}
    if why != FLAT:
        ax.plot(curve["signed_gap_distance"][at], curve["loss"][at], **style)
    ax.set(xlabel="signed gap distance", xlim=(-2, 2))


def legend(figure: Figure, columns: int = 5) -> Figure:
    """The figure with a legend below it: every label of its panels, once."""
    found = [zip(*ax.get_legend_handles_labels(), strict=True) for ax in figure.axes[::-1]]
    entries = {label: handle for part in found for handle, label in part}
    entries = dict(sorted(entries.items(), key=lambda entry: entry[0].startswith(("default", "lowest"))))
    if figure.get_figwidth() <= figures.WIDTHS["column"]:
        columns = 2 if max(map(len, entries)) < 28 else 1
    figure.legend(entries.values(), entries, loc="outside lower center", ncols=min(len(entries), columns))
    return figure
