"""What the paper says of Figure 2 (a), and of the size of its cone, beside ours."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.special import betainc

from cosine_figure import PUBLISHED, SMALL_CLIP, Row
from encoder_options import is_papers
from util import UserError, published, records
from util.numerics.arrays import as_count
from util.numerics.statistics import prediction_interval

STATISTICS = ("mean", "std", "min", "q25", "median", "q75", "max")
PAPER_WEIGHTS = ("openai", "IMAGENET1K_V1")
PAPERS_N = 5000
"""Inputs of every published number. Extremes depend on their number, so they are judged with as many."""
ROUNDING = 1e-6
"""Of a cosine in float32. Where two captions are alike the largest is 1 with every seed, without a spread."""
CLIP = ["CLIP image", "CLIP text"]
POSITIVE = "figure_2a.positive_for_trained"
DIMENSIONS = (2, 3, 512)
HALVED = "half of 55.94"
HALF_ANGLES = {
    HALVED: 55.94 / 2,
    "arccos(0.56)": math.degrees(math.acos(0.56)),
    "arccos(sqrt(0.56))": math.degrees(math.acos(math.sqrt(0.56))),
}
"""Degrees, for ResNet-18's mean cosine of 0.56: the paper's, a pair's, and from a row to the mean direction."""


def compare(table: pd.DataFrame, sizes: pd.DataFrame) -> list[records.Comparison]:
    """Every statement of the paper beside rows of ``cosine_similarity.csv`` and of ``caps``."""
    ours = table[table["encoder"].isin(PUBLISHED)]
    found = [each for _, part in ours.groupby(["row", "encoder", "input"], sort=False) for each in statistics(part)]
    trained = {
        SMALL_CLIP: table[table["weights"] == SMALL_CLIP],
        "the paper's encoders": ours[ours["row"] == Row.TRAINED_REAL],
        "published CLIP ViT-B/16": table.query("row == @Row.PUBLISHED and encoder in @CLIP and weights == 'trained'"),
    }
    found += [positive(who, rows) for who, rows in trained.items() if len(rows)]
    return [*found, *cap_sizes(sizes)]


def statistics(part: pd.DataFrame) -> Iterator[records.Comparison]:
    """Published statistics beside ours of one encoder, one kind of weights and one input, a row for each seed."""
    known, (row, encoder), whole = published.numbers(), part[["row", "encoder"]].iloc[0], is_own(part)
    name, seeds, enough = PUBLISHED[encoder], len(part), part["n"].min() >= PAPERS_N
    for what in STATISTICS:
        first = {"mean": f"{row}.{name}", "std": f"std.{row}.{list(PUBLISHED).index(encoder)}"}.get(what)
        keys = f"figure_2a_mean_cosine.{first}", f"figure_2a.{row}.{name}.{what}", f"figure_2a.text.{row}.{name}.{what}"
        extreme, values = what in ("min", "max"), part[what]
        own = whole and (enough or not extreme)
        notes = ["" if own else "an extreme of fewer inputs" if whole else "other data, or fewer, or other weights"]
        notes += [f"negative with {(values < 0).sum()} of {seeds} seeds"] if what == "min" and seeds > 1 else []
        agrees, limits = None, {}
        for key in filter(known.get, keys):
            if seeds > 1:
                low, high = prediction_interval(values)
                limits = {"low": low, "high": high, "interval": f"95% prediction, {seeds} seeds"}
                agrees = bool(low - ROUNDING <= known[key].value <= high + ROUNDING) if own else None
            note = "; ".join(filter(None, notes))
            yield published.compare(key, values.mean(), measured_on(part), agrees, note, own=own, **limits)


def is_own(part: pd.DataFrame) -> bool:
    """Whether rows hold the paper's weights and data, and enough of them."""
    row, name, n = part[["row", "input", "n"]].iloc[0]
    random = row in (Row.RANDOM_REAL, Row.RANDOM_NOISE)
    return bool(random or part["weights"].isin(PAPER_WEIGHTS).all()) and is_papers(name, n)


def measured_on(part: pd.DataFrame) -> str:
    """Data, their number and seeds."""
    seeds = "" if part["seed"].isna().all() else f", {len(part)} seed{'s' * (len(part) > 1)}"
    return f"{part['input'].iloc[0]}, n = {part['n'].iloc[0]}{seeds}"


def positive(who: str, trained: pd.DataFrame) -> records.Comparison:
    """Whether mean and least cosine of trained encoders are positive."""
    threshold = published.numbers()[POSITIVE].judged_by.tolerance
    own = {*PUBLISHED} <= {*trained["encoder"]} and all(is_own(part) for _, part in trained.groupby("encoder"))
    agrees = bool((trained[["mean", "min"]] > threshold).all(axis=None))
    ours = f"least mean {trained['mean'].min():.2f}, least cosine {trained['min'].min():.2f}"
    return published.compare(POSITIVE, ours, f"{who}, {measured_on(trained)}", agrees, own=own)


def cap_fraction(degrees: float, dim: int) -> float:
    """Share of the unit sphere in ``dim`` >= 2 dimensions within ``degrees`` of a point, at most 90, in [0, 1/2].

    Half the regularised incomplete beta function at sin^2 of the half-angle, with (dim - 1)/2 and 1/2. Paper: section
    2.1, which takes half of the angle between two rows for it.
    """
    if not 0 <= degrees <= 90:
        raise UserError(f"the half-angle of a cap must lie from 0 to 90 degrees, not {degrees}")
    return float(betainc((as_count(dim, "dim", least=2) - 1) / 2, 0.5, math.sin(math.radians(degrees)) ** 2)) / 2


def caps() -> pd.DataFrame:
    """The shares of all half-angles: half_angle, degrees, dim, fraction, log10_fraction."""
    rows = [
        {"half_angle": name, "degrees": degrees, "dim": dim, "fraction": cap_fraction(degrees, dim)}
        for name, degrees in HALF_ANGLES.items()
        for dim in DIMENSIONS
    ]
    return pd.DataFrame(rows).assign(log10_fraction=lambda table: np.log10(table["fraction"]))


def cap_sizes(sizes: pd.DataFrame) -> Iterator[records.Comparison]:
    """The shares that the paper prints: mathematics alone decides."""
    shares = sizes[sizes["half_angle"] == HALVED].set_index("dim")
    on = f"{published.PRINTED}: a cap of half-angle {shares['degrees'].iloc[0]:.2f} degrees"
    for dim, derived in {2: "27.97/180", 3: "(1 - cos 27.97)/2, the paper's own formula"}.items():
        percent = 100 * float(shares["fraction"][dim])
        yield published.compare(f"cone_size.fraction_{dim}d_percent", percent, on, note=derived, own=True)
    key, log2 = "cone_size.fraction_512d", float(shares["log10_fraction"][512] / np.log10(2))
    below = log2 < published.numbers()[key].judged_by.tolerance
    derived = f"2^{log2:.1f}: half of the regularised incomplete beta function at sin^2, with 511/2 and 1/2"
    yield published.compare(key, f"{shares['fraction'][512]:.2g}", on, below, derived, own=True)
