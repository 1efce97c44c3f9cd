"""Comparisons of Table 2: published numbers and claims beside what their own counts give, and beside a run."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

import published_counts
from published_counts import ALWAYS, KEYS, MODIFIED, NEVER, QUANTITIES
from util.fairness.audit import LEVEL
from util.published import compare, numbers
from util.records import Comparison

NEAR = {"gap_distance": 0.01, "accuracy": 0.002, "accuracy_drop": 0.0001, "harm": 0.001, "shifted_gap": 0.005}
"""How far ours may be from the printed number and still agree: one unit of its last digit; of the accuracy 22 faces, as
a decoder of pictures and half precision move some. They move it alike before and after a shift, and not its drop."""
RATED = (0.01, 0.20)
"""Default harm rates that leave room to fall and to rise."""
COUNTS = "the published counts"

Tables = Mapping[str, pd.DataFrame]


def comparisons(tables: Tables, on: str, own: bool, shift: float, as_released: bool) -> list[Comparison]:
    """Every comparison of a run.

    Args:
        own: whether it is the paper's model, faces, prompts and shift. Only then can numbers agree.
        shift: the modified gap of the table; of another one than the paper's nothing is published.
        as_released: whether the images alone move, along the gap vector of the captions.
    """
    found = [*at_both_gaps(tables), *confusions(tables)]
    found += [*claims(tables)] if shift == MODIFIED else []
    found += [*shifted_gaps(tables)] if as_released else []
    measured = [replace(one, on=on, own=own, agrees=one.agrees if own else None) for one in found]
    return [*of_published_counts(tables), *measured]


def of_published_counts(tables: Tables) -> Iterator[Comparison]:
    """What follows from the confusion matrices of the notebook, without a model."""
    printed, changes = tables["published"], tables["net_changes"]
    digits = printed["computed_percent"].round(published_counts.DIGITS)
    keys = {"claims.notebook_percentages": "notebook", "as_the_paper_prints.default_sum_percent": "paper"}
    for key, where in keys.items():
        theirs = printed[f"{where}_percent"]
        same, n = int((digits == theirs).sum()), int(theirs.notna().sum())
        note = "" if same == n else "; ".join(filter(None, printed["note"]))
        yield compare(f"table_2.{key}", f"{same} of {n}", COUNTS, same == n, note, own=True)
    falls, n = int((changes["net"] < 0).sum()), len(changes)
    small = changes[changes["verdict"] == NEVER]
    sure = changes.loc[changes["verdict"] == ALWAYS, "race"]
    said = f"{falls} of {n} by count, {len(small)} of them by too few faces to be told from chance"
    note = f"{', '.join(small['race'])}: {small['net'].max()} to {small['net'].min()} faces"
    note += f"; larger than chance whichever faces changed: {', '.join(sure) or 'none'}"
    yield compare("table_2.claims.races_fall", said, COUNTS, not len(small) and falls == n, note, own=True)
    drop = published_counts.accuracy_drop()
    note = f"{drop['faces']} fewer of {drop['n']} faces right in race and gender, against "
    note += f"{-changes['net'].sum()} fewer harmed; the paper's text says {drop['paper']}"
    key = "table_2.as_the_paper_prints.accuracy_drop"
    yield compare(key, -drop["notebook"], COUNTS, drop["agrees"], note, own=True)


def at_both_gaps(tables: Tables) -> Iterator[Comparison]:
    """Published gaps and accuracies beside ours, and percentages where the races are the paper's."""
    overall, by_race = tables["overall"].set_index("shift"), tables[""].set_index(["shift", "race"])
    races = published_counts.races()
    known = set(races) == set(tables[""]["race"])
    for at, when in KEYS.items():
        if at not in overall.index:
            continue
        row, key = overall.loc[at], f"table_2.{when}_percent"
        if pd.notna(row["caption_gap_distance"]):
            yield compared(f"{key}.gap_distance", row, "caption_gap_distance", "gap_distance")
        yield compared(f"{key}.accuracy", row, "accuracy", "accuracy")
        for place, race in enumerate(races if known else ()):
            cell = by_race.loc[(at, race)].rename({"ci_low": "sum_low", "ci_high": "sum_high"})
            note = f"n = {cell['n']:.0f}" if cell["n"] else "nobody"
            for name in QUANTITIES:
                yield compared(f"{key}.{name}.{place}", cell, name, "harm", note)


def claims(tables: Tables) -> Iterator[Comparison]:
    """ "Reduced for all races at a minor cost", from this run: how many, by more than chance, and at what cost."""
    falling, all_fall = falls(tables[""], MODIFIED)
    said, _, note = falling.partition("; ")
    yield compare("table_2.claims.groups_fall", said, "", all_fall, note)
    row = tables["overall"].set_index("shift").loc[MODIFIED]
    note = f"{row['accuracy_lost']:.0f} no longer right, {row['accuracy_gained']:.0f} newly right, "
    note += f"p = {row['accuracy_p_value']:.2g}"
    yield compared("table_2.as_the_paper_prints.accuracy_drop", row, "accuracy_change", "accuracy_drop", note)
    note = f"{row['lost']:.0f} no longer harmed, {row['gained']:.0f} newly harmed"
    yield compared("table_2.claims.harm_change", row, "change", "harm", note)
    note = f"highest {row['highest']}, lowest {row['lowest']}"
    yield compared("table_2.claims.spread_change", row, "difference_change", "harm", note)
    default = tables[""].query("shift == 0 and not empty")["sum"]
    yield compare("table_2.claims.default_range", f"{int(default.between(*RATED).sum())} of {len(default)}", "")


def falls(by_race: pd.DataFrame, shift: float) -> tuple[str, bool]:
    """In how many groups the harm falls at a shift, in words, and whether it does in all by more than chance."""
    moved = by_race[~by_race["empty"] & (by_race["shift"] == shift)]
    sure = moved[moved["p_holm"] < LEVEL]
    down, up = (sure.loc[sign * sure["net"] > 0, "race"] for sign in (-1, 1))
    said = f"{int((moved['net'] < 0).sum())} of {len(moved)}, {len(down)} of them by more than chance"
    said += f"; by more than chance: {', '.join(down) or 'none'}; rises by more than chance: {', '.join(up) or 'none'}"
    return f"{said}; exact paired tests, corrected for {len(moved)}", len(down) == len(moved)


def shifted_gaps(tables: Tables) -> Iterator[Comparison]:
    """Gap distance of the captions after the published shifts of the images alone."""
    table, prefix = tables["overall"].dropna(subset="caption_gap_distance"), "figure_3.image_only_shift_to_distance."
    table = table.assign(gap=table["caption_gap_distance"].abs())
    for key in numbers(prefix):
        for _, row in table[np.isclose(table["shift"], float(key.removeprefix(prefix)))].iterrows():
            yield compared(key, row, "gap", "shifted_gap")


def confusions(tables: Tables) -> Iterator[Comparison]:
    """Published confusion matrices by race beside ours, where the races are the paper's."""
    by_race = tables["confusion"].query("by == 'race'")
    if set(by_race["true"]) != set(published_counts.races()):
        return
    for at, when in KEYS.items():
        here = by_race[np.isclose(by_race["shift"], at)]
        if len(here):
            theirs = published_counts.matrix(at)
            theirs, ours = theirs.align(here.pivot(index="true", columns="predicted", values="count"), fill_value=0)
            moved = int((ours - theirs).abs().to_numpy().sum() / 2)
            said = f"{int((ours == theirs).to_numpy().sum())} of {ours.size} equal, {moved} faces elsewhere"
            agrees = bool(moved <= NEAR["accuracy"] * theirs.to_numpy().sum())
            yield compare(f"table_2.confusion_{when}.counts", said, "", agrees)


def compared(key: str, row: pd.Series, column: str, kind: str, note: str = "") -> Comparison:
    """A published number beside ours: a column of a row, perhaps with _low and _high; ``kind`` is one of ``NEAR``."""
    ours, theirs = float(row[column]), numbers()[key].value
    agrees = None if theirs is None else abs(ours - theirs) <= NEAR[kind] + 1e-9
    ends = [float(row.get(f"{column}_{end}", np.nan)) for end in ("low", "high")]
    low, high = ends if np.isfinite(ends).all() else (None, None)
    return compare(key, ours, "", agrees, note, low, high, True, "" if low is None else "95%")


def in_words(tables: Tables, results: Mapping) -> Iterator[str]:
    """What a run found, in lines for the terminal."""
    overall, shift, gaps = tables["overall"].set_index("shift"), results["shift"], results["gap_distance"]
    default, moved = overall.loc[0.0], overall.loc[shift]
    yield f"{results['title']}, n = {default['n']:.0f}, shift {shift:+.2f}:"
    yield f"gap distance {gaps['default']:.3f} -> {gaps['shifted']:.3f}"
    yield f"harm {default['sum']:.2%} -> {moved['sum']:.2%}"
    span = "95%: {accuracy_change_low:+.4f} to {accuracy_change_high:+.4f}".format(**moved)
    yield f"accuracy {default['accuracy']:.4f} -> {moved['accuracy']:.4f} ({span})"
    yield f"{results['group']}s whose harm falls: {falls(tables[''], shift)[0]}"
    if results["empty_groups"]:
        yield f"groups without a face, left empty: {', '.join(results['empty_groups'])}"
