"""Published numbers joined by key with what the records measured: report.html, published.csv and README tables."""

import base64
import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .. import UserError, published, records
from ..files import PACKAGE, REPOSITORY, replacing
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
PLACES = (*FOLDERS, "own/*", ".", "*")
"""Folders of records: the paper's, those of your own data, the folder of all results itself, and any other in it."""
PUBLISHED = "published.csv"
MARKED = re.compile(r"(<!-- results: (\S+)/(\w+) (\w+) -->\n).*?(<!-- end of results -->)", re.DOTALL)
NO_RESULTS = {
    "ran with the smoke preset": lambda about: about["settings"]["preset"] == "smoke",
    "ran on data of your own": lambda about: about.get("own_data"),
    "ran on code that is not committed (commit it)": lambda about: about["commit"]["clean"] is False,
}


def find_records(
    outputs: Path, places: Sequence[str] = PLACES, damaged: dict[str, str] | None = None
) -> list[tuple[str, Record]]:
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
    only where it was measured. A script's record in the paper's folder goes first. ``reasons``: why some failed.
    """
    papers = (record for folder, record in sorted(found, key=lambda each: each[0] in FOLDERS) if not is_own(record))
    known = {record.name: record for record in papers}
    numbers = published.numbers().values()
    stated = pd.DataFrame([{**asdict(each), "rule": each.judged_by.said} for each in numbers])
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
        other = not row.own and row.agrees is None
        return "; ".join(filter(None, [other and "measured on another model or data: not comparable", row.note]))
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
    """Verdict on one comparison of a record, as CONTRIBUTING.md names them ("Verdicts")."""
    if part["agrees"] is None:
        return "not run"
    known = published.numbers().get(part["key"])
    if not part["agrees"] and known and known.judged_by.derivation:
        return "paper is wrong"
    yes, no = ("yes", "no") if part.get("own") else ("shown", "not shown")
    return yes if part["agrees"] else no


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


def write_report(outputs: Path, damaged: dict[str, str] | None = None) -> Path:
    """Builds ``outputs/report.html`` from the records there: the paper's folders, then those of your own data."""
    found, path = find_records(outputs, damaged=damaged), Path(outputs) / "report.html"
    if not found:
        raise UserError(f"{outputs}: no records to report; run make figures, or a script, first")
    table, loader = collect(found, damaged), FileSystemLoader(PACKAGE / "data")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["number"] = number
    environment.filters["base64"] = lambda path: base64.b64encode(path.read_bytes()).decode()
    sections = [
        {
            "folder": folder,
            "id": f"{folder}-{record.name}".replace("/", "-"),
            "about": record.about,
            "own": is_own(record),
            "rows": beside(record).rename(columns={"ours": "here", "on": "measured_on"}).to_dict("records"),
            "live": "" if is_own(record) else _live(record.name),
            "pictures": {path: words for path, words in pictures(record).items() if not path.stem.endswith("_strip")},
        }  # a strip repeats some panels, for the README
        for folder, record in found
    ]
    page = environment.get_template("report.html.j2").render(
        parts=sections,
        counted=COUNTED,
        numbers=table.to_dict("records"),
        overview=overview(table).to_dict("records"),
        papers=not all(part["own"] for part in sections),
    )
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _live(script: str) -> str:
    """What can be dragged beside the pictures of a script, in a frame: of Figure 3 the gap, and the sphere of (e)."""
    from .. import explorer

    if script == "simulation":
        return explorer.Page(explorer.render({"sphere": {"pairs": 6, "spacing": 20}}), 640)._repr_html_()
    if script != "loss_landscape":
        return ""
    try:
        found = {"CLIP ViT-B/16, 500 MSCOCO pairs": published.load("clip")}
    except UserError:
        from ..corpora.generated.pictures import captioned_scenes
        from ..encoders import small_clip
        from ..extraction import extract

        found = {"small CLIP, 500 generated scenes": extract(small_clip.load(), captioned_scenes(500, 0), cache=False)}
    return explorer.report(found, umap=False)._repr_html_()


def pictures(record: Record) -> dict[Path, str]:
    """Pictures of a record, and tables to read, which are fragments of HTML, with their captions."""
    captions = record.about["captions"].items()
    named = {record.folder / f"{stem}{end}": caption for stem, caption in captions for end in (".png", ".html")}
    return {path: caption for path, caption in named.items() if path.is_file()}


def publish_results(outputs: Path, root: Path = REPOSITORY) -> list[str]:
    """Copies records into the folders' ``results/``, regenerates the README tables, and says a line for each."""
    there = find_records(outputs, (*FOLDERS, "benchmarks"))
    found = [(record, Path(root) / folder / "results") for folder, record in there]
    if not found:
        raise UserError(f"{outputs}: no records; run make figures first")
    for why, refused in NO_RESULTS.items():
        if names := [record.name for record, _ in found if refused(record.about)]:
            raise UserError(f"{outputs}: {', '.join(names)} {why}; run make figures first")
    for record, target in found:
        if not (committed := target / f"{record.name}.json").is_file():
            continue
        before, now = json.loads(committed.read_text()), record.about
        if len(now["left_out"]) > len(before["left_out"]):
            told = f"{record.name} left out more than {committed}; bring its data, run it again"
            raise UserError(f"{record.folder}: {told}")
        shared = before["settings"].keys() & now["settings"].keys() - {"output", "coco", "data", "device"}
        old, new = ({name: about["settings"][name] for name in sorted(shared)} for about in (before, now))
        if other := records.differences(old, new):  # such as the short run of ``make figures``
            told = f"{record.name} ran with other settings than {committed} ({', '.join(other)})"
            raise UserError(f"{record.folder}: {told}; run it with those, or remove that file if the change is meant")
    lines = []
    for record, target in found:
        target.mkdir(parents=True, exist_ok=True)
        files = [f"{record.name}.json", *record.about["tables"], *(path.name for path in pictures(record))]  # no pdf
        for file in files:
            shutil.copyfile(record.folder / file, target / file)
        for path in set(target.glob(f"{record.name}[._]*")) - {target / file for file in files}:
            path.unlink()  # no longer named by the record
        lines.append(f"{target.relative_to(root)}: {', '.join(files)}")
    lines += [f"{path.relative_to(root)}: every published number" for path in write_published(root)]
    for path in (path for path in readmes(root) if MARKED.search(path.read_text())):
        with replacing(path) as part:
            part.write_text(with_tables(path.read_text(), root))
        lines.append(f"{path.relative_to(root)}: tables regenerated")
    return lines


def committed_numbers(root: Path = REPOSITORY) -> pd.DataFrame:
    """Every published number beside the committed records."""
    return collect(find_records(root, [f"{folder}/results" for folder in FOLDERS]))


def write_published(root: Path = REPOSITORY) -> list[Path]:
    """Writes ``<Folder>/results/published.csv`` from the committed records."""
    table, paths = committed_numbers(root), []
    for folder, rows in table.groupby(folders(table)):
        if (Path(root) / folder).is_dir():
            paths.append(Path(root) / folder / "results" / PUBLISHED)
            with replacing(paths[-1]) as part:
                rows.to_csv(part, index=False, float_format="%.9g")
    return paths


def readmes(root: Path = REPOSITORY) -> list[Path]:
    """The project's README files, the small CLIP's model card among them."""
    places = (".", *FOLDERS, "util/data", "benchmarks")
    return [path for place in places if (path := Path(root) / place / "README.md").is_file()]


def with_tables(text: str, root: Path = REPOSITORY) -> str:
    """``text`` with every marked table regenerated from the committed records under ``root``.

    ``<!-- results: FOLDER/RECORD TABLE -->`` begins one, ``<!-- end of results -->`` ends it. The table is ``main`` for
    the csv of the record's own name. ``summary/all overview`` counts the published numbers by verdict.
    """

    def table(match: re.Match) -> str:
        head, folder, name, what, end = match.groups()
        if folder == "summary":  # each with a link to its csv
            found = overview(committed_numbers(root))
            links = [f"[{PUBLISHED}]({folder}/results/{PUBLISHED})" for folder in found.pop("folder")]
            found = found.rename(columns={"figure": "paper"}).rename(columns=str.capitalize)
            return f"{head}{_markdown(found.assign(**{'Every number': links}))}\n{end}"
        tables = records.load(Path(root) / folder / "results", name).tables
        if (found := tables.get("" if what == "main" else what)) is None:
            raise UserError(f"README: {name} has no table {what!r}; it has {', '.join(filter(None, tables))}")
        return f"{head}{_markdown(found)}\n{end}"

    return MARKED.sub(table, text)


def _markdown(table: pd.DataFrame) -> str:
    rows = [[str(column) for column in table.columns], ["---"] * table.shape[1]]
    for row in table.itertuples(index=False):  # a bar would end the cell
        rows.append([number(value).replace("|", r"\|") for value in row])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
