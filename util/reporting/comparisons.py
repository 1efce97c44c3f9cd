"""One table of every published number: published, ours, the interval, whether they agree, and if not why.

The numbers are those of ``paper.json`` and whatever else the records compare with what the paper claims. Ours come
from the records that are there; a number that none of them measures stands in the table as not run or not measured,
with the reason. ``make paper``, the report and the README show the same table.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from .. import records
from . import intervals, numbers, readings

COLUMNS = (
    "panel", "quantity", "published", "ours", "low", "high", "measured_on", "agrees", "why", "script", "preset",
)  # fmt: skip
AGREES, DIFFERS, NOT_COMPARABLE, NOT_MEASURED, NOT_RUN = "yes", "no", "not comparable", "not measured", "not run"
STATES = (AGREES, DIFFERS, NOT_COMPARABLE, NOT_MEASURED, NOT_RUN)
"""What the column agrees says. Not comparable: another model, other data; not measured: the script's record is there
and lacks the number; not run: there is no record."""
NOTHING = ("", "-")
"""What stands for "nothing is published", beside None, or for "nothing was measured" in a comparison."""


def collect(found: Iterable[tuple[str, records.Record]], reasons: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The table, in the paper's order.

    Args:
        found: (folder, record) as ``report.find_records`` gives them; records of other scripts add nothing.
        reasons: script -> why it did not finish, for those whose record is not there.

    Returns:
        a row for each number and each data set that it was measured on, with the columns ``COLUMNS``; then the claims
        in words that are not in paper.json.
    """
    kept = {record.name: record for _, record in found}
    also = {name: [records.plain(part) for part in readings.further(record)] for name, record in kept.items()}
    rows, used = [], set()
    for number in numbers.all_numbers():
        record = kept.get(number.step)
        measured = _measured(number, record, also[number.step], used) if record else []
        rows += [_row(part, record) for part in measured] or [_missing(number, record, (reasons or {}))]
    for record in kept.values():
        for k, part in enumerate(record.about["comparisons"]):
            nothing = part["published"] is None or part["published"] in NOTHING or part["on"] in NOTHING
            if (record.name, k) not in used and not nothing:
                rows.append(_row(part, record))
    return _in_order(pd.DataFrame(rows, columns=list(COLUMNS)))


def _measured(number: numbers.Number, record: records.Record, also: Sequence[Mapping], used: set) -> list[Mapping]:
    """The comparisons of a record that are of this number; else what its tables say, ``also``."""
    own = [(k, part) for k, part in enumerate(record.about["comparisons"]) if _is(number, part)]
    used |= {(record.name, k) for k, _ in own}
    if own:
        return [part for _, part in own]
    return [part for part in also if _is(number, part)]


def _is(number: numbers.Number, part: Mapping) -> bool:
    """Whether a comparison is of a number: its quantity, perhaps with more words after a comma, and its value."""
    quantity = part["quantity"]
    if part["panel"] != number.panel or not (quantity == number.quantity or quantity.startswith(f"{number.quantity},")):
        return False
    if isinstance(number.value, str) or not isinstance(part["published"], int | float):
        return str(number.value) == str(part["published"])
    return math.isclose(number.value, part["published"], rel_tol=1e-9)


def _row(part: Mapping, record: records.Record) -> dict:
    agrees = {True: AGREES, False: DIFFERS, None: NOT_COMPARABLE}[part["agrees"]]
    low, high = intervals.of(record, part)
    return {
        "panel": part["panel"],
        "quantity": part["quantity"],
        "published": part["published"],
        "ours": part["ours"],
        "low": low,
        "high": high,
        "measured_on": part["on"],
        "agrees": agrees,
        "why": part["note"],
        "script": record.name,
        "preset": record.about["settings"]["preset"],
    }


def _missing(number: numbers.Number, record: records.Record | None, reasons: Mapping[str, str]) -> dict:
    if record is None:
        state, preset = NOT_RUN, None
        why = reasons.get(number.step, f"no record of {number.step}.py here")
    else:
        state, preset = NOT_MEASURED, record.about["settings"]["preset"]
        why = _why(number, record)
    row = dict.fromkeys(COLUMNS)
    about = {"panel": number.panel, "quantity": number.quantity, "published": number.value, "measured_on": ""}
    return {**row, **about, "agrees": state, "why": why, "script": number.step, "preset": preset}


def _why(number: numbers.Number, record: records.Record) -> str:
    """What the record left out, where that names what the number is of; else that the preset measures other things."""
    parts = [part.strip() for part in number.quantity.split(",")]
    subject = [part for part in parts if part != part.lower()]  # names: of a network, of a data set, of a race
    lines = [line for line in record.about["left_out"] if any(part in line for part in subject)]
    preset = record.about["settings"]["preset"]
    if lines or preset == "paper":
        return "; ".join(lines or record.about["left_out"]) or "the record lacks it"
    return f"the {preset} preset measures other things in its place; the paper preset is of this"


def _in_order(table: pd.DataFrame) -> pd.DataFrame:
    """The scripts in the order of the paper, the numbers of each before its claims in words."""
    from .paper_steps import STEPS

    order = {step.name: place for place, step in enumerate(STEPS)}
    places = table["script"].map(order).fillna(len(order))
    return table.loc[places.sort_values(kind="stable").index].reset_index(drop=True)


def overview(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each panel: how many numbers agree, differ, are not comparable, not measured, not run."""
    counts = table.groupby("panel", sort=False)["agrees"].value_counts().unstack(fill_value=0)
    counts = counts.reindex(columns=list(STATES), fill_value=0)
    panels = list(dict.fromkeys(table["panel"]))
    return counts.loc[panels].reset_index().rename_axis(columns=None).rename(columns={"panel": "Panel"})


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The table in words, for a README or a page: values to four decimals, intervals as "low to high"."""
    return pd.DataFrame(
        {
            "Panel": table["panel"],
            "Quantity": table["quantity"],
            "Published": [number(value) for value in table["published"]],
            "Here": [number(value) for value in table["ours"]],
            "Interval": [interval(low, high) for low, high in zip(table["low"], table["high"], strict=True)],
            "Measured on": table["measured_on"],
            "Agrees": table["agrees"],
            "Note, or why not": table["why"],
        }
    )


def number(value) -> str:
    """A value for a table: four decimals for a float, fewer than three of them zeros; a dash for nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.2e}" if 0 < abs(value) < 0.001 else f"{value:.4f}"


def interval(low: float | None, high: float | None) -> str:
    """Both ends of an interval, or a dash."""
    return "-" if pd.isna(low) or pd.isna(high) else f"{number(float(low))} to {number(float(high))}"


def lines(table: pd.DataFrame) -> Sequence[str]:
    """The table for a terminal: a line for each number, and a last one that counts them."""
    told = []
    for row in shown(table).itertuples(index=False):
        panel, quantity, theirs, ours, span, on, agrees, why = row
        where = f" on {on}" if on else ""
        told.append(
            f"[{agrees}] {panel}: {quantity}: published {theirs}, here {ours} ({span}){where}; {why}".strip("; ")
        )
    counts = table["agrees"].value_counts()
    told.append(", ".join(f"{counts.get(state, 0)} {state}" for state in STATES) + f", of {len(table)} rows")
    return told
