"""Figure 2 (c): every random initialization has a cone of its own.

The same inputs go through each encoder with 25 random initializations, and all embeddings through UMAP and PCA. Numbers
for "distinctively different cones": cosines within a seed and between seeds, the share of the variance that the seed
explains, the share nearest to their own cone, and the spectrum. Beside it ResNet-50, as in Supplementary Figure 13.

    python Figure_2_Cone_Effect/initializations.py
    python Figure_2_Cone_Effect/initializations.py --coco DIR --images 80
    python Figure_2_Cone_Effect/initializations.py --imagenet a1_in1k tv_in1k       (downloads two ResNet-50)
    python Figure_2_Cone_Effect/initializations.py --preset paper           (downloads MSCOCO val2017; a GPU, or a day)
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

import initializations_figure as figure
from encoder_options import PAPER_SEEDS, PAPER_SIZES, RESNET_18, SMOKE_SIZES, EncoderOptions, Gathered, is_papers
from initializations_figure import PUBLISHED, RESNET_50, TRAINED_50
from seed_variance import seed_variance
from tower_inputs import NOISE, Inputs
from util import UserError, cli, published, records
from util.encoders.models import RECIPES
from util.encoders.named import OWN, Named
from util.numerics.arrays import as_count
from util.numerics.reduction import joint_pca, umap_coordinates

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
    "paper": Settings(preset="paper", imagenet=RECIPES, **PAPER_SIZES),
    "smoke": Settings(preset="smoke", seeds=3, **SMOKE_SIZES),
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
            part = figure.of(spectrum, row)
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


def run(settings: Settings, reuse: bool = False) -> records.Record:
    """Measures, records, draws; with ``reuse`` a record of the same settings and code is taken."""
    return cli.publish_run(NAME, settings, measure, figure.DRAWS, **cli.words(__file__), reuse=reuse)


if __name__ == "__main__":
    cli.main(PRESETS, run, __doc__)
