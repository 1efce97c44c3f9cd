"""Figure 2 (c): every random initialization has a cone of its own.

The same inputs go through each encoder with 25 random initializations. UMAP and PCA of all embeddings, one colour for
each seed. Numbers for "distinctively different cones": the mean cosine within a seed and between seeds, and the share
of the variance that the seed explains, corrected for the bias of few inputs.

    python Figure_2_Cone_Effect/initializations.py
    python Figure_2_Cone_Effect/initializations.py --coco DIR --images 80
    python Figure_2_Cone_Effect/initializations.py --preset paper           (downloads MSCOCO val2017; a GPU, or a day)
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from encoder_options import ENOUGH, PAPER_SEEDS, PAPER_SIZES, RESNET_18, SMOKE_SIZES, VISION, EncoderOptions, Gathered
from seed_variance import seed_variance
from tower_inputs import NOISE
from util import cli, cone, figures, published, records
from util.geometry import unit_rows
from util.numerics.arrays import as_count
from util.numerics.reduction import joint_pca, umap_coordinates

NAME = "initializations"
KEY = "figure_2c.pca_explained_variance_ratio_vision."
MLP_LAYERS, MLP_SIDE = 5, 16
"""Layers of the MLP, each Linear + ReLU with bias as in Figure 2 (b); side in pixels of the pictures it is given."""
COMPONENTS = 10
NEAR = 0.005
"""How far a share of the same encoder on the same data may lie from the published one."""
CAPTIONS = {
    NAME: "UMAP of the embeddings of the same inputs by random initializations of each encoder, one colour for each "
    "seed. Above: real inputs; below: noise. Above each panel the mean cosine within a seed and between seeds, and the "
    "share of the variance that the seed explains (bias-corrected).",
    f"{NAME}_pca": "The same embeddings on their first two principal components, and the share of the variance of the "
    "first ten. Were every seed one point, each of 24 components would have 1/24 (dashed). Crosses: as published.",
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
    clouds = {about: np.stack(parts) for about, parts in rows.items()}
    settings = gathered.settings
    about = {"layers": MLP_LAYERS, "side": MLP_SIDE, "activation": "relu", "bias": True, "dtype": "float32"}
    gathered.encoders["MLP, random"] = about
    given = {each.name: torch.stack([pixels(p) for p in each.items]) for each in real if each.modality == "image"}
    given[NOISE] = cone.draw_inputs(settings.noise[0], 3 * MLP_SIDE**2, settings.seed)
    for name, x in given.items():
        networks = [mlp(x.to(gathered.device), seed) for seed in range(settings.seed, settings.seed + settings.seeds)]
        clouds["MLP", name] = np.stack([unit_rows(h).cpu().numpy() for h in networks])
    return clouds


def pixels(picture) -> torch.Tensor:
    """A picture at a few pixels a side, in [-1, 1], (3 * side * side,)."""
    return torch.from_numpy(np.asarray(picture.resize((MLP_SIDE, MLP_SIDE)), np.float32).ravel() / 127.5 - 1)


def mlp(x: torch.Tensor, seed: int) -> torch.Tensor:
    """Rows (n, d) after the MLP's layers, each ReLU(Wx + b) with W, b of N(0, 1/d)."""
    for layer in range(1, MLP_LAYERS + 1):
        weights, bias = (part.to(x.device) for part in cone.draw_layer(x.shape[1], seed, layer))
        x = torch.relu(torch.addmm(bias, x, weights.T))
    return x


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
    """UMAP of every encoder, and its numbers."""

    def heading(facts: pd.Series) -> str:
        cosines = f"cosine within a seed {facts['within_cosine']:.2f}, between {facts['between_cosine']:z.2f}"
        share = f"explained by the seed: {facts['explained_by_seed']:.0%}"
        return f"{facts['encoder']}\n{facts['input']}, {facts['n_seeds']} seeds x {facts['n']}\n{cosines}\n{share}"

    return panels(record, "umap", heading)[0]


def draw_pca(record: records.Record) -> plt.Figure:
    """Two principal components of every encoder, and the spectra (supplementary Figures 5 (b) and 7)."""
    spectrum = record.tables["spectrum"].set_index(["encoder", "input"])
    figure, rows = panels(record, "pca", lambda facts: f"{facts['encoder']}\n{facts['input']}", further=1)
    for part, axes in rows:
        ax, seeds = axes[-1], part["n_seeds"].iloc[0]
        for place, facts in enumerate(part.itertuples()):
            shares = spectrum.loc[[(facts.encoder, facts.input)]]
            first, second = shares["explained_variance_ratio"].iloc[:2]
            axes[place].set(xlabel=f"component 1 ({first:.1%})", ylabel=f"component 2 ({second:.1%})")
            style = {"ms": 2.5, "lw": 0.9, "color": figures.SERIES[place], "label": facts.encoder}
            ax.plot(shares["component"], shares["explained_variance_ratio"], "o-", **style)
        if seeds == PAPER_SEEDS and NOISE not in set(part["input"]):
            theirs = [number.value for number in published.numbers(KEY).values()]
            style = {"ms": 4, "color": figures.INK, "zorder": 5, "label": "published, vision"}
            ax.plot(range(1, len(theirs) + 1), theirs, "x", **style)
        ax.axhline(1 / (seeds - 1), color=figures.MUTED, ls="--", lw=0.8, label="each seed one point")
        ax.set(xlabel="principal component", ylabel="share of variance", ylim=(0, None), xticks=[1, 5, 10])
        ax.legend(fontsize=5.5, handlelength=1)
    return figure


def panels(record: records.Record, method: str, heading: Callable[[pd.Series], str], further: int = 0):
    """A figure of every encoder (columns) on real inputs and on noise (rows); its rows' numbers and axes."""
    table, points = record.tables[""], record.tables["points"].query("method == @method")
    encoders, noise = list(table["encoder"].unique()), table["input"] == NOISE
    rows = [part for part in (table[~noise], table[noise]) if len(part)]
    columns = len(encoders) + further
    size = {"figsize": (2.4 * columns, 2.75 * len(rows) + 0.3), "layout": "constrained", "squeeze": False}
    figure, axes = plt.subplots(len(rows), columns, **size)
    for part, line in zip(rows, axes, strict=True):
        for encoder, ax in zip(encoders, line, strict=False):
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            if (facts := part[part["encoder"] == encoder]).empty:
                ax.text(0.5, 0.5, "left out: see the record", ha="center", color=figures.MUTED)
                continue
            facts = facts.iloc[0]
            scatter(ax, points[(points["encoder"] == encoder) & (points["input"] == facts["input"])])
            ax.set_title(figures.plain(heading(facts)), fontsize=7, loc="left")
    if (preset := record.about["settings"]["preset"]) != "paper":
        note = f"{preset} preset: architectures at full size, on few inputs; it shows the phenomenon, "
        figure.supxlabel(f"{note}not the paper's numbers", x=0.01, ha="left", fontsize=7, color=figures.MUTED)
    return figure, list(zip(rows, axes, strict=True))


def run(settings: Settings, reuse: bool = False) -> records.Record:
    """Measures, records, draws; with ``reuse`` a record of the same settings and code is taken."""
    title = "Figure 2 (c): random initializations have different cones"
    return cli.publish_run(
        NAME, settings, measure, {"": draw, "_pca": draw_pca}, title=title, captions=CAPTIONS, reuse=reuse
    )


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
