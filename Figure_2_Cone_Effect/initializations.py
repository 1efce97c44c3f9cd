"""Figure 2 (c): every random initialization has a cone of its own.

The same inputs go through each encoder with 25 random initializations, and all embeddings through UMAP and PCA. Numbers
for "distinctively different cones": cosines within a seed and between seeds, the share of the variance that the seed
explains, the share nearest to their own cone, and the spectrum. Beside it ResNet-50, as in Supplementary Figure 13.

    python Figure_2_Cone_Effect/initializations.py
    python Figure_2_Cone_Effect/initializations.py --coco DIR --images 80
    python Figure_2_Cone_Effect/initializations.py --imagenet a1_in1k tv_in1k       (downloads two ResNet-50)
    python Figure_2_Cone_Effect/initializations.py --preset paper           (downloads MSCOCO val2017; a GPU, or a day)
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import encoder_inputs as inputs
from encoder_inputs import NOISE, PAPER_SEEDS, RESNET_18, EncoderOptions, Gathered, Inputs, is_papers
from theorem_2 import seed_variance
from util import UserError, cli, figures, published, records
from util.encoders.models import RECIPES
from util.encoders.named import OWN, Named
from util.numerics.arrays import as_count
from util.numerics.reduction import joint_pca, umap_coordinates

RESNET_50, TRAINED_50 = "ResNet-50", "ResNet-50, trained"
COLOURS = {inputs.RESNET: figures.SERIES[1], inputs.VISION: figures.NON_TEXT, inputs.TEXT: figures.TEXT}
PUBLISHED = {inputs.VISION: "vision", inputs.TEXT: "text", inputs.RESNET: "resnet"}
"""Their names in the keys."""
PICTURES = "pictures and captions"
NAME = "initializations"
KEY = "figure_2c."
COMPONENTS, RATIOS = 50, 10
"""Published singular values, and published shares of the variance."""
ARCHITECTURE = "resnet50"
"""Of the eleven networks of Supplementary Figure 13."""


@dataclass(frozen=True, kw_only=True)
class Settings(EncoderOptions):
    seeds: int = PAPER_SEEDS
    """Random initializations of each encoder: seed, seed + 1, ..."""
    points: int = 200
    """Most points of each seed in the pictures, a random subset by the seed; the numbers use all."""
    imagenet: tuple[str, ...] = ()
    """Weights of trained ResNet-50, tags of timm's or checkpoint files; random ones where none are named."""


PRESETS = {
    "embedded": Settings(),
    "paper": Settings(preset="paper", imagenet=RECIPES, **inputs.PAPER_SIZES),
    "smoke": Settings(preset="smoke", seeds=3, **inputs.SMOKE_SIZES),
}


Clouds = dict[tuple[str, str], np.ndarray]
"""(encoder, input) -> unit rows (seeds, n, d) of the same n inputs."""


def measure(settings: Settings, device: str) -> cli.Measured:
    """Cosines, shares of the variance, and coordinates of every encoder on real inputs and noise."""
    as_count(settings.seeds, "--seeds", least=2)
    as_count(settings.points, "--points", least=2)
    if len(settings.imagenet) == 1:
        raise UserError("--imagenet must name two models or more: one has no other cone beside it")
    gathered = Gathered(settings, device)
    clouds = collect(gathered)
    table = pd.DataFrame(
        {"encoder": encoder, "input": name, "n_seeds": len(rows), "n": len(rows[0]), **asdict(seed_variance(rows))}
        for (encoder, name), rows in clouds.items()
    ).rename(columns={"explained_by_item": "explained_by_input"})
    points, spectrum = views(clouds, settings)
    apart = table["within_cosine"] - table["between_cosine"]
    return cli.Measured(
        tables={"": table, "points": points, "spectrum": spectrum},
        data=[each.describe() for each in gathered.inputs],
        dtype=f"{gathered.dtypes()} networks, float64 sums",
        comparisons=compare(table, spectrum),
        left_out=gathered.left_out,
        results={"least_within_minus_between": float(apart.min()), "encoders": gathered.encoders},
        said=[
            f"{row.encoder}, {row.input}: cosine {row.within_cosine:.3f} within a seed, {row.between_cosine:.3f} "
            f"between; {row.explained_by_seed:.0%} explained by the seed"
            for row in table.itertuples()
        ],
    )


def collect(gathered: Gathered) -> Clouds:
    """The embeddings of every encoder by every seed."""
    clip = gathered.clip()
    if clip.tag not in (None, OWN):
        raise UserError(f"--model {clip}: this figure draws random weights alone; leave out :{clip.tag}")
    real, noise = gathered.real(), gathered.noise()
    rows: dict[tuple[str, str], list] = {}
    for named in (RESNET_18, clip):
        for each in gathered.rows(named, [*real, *noise]):
            rows.setdefault((each.encoder, each.inputs.name), []).append(each.rows)
    try:
        rows |= resnets(gathered, [each for each in real if each.modality == "image"])
    except UserError as error:
        if gathered.settings.preset != "paper":
            raise
        gathered.left_out.append(f"trained ResNet-50: {error}")
    return {about: np.stack(parts) for about, parts in rows.items()}


def resnets(gathered: Gathered, pictures: Iterable[Inputs]) -> dict[tuple[str, str], list]:
    """ResNet-50 with the trained weights that are named, or as many random ones as the paper has trained."""
    settings, rows = gathered.settings, {}
    few = replace(gathered, settings=replace(settings, seeds=min(settings.seeds, len(RECIPES))))
    for tag in settings.imagenet or (None,):
        for each in few.rows(Named("torchvision", ARCHITECTURE, tag), pictures, tag):
            name = TRAINED_50 if tag else RESNET_50
            rows.setdefault((name, each.inputs.name), []).append(each.rows)
    return rows


def views(clouds: Clouds, settings: Settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    """UMAP and PCA coordinates of every point shown, and the spectrum of the principal components of all rows."""
    points, spectrum = [], []
    for (encoder, name), rows in clouds.items():
        k, n, d = rows.shape
        pca = joint_pca(list(rows), components=min(COMPONENTS, k * n, d))
        about = {"encoder": encoder, "input": name}
        shares, squares = pca.explained_variance_ratio_, k * n * (1 - pca.mean_ @ pca.mean_)
        values = {"component": np.arange(1, len(shares) + 1), "explained_variance_ratio": shares}
        spectrum.append(pd.DataFrame({**about, **values, "singular_value": np.sqrt(np.maximum(shares * squares, 0))}))
        items = np.sort(np.random.default_rng(settings.seed).permutation(n)[: settings.points])
        shown = rows[:, items].reshape(-1, d)
        labels = {"seed": np.repeat(np.arange(k) + settings.seed, len(items)), "item": np.tile(items, k)}
        for method, at in (("umap", umap_coordinates(shown, settings.seed)), ("pca", pca.transform(shown)[:, :2])):
            points.append(pd.DataFrame({**about, **labels, "method": method, "x": at[:, 0], "y": at[:, 1]}))
    return pd.concat(points), pd.concat(spectrum)


def compare(table: pd.DataFrame, spectrum: pd.DataFrame) -> list[records.Comparison]:
    """Whether the cones are separate, and the authors' spectra beside ours."""
    found = []
    for row in table.itertuples():
        paper, noise = PUBLISHED.get(row.encoder), row.input == NOISE
        own = paper is not None and row.n_seeds == PAPER_SEEDS and is_papers(row.input, row.n)
        on = f"{row.encoder}, {row.input}, n = {row.n}, {row.n_seeds} seeds"
        if row.encoder != RESNET_50:
            key = f"{KEY}separate.{'trained' if row.encoder == TRAINED_50 else 'noise' if noise else 'real'}"
            agrees = bool(row.nearest_own_cone >= published.numbers()[key].judged_by.tolerance)
            found.append(published.compare(key, row.nearest_own_cone, on, agrees, own=own))
        if paper and not noise:
            part = of(spectrum, row)
            found += drop(part["singular_value"].to_numpy(), row.n_seeds, on, own)
            found += numbers(part, paper, on, own) if row.n_seeds == PAPER_SEEDS else []
    return found


def drop(values: np.ndarray, seeds: int, on: str, own: bool) -> list[records.Comparison]:
    """After which component the singular values drop most, among the first 2 (seeds - 1)."""
    values = values[values > 1e-6 * values[0]][: 2 * seeds - 1]
    ratios = values[:-1] / values[1:]
    if len(ratios) < seeds - 1:
        return []
    largest = int(ratios.argmax()) + 1
    ours, note = f"after component {largest}, {ratios.max():.2f} times", f"{seeds - 1} directions separate the cones"
    return [published.compare(f"{KEY}drop", ours, on, largest == seeds - 1, note, own=own)]


def numbers(part: pd.DataFrame, encoder: str, on: str, own: bool) -> list[records.Comparison]:
    """Shares of the variance, and the drop as a ratio; judged where the inputs are the paper's."""
    shares, values = part["explained_variance_ratio"].to_numpy(), part["singular_value"].to_numpy()
    ours = {f"pca_explained_variance_ratio_{encoder}.{k}": share for k, share in enumerate(shares[:RATIOS])}
    ours |= {f"share_24.{encoder}": shares[:24].sum(), f"share_50.{encoder}": shares.sum()}
    ours[f"ratio_24_to_25.{encoder}"] = values[23] / values[24]
    return [published.compare(KEY + key, float(value), on, own=own) for key, value in ours.items()]


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


def run(settings: Settings, reuse: bool = False) -> records.Record:
    """Measures, records, draws; with ``reuse`` a record of the same settings and code is taken."""
    return cli.publish_run(NAME, settings, measure, DRAWS, **cli.words(__file__), reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
