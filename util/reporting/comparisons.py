"""Published numbers joined by key with what the records measured; the one table of report, README and results."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from .. import published
from ..records import Record
from .steps import FOLDERS, STEPS

COLUMNS = (
    "key", "panel", "quantity", "published", "here", "low", "high", "interval", "measured_on", "verdict", "note",
)  # fmt: skip
VERDICTS = ("no", "yes", "paper is wrong", "not shown", "shown", "not run")
"""One number measured on several data sets counts once, with the first of these that it got."""

AS_PRINTED = "table_2.as_the_paper_prints."
"""Statements of the paper's text that its own published counts decide."""
OTHER_DATA = "measured on another model or data: not comparable"
NEEDS_PAPER = "needs --preset paper"

OWN_DATA = (
    "embeddings", "image_data", "video_data", "medical_data", "protein_data", "audit", "labels", "corpus", "tasks_file",
)  # fmt: skip
"""Options that name your own data, about which the paper says nothing."""
CORPORA = ("scenes", "coco")
"""Values of an option in ``OWN_DATA`` that name a corpus of the project."""


def is_own(record: Record) -> bool:
    """Whether a record was made from your own data."""
    settings = record.about["settings"]
    names = OWN_DATA if settings["preset"] == "paper" else (*OWN_DATA, "data")  # there, a local copy of the paper's
    values = [settings.get(name) for name in names]
    return any(value and value not in CORPORA for value in values)


def collect(found: Iterable[tuple[str, Record]], reasons: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Table of every published number with the columns ``COLUMNS``, in the paper's order.

    Args:
        found: (folder, record) as ``report.find_records`` gives them.
        reasons: script -> why it did not finish.

    Returns:
        a row for each number and each data set that it was measured on.
    """
    known = {record.name: record for _, record in found if not is_own(record)}
    rows = []
    for number in published.numbers().values():
        if number.value is None:
            continue
        record = known.get(number.script)
        measured = [part for part in record.about["comparisons"] if part.get("key") == number.key] if record else []
        rows += [_measured(number, part) for part in measured]
        if not measured:
            rows.append(_row(number, verdict="not run", note=_why_not(number, record, reasons or {})))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def verdict(part: Mapping) -> str:
    """Verdict on one comparison of a record.

    "yes" and "no" need the paper's own model and data, or an experiment without data: comparisons with ``own``. A
    comparison that is judged on something else is "shown" or "not shown". One that is not judged is "not run": its
    value stands beside the published one, measured on another model or data. "paper is wrong" is said of a sentence
    that the authors' own published counts contradict.
    """
    if part["agrees"] is None:
        return "not run"
    if part["key"].startswith(AS_PRINTED) and not part["agrees"]:
        return "paper is wrong"
    if part.get("own"):
        return "yes" if part["agrees"] else "no"
    return "shown" if part["agrees"] else "not shown"


def _measured(number: published.Number, part: Mapping) -> dict[str, Any]:
    notes = [OTHER_DATA] if part["agrees"] is None and not part.get("own") else []
    notes += [part["note"]] if part["note"] else []
    return _row(
        number,
        here=part["ours"],
        low=part.get("low"),
        high=part.get("high"),
        interval="" if part.get("low") is None else "95%",
        measured_on=part["on"],
        verdict=verdict(part),
        note="; ".join(notes),
    )


def _why_not(number: published.Number, record: Record | None, reasons: Mapping[str, str]) -> str:
    if record is None:
        return reasons.get(number.script, f"no record of {number.script}.py here")
    if record.about["settings"]["preset"] != "paper":
        return NEEDS_PAPER
    return "; ".join(record.about["left_out"]) or "the record lacks it"


def _row(number: published.Number, **cells: object) -> dict[str, Any]:
    stated = {"key": number.key, "panel": number.panel, "quantity": number.quantity, "published": number.value}
    return {**dict.fromkeys(COLUMNS), "interval": "", "measured_on": "", **stated, **cells}


def of_folder(table: pd.DataFrame, folder: str) -> pd.DataFrame:
    """Rows whose script lies in one folder."""
    scripts = [step.name for step in STEPS if step.folder == folder]
    keys = [key for key, number in published.numbers().items() if number.script in scripts]
    return table[table["key"].isin(keys)]


def overview(table: pd.DataFrame) -> pd.DataFrame:
    """Counts of numbers by verdict, a row for each figure or table of the paper: folder, figure, and a column each."""
    order = {word: place for place, word in enumerate(VERDICTS)}
    rows = []
    for folder in FOLDERS:
        part = of_folder(table, folder)
        first = part["verdict"].map(order).groupby(part["key"]).min()
        counts = {word: int((first == place).sum()) for word, place in order.items()}
        rows.append({"folder": folder, "figure": " ".join(folder.split("_")[:2]), **counts})
    return pd.DataFrame(rows)


def number(value: object) -> str:
    """A value for a table: four decimals for a float, scientific below a thousandth, a dash for nothing."""
    if value is None or (isinstance(value, float) and value != value):
        return "-"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.2e}" if 0 < abs(value) < 0.001 else f"{value:.4f}"
