"""``report.html``: one self-contained page with every picture, its numbers and how each was made."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .. import records
from ..errors import UserError
from ..files import replacing
from . import comparisons
from .steps import FOLDERS

STRIP = "_strip"
"""End of the name of a picture that shows some panels of another for the README."""
OWN = "own"
"""Folder of results on your own data, one folder each inside."""


def find_records(
    outputs: Path, folders: Sequence[str] | None = None, damaged: dict[str, str] | None = None
) -> list[tuple[str, records.Record]]:
    """Every record under ``outputs``, as (folder name, record), in the order of ``folders``.

    These are by default the paper's, those of your own data, ``outputs`` itself and whatever folder in it. With
    ``damaged``, a damaged record is left out, and its name and what is wrong are added there.
    """
    found, known = [], FOLDERS if folders is None else folders
    for folder in further(outputs) if folders is None else folders:
        for path in sorted((Path(outputs) / folder).glob("*.json")):
            if folder not in known and '"comparisons"' not in path.read_text("utf-8", "replace"):
                continue  # somebody's own file, or no record of a run
            try:
                found.append((folder, records.load(path.parent, path.stem)))
            except UserError as error:
                if damaged is None:
                    raise
                damaged[path.stem] = str(error)
    return found


def further(outputs: Path) -> list[str]:
    """Names of the folders that may hold records: the paper's, those of your own data, and all others."""
    outputs = Path(outputs)
    others = [*sorted(outputs.glob(f"{OWN}/*/")), outputs, *sorted(outputs.glob("*/"))]
    return [*dict.fromkeys([*FOLDERS, *(path.relative_to(outputs).as_posix() for path in others)])]


def write(outputs: Path, damaged: dict[str, str] | None = None) -> Path:
    """Builds ``outputs/report.html`` from the records there: the paper's folders, then those of your own data."""
    outputs = Path(outputs)
    found = find_records(outputs, damaged=damaged)
    if not found:
        raise UserError(f"{outputs}: no records to report; run make figures, or a script, first")
    papers = [(folder, record) for folder, record in found if not comparisons.is_own(record)]
    table = comparisons.collect(sorted(papers, key=lambda each: each[0] in FOLDERS), damaged)
    page = _template().render(
        parts=[_part(folder, record) for folder, record in found],
        commit=records.commit(),
        numbers=table.to_dict("records"),
        overview=comparisons.overview(table).to_dict("records"),
        papers=bool(papers),
    )
    path = outputs / "report.html"
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _template():
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).resolve().parent.parent / "data"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters.update(number=comparisons.number)
    return environment.get_template("report.html.j2")


def _part(folder: str, record: records.Record) -> Mapping:
    """One section of the page."""
    rows = [{**row, "verdict": comparisons.verdict(row)} for row in record.about["comparisons"] if row.get("key")]
    return {
        "folder": folder,
        "id": f"{folder}-{record.name}".replace("/", "-"),
        "about": record.about,
        "own": comparisons.is_own(record),
        "rows": rows,
        "figures": _figures(record),
    }


def _figures(record: records.Record) -> list[Mapping]:
    """Pictures and tables of a record with their captions; a table is a fragment of HTML that pandas wrote."""
    found = []
    for stem, caption in record.about["captions"].items():
        if stem.endswith(STRIP):
            continue
        picture, fragment = (record.folder / f"{stem}{suffix}" for suffix in (".png", ".html"))
        if fragment.is_file():
            found.append({"caption": caption, "fragment": fragment.read_text(encoding="utf-8")})
        elif picture.is_file():
            found.append({"caption": caption, "picture": base64.b64encode(picture.read_bytes()).decode()})
    return found
