"""Figure 1: the modality gap across four pairs of modalities, with trained and with random weights.

Images and texts, videos and texts, radiographs and reports, amino-acid sequences and descriptions: each model puts
the two into different regions of its sphere, after training and before. One UMAP for each panel, fitted on both
modalities together, with a line for each pair, and the numbers of the gap above it.

    python Figure_1_Modality_Gap/modality_gap.py                              (embedded: under a minute on 2 cores)
    python Figure_1_Modality_Gap/modality_gap.py --embeddings a.npy --embeddings b.npz
    python Figure_1_Modality_Gap/modality_gap.py --preset paper --fetch       (downloads embeddings, models and MSCOCO)

Expect, on the embeddings that the authors published for CLIP ViT-B/16 (500 MSCOCO pairs): gap distance 0.851 trained
and 1.136 with random weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from tqdm import tqdm

import gap_figure
import panels
from util import UserError, cli, measures, published, records
from util.geometry import unit_rows
from util.numerics.arrays import as_count
from util.numerics.reduction import joint_pca, svd_coordinates, umap_coordinates

NAME = "modality_gap"
MEASURED = (
    "n_pairs", "dim", "gap_distance", "matched_cosine", "mean_cosine_other", "mean_cosine_text", "relative_gap",
    "separability", "n_other", "n_text", "separability_rows",
)  # fmt: skip
APART = 0.95
"""Separability from which the modalities count as lying in different regions."""


@dataclass(frozen=True, kw_only=True)
class Settings(panels.Inputs):
    output: Path = cli.OUTPUTS / "Figure_1_Modality_Gap"
    method: Literal["umap", "pca", "svd"] = "umap"
    """The view that is drawn; the table of points holds all three."""
    points: int = 500
    """Most rows of each modality in a picture, a random subset by the seed; the numbers use all."""
    separability_rows: int = measures.MOST
    """Most rows of each modality that the separability is measured on, a random subset by the seed."""

    def check(self) -> None:
        """Refuses options that make no sense."""
        super().check()
        as_count(self.points, "--points", least=2)
        as_count(self.separability_rows, "--separability-rows", least=2)


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper", fetch=True),
    "smoke": Settings(preset="smoke", systems=("clip",), items=40),
}


def numbers(panel: panels.Panel, settings: Settings) -> tuple[Mapping, Mapping]:
    """A row of ``modality_gap.csv``, and what the record says of the embeddings."""
    found = measures.measure(panel.embeddings, panel.modalities, settings.seed, settings.separability_rows)
    names = {"system": panel.system, "weights": panel.weights}
    row = {**names, "source": panel.source, **{name: getattr(found, name) for name in MEASURED}}
    row |= {"other": panel.modalities[0], "text": panel.modalities[1], "kind": panel.kind}
    norms = dict(zip(panel.modalities, (found.norms_other, found.norms_text), strict=True))
    about = {"normalised_here": True, "row_norms_before": norms, **panel.embeddings.source, **names}
    return row, {**about, "kind": panel.kind, **panel.about}


def view(panel: panels.Panel, settings: Settings) -> pd.DataFrame:
    """The rows of ``modality_gap_points.csv``: a random subset of both modalities in three views."""
    arrays = [panel.embeddings.modalities[name] for name in panel.modalities]
    pairs = measures.pairs_of(panel.embeddings, panel.modalities)
    *chosen, paired = measures.sample(tuple(map(len, arrays)), pairs, settings.points, settings.seed)
    rows = [np.asarray(unit_rows(array[some]), np.float64) for array, some in zip(arrays, chosen, strict=True)]
    together, k = np.concatenate(rows), len(chosen[0])
    views = {
        "umap": umap_coordinates(together, settings.seed),
        "pca": joint_pca(rows, components=2).coordinates(together),
        "svd": svd_coordinates(together),
    }
    first = {"system": panel.system, "weights": panel.weights, "source": panel.source}
    first |= {"modality": np.repeat(panel.modalities, k), "pair": np.tile(np.arange(k), 2) if paired else np.nan}
    last = {"row": np.concatenate(chosen), "kind": panel.kind}
    return pd.concat(
        pd.DataFrame({**first, "method": method, "x": at[:, 0], "y": at[:, 1], **last}) for method, at in views.items()
    )


def compare(table: pd.DataFrame) -> list[records.Comparison]:
    """The paper's claim beside the separability of each panel with trained or random weights."""
    return [
        published.compare(
            f"figure_1.separate.{row.weights}",
            row.separability,
            on=f"{row.system}, {row.weights} weights, {row.source}",
            agrees=bool(row.separability >= APART),
            note=f"{row.other} and {row.text}: gap distance {row.gap_distance:.3f}, {row.n_pairs} pairs; apart from "
            f"{APART} on",
            own=row.source == panels.PUBLISHED,
        )
        for row in table[table["weights"] != "given"].itertuples()
    ]


def measure(settings: Settings, device: str) -> cli.Measured:
    """Embeds or reads every panel, and measures it."""
    settings.check()
    rows, views, data, left_out = [], [], [], []
    for panel in tqdm(panels.collect(settings, left_out), desc=NAME, unit="panel", leave=False, delay=1, disable=None):
        try:
            row, about = numbers(panel, settings)
            views.append(view(panel, settings))
        except UserError as error:
            where = panel.embeddings.source.get("path", f"{panel.system}, {panel.weights} weights")
            raise error if str(error).startswith(str(where)) else UserError(f"{where}: {error}") from error
        rows.append(row)
        data.append(about)
    if not rows:
        raise UserError("there is nothing to draw; `make published` fetches embeddings, --embeddings takes your own")
    table = pd.DataFrame(rows).astype({"matched_cosine": float, "relative_gap": float})  # None where unpaired
    return cli.Measured(
        tables={"": table, "points": pd.concat(views)},
        data=data,
        dtype="embeddings as stored (see data), float64 sums",
        comparisons=compare(table),
        left_out=left_out,
        said=[
            f"{row.system}, {row.weights} weights, {row.source}: {row.n_pairs} pairs, gap {row.gap_distance:.3f}, "
            f"separable {row.separability:.3f}"
            for row in table.itertuples()
        ],
    )


def run(settings: Settings, reuse: bool = False) -> records.Record:
    """Measures, records and draws; your own data go to ``outputs/own/<name>/``."""
    return cli.publish_run(
        NAME,
        cli.own_output(settings, *settings.embeddings, settings.own_data),
        measure,
        {"": gap_figure.draw},
        title="Figure 1: the modality gap across four pairs of modalities",
        captions={NAME: gap_figure.CAPTION},
        reuse=reuse,
    )


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
