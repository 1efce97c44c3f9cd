"""The picture of Figure 1: one view of both modalities for each panel, and the numbers above it."""

from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection

from panels import PUBLISHED
from util import figures, records

LETTERS = {"trained": "b", "random": "c"}
"""Panels of the paper's figure."""
METHODS = {"umap": "UMAP", "pca": "principal components", "svd": "singular vectors"}
ACROSS, LETTERS_ACROSS = 4, 46
"""Panels in a row of the figure, and letters across one, at most."""
CAPTION = (
    "Each panel: one two-dimensional view of both modalities together, a thin line for each pair. (b) trained weights, "
    "(c) random weights. Over each panel: gap distance, mean cosine of matched pairs, mean cosine of two rows of one "
    "modality, relative gap (RMG; 0.5: a matched pair is as far apart as any two rows of one modality), and the share "
    "of held-out rows that a plane assigns to their own modality."
)


def draw(record: records.Record) -> plt.Figure:
    """Every panel of the record: published before others, trained before random weights."""
    table, method = record.tables[""], record.about["settings"]["method"]
    table = table.assign(run_here=table["source"] != PUBLISHED, random=table["weights"] == "random")
    table = table.sort_values(["run_here", "random"], kind="stable")
    rows = -(-len(table) // ACROSS)
    across = -(-len(table) // rows)
    figure = plt.figure(figsize=(max(2.4 * across, 3.2), 3.05 * rows + 0.6), layout="constrained")
    columns = ["system", "weights", "source", "kind"]
    points = record.tables["points"].query("method == @method").groupby(columns)
    for place, facts in enumerate(table.to_dict("records"), start=1):
        own = points.get_group(tuple(facts[name] for name in columns))
        draw_panel(figure.add_subplot(rows, across, place), facts, own)
    label(figure, record, method)
    return figure


def draw_panel(ax: plt.Axes, facts: dict, points: pd.DataFrame) -> None:
    """Both modalities in one view, a line for each pair, the numbers above; axes have no unit and are not drawn."""
    other, text = (points[points["modality"] == facts[key]] for key in ("other", "text"))
    if not other["pair"].isna().any():
        ends = np.stack([rows[["x", "y"]].to_numpy() for rows in (other, text)], axis=1)
        alpha = 0.12 if len(ends) > 200 else 0.3
        ax.add_collection(LineCollection(ends, colors=figures.INK, linewidths=0.25, alpha=alpha, zorder=1))
    for rows, colour in ((other, figures.NON_TEXT), (text, figures.TEXT)):
        ax.scatter(rows["x"], rows["y"], s=5 if len(rows) > 100 else 9, color=colour, linewidths=0, alpha=0.8, zorder=2)
    ax.margins(0.05)
    ax.set_axis_off()
    letter = LETTERS.get(facts["weights"])
    title = facts["system"] + (f", {facts['weights']} weights" if letter else "")
    lines = [*wrap(title, LETTERS_ACROSS), *wrap(facts["source"], LETTERS_ACROSS), *in_words(facts, len(other))]
    letter = f"$\\bf{{({letter})}}$ " if letter else ""
    ax.set_title(letter + figures.plain("\n".join(lines)), fontsize=6, loc="left", linespacing=1.3)


def in_words(facts: dict, shown: int) -> list[str]:
    """The panel's numbers in short lines, with how many rows the picture and the separability are of."""
    both = (facts["n_other"], facts["n_text"])
    n = f"{facts['n_pairs']:,} pairs" if facts["n_pairs"] else f"{both[0]:,} and {both[1]:,}, not paired"
    few, used = shown < max(*both, facts["n_pairs"]), facts["separability_rows"]
    relative = f"RMG {facts['relative_gap']:.3f}, " if facts["n_pairs"] else ""
    matched = f", matched cosine {facts['matched_cosine']:.3f}" if facts["n_pairs"] else ""
    within = ", ".join(f"{facts[key]} {facts[f'mean_cosine_{key}']:.3f}" for key in ("other", "text"))
    return [
        n + (f", {shown:,} of each shown" if few else ""),
        f"gap {facts['gap_distance']:.3f}{matched}",
        f"cosine within {within}",
        f"{relative}separable {facts['separability']:.1%}" + (f" ({used:,} of each)" if used < min(both) else ""),
    ]


def label(figure: plt.Figure, record: records.Record, method: str) -> None:
    """The two colours and the method below; on the face of the figure what it is not."""
    table, width = record.tables[""], figure.get_figwidth()
    handles = []
    for column, colour in (("other", figures.NON_TEXT), ("text", figures.TEXT)):
        words = figures.plain(", ".join(table[column].unique()))
        handles.append(plt.Line2D([], [], marker="o", ls="", ms=4, color=colour, label=words))
    handles.append(plt.Line2D([], [], color=figures.INK, lw=0.6, alpha=0.6, label="a pair"))
    title = "\n".join(wrap(f"{METHODS[method]} of both modalities together; axes have no unit", int(16 * width)))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, title=title, title_fontsize=7)
    if any(part.get("generated") for part in record.about["data"]):
        preset = record.about["settings"]["preset"]
        note = f"{preset} preset: inputs are generated where it says so, with a small trained model or random weights; "
        note += "that shows the phenomenon, not the paper's numbers"
        figure.suptitle("\n".join(wrap(note, int(19 * width))), x=0.01, ha="left", fontsize=6.5, color=figures.MUTED)
