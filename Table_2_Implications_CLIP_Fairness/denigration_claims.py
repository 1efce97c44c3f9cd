"""Comparisons of Table 2: published numbers and claims beside what their own counts give, and beside a run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

import published_counts
from published_counts import ALWAYS, MODIFIED, NEVER, QUANTITIES, SHIFTS, TOO_LARGE, TOO_SMALL
from util.fairness.audit import LEVEL
from util.published import PRINTED, compare, numbers
from util.records import Comparison

COUNTS, NOTEBOOK = f"{PRINTED}: counts of the notebook's matrices", "the released notebook"
TOTALS = f"{PRINTED}: totals of the notebook"
WILSON, PAIRED, BOOTSTRAP = "95% Wilson", "95% Bonett-Price, paired", "95% bootstrap over faces"
MOVES = {
    "races_fall": (MODIFIED, "sum", -1),
    "crime_related_rises": (TOO_SMALL, "crime_related", 1),
    "non_human_rises": (TOO_LARGE, "non_human", 1),
    "non_human_falls": (MODIFIED, "non_human", -1),
    "crime_related_falls": (TOO_LARGE, "crime_related", -1),
}
"""Claims of all races: the shift, what moves, and its sign. The paper makes the first three."""

Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Run:
    """What a run measured: its tables, on what, and whether that is the paper's model, faces, prompts and shift."""

    tables: Tables
    on: str
    own: bool

    def number(
        self, key: str, row: pd.Series, column: str, interval: str = "", note: str = "", judge: bool = True
    ) -> Comparison:
        """A published number beside a column of a row, with _low and _high where there is an interval."""
        ends = [float(row.get(f"{column}_{end}", np.nan)) for end in ("low", "high")] if interval else [np.nan]
        low, high, interval = (*ends, interval) if np.isfinite(ends).all() else (None, None, "")
        return compare(key, float(row[column]), self.on, None, note, low, high, self.own, interval, judge=judge)


def comparisons(tables: Tables, on: str, own: bool, shift: float, as_released: bool) -> list[Comparison]:
    """Every comparison of a run on what ``on`` says; numbers of another run than the paper's ``own`` cannot agree.

    Nothing is claimed at another ``shift`` than the paper's. Nothing is published of another way to shift than
    ``as_released``: the images alone, along the gap vector of the captions.
    """
    found = [*of_published_counts(tables)]
    if not as_released:
        return found
    run = Run(tables, on, own)
    found += [*at_released_shifts(run), *confusions(run), *moves(rates(tables[""]), on, own)]
    return [*found, *changes(run)] if shift == MODIFIED else found


def of_published_counts(tables: Tables) -> Iterator[Comparison]:
    """What follows from the numbers of the notebook, without a model."""
    printed, changed = tables["published"], tables["net_changes"]
    exact = printed.dropna(subset="count")
    said, agrees = f"{exact['agrees'].sum()} of {len(exact)}", bool(exact["agrees"].all())
    yield compare("table_2.claims.notebook_percentages", said, COUNTS, agrees, own=True)
    for row in exact.itertuples():
        key = f"{SHIFTS[row.shift]}_percent.{row.quantity}.{published_counts.races().index(row.race)}"
        note = f"{row.count:.0f} of {row.n} faces in the notebook's matrix"
        share = row.count / row.n
        yield compare(f"table_2.{key}", share, COUNTS, bool(row.agrees), note, own=True)
        if (printed_key := f"table_2.as_the_paper_prints.{key}") in numbers():
            yield compare(printed_key, share, COUNTS, None, note, own=True)
    yield from moves(published_counts.shares(printed), COUNTS, True)
    never, always = (changed.loc[changed["verdict"] == verdict, "race"] for verdict in (NEVER, ALWAYS))
    note = f"too few faces changed to be told from chance, whichever they were: {', '.join(never) or 'none'}"
    note += f"; of {len(changed) - len(never) - len(always)} it depends on which faces changed, which is not published"
    said, key = f"{len(always)} of {len(changed)}, whichever faces changed", "table_2.claims.falls_by_more_than_chance"
    yield compare(key, said, COUNTS, len(always) == len(changed) and (changed["net"] < 0).all(), note, own=True)
    yield from of_released_totals(tables["against"], -int(changed["net"].sum()))


def of_released_totals(table: pd.DataFrame, fewer_harmed: int) -> Iterator[Comparison]:
    """Gaps and accuracies as the paper prints them, and its drop of the accuracy, beside the notebook's."""
    released = table[table["source"] == NOTEBOOK].set_index("shift")
    prefix, pair = "table_2.as_the_paper_prints.accuracy", []
    for shift, when in SHIFTS.items():
        if (key := f"{prefix}.{shift:.2f}") in numbers():
            yield compare(key, released.loc[shift, "accuracy"], TOTALS, own=True)
            pair.append(numbers()[key].value)
            key = f"table_2.{when}_percent.gap_distance"
            yield compare(key, released.loc[shift, "gap_distance"], TOTALS, own=True)
    drop, n = released.loc[0.0, "accuracy"] - released.loc[MODIFIED, "accuracy"], int(released.loc[0.0, "n"])
    note = f"{round(drop * n)} fewer of {n} faces right in race and gender, {fewer_harmed} fewer harmed; "
    note += f"the paper's own pair, {pair[0]} and {pair[1]}, gives {pair[0] - pair[1]:.4f}"
    yield compare(f"{prefix}_drop", drop, TOTALS, None, note, own=True)


def rates(by_race: pd.DataFrame) -> pd.DataFrame:
    """Harmed shares by shift and race, a column for each of ``QUANTITIES``, of groups that have faces."""
    return by_race[~by_race["empty"]].set_index(["shift", "race"])[list(QUANTITIES)]


def moves(shares: pd.DataFrame, on: str, own: bool) -> Iterator[Comparison]:
    """In how many groups a harm moves as claimed, by count: ``MOVES``, as far as their shifts were measured."""
    for key, (shift, quantity, sign) in MOVES.items():
        if shift in shares.index:
            before, after = (shares.loc[at, quantity] for at in (0.0, shift))
            other = before.index[~(sign * (after - before) > 0)]
            note = ", ".join(f"{race} {before[race]:.2%} to {after[race]:.2%}" for race in other)
            said = f"{len(before) - len(other)} of {len(before)}"
            yield compare(f"table_2.claims.{key}", said, on, not note, note and f"not so: {note}", own=own)


def against(tables: Tables, on: str) -> pd.DataFrame:
    """How the two kinds of harm move against each other: the notebook's shifts, and a run at the same.

    Columns as in ``totals``, with source; crime_related_up and so on: in how many races each is above the default.
    """
    overall = tables["overall"].set_index("shift")
    ours = overall.assign(gap_distance=overall["caption_gap_distance"].abs(), rounding=0.0)
    columns = ["n", "gap_distance", "accuracy", *QUANTITIES, "rounding"]
    released = (published_counts.totals(), published_counts.shares(tables["published"]))
    rows = []
    for source, (table, by_race) in {NOTEBOOK: released, on: (ours, rates(tables[""]))}.items():
        for shift in sorted(table.index.intersection(list(SHIFTS)), reverse=True):
            up = (by_race.loc[shift] > by_race.loc[0.0]).sum().reindex(QUANTITIES).add_suffix("_up")
            rows.append({"source": source, "shift": shift, **table.loc[shift, columns], **up})
    return pd.DataFrame(rows)


def at_released_shifts(run: Run) -> Iterator[Comparison]:
    """Published gaps and accuracies beside ours, and percentages where the races are the paper's."""
    overall, by_race = run.tables["overall"].set_index("shift"), run.tables[""].set_index(["shift", "race"])
    overall = overall.assign(gap=overall["caption_gap_distance"].abs())
    races = published_counts.races()
    for shift, row in overall.dropna(subset="gap").iterrows():
        keys = "figure_3.image_only_shift_to_distance.{:.2f}", "table_2.{1}_percent.gap_distance"
        for key in (each.format(shift, SHIFTS.get(shift)) for each in keys):
            if key in numbers():
                yield run.number(key, row, "gap")
    for shift in overall.index.intersection(list(SHIFTS)):
        key = f"table_2.{SHIFTS[shift]}_percent"
        yield run.number(f"{key}.accuracy", overall.loc[shift], "accuracy", WILSON)
        for place, race in enumerate(races if set(races) == set(run.tables[""]["race"]) else ()):
            cell = by_race.loc[(shift, race)].rename({"ci_low": "sum_low", "ci_high": "sum_high"})
            note = f"n = {cell['n']:.0f}" if cell["n"] else "nobody"
            for name in QUANTITIES:
                judge = tells(f"{name}.{place}", shift)
                why = note if judge else f"{note}; not judged: the published change is too small to tell"
                yield run.number(f"{key}.{name}.{place}", cell, name, WILSON, why, judge)


def tells(cell: str, shift: float) -> bool:
    """Whether the tolerance tells the published share of a race at a shift from that without one."""
    default, here = (numbers()[f"table_2.{SHIFTS[at]}_percent.{cell}"] for at in (0.0, shift))
    return shift == 0 or abs(here.value - default.value) > 2 * here.judged_by.tolerance


def changes(run: Run) -> Iterator[Comparison]:
    """Changes at the paper's modified gap: significance, accuracy, harm, and the difference between races."""
    key = "table_2.claims.falls_by_more_than_chance"
    moved = run.tables[""][~run.tables[""]["empty"] & (run.tables[""]["shift"] == MODIFIED)]
    sure = moved[moved["p_holm"] < numbers()[key].judged_by.tolerance]
    down, up = (sure.loc[sign * sure["net"] > 0, "race"] for sign in (-1, 1))
    said = f"{len(down)} of {len(moved)} by more than chance, {(moved['net'] < 0).sum()} by count"
    note = f"by more than chance: {', '.join(down) or 'none'}; rises by more than chance: {', '.join(up) or 'none'}"
    note += f"; exact paired tests, corrected for {len(moved)}"
    yield compare(key, said, run.on, len(down) == len(moved), note, own=run.own)
    row = run.tables["overall"].set_index("shift").loc[MODIFIED]
    note = f"{row['accuracy_lost']:.0f} no longer right, {row['accuracy_gained']:.0f} newly right, "
    note += f"p = {row['accuracy_p_value']:.2g}"
    yield run.number("table_2.claims.accuracy_change", row, "accuracy_change", PAIRED, note)
    note = f"{row['lost']:.0f} no longer harmed, {row['gained']:.0f} newly harmed"
    yield run.number("table_2.claims.harm_change", row, "change", PAIRED, note)
    note = f"highest {row['highest']}, lowest {row['lowest']}"
    yield run.number("table_2.claims.spread_change", row, "difference_change", BOOTSTRAP, note)


def confusions(run: Run) -> Iterator[Comparison]:
    """Published confusion matrices by race beside ours, where the model, faces and shift are the paper's."""
    by_race = run.tables["confusion"].query("by == 'race'")
    for shift in published_counts.COUNTED if run.own else ():
        here = by_race[np.isclose(by_race["shift"], shift)]
        if len(here):
            key = f"table_2.confusion_{SHIFTS[shift]}.counts"
            theirs = published_counts.matrix(shift)
            theirs, ours = theirs.align(here.pivot(index="true", columns="predicted", values="count"), fill_value=0)
            moved = int((ours - theirs).abs().to_numpy().sum() / 2)
            said = f"{int((ours == theirs).to_numpy().sum())} of {ours.size} equal, {moved} faces elsewhere"
            agrees = bool(moved <= numbers()[key].judged_by.tolerance * theirs.to_numpy().sum())
            yield compare(key, said, run.on, agrees, own=True)


def in_words(tables: Tables, results: Mapping) -> Iterator[str]:
    """What a run found, in lines for the terminal."""
    overall, shift, gaps = tables["overall"].set_index("shift"), results["shift"], results["gap_distance"]
    default, moved = overall.loc[0.0], overall.loc[shift]
    yield f"{results['title']}, n = {default['n']:.0f}, shift {shift:+.2f}:"
    yield f"gap distance {gaps['default']:.3f} -> {gaps['shifted']:.3f}"
    yield f"harm {default['sum']:.2%} -> {moved['sum']:.2%}"
    span = "change: 95% from {accuracy_change_low:+.4f} to {accuracy_change_high:+.4f}".format(**moved)
    yield f"accuracy {default['accuracy']:.4f} -> {moved['accuracy']:.4f} ({span})"
    by_group = tables[""][~tables[""]["empty"] & (tables[""]["shift"] == shift)]
    for word, sign in (("falls", -1), ("rises", 1)):
        some = by_group[sign * by_group["net"] > 0]
        sure = ", ".join(some.loc[some["p_holm"] < LEVEL, results["columns"][0]]) or "none"
        yield f"Harm {word} in {len(some)} of {len(by_group)} groups by {results['group']}. More than chance: {sure}."
    if results["empty_groups"]:
        yield f"groups without a face, left empty: {', '.join(results['empty_groups'])}"
