"""``make paper DRY=1``: what a run would need and how long it would take, without running it.

The exit code is 2 where the run would fail or leave something out: a resource that could not be resolved, a column
that is not there, too little disk, a command line that a script refuses. The tables say all of it before.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .. import cli
from ..errors import UserError
from ..files import CACHE_VARIABLE, cache_folder
from . import paper_estimate as estimate
from . import paper_needs as resources
from . import paper_steps as plan
from .paper_run import Options, prepare
from .resolve import Asker, Resolved, resolve


@dataclass(frozen=True)
class Place:
    """A folder that downloads go to.

    Attributes:
        name: what it is called.
        folder: where it is.
        needed: bytes that it would take, as far as is known.
        free: bytes that are free there.
        unknown: what else goes there, of a size that is not known.
    """

    name: str
    folder: Path
    needed: int
    free: int
    unknown: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        return self.needed <= self.free


def run(options: Options, asker: Asker | None = None, speed: estimate.Speed | None = None) -> None:
    """Prints steps, resources, disk space and hours.

    Args:
        options: as those of the run.
        asker: knows the servers; by default the usual ones.
        speed: of this machine; by default it is measured.

    Raises:
        UserError: something that would fail, after the tables.
    """
    asker = asker or Asker()
    ready = prepare(options)
    found = [resolve(resource, asker) for resource in resources.declared(ready)]
    places = disk(found, options.output)
    due = {each.step.name: "asked for" if options.again else plan.reason_to_run(each, options.output) for each in ready}
    tell("resources", described(found))
    for line in unresolved(found):
        cli.say(f"[paper] NOT RESOLVED: {line}")
    tell("disk", pd.DataFrame([_place(place) for place in places]))
    speed = speed or estimate.measure(options.device)
    hours = timed(ready, due, found, speed)
    tell("steps", hours.drop(columns="seconds"))
    cli.say(
        f"[paper] estimated: {estimate.in_words(hours['seconds'].sum())} on this machine's {speed.device}, from "
        f"{speed.images:.1f} images a second of CLIP ViT-B/32 and {speed.decoded:.0f} photographs decoded a second, "
        "both measured now; half or twice as long is within it"
    )
    wrong = problems(ready, found, places)
    if wrong:
        raise UserError(f"dry run: {len(wrong)} things would fail or be left out (see above): {'; '.join(wrong)}")
    cli.say("[paper] dry run: everything is there or can be fetched")


def problems(ready: Sequence[plan.Ready], found: Sequence[Resolved], places: Sequence[Place]) -> list[str]:
    """What would fail or be left out, one entry each."""
    wrong = [f"{each.step.shown} ({each.problem})" for each in ready if each.problem]
    wrong += [each.resource.name for each in found if each.problem]
    short = [place for place in places if not place.fits]
    return wrong + [f"{place.folder} needs {size(place.needed)} and has {size(place.free)} free" for place in short]


def unresolved(found: Sequence[Resolved]) -> list[str]:
    """A line for each thing that could not be resolved, those that lack the same thing for the same reason together:
    what it is, why not, which columns and licence, where to put a local copy."""
    groups: dict[str, list[str]] = {}
    for each in found:
        if each.problem:
            groups.setdefault(_help(each), []).append(each.resource.name)
    return [f"{', '.join(names)}: {told}" for told, names in groups.items()]


def described(found: Sequence[Resolved]) -> pd.DataFrame:
    """A row for each resource."""
    return pd.DataFrame(
        {
            "found": "NO" if each.problem else "yes",
            "kind": each.resource.kind,
            "id": each.resource.name,
            "revision": (each.revision or each.resource.revision or "-")[:10],
            "size": size(each.size) + (" (declared)" if each.total is None and each.size is not None else ""),
            "here": size(each.here),
            "columns": ", ".join(each.resource.columns) or "-",
            "files": " or ".join(", ".join(choice) for choice in each.resource.choices if choice) or "-",
            "steps": ", ".join(each.resource.steps),
            "licence": each.licence or each.resource.licence or "not said",
        }
        for each in found
    )


def disk(found: Sequence[Resolved], output: Path) -> list[Place]:
    """What is needed and free at each place that downloads go to.

    A data set takes its size twice: as parquet files in the hub's cache, and as the table that datasets makes of them
    in the project's own.
    """
    import torch
    from huggingface_hub import constants

    from .. import published

    def of(*kinds: str) -> list[Resolved]:
        return [each for each in found if each.resource.kind in kinds and not each.resource.problem]

    authors = {published.address(name) for name in published.files()}
    ours = [each for each in of("file") if each.resource.id in authors]
    others = [each for each in of("file") if each not in ours]
    tables = sum(each.size or 0 for each in of("dataset"))
    coming = {
        ("Hugging Face cache (HF_HOME)", constants.HF_HUB_CACHE): (of("dataset", "model"), 0),
        (f"project's cache ({CACHE_VARIABLE})", cache_folder()): (ours, tables),
        ("torch's cache (TORCH_HOME)", torch.hub.get_dir()): (others, 0),
        ("results", output): ([], 0),
    }
    return [
        Place(
            name,
            Path(at),
            made + sum(each.to_fetch for each in files),
            free(Path(at)),
            tuple(each.resource.name for each in (*files, *(of("dataset") if made else ())) if each.size is None),
        )
        for (name, at), (files, made) in coming.items()
    ]


def free(folder: Path) -> int:
    """Bytes that are free where a folder is or would be."""
    there = next(parent for parent in (folder.resolve(), *folder.resolve().parents) if parent.exists())
    return shutil.disk_usage(there).free


def timed(
    ready: Sequence[plan.Ready], due: Mapping[str, str], found: Sequence[Resolved], speed: estimate.Speed
) -> pd.DataFrame:
    """A row for each step: why it would run, and how long; 0 seconds for a record that is kept."""
    counts = {each.resource.id: each.rows for each in found}
    rows = []
    for each in ready:
        reason, work = due[each.step.name], estimate.work(each, counts)
        amount = estimate.seconds(work, speed, each) if reason else 0.0
        about = f"{work.operations / 1e15:.3g}" if work.operations else "-"
        rows.append(
            {
                "step": each.step.shown,
                "runs because": reason or "its record is kept",
                "10^15 operations": about,
                "photographs": f"{work.pictures:,.0f}" if work.pictures else "-",
                "estimated": estimate.in_words(amount) if reason else "-",
                "not counted": "; ".join(work.unknown) or "-",
                "seconds": amount,
            }
        )
    return pd.DataFrame(rows)


def size(amount: int | None) -> str:
    """Bytes in words."""
    if amount is None:
        return "unknown"
    for unit, each in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if amount >= each:
            return f"{amount / each:.1f} {unit}"
    return f"{amount} B"


def _place(place: Place) -> dict:
    """A row of the table; what is not known does not count as fitting."""
    needed, fits = size(place.needed), "yes" if place.fits else "NO"
    if place.unknown:
        needed = f"{needed} and {', '.join(place.unknown)} of unknown size"
        fits = "unknown" if place.fits else fits
    return {"place": place.name, "folder": place.folder, "needed": needed, "free": size(place.free), "fits": fits}


def _help(each: Resolved) -> str:
    resource = each.resource
    revision = f"revision {resource.revision}" if resource.revision else ""
    wanted = f"columns {', '.join(resource.columns)}" if resource.columns else ""
    licence = f"licence {each.licence or resource.licence}" if each.licence or resource.licence else ""
    origin = f"from {resource.id.rpartition('/')[0]}/" if resource.kind == "file" else ""
    place = f"a local copy goes to {resource.place}" if resource.place else ""
    parts = (each.problem, revision, wanted, licence, origin, place, f"used by {', '.join(resource.steps)}")
    return "; ".join(part for part in parts if part)


def tell(name: str, table: pd.DataFrame) -> None:
    """Prints a table, its columns as wide as what is in them."""
    cli.say(f"[paper] {name}{'' if len(table) else ': none'}")
    rows = [list(table.columns), *table.astype(str).to_numpy().tolist()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if len(table) else ():
        cli.say("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip())
