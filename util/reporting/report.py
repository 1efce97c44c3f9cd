"""``report.html``: one self-contained page with every picture, its numbers and how each was made."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .. import records
from ..errors import UserError
from ..files import replacing
from . import comparisons as summary
from . import state

FOLDERS = (
    "Figure_1_Modality_Gap",
    "Figure_2_Cone_Effect",
    "Figure_3_Contrastive_Learning",
    "Table_1_Implications_CLIP_Zero_Shot",
    "Table_2_Implications_CLIP_Fairness",
)
"""The paper's figures and tables, in its order."""


def find_records(
    outputs: Path, folders: Sequence[str] = FOLDERS, damaged: dict[str, str] | None = None
) -> list[tuple[str, records.Record]]:
    """Every record under ``outputs``, as (folder name, record), in the order of ``folders``.

    Args:
        damaged: where it is given, a damaged record is left out, and its name and what is wrong are added to it.

    Raises:
        UserError: a damaged record, where ``damaged`` is None.
    """
    found = []
    for folder in folders:
        for path in sorted((Path(outputs) / folder).glob("*.json")):
            try:
                if records.is_record(path):
                    found.append((folder, records.load(path.parent, path.stem)))
            except UserError as error:
                if damaged is None:
                    raise
                damaged[path.stem] = str(error)
    return found


def published_numbers(
    outputs: Path, folders: Sequence[str] = FOLDERS, damaged: dict[str, str] | None = None
) -> pd.DataFrame:
    """Every published number beside what the records under ``outputs`` say, as ``comparisons.collect`` gives it.

    Args:
        damaged: as for ``find_records``; numbers of a record that is left out are not run, for that reason.
    """
    found = find_records(outputs, folders, damaged)
    return summary.collect(found, {**(damaged or {}), **state.reasons(outputs)})


def write(outputs: Path, damaged: dict[str, str] | None = None) -> Path:
    """Builds ``outputs/report.html`` from the records there.

    Args:
        damaged: as for ``find_records``; a record that is left out has no section.

    Raises:
        UserError: no record under ``outputs``, or a damaged one where ``damaged`` is None.
    """
    found = find_records(outputs, damaged=damaged)
    if not found:
        raise UserError(f"{outputs}: no records to report; run make figures, or a script, first")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).resolve().parent.parent / "data"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters.update(number=summary.number)
    parts = [{"folder": folder, "about": record.about, "figures": _figures(record)} for folder, record in found]
    table = published_numbers(outputs, damaged=damaged)
    page = environment.get_template("report.html.j2").render(
        parts=parts, commit=records.commit(), numbers=summary.shown(table), overview=summary.overview(table)
    )
    path = Path(outputs) / "report.html"
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _figures(record: records.Record) -> list[Mapping]:
    """The pictures of a record, in the page itself, with their captions."""
    return [
        {"caption": caption, "data": base64.b64encode((record.folder / f"{stem}.png").read_bytes()).decode()}
        for stem, caption in record.about["captions"].items()
        if (record.folder / f"{stem}.png").is_file()
    ]
