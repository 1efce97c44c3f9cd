"""The pictures of Figure 1, one view of both modalities for each panel; of the views, singular vectors and t-SNE."""

import tomllib
from collections.abc import Mapping
from functools import partial
from itertools import chain
from math import lcm
from pathlib import Path
from string import ascii_letters
from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.collections import LineCollection
from sklearn.utils.extmath import svd_flip
from threadpoolctl import threadpool_limits

from panels import OWN, PUBLISHED
from util import UserError, figures, records

TSNE_STEPS = 500
"""Half of scikit-learn's: of 1000 published rows they end at a divergence of 0.89, and twice the steps at 0.85."""


def svd_coordinates(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n 2"]:
    """Rows on the first two right singular vectors, nothing subtracted; signs as scikit-learn fixes them.

    Trap: without centring, the first axis is about the mean of all rows, and the gap mostly the second.
    """
    x = np.asarray(x, dtype=np.float64)
    if min(x.shape) < 2:
        raise UserError(f"two singular vectors need two rows and columns or more, not {x.shape}")
    u, values, vt = np.linalg.svd(x, full_matrices=False)
    u, vt = svd_flip(u, vt, u_based_decision=False)
    return u[:, :2] * values[:2]


def tsne_coordinates(x: Float[np.ndarray, "n d"], seed: int = 0) -> Float[np.ndarray, "n 2"]:
    """t-SNE of rows, float64 (n, 2), begun at their principal components, the same for the same seed on one machine.

    Args:
        x: float array (n, d), n at least 4, d at least 2. Distances rank unit rows as their cosines do.
        seed: of the principal components, which scikit-learn estimates at random in wide arrays.

    It takes ``TSNE_STEPS`` steps at perplexity 30, or (n - 1)/3 where that is less.

    Trap: as with UMAP, distances between far clusters and the sizes of clusters mean little.
    """
    if len(x) < 4 or x.shape[1] < 2:
        raise UserError(f"t-SNE needs at least 4 rows and 2 columns, not {x.shape}")
    from sklearn.manifold import TSNE  # takes a second

    perplexity = min(30.0, (len(x) - 1) / 3)
    with threadpool_limits(1):  # sums over several threads differ in their last bits, and the picture with them
        layout = TSNE(perplexity=perplexity, init="pca", max_iter=TSNE_STEPS, random_state=seed)
        return layout.fit_transform(np.asarray(x, np.float32)).astype(np.float64)


LETTERS = {"trained": "b", "random": "c"}
"""Panels of the paper's figure."""
METHODS = {"umap": "UMAP", "tsne": "t-SNE", "pca": "Principal components", "svd": "Singular vectors"}
ACROSS = {figures.WIDTHS["column"]: 2, figures.WIDTHS["page"]: 4}  # panels in a row, at most
LETTERS_PER_INCH, LINE = 20.5, 0.105
"""Letters across an inch over a panel, and inches from one line there to the next."""
CAPTIONS, OWN_CAPTIONS, NOTES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")).values()


def undrawn(table: pd.DataFrame) -> list[str]:
    """Pictures without panels of their own: the live one where the first has them, the strip of your own files."""
    live = [] if 0 < (table["source"] == PUBLISHED).mean() < 1 else ["_live"]
    return [*live, "_strip"] if (table["weights"] == OWN).all() else live


def draw(record: records.Record, live: bool = False, strip: bool = False) -> plt.Figure:
    """The published embeddings where any are here, otherwise everything; ``live``: the others; ``strip``: in little."""
    table, points, width = record.tables[""], record.tables["points"], figures.width(record)
    published = table["source"] == PUBLISHED
    table = table[~published if live else published | ~published.any()]
    own = record.about["own_data"] and PUBLISHED not in {*table["source"]}
    rows, columns = arranged(table, ACROSS[width], bool(own)), ["system", "weights", "source"]
    points = points[points["method"] == record.about["settings"]["method"]].groupby(columns)
    letters = int(width / max(map(len, rows)) * LETTERS_PER_INCH)
    for facts in chain(*rows):
        facts["points"] = points.get_group(tuple(facts[name] for name in columns))
        facts["said"] = over(facts, letters, strip)
    tall = (0.8 if strip else 1.45) + LINE * max(len(facts["said"]) for facts in chain(*rows))
    figure = plt.figure(figsize=(width, tall * len(rows) + 0.75), layout="constrained")
    grid = figure.add_gridspec(len(rows), lcm(*map(len, rows)))
    for place, row in enumerate(rows):
        step = grid.ncols // len(row)
        for column, facts in enumerate(row):
            draw_panel(figure.add_subplot(grid[place, column * step : (column + 1) * step]), facts)
    label(figure, record, table)
    return figure


DRAWN = {"": draw, "_live": partial(draw, live=True), "_strip": partial(draw, strip=True)}  # by the ends of their names


def arranged(table: pd.DataFrame, across: int, own: bool = False) -> list[list[dict]]:
    """Rows of panels that leave no place empty: trained before random weights, or the two of a system side by side.

    Letters are the paper's; ``own`` panels begin at (a), and one alone has none.
    """
    if across > 2 or table["system"].value_counts().ne(2).any():
        table = table.sort_values("weights", key=lambda weights: weights == "random", kind="stable")
    letters = table["weights"].map(LETTERS).mask(table["weights"].duplicated()).fillna("")
    if own:
        letters = [*ascii_letters[: len(table)]] if len(table) > 1 else [""]
    panels = np.array(table.assign(letter=letters).to_dict("records"), object)
    return [list(row) for row in np.array_split(panels, -(-len(panels) // across))]


def draw_panel(ax: plt.Axes, facts: dict) -> None:
    """Both modalities in one view, a line for each pair, the numbers above; axes have no unit and are not drawn."""
    points = facts["points"]
    other, text = (points[points["modality"] == facts[key]] for key in ("other", "text"))
    if not other["pair"].isna().any():
        ends = np.stack([rows[["x", "y"]].to_numpy() for rows in (other, text)], axis=1)
        alpha = 0.12 if len(ends) > 200 else 0.3
        ax.add_collection(LineCollection(ends, colors=figures.INK, linewidths=0.25, alpha=alpha, zorder=1))
    for rows, colour in ((other, figures.NON_TEXT), (text, figures.TEXT)):
        ax.scatter(rows["x"], rows["y"], s=3 if len(rows) > 200 else 6, color=colour, linewidths=0, alpha=0.8, zorder=2)
    ax.margins(0.05)
    ax.set_axis_off()
    letter = f"$\\bf{{({facts['letter']})}}$ " if facts["letter"] else ""
    words = letter + figures.plain("\n".join(facts["said"]))
    ax.set_title(words, fontsize=figures.LEAST_POINTS, loc="left", linespacing=1.2, pad=3)


def named(facts: Mapping) -> list[str]:
    """System, weights and source in words, each once."""
    weights = facts["weights"] + (" weights" if facts["weights"] in LETTERS else "")
    return list(dict.fromkeys([facts["system"], weights, facts["source"]]))


def over(facts: dict, letters: int, strip: bool) -> list[str]:
    """The lines over a panel, of so many letters: its name, its numbers, and of how many rows both are."""
    weights = f", {facts['weights']}" if facts["weights"] in LETTERS else ""
    if strip:
        return wrap(f"{facts['system']}{weights}: gap {facts['gap_distance']:.2f}", letters)
    system, whose, *source = (name for name in named(facts) if name != PUBLISHED)
    n, both, shown = facts["n_pairs"], (facts["n_other"], facts["n_text"]), len(facts["points"]) // 2
    kind = "" if facts["weights"] == OWN else f"{facts['kind']} "
    size = f"{n:,} {kind}pairs" if n else f"{both[0]:,} and {both[1]:,}, not paired"
    size += f", {shown:,} of each shown" if shown < max(*both, n) else ""
    gap = "gap {gap_distance:.3f}, separable {separability:.1%}".format_map(facts)
    gap += " ({separability_rows:,} of each)".format_map(facts) if facts["separability_rows"] < min(both) else ""
    recall = "recall@1 {image_recall_at_1:.3f}, {text_recall_at_1:.3f} ({chance:.3f})".format_map(facts)
    recall = recall if np.isfinite(facts["chance"]) else ""
    return [part for line in (f"{system}, {whose}", *source, size, gap, recall) for part in wrap(line, letters)]


def label(figure: plt.Figure, record: records.Record, table: pd.DataFrame) -> None:
    """The colours and the method below; on the face of the figure whose embeddings they are, and what they are not."""
    settings, letters = record.about["settings"], int(18 * figure.get_figwidth())
    handles = []
    for column, colour in (("other", figures.NON_TEXT), ("text", figures.TEXT)):
        words = figures.plain(", ".join(table[column].unique()))
        handles.append(plt.Line2D([], [], marker="o", ls="", ms=3, color=colour, label=words))
    handles.append(plt.Line2D([], [], color=figures.INK, lw=0.6, alpha=0.6, label="a pair"))
    title = f"{METHODS[settings['method']]} of both modalities together; axes have no unit"
    title += "; recall@1 in brackets: chance" if any("recall" in ax.get_title("left") for ax in figure.axes) else ""
    below = {"loc": "outside lower center", "ncols": 3, "title_fontsize": 6.5}
    figure.legend(handles=handles, title="\n".join(wrap(title, letters)), **below)
    generated = any(record.about["data"][row].get("generated") for row in table.index)
    for note in NOTES.keys() & {*table["source"], "generated" if generated else ""}:
        words = wrap(NOTES[note].format(preset=settings["preset"]), letters)
        figure.suptitle("\n".join(words), x=0.01, ha="left", fontsize=6.5, color=figures.MUTED)
