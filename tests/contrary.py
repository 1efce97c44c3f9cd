"""Runs that contradict the paper: one function a script, whose comparisons must all come out against it."""

import numpy as np
import pandas as pd

from util import published


def modality_gap():
    """A plane assigns 94.9% of the rows to their modality, and a random CLIP finds three texts of 500."""
    import modality_gap as script

    parts = [script.KEYS, published.WEIGHTS, (script.panels.PUBLISHED, "generated scenes")]
    table = pd.MultiIndex.from_product(parts, names=["kind", "weights", "source"]).to_frame(index=False)
    recalls = {"image_recall_at_1": 0.006, "image_recall_at_1_low": 0.002, "image_recall_at_1_high": 0.017}
    numbers = {"separability": 0.949, "gap_distance": 0.1, "n_pairs": 500, "text_recall_at_1": 0.006, "chance": 0.002}
    return script.compare(table.assign(system=table["kind"].map(script.KEYS), **recalls, **numbers))


def cosine_similarity():
    """Every cosine of every encoder is -0.3, and the cone is as wide as the angle of a pair."""
    import cosine_similarity as claims
    from cosine_figure import PUBLISHED, SMALL_CLIP

    weights = {"pretrained_real": "openai", "random_real": "random", "random_noise": "random"}
    kinds = [(row, encoder, weights[row], "MSCOCO val2017") for row in weights for encoder in PUBLISHED]
    kinds += [("pretrained_real", f"{SMALL_CLIP} text", SMALL_CLIP, "generated scenes")]
    kinds += [("published", "CLIP text", "trained", "MSCOCO")]
    table = pd.DataFrame(kinds, columns=["row", "encoder", "weights", "input"]).merge(
        pd.DataFrame({"seed": [0, 1]}), "cross"
    )
    table = table.assign(n=5000, **dict.fromkeys(claims.STATISTICS, -0.3))
    wide = claims.caps().query("half_angle == 'arccos(0.56)'").assign(half_angle=claims.HALVED)
    return claims.compare(table, wide)


def depth():
    """Every network's mean cosine is 0.5 at every depth."""
    import depth
    import random_networks

    counts = pd.MultiIndex.from_product([range(26), (0, 1)], names=["layers", "seed"]).to_frame(index=False)
    counts = counts.assign(mean_cosine=0.5 + 1e-6 * counts["seed"], mean_cosine_with_self=0.5 + 1e-6 * counts["seed"])
    kinds = [(name, bias) for name in random_networks.ACTIVATIONS for bias in (True, False)]
    main = [counts.assign(activation=name, bias=bias) for name, bias in kinds]
    released = [counts.assign(network=name) for name in random_networks.RELEASED]
    return depth.compare({"": pd.concat(main), "released": pd.concat(released)}, "a constant")


def initializations():
    """One cone for all seeds, and singular values that fall evenly."""
    import initializations as script
    from encoder_inputs import VISION

    names = [(encoder, "MSCOCO val2017") for encoder in script.PUBLISHED]
    names += [(VISION, script.NOISE), (script.TRAINED_50, "MSCOCO val2017")]
    about = pd.DataFrame(names, columns=["encoder", "input"])
    table = about.assign(n=5000, n_seeds=25, nearest_own_cone=0.04)
    values = pd.DataFrame({"component": range(1, 51), "singular_value": 0.99 ** np.arange(50)})
    values = values.assign(explained_variance_ratio=0.01 * values["singular_value"])
    return script.compare(table, about.merge(values, how="cross"))


def theorems():
    """A failure rate that the width does not lower, and a share that is a thousandth below the average cosine."""
    import theorem_1
    import theorem_2

    cell = {"cosine": 0.5, "norm_ratio": 1.0, "norm": 1.0, "in_condition": True}
    first = pd.DataFrame({"d_out": (8, 16, 32, 64), "estimate": 0.9}).assign(**cell)
    cases = ("pre-activation, bias", theorem_2.ON_SPHERE, theorem_2.AS_FIGURE)
    second = pd.DataFrame({"case": cases, "estimate": 0.499, "cosine": 0.5, "in_condition": (True, True, False)})
    return theorem_1.comparisons(first) + theorem_2.comparisons(second)


def denigration():
    """Counts and a run whose harms move against every claim, with other accuracies, gaps and matrices."""
    import denigration_claims as claims
    import published_counts

    moved = {0.0: (0.3, 0.3), -0.2: (0.35, 0.35), -1.0: (0.4, 0.1), 0.75: (0.1, 0.4)}
    rows = [(at, race, *parts, sum(parts)) for at, parts in moved.items() for race in published_counts.races()]
    by_race = pd.DataFrame(rows, columns=["shift", "race", *published_counts.QUANTITIES])
    by_race = by_race.assign(n=1000, net=50, p_holm=0.01, empty=False)
    overall = pd.DataFrame(
        {"shift": list(moved), "n": 7000, "caption_gap_distance": 2.0, "accuracy": 0.9, "change": 0.1}
    )
    overall = overall.assign(accuracy_change=0.1, difference_change=0.0, highest="", lowest="", lost=0, gained=700)
    overall = overall.assign(accuracy_lost=0, accuracy_gained=700, accuracy_p_value=0.01)
    printed = by_race.melt(["shift", "race", "n"], list(published_counts.QUANTITIES), "quantity", "share")
    printed = printed.assign(notebook_percent=100 * printed["share"], agrees=False, count=1000 * printed["share"])
    printed["computed_percent"] = printed["notebook_percent"]
    printed["count"] = printed["count"].where(printed["shift"].isin(published_counts.COUNTED))
    changed = pd.DataFrame({"race": published_counts.races(), "net": 50, "verdict": claims.NEVER})
    against = pd.DataFrame({"shift": list(published_counts.SHIFTS), "n": 7000, "gap_distance": 2.0, "accuracy": 0.9})
    tables = {"": by_race, "overall": overall, "published": printed, "net_changes": changed}
    tables |= {"against": against.assign(source=claims.NOTEBOOK)}
    tables |= {"confusion": published_counts.matrices().assign(by="race", count=1)}
    found = claims.comparisons(tables, "another run", True, -0.2, True)
    return [each for each in found if each.published is not None or each.agrees is not None]


def training_tables(gaps, **changes):
    """Runs of as many seeds as there are gaps: (experiment, temperature, initialization) -> gaps after training.

    Every one starts at a gap of 0.1 and is measured at steps 0, 1 and 2; ``changes`` are columns of the summary. The
    second seed's minima lie 0.3 below its own gap, the others' 0.01.
    """
    names = ["experiment", "temperature", "initialization", "seed", "gap_after"]
    rows = [(*run, seed, gap) for run, after in gaps.items() for seed, gap in enumerate(after)]
    summary = pd.DataFrame(rows, columns=names)
    summary = summary.assign(gap_before=0.1, loss=2.0, chance_loss=4.0, steps=2, weight_decay=0.0, learning_rate=1e-4)
    summary = summary.assign(**changes)
    steps = [summary.assign(step=step, gap_distance=summary["gap_after"] if step else 0.1) for step in (0, 1, 2)]
    curve = pd.concat(steps, ignore_index=True).assign(image_recall_at_1=0.5, text_recall_at_1=0.5)
    curve = curve.assign(zero_shot_gap_distance=0.4, zero_shot_accuracy=0.9 - 0.1 * (curve["step"] > 0))
    places = [summary.assign(evaluated_temperature=summary["temperature"] * factor) for factor in (0.5, 1, 2)]
    places = pd.concat(places, ignore_index=True)
    places = places.assign(own_gap=places["gap_after"])
    places["gap_at_minimum"] = places["own_gap"] - 0.01 - 0.29 * (places["seed"] == 1)
    return {"": curve, "summary": summary, "landscape": places}


def training():
    """Random weights whose gaps fall, the amended one above the other, and a gap that no temperature changes."""
    import training_claims

    taus = {("temperature", tau, "trained"): (0.5, 0.5, 0.5) for tau in training_claims.PAPER_TEMPERATURES}
    falls = {("initialization", 0.01, "original"): (0.02, 0.03, 0.04)}
    falls |= {("initialization", 0.01, "amended"): (0.05, 0.06, 0.07)}
    found = training_claims.compare(training_tables(taus | falls), "no effect", same=True, epoch=2)
    runs = [each for each in found if isinstance(each.published, str)]
    seeds = {name: [2 * gap for gap in gaps] for name, gaps in training_claims.seeds_of_the_paper().items()}
    seeds["amended_trained"] = seeds["original_trained"]
    constant = {name: [0.95] * 6 for name in training_claims.FINE_TUNED}
    return runs + training_claims.derived(seeds, constant)


def loss_landscape():
    """Minima one step of the paper's grid from where it has them, and a second minimum that stays at temperature 1."""
    import landscapes
    import loss_landscape as script

    taus = (1 / 100, 1 / 50, 1.0)
    columns = {"embeddings": ["e"], "batch": [50], "temperature": taus, "shift": (-1.0, -0.5, 0.0, 0.25, 0.75)}
    curves = pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)
    curves = curves.assign(signed_gap_distance=0.5, loss=9.0, loss_as_released=9.0)
    lowest = pd.DataFrame({"embeddings": "e", "batch": 50, "temperature": taus, "gap_at_minimum": (0.6, 0.8, 0.35)})
    lowest = lowest.assign(default_gap=0.822, at_edge=False, flat=False, batches=100, gap_low=0.3, gap_high=0.9)
    kinds = [("e", 50, tau, curve) for tau in (1 / 100, 1.0) for curve in landscapes.LOSSES]
    second = pd.DataFrame(kinds, columns=[*landscapes.CURVE, "curve"]).assign(shift=3.0, loss=0.9)
    second = second.assign(signed_gap_distance=-1.5, barrier_shift=1.0, barrier_gap=-0.5, barrier_loss=2.0)
    facts = {"gap_distance": 0.5, "explained_variance_ratio": [0.1] * 6, "n_pairs": script.PAPER_PAIRS}
    return script.compare(curves, lowest, second, {"e": facts}, script.PRESETS["paper"])


def simulation():
    """Mismatched pairs without a gap, and a gap of pairs that are matched right."""
    import simulation as script

    columns = {"simulation": ("sphere", "ring"), "mismatched": (True, False), "temperature": (0.01, 1.0)}
    found = pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)
    gap = (~found["mismatched"]).astype(float)
    return script.compare(found.assign(mismatch_fraction=1 - gap, gap_at_minimum=gap, gap_as_released=gap))


def zero_shot():
    """The paper's model and data with the values of another row, widened where it narrows; a gain that vanishes."""
    import published_gains
    import zero_shot as script

    found, shifted = [], {"n": 1, "shift": 0.5, "p_value": 0.5, "side": "both", "model": "ViT-B/16"}
    rows = published_gains.published_rows()
    for k, (row, other) in enumerate(zip(rows, rows[1:] + rows[:1], strict=True)):
        ours = {"default": other["default"], "modified": other["default"], "gain": 0.0, "default_low": 0, "ci_low": 0}
        ours |= {"default_high": 1, "ci_high": 1, "gain_low": 0, "gain_high": 0}
        ours |= {"direction": "down" if row["direction"] == "up" else "up", **shifted}
        ours["n"] = published_gains.published_items().get(row["dataset"])
        series = pd.Series(ours, name=(row["dataset"], row["metric"]))
        found += published_gains.beside(k, row, series, script.PRESETS["paper"])
    as_printed = published_gains.chi_squared()
    found += published_gains.significances(as_printed.assign(p_value=1.01 * as_printed["p_value"]))
    held = {"dataset": "d", "metric": "top-1", "model": "m", "n": 9, "side": "both", "gap_direction": "task"}
    held |= {"gain": 0.1, "p_value": 0.06, "gain_low": -0.1, "gain_high": 0.3}
    table = pd.DataFrame([{**held, "selection": way} for way in ("test", "held_out")])
    return found + published_gains.comparisons(table, [], script.PRESETS["embedded"])[-1:]
