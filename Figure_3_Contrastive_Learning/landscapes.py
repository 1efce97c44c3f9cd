"""What ``loss_landscape.py`` measures of one set of embeddings, and Figure 3 (a-d), drawn from its record.

The pairs of each batch, the loss and its temperatures; where its curves are lowest, on the grid of shifts and over
batches drawn again.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from scipy.ndimage import label
from scipy.signal import find_peaks
from scipy.special import expit
from torch import Tensor

from util import Embeddings, UserError, contrastive, figures, geometry, published
from util.numerics import items
from util.numerics.arrays import as_count, as_numbers
from util.records import Record

KEYS = ("logit_scale", "logit_bias")
LEAST_SCALE = 10
"""A smaller logit scale beside the vectors may be its logarithm, which checkpoints store."""
CURVE = ["embeddings", "batch", "temperature"]
PLACE = ["shift", "signed_gap_distance"]
BARRIER = ["barrier_shift", "barrier_gap", "barrier_loss"]
LOSSES = {"symmetric": "loss", "as released": "loss_as_released"}
INTERVAL = "95% bootstrap over batches"
LEAST_BATCHES = 5
"""Fewer batches give no interval."""
RESAMPLES = 2000
FLAT, EDGE = "flat curve", "lowest where the shifts end"
LEVEL, WIDTH = 0.001, 1.0
"""A curve that stays within so many nats of its lowest loss over shifts of this width is flat: it has no minimum."""


def temperature_label(temperature: float) -> str:
    """A temperature as the paper writes it: 1/100 for 0.01, 1 for 1."""
    inverse = 1 / temperature
    if abs(inverse - round(inverse)) < 1e-6 * inverse:
        return "1" if round(inverse) == 1 else f"1/{round(inverse)}"
    return f"{temperature:.3g}"


class Terms(NamedTuple):
    """Pairs, the rows of each batch, and the loss: SigLIP's where there is a bias. ``said`` is for the terminal."""

    x: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, "n d"]
    rows: Int[np.ndarray, "b size"]
    temperatures: tuple[float, ...]
    bias: float | None
    said: list[str]

    @property
    def count(self) -> str:
        """How many of the pairs are in a batch."""
        return f"{self.rows.size} of {len(self.x)} pairs"

    def facts(self) -> dict:
        """Results for the record: the pairs in batches and given, SigLIP's mean probability of a pair that matches."""
        found = {"n_pairs": self.rows.size, "n_given": len(self.x)}
        if self.bias is not None:
            cosines = (self.x.astype(np.float64) * self.y).sum(1)
            found["mean_matched_probability"] = float(expit(cosines / self.temperatures[0] + self.bias).mean())
        return found

    def left_out(self) -> list[str]:
        """A line where some pairs are in no batch."""
        why = f"what is left fills no batch of {self.rows.shape[1]}, in which nothing stands twice"
        return [f"the loss is of {self.count}: {why}"] if self.rows.size < len(self.x) else []


def terms(name: str, embeddings: Embeddings, settings) -> Terms:
    """Reads them off the settings and what stands beside the vectors; errors begin with the set's name."""
    x, y = embeddings.paired()
    rule = "which share no batch" if settings.embeddings else "and batches are of neighbours, as released"
    copies = items.copies_said(dict(zip(embeddings.two(), (x, y), strict=True)))
    said = [note for note in embeddings.source.get("notes", ()) if not note.endswith(tuple(copies))]
    said += [f"{line}, {rule}" for line in copies]
    try:
        loss = _loss(embeddings, settings, said)
        return Terms(x, y, _batches(x, y, settings), *loss, said)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error


def _batches(x: np.ndarray, y: np.ndarray, settings) -> np.ndarray:
    """As released in the paper's data, and in your own so that no batch holds an image or a text twice."""
    n = len(x)
    size = n if settings.batch is None else as_count(settings.batch, "--batch")
    if size > n:
        raise UserError(f"--batch {size} is more than its {n} pairs; choose a smaller one")
    return items.batches(x, y, settings.batch) if settings.embeddings else items.consecutive(n, size)


def _loss(embeddings: Embeddings, settings, said: list[str]) -> tuple[tuple[float, ...], float | None]:
    """Temperatures, and SigLIP's bias or None."""
    beside = {key: as_numbers(np.ravel(embeddings.beside[key]), key) for key in KEYS if key in embeddings.beside}
    if settings.loss == "info_nce":
        said += [f"{key} {beside[key][0]:g} beside the vectors is not used" for key in beside]
        return settings.temperatures, None
    found = []
    options = ("--logit-scale", settings.logit_scale), ("--bias", settings.bias)
    for key, (option, given) in zip(KEYS, options, strict=True):
        if given is None and key not in beside:
            raise UserError(f"--loss sigmoid needs {option}: no {key} stands beside the vectors")
        if given is None and key == KEYS[0] and beside[key][0] < LEAST_SCALE:
            raise UserError(f"logit_scale {beside[key][0]:g} beside the vectors may be a logarithm; say --logit-scale")
        found.append(beside[key][0] if given is None else given)
        said += [f"{key} {found[-1]:g} is from beside the vectors"] if given is None else []
    scale, bias = map(float, found)
    if scale <= 0:
        raise UserError(f"--logit-scale must be above 0, not {scale:g}")
    return (1 / scale,), bias


def batch_losses(x: Tensor, y: Tensor, found: Terms, shifts: Sequence[float]) -> contrastive.SweepLosses:
    """Both losses (batches, shifts, temperatures) of every batch of pairs, along the gap vector of all pairs."""
    options = {"direction": geometry.unit_gap_vector(x, y), "bias": found.bias, "consecutive": True}
    batches = [(x[rows], y[rows], shifts, found.temperatures) for rows in torch.tensor(found.rows)]
    losses = [contrastive.sweep_both(*batch, **options) for batch in batches]
    return contrastive.SweepLosses(*map(np.stack, zip(*losses, strict=True)))


def limits(
    losses: Float[np.ndarray, "b s t"], shifts: np.ndarray, gaps: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    """95% limits of the shift and of the signed gap at the lowest loss, a row for each temperature.

    Batches are drawn again from the b that there are, along the same gap vector. A larger shift has a smaller signed
    gap. Fewer than ``LEAST_BATCHES`` give NaN.
    """
    count, found = len(losses), {}
    first, last = np.full((2, losses.shape[2]), np.nan)
    if count >= LEAST_BATCHES:
        draws = rng.multinomial(count, np.full(count, 1 / count), RESAMPLES)
        lowest = np.stack([(draws @ each).argmin(1) for each in losses.transpose(2, 0, 1)])
        first, last = (np.quantile(lowest, q, 1, method=way) for q, way in ((0.025, "lower"), (0.975, "higher")))
    for name, places, ends in (("shift", shifts, (first, last)), ("gap", gaps, (last, first))):
        for end, at in zip(("low", "high"), ends, strict=True):
            found[f"{name}_{end}"] = np.interp(at, np.arange(len(places)), places)
    return pd.DataFrame({"batches": count, **found})


def minima(table: pd.DataFrame, around: pd.DataFrame) -> pd.DataFrame:
    """Where each loss curve is lowest, beside the default gap and the limits of ``around``, a row for each curve.

    A curve that is lowest where the shifts end (``at_edge``), or flat (``flat``), has no minimum: its place and limits
    are NaN.
    """
    rows = []
    for labels, part in table.groupby(CURVE, sort=False):
        default, shifts, gaps = part[part["shift"] == 0].iloc[0], *(part[name].to_numpy() for name in PLACE)
        (at, at_edge, flat), (other, *flagged) = (lowest(part[loss].to_numpy(), shifts) for loss in LOSSES.values())
        rows.append(
            dict(zip(CURVE, labels, strict=True))
            | {"default_gap": default["signed_gap_distance"], "default_loss": default["loss"]}
            | {"shift_at_minimum": shifts[at], "gap_at_minimum": gaps[at], "lowest_loss": part["loss"].iloc[at]}
            | {"gap_at_minimum_as_released": np.nan if any(flagged) else gaps[other], "at_edge": at_edge}
            | around.iloc[len(rows)].to_dict()
            | {"flat": flat}
        )
    found = pd.DataFrame(rows)
    where = [name for name in found if name.startswith(("shift_", "gap_")) and not name.endswith("as_released")]
    found.loc[found["at_edge"] | found["flat"], where] = np.nan
    return found.astype({"batches": int})


class Lowest(NamedTuple):
    """Index of the lowest loss, whether it is as low where the shifts end, and whether the curve is flat around it."""

    at: int
    at_edge: bool
    flat: bool


def lowest(loss: Float[np.ndarray, "s"], shifts: Float[np.ndarray, "s"]) -> Lowest:
    """Where a curve is lowest, and what speaks against a minimum there."""
    at = int(loss.argmin())
    low = loss <= loss[at] + LEVEL
    runs = label(low)[0]
    first, last = np.flatnonzero(runs == runs[at])[[0, -1]].tolist()
    at_edge, wide = first == 0 or last == len(loss) - 1, shifts[last] - shifts[first] >= WIDTH
    return Lowest(at, at_edge, bool(low.all() or wide))


def no_minimum(row) -> str:
    """Why a row of ``minima``, or a ``Lowest``, is none; empty where it is one."""
    if row.flat:
        return FLAT
    return EDGE if row.at_edge else ""


def back_to_back(table: pd.DataFrame, least: float) -> pd.DataFrame:
    """Second minima, where the modalities have passed each other: the signed gap is negative, the loss not the lowest.

    A row for the deepest of each curve, by ascending shift, around which the loss rises by at least so many nats, with
    the barrier: the highest point between it and the lowest loss. ``curve`` is "symmetric" or "as released".
    """
    rows = []
    for labels, part in table.groupby(CURVE, sort=False):
        for name, column in LOSSES.items():
            loss, best, gaps = part[column].to_numpy(), part[column].argmin(), part["signed_gap_distance"].to_numpy()
            local = find_peaks(-loss, prominence=least)[0]
            local = local[(gaps[local] < 0) & (local > best)]
            if len(local):
                at = local[loss[local].argmin()]
                top = best + loss[best:at].argmax()
                rows.append([*labels, name, *part.iloc[[at, top]][[*PLACE, column]].to_numpy().ravel()])
    return pd.DataFrame(rows, columns=[*CURVE, "curve", *PLACE, "loss", *BARRIER])


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


DRAWS = {"": draw, "_temperatures": draw_temperatures, "_systems": draw_systems, "_strip": partial(draw, strip=True)}
"""By the ends of their names."""


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
