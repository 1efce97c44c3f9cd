"""Figure 1: the modality gap across four pairs of modalities, with trained and with random weights.

One UMAP for each panel, fitted on both modalities together, a line for each pair, and the gap's numbers above it.

    python Figure_1_Modality_Gap/modality_gap.py                              (embedded: a minute or two on 2 cores)
    python Figure_1_Modality_Gap/modality_gap.py --embeddings a.npy --embeddings b.npz
    python Figure_1_Modality_Gap/modality_gap.py --systems clip --model python:mine.py:encoders
    python Figure_1_Modality_Gap/modality_gap.py --preset paper --fetch       (downloads embeddings, models and MSCOCO)

Expect, on the embeddings that the authors published, trained / with random weights: gap distance 0.851 / 1.136 of
CLIP, 1.067 / 0.954 of VideoCLIP, 0.823 / 1.403 of ConVIRT, 1.045 / 1.289 of CLASP.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from tqdm import tqdm

import gap_figure
import panels
from util import UserError, cli, published, records
from util.geometry import unit_rows
from util.measures import CARD, Measures, of_rows
from util.measures import measure as measured
from util.numerics.arrays import as_count
from util.numerics.reduction import joint_pca, umap_coordinates
from util.numerics.statistics import wilson_interval
from util.zero_shot import shifted

NAME = "modality_gap"
RECALLS = ("image_recall_at_1", "text_recall_at_1")
"""The first modality asks and texts answer; texts ask and the first modality answers."""
RECALL_COLUMNS = (*(f"{name}{end}" for name in RECALLS for end in ("", "_low", "_high")), "chance")
KEYS = {system.kind: key for key, system in panels.SYSTEMS.items()}
SAID = "{named}: {n_pairs} pairs, gap {gap_distance:.3f}, separable {separability:.3f}"
TINY = 1e-9
"""A range of coordinates below which all are one point."""
ACCEPTED = "; this model was accepted for a gap of at least 0.5, so its row could hardly have failed"


@dataclass(frozen=True, kw_only=True)
class Settings(panels.Inputs):
    output: Path = cli.OUTPUTS / "Figure_1_Modality_Gap"
    method: Literal["umap", "tsne", "pca", "svd"] = "umap"
    """The view that is drawn; the table of points holds all four of what the first picture shows."""
    points: int = 500
    """Most rows of each modality in a picture, a random subset by the seed; the numbers use all."""
    separability_rows: int = 2000
    """Most rows of each modality that separability and recall are measured on, a random subset by the seed."""

    def check(self) -> None:
        super().check()
        as_count(self.points, "--points", least=2)
        as_count(self.separability_rows, "--separability-rows", least=2)


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper", fetch=True),
    "smoke": Settings(preset="smoke", systems=("clip",), items=40),
}


def numbers(panel: panels.Panel, settings: Settings) -> tuple[Mapping, Mapping, pd.DataFrame]:
    """A row of ``modality_gap.csv``, what the record says of the embeddings, and their card."""
    two = panel.embeddings.duo(panel.modalities)
    found = measured(two, seed=settings.seed, most=settings.separability_rows)
    names = {"system": panel.system, "weights": panel.weights}
    about = {"normalised_here": True, "row_norms_before": found.norms, **panel.embeddings.source}
    about |= {**names, "kind": panel.kind, **panel.about}
    row = {**names, "source": panel.source, **columns(found, *panel.modalities)}
    row |= {"other": panel.modalities[0], "text": panel.modalities[1], "kind": panel.kind, **recall(panel, settings)}
    row["random_in"] = about.get("random_in", "") if panel.weights == "random" else ""
    row |= {"embedded_in": about.get("embedded_in", "")} | limits(found, *panel.modalities)
    return row, about, found.to_frame().drop(columns="file").assign(**names, source=panel.source)


def limits(found: Measures, other: str, text: str) -> dict[str, float]:
    """The 95% intervals as ``modality_gap.csv`` calls them."""
    of = {name: (name,) for name in ("gap_distance", "matched_cosine", "relative_gap")}
    of |= {"mean_cosine_other": ("mean_cosine", other), "mean_cosine_text": ("mean_cosine", text)}
    return {f"{name}_{end}": found.row(*key)[end] for name, key in of.items() for end in ("low", "high")}


def card(table: pd.DataFrame) -> pd.DataFrame:
    """The cards to read: a row for each measure, a column for each panel; the published ones where there are some."""
    found, some = {}, table[table["source"] == panels.PUBLISHED]
    for row in (some if len(some) else table).itertuples():
        entry, texts = CARD[row.measure], [name == "text" for name in (row.first, row.last)]
        of = {"one": ["text" if texts[0] else "the other"], "two": []}.get(
            entry["of"], ["texts" if texts[0] else "the others"]
        )
        value = f"{row.value:z.3f}" if pd.notna(row.value) else "-"
        value += f" ({row.low:z.3f} to {row.high:z.3f})" if pd.notna(row.low) else ""
        value += f" (chance {row.null:z.3f})" if pd.notna(row.null) and pd.isna(row.low) else ""
        found.setdefault(" of ".join([entry["title"], *of]), {})[f"{row.system}, {row.weights}"] = value
    return pd.DataFrame(found).T.rename_axis("measure").reset_index()


def columns(found: Measures, other: str, text: str) -> dict:
    """The numbers as ``modality_gap.csv`` calls them."""
    of_pairs = {name: found[name] for name in ("gap_distance", "matched_cosine")}
    cones = {f"mean_cosine_{place}": found["mean_cosine", name] for place, name in (("other", other), ("text", text))}
    pairs, sampled = found.row("matched_cosine")["n"], found.row("separability")
    return {
        "n_pairs": pairs, "dim": found.dim, **of_pairs, **cones, "relative_gap": found["relative_gap"],
        "separability": sampled["value"], "n_other": found.counts[other], "n_text": found.counts[text],
        "separability_rows": sampled["n"],
    }  # fmt: skip


def chosen_rows(panel: panels.Panel, most: int, seed: int) -> tuple[list[np.ndarray], list[np.ndarray], bool]:
    """A random subset of both modalities, no row twice: row numbers, float64 unit rows, whether rows i are a pair."""
    arrays, rng = [panel.embeddings.modalities[name] for name in panel.modalities], np.random.default_rng([seed, 4])
    pairs = panel.embeddings.pairs_between(panel.modalities)
    some = np.empty((0, 2), np.int64) if pairs is None else pairs[rng.permutation(len(pairs))]
    for column in (0, 1):  # one pair for each image, then for each text
        some = some[np.sort(np.unique(some[:, column], return_index=True)[1])]
    some, paired = some[:most], len(some) > 1
    chosen = [*some[np.argsort(some[:, 0])].T]
    if not paired:
        k = min(most, *map(len, arrays))
        chosen = [np.sort(rng.permutation(len(array))[:k]) for array in arrays]
    return chosen, [np.asarray(unit_rows(a[some]), np.float64) for a, some in zip(arrays, chosen, strict=True)], paired


def recall(panel: panels.Panel, settings: Settings) -> dict[str, float]:
    """Recall@1 both ways with 95% Wilson limits, and what guessing reaches; NaN where nothing is paired.

    Whose own partner is nearest of all that there are, counts; with several, whichever. Equal rows are one item and are
    asked once. Cosines that are equal to the 12th decimal are ordered by their rows.
    """
    own = of_rows.sample(panel.embeddings, panel.modalities, settings.separability_rows, settings.seed)
    if len(own.single) < 2 or not len(own.pairs):
        return dict.fromkeys(RECALL_COLUMNS, np.nan)
    found = []
    for hits in (each[0] == 0 for each in shifted.retrieve(own.x, own.y, own.pairs, [0.0])):
        found += [float(hits.mean()), *map(float, wilson_interval(int(hits.sum()), len(hits)))]
    chance = len(own.pairs) / (len(own.x) * len(own.y))
    return dict(zip(RECALL_COLUMNS, [*found, chance], strict=True))


VIEWS = {
    "umap": umap_coordinates,
    "pca": lambda together, seed: joint_pca([together], components=2).transform(together),
    "svd": lambda together, seed: gap_figure.svd_coordinates(together),
    "tsne": gap_figure.tsne_coordinates,
}


def view(panel: panels.Panel, settings: Settings, methods: Iterable[str] = VIEWS) -> pd.DataFrame:
    """The rows of ``modality_gap_points.csv``: a random subset of both modalities, in each view by itself.

    Coordinates keep four digits of their range, which is more than a picture shows.
    """
    chosen, rows, paired = chosen_rows(panel, settings.points, settings.seed)
    together, k = np.concatenate(rows), len(chosen[0])
    facts = {"system": panel.system, "weights": panel.weights, "source": panel.source}
    facts |= {"modality": np.repeat(panel.modalities, k), "pair": np.tile(np.arange(k), 2) if paired else np.nan}
    views = []
    for method in methods:
        at = VIEWS[method](together, settings.seed)
        decimals = 3 - np.floor(np.log10(np.ptp(at, axis=0) + TINY)).astype(int)
        x, y = (np.round(column, places) for column, places in zip(at.T, decimals.tolist(), strict=True))
        views.append(pd.DataFrame({**facts, "method": method, "x": x, "y": y, "row": np.concatenate(chosen)}))
    return pd.concat(views)


def compare(table: pd.DataFrame) -> list[records.Comparison]:
    """The paper's claim beside the separability of each panel, and the recall that a notebook prints."""
    found = []
    for row in table[table["weights"] != panels.OWN].itertuples():
        key, own = f"figure_1.separate.{KEYS[row.kind]}.{row.weights}", row.source == panels.PUBLISHED
        apart = row.separability >= published.numbers()[key].judged_by.tolerance
        recalls = f"recall@1 {row.image_recall_at_1:.3f} and {row.text_recall_at_1:.3f}, chance {row.chance:.3f}"
        note = f"{row.n_pairs} pairs, gap distance {row.gap_distance:.4f}, {recalls}"
        note += ACCEPTED if (row.system, row.weights) == ("small CLIP", "trained") else ""
        on = f"{row.system}, {row.weights} weights, {row.source}"
        found.append(published.compare(key, row.separability, on, bool(apart), note, own=own))
        if own and (KEYS[row.kind], row.weights) == ("clip", "random"):
            limits = {"low": row.image_recall_at_1_low, "high": row.image_recall_at_1_high, "interval": "95% Wilson"}
            found.append(published.compare("figure_1.clip_random_top1", row.image_recall_at_1, on, own=True, **limits))
    return found


def alignment(table: pd.DataFrame) -> pd.DataFrame:
    """The table to read: each gap beside recall@1 both ways, its 95% interval and chance, and what was random."""
    shown = table[["system", "weights", "source", "n_pairs", "gap_distance", "separability"]].copy()
    for name in RECALLS:
        rows = table[[name, f"{name}_low", f"{name}_high"]].to_numpy()
        shown[f"{name}_with_limits"] = ["{:.3f} ({:.3f} to {:.3f})".format(*row) if row[0] >= 0 else "" for row in rows]
    return shown.assign(**table[["chance", "random_in", "embedded_in"]])


def measure(settings: Settings, device: str) -> cli.Measured:
    """Embeds or reads every panel, and measures it."""
    settings.check()
    rows, views, data, cards, left_out = [], [], [], [], []
    for panel in tqdm(panels.collect(settings, left_out), desc=NAME, unit="panel", leave=False, delay=1, disable=None):
        try:
            row, about, measures = numbers(panel, settings)
            beside = panel.source != panels.PUBLISHED and any(part["source"] == panels.PUBLISHED for part in rows)
            views.append(view(panel, settings, [settings.method] if beside else VIEWS))
        except UserError as error:
            where = panel.embeddings.source.get("path", f"{panel.system}, {panel.weights} weights")
            raise error if str(error).startswith(str(where)) else UserError(f"{where}: {error}") from error
        rows.append(row)
        data.append(about)
        cards.append(measures)
    if not rows:
        raise UserError("there is nothing to draw; `make published` fetches embeddings, --embeddings takes your own")
    unsaid = ("matched_cosine", "relative_gap", "separability")  # None where unpaired, or of too few different rows
    table = pd.DataFrame(rows).astype(dict.fromkeys(unsaid, float))
    measures = pd.concat(cards)
    return cli.Measured(
        tables={
            "": table,
            "points": pd.concat(views),
            "alignment": alignment(table),
            "measures": measures,
            "card": card(measures),
        },
        data=data,
        dtype="embeddings as stored (see data), float64 sums",
        comparisons=compare(table),
        left_out=left_out,
        undrawn=gap_figure.undrawn(table),
        said=[SAID.format(named=", ".join(gap_figure.named(row)), **row) for row in table.to_dict("records")],
    )


def run(settings: Settings, reuse: bool = False) -> records.Record:
    """Measures, records and draws; your own data go to ``outputs/own/<name>/``."""
    title = "Figure 1: the modality gap across four pairs of modalities"
    captions = gap_figure.CAPTIONS | (gap_figure.OWN_CAPTIONS if cli.own_places(settings) else {})
    captions = {f"{NAME}{suffix}": caption for suffix, caption in captions.items()}
    return cli.publish_run(NAME, settings, measure, gap_figure.DRAWN, title=title, captions=captions, reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
