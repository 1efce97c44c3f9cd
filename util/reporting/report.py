"""``report.html``: one self-contained page with every picture, its numbers and how each was made."""

import base64
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .. import explorer, published, records
from ..errors import UserError
from ..files import replacing
from . import comparisons
from .steps import FOLDERS

STRIP = "_strip"
"""End of the name of a picture that shows some panels of another for the README."""
PLACES = (*FOLDERS, "own/*", ".", "*")
"""Folders of records: the paper's, those of your own data, the folder of all results itself, and any other in it."""


def find_records(
    outputs: Path, places: Sequence[str] = PLACES, damaged: dict[str, str] | None = None
) -> list[tuple[str, records.Record]]:
    """Every record under ``outputs``, as (folder, record), in the order of the places, which are shell patterns.

    With ``damaged``, a damaged record is left out, and its name and what is wrong are added there.
    """
    found, outputs = [], Path(outputs)
    for path in dict.fromkeys(path for place in places for path in sorted(outputs.glob(f"{place}/*.json"))):
        folder = path.parent.relative_to(outputs).as_posix()
        if not folder.startswith(FOLDERS) and '"comparisons"' not in path.read_text("utf-8", "replace"):
            continue  # somebody's own file, or no record of a run
        try:
            found.append((folder, records.load(path.parent, path.stem)))
        except UserError as error:
            if damaged is None:
                raise
            damaged[path.stem] = str(error)
    return found


def write(outputs: Path, damaged: dict[str, str] | None = None) -> Path:
    """Builds ``outputs/report.html`` from the records there: the paper's folders, then those of your own data."""
    outputs = Path(outputs)
    found = find_records(outputs, damaged=damaged)
    if not found:
        raise UserError(f"{outputs}: no records to report; run make figures, or a script, first")
    papers = [(folder, record) for folder, record in found if not comparisons.is_own(record)]
    table = comparisons.collect(sorted(papers, key=lambda each: each[0] in FOLDERS), damaged)
    loader = FileSystemLoader(records.PACKAGE / "data")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["number"] = comparisons.number
    environment.filters["base64"] = lambda path: base64.b64encode(path.read_bytes()).decode()
    page = environment.get_template("report.html.j2").render(
        parts=[_part(folder, record) for folder, record in found],
        counted=comparisons.COUNTED,
        numbers=table.to_dict("records"),
        overview=comparisons.overview(table).to_dict("records"),
        papers=bool(papers),
    )
    path = outputs / "report.html"
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _part(folder: str, record: records.Record) -> dict:
    """One section of the page."""
    rows = comparisons.beside(record).rename(columns={"ours": "here", "on": "measured_on"})
    return {
        "folder": folder,
        "id": f"{folder}-{record.name}".replace("/", "-"),
        "about": record.about,
        "own": comparisons.is_own(record),
        "rows": rows.to_dict("records"),
        "live": "" if comparisons.is_own(record) else _live(record.name),
        "pictures": {path: caption for path, caption in pictures(record).items() if not path.stem.endswith(STRIP)},
    }


def _live(script: str) -> str:
    """What can be dragged beside the pictures of a script, in a frame: of Figure 3 the gap, and the sphere of (e)."""
    if script == "simulation":
        return explorer.Page(explorer.render({"sphere": {"pairs": 6, "spacing": 20}}), 640)._repr_html_()
    if script != "loss_landscape":
        return ""
    try:
        found = {"CLIP ViT-B/16, 500 MSCOCO pairs": published.load("clip")}
    except UserError:
        from ..corpora.generated.captioned_scenes import scenes
        from ..encoders import small_clip
        from ..extraction import extract

        found = {"small CLIP, 500 generated scenes": extract(small_clip.load(), scenes(500, 0), cache=False)}
    return explorer.report(found, umap=False)._repr_html_()


def pictures(record: records.Record) -> dict[Path, str]:
    """Pictures of a record, and tables to read, which are fragments of HTML, with their captions."""
    captions = record.about["captions"].items()
    named = {record.folder / f"{stem}{end}": caption for stem, caption in captions for end in (".png", ".html")}
    return {path: caption for path, caption in named.items() if path.is_file()}
