"""Figure 2 (c): every random initialization has a cone of its own.

The same inputs go through each encoder with 25 random initializations. UMAP of all embeddings, one colour for each
seed; and numbers for "distinctively different cones": the mean cosine within a seed and between seeds, and the share of
the embeddings' variance that the seed explains, corrected for the bias of few inputs.

    python Figure_2_Cone_Effect/initializations.py
    python Figure_2_Cone_Effect/initializations.py --coco DIR --images 80
    python Figure_2_Cone_Effect/initializations.py --preset paper           (downloads MSCOCO val2017; a GPU, or a day)
"""

from dataclasses import asdict, dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from encoder_options import ENOUGH, PAPER_SEEDS, PAPER_SIZES, RESNET_18, SMOKE_SIZES, VISION, EncoderOptions, Gathered
from seed_variance import seed_variance
from tower_inputs import NOISE
from util import cli, figures, published, records
from util.numerics.arrays import as_count
from util.numerics.reduction import joint_pca, umap_coordinates

NAME = "initializations"
KEY = "figure_2c.pca_explained_variance_ratio_vision."
COMPONENTS = 10
NEAR = 0.005
"""How far a share of the same encoder on the same data may lie from the published one."""
CAPTIONS = {
    NAME: "UMAP of the embeddings of the same inputs by random initializations of each encoder, one colour for each "
    "seed. Above: real inputs; below: noise. Above each panel the mean cosine within a seed and between seeds, and the "
    "share of the variance that the seed explains (bias-corrected).",
}


@dataclass(frozen=True, kw_only=True)
class Settings(EncoderOptions):
    seeds: int = PAPER_SEEDS
    """Random initializations of each encoder: seed, seed + 1, ..."""
    points: int = 200
    """Most points of each seed in the pictures, a random subset by the seed; the numbers use all."""


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper", **PAPER_SIZES),
    "smoke": Settings(preset="smoke", seeds=3, **SMOKE_SIZES),
}


Clouds = dict[tuple[str, str], np.ndarray]
"""(encoder, input) -> unit rows (seeds, n, d) of the same n inputs."""


def measure(settings: Settings, device: str) -> cli.Measured:
    """Cosines, shares of the variance, and coordinates of every encoder on real inputs and noise."""
    as_count(settings.seeds, "--seeds", least=2)
    as_count(settings.points, "--points", least=2)
    gathered = Gathered(settings, device)
    clouds = collect(gathered)
    table = pd.DataFrame(
        {"encoder": encoder, "input": name, "n_seeds": len(rows), "n": len(rows[0]), **asdict(seed_variance(rows))}
        for (encoder, name), rows in clouds.items()
    ).rename(columns={"explained_by_item": "explained_by_input"})
    points, spectrum = views(clouds, settings)
    return cli.Measured(
        tables={"": table, "points": points, "spectrum": spectrum},
        data=gathered.data(),
        dtype=f"{gathered.dtypes()} networks, float64 sums",
        comparisons=compare(spectrum, table),
        left_out=gathered.left_out,
        results={
            "least_within_minus_between": float((table["within_cosine"] - table["between_cosine"]).min()),
            "encoders": gathered.encoders,
        },
        said=[
            f"{row.encoder}, {row.input}: cosine {row.within_cosine:.3f} within a seed, {row.between_cosine:.3f} "
            f"between; {row.explained_by_seed:.0%} explained by the seed"
            for row in table.itertuples()
        ],
    )


def collect(gathered: Gathered) -> Clouds:
    """The embeddings of every encoder by every seed."""
    real, noise = gathered.real(), gathered.noise()
    rows: dict[tuple[str, str], list] = {}
    for named in (RESNET_18, gathered.clip()):
        for each in gathered.rows(named, [*real, *noise]):
            rows.setdefault((each.encoder, each.inputs.name), []).append(each.rows)
    return {about: np.stack(parts) for about, parts in rows.items()}


def views(clouds: Clouds, settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """UMAP and PCA coordinates of every point shown, and the spectrum of the principal components of all rows."""
    points, spectrum = [], []
    for (encoder, name), rows in clouds.items():
        k, n, d = rows.shape
        pca = joint_pca(list(rows), components=min(COMPONENTS, k * n, d))
        about = {"encoder": encoder, "input": name}
        shares = {"component": np.arange(1, len(pca.components) + 1)}
        shares["explained_variance_ratio"] = pca.explained_variance_ratio
        spectrum.append(pd.DataFrame({**about, **shares}))
        items = np.sort(np.random.default_rng(settings.seed).permutation(n)[: settings.points])
        shown = rows[:, items].reshape(-1, d)
        labels = {"seed": np.repeat(np.arange(k) + settings.seed, len(items)), "item": np.tile(items, k)}
        for method, at in (("umap", umap_coordinates(shown, settings.seed)), ("pca", pca.coordinates(shown)[:, :2])):
            points.append(pd.DataFrame({**about, **labels, "method": method, "x": at[:, 0], "y": at[:, 1]}))
    return pd.concat(points), pd.concat(spectrum)


def compare(spectrum: pd.DataFrame, table: pd.DataFrame) -> list[records.Comparison]:
    """The authors' spectrum of the vision tower beside ours."""
    found = []
    ours = spectrum[spectrum["encoder"] == VISION].merge(table[["encoder", "input", "n", "n_seeds"]])
    for row in ours.itertuples():
        key, share = f"{KEY}{row.component - 1}", row.explained_variance_ratio
        agrees, note = None, "other inputs, or fewer, or another number of seeds"
        own = row.input.startswith("MSCOCO val2017") and row.n >= ENOUGH and row.n_seeds == PAPER_SEEDS
        if own:
            agrees, note = abs(share - published.numbers()[key].value) < NEAR, f"{NEAR:g} apart at most asked for"
        on = f"{row.input}, n = {row.n}, {row.n_seeds} seeds"
        found.append(published.compare(key, share, on, agrees, note, own=own))
    return found


def scatter(ax: plt.Axes, points: pd.DataFrame) -> None:
    """One colour for each seed; neighbouring seeds get colours far apart."""
    seeds = points["seed"] - points["seed"].min()
    count = int(seeds.max()) + 1
    step = next(s for s in (7, 9, 11, 13, 1) if np.gcd(s, count) == 1)
    ax.scatter(points["x"], points["y"], s=7, c=(seeds * step % count) / max(count - 1, 1), cmap="turbo", linewidths=0)
    ax.margins(0.06)


def draw(record: records.Record) -> plt.Figure:
    """UMAP of every encoder (columns), on real inputs and on noise (rows)."""
    table, points = record.tables[""], record.tables["points"].query("method == 'umap'")
    encoders, noise = list(table["encoder"].unique()), table["input"] == NOISE
    rows = [part for part in (table[~noise], table[noise]) if len(part)]
    size = (2.4 * len(encoders), 2.75 * len(rows) + 0.3)
    figure, axes = plt.subplots(len(rows), len(encoders), figsize=size, layout="constrained", squeeze=False)
    for part, line in zip(rows, axes, strict=True):
        for encoder, ax in zip(encoders, line, strict=True):
            ax.set_axis_off()
            if (facts := part[part["encoder"] == encoder]).empty:
                ax.text(0.5, 0.5, "left out: see the record", ha="center", color=figures.MUTED)
                continue
            facts = facts.iloc[0]
            scatter(ax, points[(points["encoder"] == encoder) & (points["input"] == facts["input"])])
            cosines = f"cosine within a seed {facts['within_cosine']:.2f}, between {facts['between_cosine']:z.2f}"
            share = f"explained by the seed: {facts['explained_by_seed']:.0%}"
            title = f"{encoder}\n{facts['input']}, {facts['n_seeds']} seeds x {facts['n']}\n{cosines}\n{share}"
            ax.set_title(figures.plain(title), fontsize=7, loc="left")
    if (preset := record.about["settings"]["preset"]) != "paper":
        note = f"{preset} preset: architectures at full size, on few inputs; it shows the phenomenon, "
        figure.supxlabel(f"{note}not the paper's numbers", x=0.01, ha="left", fontsize=7, color=figures.MUTED)
    return figure


def run(settings: Settings, reuse: bool = False) -> records.Record:
    """Measures, records, draws; with ``reuse`` a record of the same settings and code is taken."""
    title = "Figure 2 (c): random initializations have different cones"
    return cli.publish_run(NAME, settings, measure, {"": draw}, title=title, captions=CAPTIONS, reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
