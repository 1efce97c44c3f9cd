"""Comparisons of Table 2: published numbers and claims beside what their own counts give, and beside a run."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

import published_counts
from audited_data import Audited
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
GAPS_IN_WORDS = {"caption_gap_distance": "the captions", "audit_gap_distance": "the audit itself"}

Tables = Mapping[str, pd.DataFrame]


def comparisons(tables: Tables, audited: Audited, shift: float, as_released: bool) -> list[Comparison]:
    """Every comparison of a run.

    Args:
        tables: those of the record.
        audited: what was measured; only with the paper's model, faces and prompts can numbers agree.
        shift: the modified gap of the table; of another one than the paper's nothing is published.
        as_released: whether the images alone move, along the gap vector of the captions.
    """
    found = [*of_published_counts(tables), *at_both_gaps(tables, audited), *confusions(tables, audited)]
    found += [*claims(tables, audited)] if shift == MODIFIED else []
    return found + ([*shifted_gaps(tables, audited)] if as_released else [])


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
    note = (
        f"{drop['faces']} fewer of {drop['n']} faces right in race and gender, against {-changes['net'].sum()} fewer "
    )
    note += f"harmed; the paper's text says {drop['paper']}"
    key = "table_2.as_the_paper_prints.accuracy_drop"
    yield compare(key, -drop["notebook"], COUNTS, drop["agrees"], note, own=True)


def at_both_gaps(tables: Tables, audited: Audited) -> Iterator[Comparison]:
    """Published gaps and accuracies beside ours, and percentages where the races are the paper's."""
    overall, by_race = tables["overall"].set_index("shift"), tables[""].set_index(["shift", "race"])
    races = published_counts.races()
    for at, when in KEYS.items():
        if at not in overall.index:
            continue
        row, key = overall.loc[at], f"table_2.{when}_percent"
        if pd.notna(row["caption_gap_distance"]):
            yield compared(audited, f"{key}.gap_distance", row["caption_gap_distance"], "gap_distance")
        yield compared(audited, f"{key}.accuracy", row["accuracy"], "accuracy", ends_of(row, "accuracy"))
        for place, race in enumerate(races if set(races) == set(audited.faces.races) else ()):
            cell = by_race.loc[(at, race)]
            for name in QUANTITIES:
                ends = ends_of(cell, "ci" if name == "sum" else name)
                note = f"n = {cell['n']:.0f}" if cell["n"] else "nobody"
                yield compared(audited, f"{key}.{name}.{place}", cell[name], "harm", ends, note)


def claims(tables: Tables, audited: Audited) -> Iterator[Comparison]:
    """ "Reduced for all races at a minor cost", from this run: how many, by more than chance, and at what cost."""
    falling, agrees = falls(tables[""], MODIFIED)
    said, _, note = falling.partition("; ")
    judged = agrees if audited.as_published else None
    yield compare("table_2.claims.groups_fall", said, audited.title, judged, note, own=audited.as_published)
    row = tables["overall"].set_index("shift").loc[MODIFIED]
    note = f"{row['accuracy_lost']:.0f} no longer right, {row['accuracy_gained']:.0f} newly right, "
    note += f"p = {row['accuracy_p_value']:.2g}"
    key, ends = "table_2.as_the_paper_prints.accuracy_drop", ends_of(row, "accuracy_change")
    yield compared(audited, key, row["accuracy_change"], "accuracy_drop", ends, note)
    note = f"{row['lost']:.0f} no longer harmed, {row['gained']:.0f} newly harmed"
    yield compared(audited, "table_2.claims.harm_change", row["change"], "harm", ends_of(row, "change"), note)
    note, ends = f"highest {row['highest']}, lowest {row['lowest']}", ends_of(row, "difference_change")
    yield compared(audited, "table_2.claims.spread_change", row["difference_change"], "harm", ends, note)
    default = tables[""].query("shift == 0 and not empty")["sum"]
    said = f"{int(default.between(*RATED).sum())} of {len(default)}"
    yield compare("table_2.claims.default_range", said, audited.title, own=audited.as_published)


def falls(by_race: pd.DataFrame, shift: float) -> tuple[str, bool]:
    """In how many groups the harm falls at a shift, in words, and whether it does in all by more than chance."""
    moved = by_race[~by_race["empty"] & (by_race["shift"] == shift)]
    sure = moved[moved["p_holm"] < LEVEL]
    down, up = (sure.loc[sign * sure["net"] > 0, "race"] for sign in (-1, 1))
    said = f"{int((moved['net'] < 0).sum())} of {len(moved)}, {len(down)} of them by more than chance"
    said += f"; by more than chance: {', '.join(down) or 'none'}; rises by more than chance: {', '.join(up) or 'none'}"
    return f"{said}; exact paired tests, corrected for {len(moved)}", len(down) == len(moved)


def shifted_gaps(tables: Tables, audited: Audited) -> Iterator[Comparison]:
    """Gap distance of the captions after the published shifts of the images alone."""
    table, prefix = tables["overall"], "figure_3.image_only_shift_to_distance."
    for key in numbers(prefix):
        gaps = table.loc[np.isclose(table["shift"], float(key.removeprefix(prefix))), "caption_gap_distance"].dropna()
        for gap in gaps.abs():
            yield compared(audited, key, gap, "shifted_gap")


def confusions(tables: Tables, audited: Audited) -> Iterator[Comparison]:
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
            agrees = bool(moved <= NEAR["accuracy"] * theirs.to_numpy().sum()) if audited.as_published else None
            key = f"table_2.confusion_{when}.counts"
            yield compare(key, said, audited.title, agrees, own=audited.as_published)


def compared(
    audited: Audited, key: str, ours: float, kind: str, ends: tuple[float, float] = (np.nan, np.nan), note: str = ""
) -> Comparison:
    """A published number beside ours; they can agree only with the paper's model, faces, prompts and shift.

    Args:
        kind: which of ``NEAR``.
        ends: the interval of ours; not finite where there is none.
    """
    theirs = numbers()[key].value
    judged = audited.as_published and theirs is not None
    agrees = bool(abs(ours - theirs) <= NEAR[kind] + 1e-9) if judged else None
    low, high = map(float, ends) if np.isfinite(ends).all() else (None, None)
    return compare(key, float(ours), audited.title, agrees, note, low, high, audited.as_published)


def ends_of(row: pd.Series, name: str) -> tuple[float, float]:
    """Both ends of the 95% interval of a column."""
    return row[f"{name}_low"], row[f"{name}_high"]


def in_words(tables: Tables, results: Mapping) -> Iterator[str]:
    """What a run found, in lines for the terminal."""
    overall, shift = tables["overall"].set_index("shift"), results["shift"]
    default, moved = overall.loc[0.0], overall.loc[shift]
    gaps = [
        f"gap distance of {words} {default[column]:.3f} -> {moved[column]:.3f}"
        for column, words in GAPS_IN_WORDS.items()
        if pd.notna(default[column])
    ]
    yield f"{results['title']}, {default['n']:.0f} {results['what']}, shift {shift:+.2f}: {'; '.join(gaps)}"
    span = "95%: {:+.4f} to {:+.4f}".format(*ends_of(moved, "accuracy_change"))
    accuracy = f"accuracy {default['accuracy']:.4f} -> {moved['accuracy']:.4f} ({span})"
    yield f"harm {default['sum']:.2%} -> {moved['sum']:.2%}, {accuracy}"
    yield f"{results['group']}s whose harm falls at shift {shift:+.2f}: {falls(tables[''], shift)[0]}"
    if results["empty_groups"]:
        yield f"groups without a face, left empty: {', '.join(results['empty_groups'])}"
