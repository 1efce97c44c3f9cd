"""Published numbers joined by key with what the records measured; the one table of report, README and results."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields

import pandas as pd

from .. import published
from ..records import Comparison, Record
from .steps import FOLDERS, STEPS

COLUMNS = (
    "key", "panel", "quantity", "published", "here", "low", "high", "interval", "measured_on", "verdict", "note",
    "rule", "counted",
)  # fmt: skip
VERDICTS = ("no", "yes", "paper is wrong", "not shown", "shown", "not run")
"""One number measured on several data sets counts once, with the first of these that it got; so does one curve."""
FOLLOWS = "follows from print"
"""In counts, a "yes" that needed no run: the published numbers imply it."""
COUNTED = ("yes", FOLLOWS, "no", "paper is wrong", "shown", "not shown", "not run")
"""Columns of the counts."""
OTHER = "measured on another model or data: not comparable"


def is_own(record: Record) -> bool:
    """Whether a record was made from your own data, of which the paper says nothing."""
    return bool(record.about.get("own_data"))


def beside(*found: Record) -> pd.DataFrame:
    """The comparisons of some records with their verdicts; without rows where these are of your own data."""
    rows = [row for record in found for row in record.about["comparisons"]]
    table = pd.DataFrame(rows, columns=[field.name for field in fields(Comparison)])
    return table.assign(verdict=[verdict(row) for row in rows])


def collect(found: Iterable[tuple[str, Record]], reasons: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Table of every published number with the columns ``COLUMNS``, in the paper's order.

    It has a row for each number and each data set that it was measured on. What the paper says nothing of has a row
    only where it was measured, without a published value. ``reasons`` say of scripts why they did not finish.
    """
    known = {record.name: record for _, record in found if not is_own(record)}
    numbers = published.numbers().values()
    rules = {each.key: each.judged_by for each in numbers if each.rule}
    said = {key: f"{each.says.format(tolerance=each.tolerance)} ({each.reason})" for key, each in rules.items()}
    stated = pd.DataFrame([{**asdict(each), "rule": said.get(each.key, "")} for each in numbers])
    measured = beside(*known.values()).drop(columns=["panel", "quantity", "published"])
    table = stated.merge(measured, "left", "key")
    table = table.rename(columns={"value": "published", "ours": "here", "on": "measured_on"})
    table = table[table["published"].notna() | table["verdict"].notna()].reset_index(drop=True)
    table["note"] = [_note(row, known.get(row.script), reasons or {}) for row in table.itertuples()]
    table = table.fillna({"interval": "", "measured_on": "", "verdict": "not run"})
    return table.assign(counted=_counted(table))[list(COLUMNS)]


def _note(row, record: Record | None, reasons: Mapping[str, str]) -> str:
    """What the record says of a comparison; of what was not measured, why."""
    if isinstance(row.verdict, str):
        return row.note if row.own or row.agrees is not None else "; ".join(filter(None, [OTHER, row.note]))
    if record is None:
        return reasons.get(row.script, f"no record of {row.script}.py here")
    if record.about["settings"]["preset"] != "paper":
        return "needs --preset paper"
    return "; ".join(record.about["left_out"]) or "the record lacks it"


def _counted(table: pd.DataFrame) -> pd.Series:
    """The word that each number, or curve, counts under, in one of its rows; empty in its others."""
    numbers = published.numbers()
    ranked = table[table["published"].notna()].copy()
    ranked["once"] = [numbers[key].rule if numbers[key].judged_by.together else key for key in ranked["key"]]
    ranked["verdict"] = pd.Categorical(ranked["verdict"], VERDICTS, ordered=True)
    first = ranked.sort_values("verdict", kind="stable").drop_duplicates("once")
    implied = (first["verdict"] == "yes") & first["measured_on"].str.startswith(published.PRINTED)
    return first["verdict"].astype(str).mask(implied, FOLLOWS).reindex(table.index, fill_value="")


def verdict(part: Mapping) -> str:
    """Verdict on one comparison of a record: "yes" and "no" with ``own``, else "shown" and "not shown".

    One that is not judged is "not run". What fails by a derivation, of the paper's own numbers, is "paper is wrong".
    """
    if part["agrees"] is None:
        return "not run"
    known = published.numbers().get(part["key"])
    if not part["agrees"] and known and known.rule and known.judged_by.derivation:
        return "paper is wrong"
    if part.get("own"):
        return "yes" if part["agrees"] else "no"
    return "shown" if part["agrees"] else "not shown"


def overview(table: pd.DataFrame) -> pd.DataFrame:
    """Counts of the paper's numbers by verdict, a row for each figure or table: folder, figure, and a column each."""
    first = table[table["counted"] != ""]
    counts = pd.crosstab(folders(first), first["counted"])
    counts = counts.reindex(index=FOLDERS, columns=list(COUNTED), fill_value=0).rename_axis(columns=None)
    counts.insert(0, "figure", [" ".join(folder.split("_")[:2]) for folder in FOLDERS])
    return counts.reset_index(names="folder")


def folders(table: pd.DataFrame) -> pd.Series:
    """Folder of the script that measures each row."""
    places = {step.name: step.folder for step in STEPS}
    return table["key"].map({key: places[number.script] for key, number in published.numbers().items()})


def number(value: object) -> str:
    """A value for a table: four decimals for a float, scientific below a thousandth, a dash for nothing."""
    if value is None or (isinstance(value, float) and value != value):
        return "-"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.2e}" if 0 < abs(value) < 0.001 else f"{value:.4f}"
