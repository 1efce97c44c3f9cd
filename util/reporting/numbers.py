"""Every number and claim of ``paper.json``: what it is in words, and which step measures it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from published_counts import agreement

from .. import published

ENCODERS = {
    "resnet": "ResNet-18",
    "vision_transformer": "CLIP ViT-B/32 vision",
    "text_transformer": "CLIP ViT-B/32 text",
}
CONES = {
    "pretrained_real": "trained weights, real data",
    "random_real": "random weights, real data",
    "random_noise": "random weights, noise",
}
DEFAULT, WIDER = "default_percent", "shift_-0.20_percent"
SHIFTS = {DEFAULT: 0.0, WIDER: -0.2}
"""Table 2: the paper's two columns of numbers, and the shift of each."""
CONFUSION = {DEFAULT: "confusion_default", WIDER: "confusion_shift_-0.20"}
HARMS = ("crime_related", "non_human", "sum")
CLAIMS = {
    "b": ("signed gap at the lowest loss, temperature 1/100", "the default gap"),
    "c": ("signed gap at the lowest loss, temperature 1/50", "a smaller gap"),
    "d": ("signed gap at the lowest loss, temperature 1", "near zero"),
}
"""Figure 3: panel -> what is claimed, in the order of paper.json, and the claim in a word."""


@dataclass(frozen=True)
class Number:
    """One published number, or a claim.

    Attributes:
        keys: where it stands in paper.json, "section.name"; a list or a mapping stands for all within.
        panel: where the paper states it.
        quantity: what it is, with its unit.
        value: as published; the mean where several seeds are.
        step: name of the script that measures it.
    """

    keys: tuple[str, ...]
    panel: str
    quantity: str
    value: float | str
    step: str


GIVEN = {
    "published_embeddings": "the authors' files themselves: read, and checked by their hashes",
    "figure_2c.n_seeds": "a setting",
    "figure_2c.n_inputs": "a setting",
    "figure_3.loss_batch": "a setting",
    "figure_3.sphere_simulation": "settings: positions and logit scales",
    "figure_3.nine_point_simulation": "settings: logit scales",
}
"""Numbers of paper.json that are what the authors worked with, and no result."""


def all_numbers() -> list[Number]:
    """Every result, in the paper's order."""
    paper = published.values()
    return [
        *_cosines(paper["figure_2a_mean_cosine"]),
        *_depth(paper["figure_2b"]),
        *_spectrum(paper["figure_2c"]),
        *_landscape(paper["figure_3"]),
        *_training(paper["section_4_training"]),
        *_table_1(paper["table_1"]),
        *_table_2(paper["table_2"]),
    ]


def _cosines(part: Mapping) -> Iterator[Number]:
    at, panel, step = "figure_2a_mean_cosine", "Figure 2 (a)", "cosine_similarity"
    for row, words in CONES.items():
        for k, (key, encoder) in enumerate(ENCODERS.items()):
            yield Number((f"{at}.{row}.{key}",), panel, f"mean cosine, {encoder}, {words}", part[row][key], step)
            quantity = f"standard deviation of the cosine, {encoder}, {words}"
            yield Number((f"{at}.std.{row}.{k}",), panel, quantity, part["std"][row][k], step)


def _depth(part: Mapping) -> Iterator[Number]:
    for layers, value in part["relu_bias"].items():
        quantity = f"mean cosine, ReLU with biases, {layers} layers, self-pairs included"
        yield Number((f"figure_2b.relu_bias.{layers}",), "Figure 2 (b)", quantity, value, "depth")


def _spectrum(part: Mapping) -> Iterator[Number]:
    name = "pca_explained_variance_ratio_vision"
    for k, value in enumerate(part[name]):
        quantity = f"share of the variance of principal component {k + 1}, {ENCODERS['vision_transformer']}"
        yield Number((f"figure_2c.{name}.{k}",), "Figure 2 (c)", quantity, value, "initializations")


def _landscape(part: Mapping) -> Iterator[Number]:
    step, name = "loss_landscape", "pca_explained_variance_ratio"
    yield Number(("figure_3.gap_distance",), "Figure 3", "gap distance", part["gap_distance"], step)
    for k, value in enumerate(part[name]):
        yield Number((f"figure_3.{name}.{k}",), "Figure 3 (a)", component(k), value, step)
    for k, (panel, (quantity, claim)) in enumerate(CLAIMS.items()):
        yield Number((f"figure_3.claims.{k}",), f"Figure 3 ({panel})", quantity, claim, step)
    for name, side, by in (("two_sided", "both", step), ("image_only", "first", "denigration")):
        for shift, value in part[f"{name}_shift_to_distance"].items():
            keys = (f"figure_3.{name}_shift_to_distance.{shift}",)
            yield Number(keys, "Figure 3", shifted(float(shift), side), value, by)


def component(k: int) -> str:
    """The quantity of the k-th share of Figure 3 (a), from 0."""
    return f"share of the variance of joint principal component {k + 1}"


def shifted(amount: float, side: str) -> str:
    """The quantity of a gap distance after a shift."""
    return f"gap distance after a shift of {amount:+.2f}, {'two-sided' if side == 'both' else 'of the images alone'}"


def recall(what: str, temperature: str) -> str:
    """The quantity of a recall of section 4; ``what`` as in paper.json."""
    return f"{what.replace('_at_1', '@1').replace('_', ' ')} after fine-tuning at temperature {temperature}"


def _training(part: Mapping) -> Iterator[Number]:
    panel, step = "section 4", "training"
    started, tuned = part["initialisation_and_optimisation"], part["temperature_fine_tuning"]
    for name in ("original", "amended"):
        for key, when in (("init", "before"), ("trained", "after")):
            keys = (f"section_4_training.initialisation_and_optimisation.{name}_{key}",)
            quantity = f"gap distance {when} training, {name} initialization"
            yield Number(keys, panel, quantity, float(np.mean(started[f"{name}_{key}"])), step)
    for what in ("gap_distance", "image_recall_at_1", "text_recall_at_1"):
        for k, (temperature, value) in enumerate(zip(tuned["temperatures"], tuned[what], strict=True)):
            is_gap = what == "gap_distance"
            quantity = f"gap distance after fine-tuning at temperature {temperature}"
            keys = (f"section_4_training.temperature_fine_tuning.{what}.{k}",)
            yield Number(keys, panel, quantity if is_gap else recall(what, temperature), value, step)


def _table_1(part: Mapping) -> Iterator[Number]:
    for k, row in enumerate(part["rows"]):
        for what in ("default", "modified", "direction"):
            quantity = f"{row['dataset']}, {row['metric']}, {what}"
            yield Number((f"table_1.rows.{k}.{what}",), "Table 1", quantity, row[what], "zero_shot")


def _table_2(part: Mapping) -> Iterator[Number]:
    """Percentages as shares, as denigration.py compares them."""
    panel, step = "Table 2", "denigration"
    for key, shift in SHIFTS.items():
        at = when(shift)
        for k, race in enumerate(part["races"]):
            for what in HARMS:
                value = part[key][what][k] / 100
                quantity = f"{race}, {what.replace('_', '-')}, {at}"
                yield Number((f"table_2.{key}.{what}.{k}",), panel, quantity, value, step)
        quantities = {"gap_distance": "gap distance of the captions", "accuracy": "accuracy"}
        for what, words in quantities.items():
            yield Number((f"table_2.{key}.{what}",), panel, f"{words}, {at}", part[key][what], step)
        yield Number((f"table_2.{CONFUSION[key]}.counts",), panel, confusion(shift), counted(key), step)
    differently, n = "table_2.as_the_paper_prints", int(agreement()["paper_percent"].notna().sum())
    quantity = "percentages printed by the paper that its counts give to the digit"
    yield Number((f"{differently}.default_sum_percent",), panel, quantity, f"{n} of {n}", step)
    drop = -part["as_the_paper_prints"]["accuracy_drop"]
    yield Number((f"{differently}.accuracy_drop",), panel, "change of the accuracy at shift -0.20", drop, step)


def when(shift: float) -> str:
    """One of Table 2's two shifts in words."""
    return f"shift {shift:+.2f}" if shift else "default gap"


def confusion(shift: float) -> str:
    """The quantity of a confusion matrix of Table 2."""
    return f"confusion by race, {when(shift)}"


def counted(key: str) -> str:
    """A published confusion matrix in words."""
    counts = np.array(published.values()["table_2"][CONFUSION[key]]["counts"])
    return f"{counts.size} counts of {counts.sum():,} faces"


def leaves(part: object, at: str = "") -> Iterator[tuple[str, float]]:
    """Every number in a mapping as read from json, with its key: names and positions, joined by dots."""
    if isinstance(part, Mapping | list):
        items = part.items() if isinstance(part, Mapping) else enumerate(part)
        for key, value in items:
            yield from leaves(value, f"{at}.{key}" if at else str(key))
    elif isinstance(part, int | float) and not isinstance(part, bool):
        yield at, float(part)
