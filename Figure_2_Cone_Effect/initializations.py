"""Figure 2 (c): every random initialization has a cone of its own.

The same inputs go through each encoder with 25 random initializations. UMAP and PCA of all embeddings, one colour for
each seed; and numbers for "distinctively different cones": the mean cosine within a seed and between seeds, and the
share of the embeddings' variance that the seed explains, corrected for the bias of few inputs.

    python Figure_2_Cone_Effect/initializations.py                          (embedded: about a minute on 2 cores, once)
    python Figure_2_Cone_Effect/initializations.py --coco DIR --images 80
    python Figure_2_Cone_Effect/initializations.py --preset paper           (downloads MSCOCO val2017; a GPU, or a day)

Expect on noise: cosines of 0.93 (vision) and 0.4 (text) within a seed and 0.00 between seeds.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from encoder_options import ENOUGH, PAPER_SEEDS, PAPER_SIZES, SMOKE_SIZES, VISION, EncoderOptions, Gathered
from seed_variance import seed_variance
from tower_inputs import NOISE, Inputs
from util import cli, cone, figures, published, records
from util.encoders.named import Named
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


@dataclass(frozen=True)
class Cloud:
    """Unit rows (seeds, n, d) of the same n inputs by one encoder."""

    encoder: str
    input: str
    rows: np.ndarray


def measure(settings: Settings, device: str) -> cli.Measured:
    """Cosines, shares of the variance, and coordinates of every encoder on real inputs and noise."""
    as_count(settings.seeds, "--seeds", least=2)
    as_count(settings.points, "--points", least=2)
    gathered = Gathered(settings, device)
    clouds = collect(gathered)
    table = numbers(clouds)
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


def collect(gathered: Gathered) -> list[Cloud]:
    """The embeddings of every encoder by every seed."""
    real, noise = gathered.real(), gathered.noise()
    rows: dict[tuple[str, str], list] = {}
    for named in (Named("torchvision", "resnet18"), gathered.clip()):
        for each in gathered.random(named, [*real, *noise]):
            rows.setdefault((each.encoder, each.inputs.name), []).append(each.rows)
    clouds = [Cloud(encoder, name, np.stack(parts)) for (encoder, name), parts in rows.items()]
    about = {"layers": MLP_LAYERS, "side": MLP_SIDE, "activation": "relu", "bias": True, "dtype": "float32"}
    gathered.encoders["MLP, random"] = about
    pictures = [each for each in real if each.modality == "image"]
    return [*clouds, *mlp(pictures, gathered.settings, gathered.device)]


def mlp(pictures: Sequence[Inputs], settings: Settings, device: str) -> list[Cloud]:
    """The MLP's clouds: on the real pictures, at a few pixels a side, and on inputs N(0, I)."""
    given = {}
    for each in pictures:
        small = [picture.resize((MLP_SIDE, MLP_SIDE)) for picture in each.items]
        pixels = np.stack([np.asarray(picture, np.float32).ravel() / 127.5 - 1 for picture in small])
        given[each.name] = torch.from_numpy(pixels)
    given[NOISE] = cone.draw_inputs(settings.noise[0], 3 * MLP_SIDE**2, settings.seed)
    seeds = range(settings.seed, settings.seed + settings.seeds)
    # the inputs' seed plays no part in the weights: layers are numbered from 1, the inputs are layer 0
    return [
        Cloud("MLP", name, np.stack([unit_rows(relu_network(x.to(device), seed)).cpu().numpy() for seed in seeds]))
        for name, x in given.items()
    ]


def relu_network(x: torch.Tensor, seed: int) -> torch.Tensor:
    """Rows (n, d) after the MLP's layers, each ReLU(Wx + b) with W, b of N(0, 1/d)."""
    for layer in range(1, MLP_LAYERS + 1):
        weights, bias = (part.to(x.device) for part in cone.draw_layer(x.shape[1], seed, layer))
        x = torch.relu(torch.addmm(bias, x, weights.T))
    return x


def numbers(clouds: Sequence[Cloud]) -> pd.DataFrame:
    """The rows of ``initializations.csv``."""
    table = []
    for cloud in clouds:
        about = {"encoder": cloud.encoder, "input": cloud.input}
        about |= {"n_seeds": cloud.rows.shape[0], "n": cloud.rows.shape[1]}
        table.append(about | asdict(seed_variance(cloud.rows)))
    return pd.DataFrame(table).rename(columns={"explained_by_item": "explained_by_input"})


def views(clouds: Sequence[Cloud], settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """UMAP and PCA coordinates of every point shown, and the spectrum of the principal components of all rows."""
    points, spectrum = [], []
    for cloud in tqdm(clouds, desc="views", unit="panel", leave=False, disable=None):
        k, n, d = cloud.rows.shape
        every = cloud.rows.reshape(k * n, d)
        pca = joint_pca([every], components=min(COMPONENTS, k * n, d))
        ratios = pca.explained_variance_ratio
        about = {"encoder": cloud.encoder, "input": cloud.input}
        spectrum.append(
            pd.DataFrame({**about, "component": np.arange(1, len(ratios) + 1), "explained_variance_ratio": ratios})
        )
        items = np.sort(np.random.default_rng(settings.seed).permutation(n)[: settings.points])
        shown = cloud.rows[:, items].reshape(-1, d)
        labels = {"seed": np.repeat(np.arange(k) + settings.seed, len(items)), "item": np.tile(items, k)}
        for method, at in (("umap", umap_coordinates(shown, settings.seed)), ("pca", pca.coordinates(shown)[:, :2])):
            points.append(pd.DataFrame({**about, **labels, "method": method, "x": at[:, 0], "y": at[:, 1]}))
    return pd.concat(points), pd.concat(spectrum)


def compare(spectrum: pd.DataFrame, table: pd.DataFrame) -> list[records.Comparison]:
    """The authors' spectrum of the vision tower beside ours."""
    found = []
    for row in spectrum[spectrum["encoder"] == VISION].itertuples():
        facts = table[(table["encoder"] == VISION) & (table["input"] == row.input)].iloc[0]
        key, ours = f"{KEY}{row.component - 1}", row.explained_variance_ratio
        agrees, note = None, "other inputs, or fewer, or another number of seeds"
        own = row.input.startswith("MSCOCO val2017") and facts["n"] >= ENOUGH and facts["n_seeds"] == PAPER_SEEDS
        if own:
            agrees, note = bool(abs(ours - published.numbers()[key].value) < NEAR), f"{NEAR:g} apart at most asked for"
        on = f"{row.input}, n = {facts['n']}, {facts['n_seeds']} seeds"
        found.append(published.compare(key, ours, on, agrees, note, own=bool(own)))
    return found


def grid(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Encoders as columns; the inputs of each row, real ones and noise."""
    encoders, real = list(dict.fromkeys(table["encoder"])), [i for i in dict.fromkeys(table["input"]) if i != NOISE]
    return encoders, [inputs for inputs in (real, [NOISE]) if inputs]


def draw(record: records.Record) -> plt.Figure:
    """UMAP of every encoder, on real inputs and on noise."""
    table, points = record.tables[""], record.tables["points"].query("method == 'umap'")
    encoders, rows = grid(table)
    size = (2.4 * len(encoders), 2.75 * len(rows) + 0.3)
    figure, axes = plt.subplots(len(rows), len(encoders), figsize=size, layout="constrained", squeeze=False)
    for inputs, line in zip(rows, axes, strict=True):
        for encoder, ax in zip(encoders, line, strict=True):
            facts = table[(table["encoder"] == encoder) & table["input"].isin(inputs)]
            ax.set_axis_off()
            if facts.empty:
                ax.text(0.5, 0.5, "left out: see the record", ha="center", color=figures.MUTED)
                continue
            facts = facts.iloc[0]
            scatter(ax, points[(points["encoder"] == encoder) & (points["input"] == facts["input"])])
            numbers = f"cosine within a seed {facts['within_cosine']:.2f}, between {signed(facts['between_cosine'])}"
            share = f"explained by the seed: {facts['explained_by_seed']:.0%}"
            title = f"{encoder}\n{facts['input']}, {facts['n_seeds']} seeds x {facts['n']}\n{numbers}\n{share}"
            ax.set_title(figures.plain(title), fontsize=7, loc="left")
    say_what_it_is(figure, record)
    return figure


def draw_pca(record: records.Record) -> plt.Figure:
    """Two principal components of every encoder, and the spectra."""
    points, spectrum = record.tables["points"].query("method == 'pca'"), record.tables["spectrum"]
    encoders, rows = grid(record.tables[""])
    size = (2.2 * (len(encoders) + 1), 2.4 * len(rows) + 0.3)
    figure, axes = plt.subplots(len(rows), len(encoders) + 1, figsize=size, layout="constrained", squeeze=False)
    for inputs, line in zip(rows, axes, strict=True):
        for k, (encoder, ax) in enumerate(zip(encoders, line, strict=False)):
            part = spectrum[(spectrum["encoder"] == encoder) & spectrum["input"].isin(inputs)]
            if part.empty:
                ax.set_axis_off()
                continue
            name, ratio = part["input"].iloc[0], part["explained_variance_ratio"].to_numpy()
            scatter(ax, points[(points["encoder"] == encoder) & (points["input"] == name)])
            ax.set_title(figures.plain(f"{encoder}\n{name}"), fontsize=7, loc="left")
            ax.set(xlabel=f"component 1 ({ratio[0]:.1%})", ylabel=f"component 2 ({ratio[1]:.1%})", xticks=[], yticks=[])
            line[-1].plot(part["component"], ratio, "o-", ms=2.5, lw=0.9, color=figures.SERIES[k], label=encoder)
        seeds = record.tables[""]["n_seeds"].iloc[0]
        if inputs != [NOISE] and seeds == PAPER_SEEDS:
            theirs = [number.value for number in published.numbers(KEY).values()]
            about = {"ms": 4, "color": figures.INK, "zorder": 5, "label": "published, vision"}
            line[-1].plot(range(1, len(theirs) + 1), theirs, "x", **about)
        line[-1].axhline(1 / (seeds - 1), color=figures.MUTED, ls="--", lw=0.8, label="each seed one point")
        line[-1].set(xlabel="principal component", ylabel="share of variance", ylim=(0, None), xticks=[1, 5, 10])
        line[-1].legend(fontsize=5.5, handlelength=1)
    say_what_it_is(figure, record)
    return figure


def say_what_it_is(figure: plt.Figure, record: records.Record) -> None:
    """On the face of a picture that is not of the paper's inputs."""
    if (preset := record.about["settings"]["preset"]) != "paper":
        note = f"{preset} preset: architectures at full size, on few inputs; it shows the phenomenon, "
        figure.supxlabel(f"{note}not the paper's numbers", x=0.01, ha="left", fontsize=7, color=figures.MUTED)


def scatter(ax: plt.Axes, points: pd.DataFrame) -> None:
    """One colour for each seed; neighbouring seeds get colours far apart."""
    seeds = points["seed"] - points["seed"].min()
    count = int(seeds.max()) + 1
    step = next(s for s in (7, 9, 11, 13, 1) if np.gcd(s, count) == 1)
    ax.scatter(points["x"], points["y"], s=7, c=(seeds * step % count) / max(count - 1, 1), cmap="turbo", linewidths=0)
    ax.margins(0.06)


def signed(value: float) -> str:
    """Two decimals, without a minus before zero."""
    return f"{value:.2f}" if abs(value) >= 0.005 else "0.00"


def run(settings: Settings, reuse: bool = False) -> records.Record:
    """Measures, records, draws; with ``reuse`` a record of the same settings and code is taken."""
    title = "Figure 2 (c): random initializations have different cones"
    pictures = {"": draw, "_pca": draw_pca}
    return cli.publish_run(NAME, settings, measure, pictures, title=title, captions=CAPTIONS, reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
