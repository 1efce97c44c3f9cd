"""``make results``: small records copied to the folders, ``published.csv``, and the marked tables of the READMEs.

A marker names a folder, a record and a table of it: ``main`` for the csv of the record's own name, otherwise the
further table of that name:

    <!-- results: Figure_3_Contrastive_Learning/loss_landscape minima -->
    ... generated ...
    <!-- end of results -->

``summary/all overview`` counts the published numbers of each figure or table by verdict.
"""

import json
import re
import shutil
from pathlib import Path

import pandas as pd

from .. import records
from ..errors import UserError
from ..files import replacing
from . import comparisons
from .report import find_records, pictures
from .steps import FOLDERS

PUBLISHED = "published.csv"
MARKED = re.compile(r"(<!-- results: (\S+)/(\w+) (\w+) -->\n).*?(<!-- end of results -->)", re.DOTALL)
REFUSED = {
    "ran with the smoke preset": lambda about: about["settings"]["preset"] == "smoke",
    "ran on data of your own": lambda about: about.get("own_data"),
    "ran on code that is not committed (commit it)": lambda about: about["commit"]["clean"] is False,
}
"""Records that are no results."""


def publish_results(outputs: Path, root: Path = records.REPOSITORY) -> list[str]:
    """Copies records into the folders' ``results/``, regenerates the README tables, and says a line for each."""
    there = find_records(outputs, (*FOLDERS, "benchmarks"))
    found = [(record, Path(root) / folder / "results") for folder, record in there]
    if not found:
        raise UserError(f"{outputs}: no records; run make figures first")
    for why, refused in REFUSED.items():
        if names := [record.name for record, _ in found if refused(record.about)]:
            raise UserError(f"{outputs}: {', '.join(names)} {why}; run make figures first")
    for record, target in found:
        _check_settings(record, target / f"{record.name}.json")
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


def _check_settings(record: records.Record, committed: Path) -> None:
    """Refuses a record of other settings than the committed one, such as the short run of ``make figures``."""
    if not committed.is_file():
        return
    before, now = json.loads(committed.read_text()), record.about
    if len(now["left_out"]) > len(before["left_out"]):
        raise UserError(f"{record.folder}: {record.name} left out more than {committed}; bring its data, run it again")
    shared = before["settings"].keys() & now["settings"].keys() - {"output", "coco", "data", "device"}
    old, new = ({name: about["settings"][name] for name in sorted(shared)} for about in (before, now))
    if other := records.differences(old, new):
        told = f"{record.name} ran with other settings than {committed} ({', '.join(other)})"
        raise UserError(f"{record.folder}: {told}; run it with those, or remove that file if the change is meant")


def committed_numbers(root: Path = records.REPOSITORY) -> pd.DataFrame:
    """Every published number beside the committed records."""
    return comparisons.collect(find_records(root, [f"{folder}/results" for folder in FOLDERS]))


def write_published(root: Path = records.REPOSITORY) -> list[Path]:
    """Writes ``<Folder>/results/published.csv`` from the committed records."""
    table, paths = committed_numbers(root), []
    for folder, rows in table.groupby(comparisons.folders(table)):
        if (Path(root) / folder).is_dir():
            paths.append(Path(root) / folder / "results" / PUBLISHED)
            with replacing(paths[-1]) as part:
                rows.to_csv(part, index=False, float_format="%.9g")
    return paths


def readmes(root: Path = records.REPOSITORY) -> list[Path]:
    """The project's README files, the small CLIP's model card among them."""
    places = (".", *FOLDERS, "util/data", "benchmarks")
    return [path for place in places if (path := Path(root) / place / "README.md").is_file()]


def with_tables(text: str, root: Path = records.REPOSITORY) -> str:
    """``text`` with every marked table regenerated from the committed records under ``root``."""

    def table(match: re.Match) -> str:
        head, folder, name, what, end = match.groups()
        if folder == "summary":  # each with a link to its csv
            found = comparisons.overview(committed_numbers(root))
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
        rows.append([comparisons.number(value).replace("|", r"\|") for value in row])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
