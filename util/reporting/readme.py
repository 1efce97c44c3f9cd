"""``make results``: small records copied to the folders, ``published.csv``, and the marked tables of the READMEs.

A marker names a folder, a record and a table of it: ``main`` for the csv of the record's own name, otherwise the
further table of that name:

    <!-- results: Figure_3_Contrastive_Learning/loss_landscape minima -->
    ... generated ...
    <!-- end of results -->

``summary/all overview`` counts the published numbers of each figure or table by verdict. ``util/data/small_clip_record
figures`` is what the small CLIP reaches.
"""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from .. import records
from ..errors import UserError
from ..files import replacing
from . import comparisons
from .paper_steps import FOLDERS, differences
from .report import find_records

SHOWN, SHOWN_KEYS = ("1/100", "1/50", "1"), ("1/100", "1/50", "1/1")
"""Temperatures of the small CLIP's table, and what its record calls them."""

PUBLISHED = "published.csv"
SUFFIXES = (".png", ".html")
"""Pictures and tables to read that are committed."""

MARKED = re.compile(r"(<!-- results: (\S+)/(\w+) (\w+) -->\n).*?(<!-- end of results -->)", re.DOTALL)


def publish_results(outputs: Path, root: Path = records.REPOSITORY) -> list[str]:
    """Copies records from ``outputs`` into the folders' ``results/`` and regenerates the README tables.

    Returns:
        one line for each record and README.
    """
    found = find_records(outputs, (*FOLDERS, "benchmarks"))
    if not found:
        raise UserError(f"{outputs}: no records; run make figures first")
    if smoke := [record.name for _, record in found if record.about["settings"]["preset"] == "smoke"]:
        raise UserError(f"{outputs}: {', '.join(smoke)} ran with the smoke preset; run make figures first")
    if own := [record.name for _, record in found if comparisons.is_own(record)]:
        raise UserError(f"{outputs}: {', '.join(own)} ran on data of your own; run make figures first")
    lines = []
    for folder, record in found:
        _check_settings(record, Path(root) / folder / "results" / f"{record.name}.json")
    for folder, record in found:
        lines.append(f"{folder}/results: {', '.join(_copy(record, Path(root) / folder / 'results'))}")
    lines += [f"{path.relative_to(root)}: every published number" for path in write_published(root)]
    return lines + [f"{path.relative_to(root)}: tables regenerated" for path in regenerate(root)]


def _copy(record: records.Record, target: Path) -> list[str]:
    """Copies the files that a record names, pictures but not their pdf files; returns their names."""
    target.mkdir(parents=True, exist_ok=True)
    drawn = [f"{stem}{suffix}" for stem in record.about["captions"] for suffix in SUFFIXES]
    drawn = [file for file in drawn if (record.folder / file).is_file()]
    files = [f"{record.name}.json", *record.about["tables"], *drawn]
    for file in files:
        shutil.copyfile(record.folder / file, target / file)
    longer = tuple(path.stem for path in target.glob(f"{record.name}_*.json"))  # records of their own
    for path in target.glob(f"{record.name}[._]*"):  # what the record no longer names
        if path.name not in files and not (longer and path.stem.startswith(longer)):
            path.unlink()
    return files


def committed_numbers(root: Path = records.REPOSITORY) -> pd.DataFrame:
    """Every published number beside the committed records."""
    return comparisons.collect(find_records(root, [f"{folder}/results" for folder in FOLDERS]))


def write_published(root: Path = records.REPOSITORY) -> list[Path]:
    """Writes ``<Folder>/results/published.csv`` from the committed records."""
    table, written = committed_numbers(root), []
    for folder in FOLDERS:
        if (Path(root) / folder).is_dir():
            with replacing(Path(root) / folder / "results" / PUBLISHED) as part:
                comparisons.of_folder(table, folder).to_csv(part, index=False, float_format="%.9g")
            written.append(Path(root) / folder / "results" / PUBLISHED)
    return written


def _check_settings(record: records.Record, committed: Path) -> None:
    """Refuses a record of other settings than the committed one, such as the short run of ``make figures``."""
    if not committed.is_file():
        return
    before, now = (about["settings"] for about in (json.loads(committed.read_text()), record.about))
    free = {"output", "coco", "data", "device"}
    shared = [name for name in before if name in now and name not in free]
    other = differences({name: before[name] for name in shared}, {name: now[name] for name in shared})
    more = len(record.about["left_out"]) - len(json.loads(committed.read_text())["left_out"])
    if more > 0:
        raise UserError(f"{record.folder}: {record.name} left out more than {committed}; bring its data, run it again")
    if other:
        raise UserError(
            f"{record.folder}: {record.name} ran with other settings than {committed} ({', '.join(other)}); run it "
            "with those, or remove that file if the change is meant"
        )


def readmes(root: Path = records.REPOSITORY) -> list[Path]:
    """The project's README files, the small CLIP's model card among them."""
    places = (".", *FOLDERS, "util/data", "benchmarks")
    return [path for place in places if (path := Path(root) / place / "README.md").is_file()]


def regenerate(root: Path = records.REPOSITORY) -> list[Path]:
    """Rewrites every marked table; returns the README files that hold any."""
    changed = []
    for path in readmes(root):
        text = path.read_text()
        if MARKED.search(text):
            with replacing(path) as part:
                part.write_text(with_tables(text, root))
            changed.append(path)
    return changed


def with_tables(text: str, root: Path = records.REPOSITORY) -> str:
    """``text`` with every marked table regenerated from the committed records under ``root``."""

    def table(match: re.Match) -> str:
        if match[2] == "util/data":
            training = json.loads((Path(root) / match[2] / f"{match[3]}.json").read_text())
            return f"{match[1]}{_small_clip(training)}\n{match[5]}"
        if match[2] == "summary":
            return f"{match[1]}{_summary(root, match[4])}\n{match[5]}"
        record = records.load(Path(root) / match[2] / "results", match[3])
        return f"{match[1]}{_rows(record, match[4])}\n{match[5]}"

    return MARKED.sub(table, text)


def _summary(root: Path, what: str) -> str:
    """Counts of the published numbers by figure, each with a link to its csv."""
    if what != "overview":
        raise UserError(f"README: summary/all has no table {what!r}; it has overview")
    table = comparisons.overview(committed_numbers(root))
    columns = {
        "figure": "Paper", "yes": "Agree", "no": "Differ", "paper is wrong": "Paper is wrong", "shown": "Shown",
        "not shown": "Not shown", "not run": "Need `--preset paper`",
    }  # fmt: skip
    links = [f"[{PUBLISHED}]({folder}/results/{PUBLISHED})" for folder in table["folder"]]
    return _markdown(table[list(columns)].rename(columns=columns).assign(**{"Every number": links}))


def _rows(record: records.Record, what: str) -> str:
    what = "" if what == "main" else what
    if what not in record.tables:
        raise UserError(
            f"README: {record.name} has no table {what!r}; it has {', '.join(t for t in record.tables if t)}"
        )
    return _markdown(record.tables[what])


def _small_clip(record: Mapping) -> str:
    """What the record of the small CLIP's training says it reaches."""
    figures, tasks = record["figures"], record["figures"]["tasks"]
    lowest = figures["landscape"]["lowest_loss_at"]
    rows = [
        ("gap distance, unseen scenes", figures["landscape"]["gap_distance"]),
        *(
            (f"signed gap at the lowest loss, temperature {t}", lowest[k])
            for t, k in zip(SHOWN, SHOWN_KEYS, strict=True)
        ),
        ("image-to-text recall@1 among 500 different full descriptions", figures["retrieval"]["image_recall_at_1"]),
        *(
            (f"zero-shot accuracy, {name.replace('_', ' ')} (chance {task['chance']:.3g})", task["accuracy"])
            for name, task in tasks.items()
        ),
        ("training, seconds", f"{record['seconds']:.0f}"),
    ]
    return _markdown(pd.DataFrame(rows, columns=["On data never trained on", "Measured"]))


def _markdown(table: pd.DataFrame) -> str:
    rows = [[str(column) for column in table.columns], ["---"] * table.shape[1]]
    for row in table.itertuples(index=False):  # a bar would end the cell
        rows.append([comparisons.number(value).replace("|", r"\|") for value in row])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
