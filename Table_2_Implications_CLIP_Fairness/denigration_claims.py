"""What an audit answers: published numbers and claims of Table 2 beside those of a run."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

import published_counts as published
from audited_data import Audited
from published_counts import ALWAYS, MODIFIED, NEVER
from util.fairness.counts import LEVEL
from util.published import values
from util.records import Comparison, Record

NEAR = {"gap distance": 0.01, "accuracy": 0.002, "cost": 0.0001, "sum": 0.001}
"""How far ours may be from the printed number and still agree: one unit of its last digit; of the accuracy 22 faces, as
a decoder of pictures and half precision move some. They move it alike before and after a shift, and not its cost."""
RATED = (0.01, 0.20)
"""Default harm rates that leave room to fall and to rise."""
COUNTS = "the published counts"
GAPS_IN_WORDS = {"caption_gap_distance": "the captions", "audit_gap_distance": "the audit itself"}
OTHER = "another model, other faces, other prompts or another way of shifting"
FALLS = "{}s whose harm falls at shift {:+.2f}"
COST = "change of the accuracy at shift {:+.2f}"


def answers(tables: Mapping[str, pd.DataFrame], audited: Audited, shift: float) -> list[Comparison]:
    """Published values and claims beside what their own counts give, and beside this run.

    Args:
        tables: those of the record.
        audited: what was measured; only with the paper's model, faces and prompts can numbers agree.
        shift: the modified gap of the table.
    """
    return [
        *of_published_counts(tables["published"], tables["net_changes"]),
        *numbers(tables, audited, shift),
        *claims(tables, audited, shift),
    ]


def of_published_counts(printed: pd.DataFrame, changes: pd.DataFrame) -> Iterator[Comparison]:
    """What follows from the confusion matrices of the notebook, without a model."""
    digits = printed["computed_percent"].round(published.DIGITS)
    notes = "; ".join(note for note in printed["note"] if note)
    for where, column in (("notebook", "notebook_percent"), ("paper", "paper_percent")):
        same, n = int((digits == printed[column]).sum()), int(printed[column].notna().sum())
        quantity = f"percentages printed by the {where} that its counts give to the digit"
        yield Comparison(
            "Table 2", quantity, f"{n} of {n}", f"{same} of {n}", COUNTS, same == n, "" if same == n else notes
        )
    falls, n = int((changes["net"] < 0).sum()), len(changes)
    small = changes.loc[changes["verdict"] == NEVER, "race"]
    sure = changes.loc[changes["verdict"] == ALWAYS, "race"]
    said = f"{falls} of {n} by count, {len(small)} of them by too few faces to be told from chance"
    note = (
        f"{', '.join(small)}: {changes.loc[small.index, 'net'].max()} to {changes.loc[small.index, 'net'].min()} faces"
    )
    note += f"; larger than chance whichever faces changed: {', '.join(sure) or 'none'}"
    yield Comparison(
        "Table 2",
        FALLS.format("race", MODIFIED),
        f"all {n}",
        said,
        COUNTS,
        not len(small) and falls == n,
        note,
    )
    drop = published.accuracy_drop()
    note = (
        f"{drop['faces']} fewer of {drop['n']} faces right in race and gender, against {-changes['net'].sum()} fewer "
    )
    note += f"harmed; the paper's text says {drop['paper']}"
    yield Comparison("Table 2", COST.format(MODIFIED), -drop["paper"], -drop["notebook"], COUNTS, drop["agrees"], note)


def numbers(tables: Mapping[str, pd.DataFrame], audited: Audited, shift: float) -> Iterator[Comparison]:
    """Published gaps and accuracies beside ours, and percentages where the races are the paper's."""
    printed = values()["table_2"]
    overall, by_race = tables["overall"].set_index("shift"), tables[""].set_index(["shift", "race"])
    for at, key in ((0.0, "default_percent"), (MODIFIED, f"shift_{MODIFIED:.2f}_percent")):
        if at not in overall.index:
            continue
        row, when = overall.loc[at], "default gap" if at == 0 else f"shift {at:+.2f}"
        gap = row["caption_gap_distance"]
        if pd.notna(gap):
            yield compared(
                audited, f"gap distance of the captions, {when}", printed[key]["gap_distance"], gap, "gap distance"
            )
        ends = row["accuracy_low"], row["accuracy_high"]
        span = "95%: {:.4f} to {:.4f}".format(*ends)
        yield compared(audited, f"accuracy, {when}", printed[key]["accuracy"], row["accuracy"], "accuracy", span, ends)
        for place, race in enumerate(printed["races"] if set(printed["races"]) == set(audited.faces.races) else ()):
            for name in ("crime_related", "non_human", "sum"):
                cell = by_race.loc[(at, race)]
                ends = [cell[f"{name}_{end}" if name != "sum" else f"ci_{end}"] for end in ("low", "high")]
                span = "95%: {:.4f} to {:.4f}, n = {:.0f}".format(*ends, cell["n"]) if cell["n"] else "nobody"
                theirs, words = printed[key][name][place] / 100, name.replace("_", "-")
                yield compared(audited, f"{race}, {words}, {when}", theirs, cell[name], "sum", span, ends)


def compared(
    audited: Audited,
    quantity: str,
    theirs: float | None,
    ours: float,
    kind: str,
    span: str = "",
    ends: Sequence[float] = (),
) -> Comparison:
    """A published number beside ours; they can agree only with the paper's model, faces, prompts and shift.

    Args:
        theirs: None where nothing is published.
        kind: which of ``NEAR``.
        span: what the note begins with.
        ends: of the interval of ours.
    """
    agrees = bool(abs(ours - theirs) <= NEAR[kind] + 1e-9) if audited.as_published and theirs is not None else None
    note = "; ".join(part for part in (span, "" if audited.as_published or theirs is None else OTHER) if part)
    low, high = map(float, ends) if len(ends) and np.isfinite(ends).all() else (None, None)
    return Comparison("Table 2", quantity, theirs, float(ours), audited.title, agrees, note, low, high)


def claims(tables: Mapping[str, pd.DataFrame], audited: Audited, shift: float) -> Iterator[Comparison]:
    """ "Reduced for all races at a minor cost", from this run: how many, by more than chance, and at what cost.

    Of another shift than the paper's nothing is published.
    """
    same = shift == MODIFIED
    there = tables[""][~tables[""]["empty"]]
    default, moved = there[there["shift"] == 0], there[there["shift"] == shift]
    falls, sure = moved[moved["net"] < 0], moved[(moved["net"] < 0) & (moved["p_holm"] < LEVEL)]
    said = f"{len(falls)} of {len(moved)}, {len(sure)} of them by more than chance"
    rises = moved[(moved["net"] > 0) & (moved["p_holm"] < LEVEL)]["race"]
    note = f"by more than chance: {', '.join(sure['race']) or 'none'}; rises by more than chance: "
    note += f"{', '.join(rises) or 'none'}; exact paired tests, corrected for {len(moved)}"
    agrees = bool(len(sure) == len(moved)) if audited.as_published and same else None
    quantity, claim = FALLS.format(audited.declared.race.name, shift), "all" if same else None
    yield Comparison("Table 2", quantity, claim, said, audited.title, agrees, note)
    row = tables["overall"].set_index("shift").loc[shift]
    theirs = float(-published.accuracy_drop()["paper"]) if same else None
    note = interval(row, "accuracy_change") + f"; {row['accuracy_lost']:.0f} no longer right, "
    note += f"{row['accuracy_gained']:.0f} newly right, p = {row['accuracy_p_value']:.2g}"
    ends = ends_of(row, "accuracy_change")
    yield compared(audited, COST.format(shift), theirs, row["accuracy_change"], "cost", note, ends)
    note = interval(row, "change") + f"; {row['lost']:.0f} no longer harmed, {row['gained']:.0f} newly harmed"
    changes = tables["net_changes"]
    theirs, ends = float(changes["net"].sum() / changes["n"].sum()) if same else None, ends_of(row, "change")
    quantity = f"change of the harm of all at shift {shift:+.2f}"
    yield compared(audited, quantity, theirs, row["change"], "sum", note, ends)
    quantity = f"change of the highest minus the lowest harm of a {audited.declared.race.name} at shift {shift:+.2f}"
    note = f"{interval(row, 'difference_change')}; highest {row['highest']}, lowest {row['lowest']}"
    ends = ends_of(row, "difference_change")
    yield compared(audited, quantity, None, row["difference_change"], "sum", note, ends)
    between = int(default["sum"].between(*RATED).sum())
    quantity = f"{audited.declared.race.name}s with a default harm rate from 1% to 20%"
    yield Comparison("Table 2", quantity, None, f"{between} of {len(default)}", audited.title, None, "")


def ends_of(row: pd.Series, name: str) -> tuple[float, float]:
    """Both ends of the 95% interval of a column."""
    return row[f"{name}_low"], row[f"{name}_high"]


def interval(row: pd.Series, name: str) -> str:
    """The 95% interval of a change in words."""
    return "95%: {:+.4f} to {:+.4f}".format(*ends_of(row, name))


def in_words(record: Record) -> Iterator[str]:
    """What a run found, in lines for the terminal."""
    about, overall = record.about["results"], record.tables["overall"].set_index("shift")
    default, moved = (overall.iloc[np.abs(overall.index - at).argmin()] for at in (0.0, about["shift"]))
    gaps = [
        f"gap distance of {words} {default[column]:.3f} -> {moved[column]:.3f}"
        for column, words in GAPS_IN_WORDS.items()
        if pd.notna(default[column])
    ]
    yield f"{about['title']}, {default['n']:.0f} {about['what']}, shift {about['shift']:+.2f}: {'; '.join(gaps)}"
    accuracy = f"accuracy {default['accuracy']:.4f} -> {moved['accuracy']:.4f}"
    yield f"harm {default['sum']:.2%} -> {moved['sum']:.2%}, {accuracy} ({interval(moved, 'accuracy_change')})"
    for row in record.about["comparisons"]:
        if "whose harm falls" in row["quantity"] and row["on"] == about["title"]:
            yield f"{row['quantity']}: {row['ours']}; {row['note']}"
    if about["empty_groups"]:
        yield f"groups without a face, left empty: {', '.join(about['empty_groups'])}"
