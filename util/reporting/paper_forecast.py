"""``make paper DRY=1``: what a run at the paper's settings lacks, how much disk and how long it takes.

Ids, revisions, columns and sizes come from the Hugging Face hub; without a network, from its cache on disk. The exit
code is 2 where the run would fail or leave something out.
"""

import os
import shutil
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from tqdm import tqdm

from .. import cli, published
from ..errors import UserError
from ..files import cache_folder, reachable
from . import paper_steps as plan
from .paper_needs import Need, needs
from .paper_run import Options, prepare
from .paper_steps import in_words

WIDTH = 96
TIMEOUT_SECONDS = 20.0
TRAINING = "training"

CORES = 2
SECONDS = {
    "modality_gap": (600, 90),
    "cosine_similarity": (24_000, 400),
    "depth": (20, 20),
    "initializations": (57_000, 700),
    "theorems": (20, 20),
    "loss_landscape": (1_000, 120),
    "simulation": (5, 5),
    TRAINING: (12_000_000, 96_000),
    "zero_shot": (38_000, 1_900),
    "denigration": (2_400, 400),
}
"""Seconds of each step at the paper's settings: on two CPU cores, and on one GPU.

The networks' passes are counted, not timed: two cores are taken at 80 GFLOP a second, a GPU at 10 TFLOP a second.
"""


@dataclass(frozen=True)
class Found:
    """What is known of a need: why it cannot be used ("" where it can), its revision, its bytes, and those here."""

    need: Need
    problem: str = ""
    revision: str = ""
    total: int | None = None
    here: int = 0

    @property
    def size(self) -> int:
        """Bytes of its files, as declared where nobody could be asked."""
        return int(1e6 * (self.need.megabytes or 0)) if self.total is None else self.total


def describe(options: Options) -> None:
    """Prints what is missing, disk space and hours in three lines, then the tables behind them."""
    ready = prepare(options)
    found = [look_up(need) for need in needs(ready)]
    due = {each.step.name: "asked for" if options.again else plan.reason_to_run(each, options.output) for each in ready}
    missing = [each for each in found if each.problem]
    refused = [each for each in ready if each.problem]
    needed, free = disk(found, options.output)
    cli.say(f"[paper] missing: {_counted(missing, found, refused)}")
    cli.say(f"[paper] disk: {size(needed)} needed, {size(free)} free")
    cli.say(f"[paper] time: {_hours([name for name, reason in due.items() if reason])}")
    tell([("found", "size", "here", "id")] + [_resource(each) for each in found])
    tell([("step", "2 cores", "GPU", "runs because")] + [_step(each, due[each.step.name]) for each in ready])
    for line in explained(missing):
        cli.say(textwrap.fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False))
    problems = [*(each.need.name for each in missing), *(each.step.name for each in refused)]
    problems += ["disk space"] * (needed > free)
    if problems:
        raise UserError(f"dry run: {len(problems)} things are missing or would fail: {', '.join(problems)}")
    cli.say("[paper] everything is there or can be fetched")


def look_up(need: Need) -> Found:
    """What is known of one need; whatever a server says or does not say becomes its problem."""
    try:
        return LOOK_UP.get(need.kind, _repository)(need)
    except Exception as error:  # the hub's client, requests and pyarrow raise errors of many kinds
        return Found(need, f"could not be asked for: {' '.join(str(error).split())[:200] or type(error).__name__}")


def _folder(need: Need) -> Found:
    folder = Path(need.id)
    absent = [part for part in need.choices[0] if next(folder.glob(part), None) is None]
    if absent:
        return Found(need, f"{'not in it' if folder.is_dir() else 'no such folder'}: {', '.join(absent)}")
    total = sum(path.stat().st_size for part in need.choices[0] for path in folder.glob(part))
    return Found(need, total=total, here=total)


def _file(need: Need) -> Found:
    """A file by its address: in its cache, or on a server that answers."""
    import torch

    known = published.files()
    if need.name in known:
        path, whole = cache_folder() / need.name, known[need.name] in published.available()
    else:
        path = Path(torch.hub.get_dir()) / "checkpoints" / need.name
        whole = path.is_file()
    if whole:
        return Found(need, total=path.stat().st_size, here=path.stat().st_size)
    host = urlsplit(need.id)
    answers = _answers(f"{host.scheme}://{host.netloc}/")
    return Found(need, "" if answers else f"no connection to {host.netloc}")


def _repository(need: Need) -> Found:
    """A repository of the hub: its files, sizes and columns."""
    from huggingface_hub import HfApi, constants, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError

    if constants.HF_HUB_OFFLINE or not _answers(constants.ENDPOINT):
        return _cached(need, "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "no connection to the hub")
    api = HfApi()
    about = api.repo_info(
        need.id, repo_type=need.kind, revision=need.revision, files_metadata=True, timeout=TIMEOUT_SECONDS
    )
    sizes = {file.rfilename: file.size or 0 for file in about.siblings or ()}
    wanted = _wanted(need, list(sizes))
    if not wanted:
        return Found(need, f"has no files {' or '.join(', '.join(choice) for choice in need.choices)}", about.sha)
    total = sum(sizes[name] for name in wanted)
    held = [try_to_load_from_cache(need.id, name, revision=about.sha, repo_type=need.kind) for name in wanted]
    here = sum(sizes[name] for name, path in zip(wanted, held, strict=True) if isinstance(path, str))
    if about.gated:
        try:
            api.auth_check(need.id, repo_type=need.kind)
        except GatedRepoError:
            problem = "gated: ask for access on its page, and log in with hf auth login"
            return Found(need, problem, about.sha, total, here)
    return Found(need, _lacking(need, about.sha, wanted), about.sha, total, here)


def _lacking(need: Need, revision: str, files: Sequence[str]) -> str:
    """Columns that a data set lacks, read from the end of one of its tables; "" where there are all."""
    tables = [name for name in files if name.endswith(".parquet")]
    if not need.columns or not tables:
        return ""
    import pyarrow.parquet as pq
    from huggingface_hub import HfFileSystem

    with HfFileSystem().open(f"datasets/{need.id}@{revision}/{tables[0]}") as file:
        columns = pq.read_schema(file).names
    absent = [column for column in need.columns if column not in columns]
    return f"has no column {', '.join(absent)}; it has {', '.join(columns)}" if absent else ""


def _cached(need: Need, offline: str) -> Found:
    """Without the hub: what its cache on disk holds of this revision."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(need.id, repo_type=need.kind, revision=need.revision, local_files_only=True))
    except OSError:
        return Found(need, f"{offline}, and it is not in the cache")
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    size = sum((folder / name).stat().st_size for name in _wanted(need, names))
    return Found(need, "" if size else f"{offline}, and its files are not in the cache", folder.name, size, size)


LOOK_UP: dict[str, Callable[[Need], Found]] = {"folder": _folder, "file": _file}


@cache
def _answers(address: str) -> bool:
    """Whether a server answers; asked once."""
    return reachable(address)


def _wanted(need: Need, names: Sequence[str]) -> list[str]:
    """Files of the first alternative that is there."""
    for choice in need.choices:
        if found := [name for name in names if any(fnmatchcase(name, pattern) for pattern in choice)]:
            return found
    return []


def disk(found: Sequence[Found], output: Path) -> tuple[int, int]:
    """Bytes needed, and bytes free where downloads and results go, the least of these places.

    A data set takes its size twice: as files in the hub's cache, and as the table made of them in the project's own.
    """
    import torch
    from huggingface_hub import constants

    needed = sum(max(0, each.size - each.here) for each in found)
    needed += sum(each.size for each in found if each.need.kind == "dataset")
    places = [Path(place).resolve() for place in (constants.HF_HUB_CACHE, torch.hub.get_dir(), cache_folder(), output)]
    there = [next(parent for parent in (place, *place.parents) if parent.exists()) for place in places]
    return needed, min(shutil.disk_usage(place).free for place in there)


def _counted(missing: Sequence[Found], found: Sequence[Found], refused: Sequence[plan.Ready]) -> str:
    downloads = [f"{len(missing)} of {len(found)} downloads"] if missing else []
    steps = [f"{', '.join(each.step.name for each in refused)} cannot run"] if refused else []
    return "; ".join(downloads + steps) or "nothing"


def _hours(names: Sequence[str]) -> str:
    """Time of some steps on this CPU and on a GPU; training apart, which outweighs the others."""
    cores, told = os.cpu_count() or 1, []
    training, others = [name for name in names if name == TRAINING], [name for name in names if name != TRAINING]
    for label, chosen in (("", others), ("training ", training)):
        cpu, gpu = (sum(SECONDS.get(name, (0, 0))[which] for name in chosen) for which in (0, 1))
        if cpu:
            told.append(f"{label}{in_words(cpu * CORES / cores)} on this CPU, {in_words(gpu)} on a GPU")
    return "; ".join(told) or "nothing is to be run"


def size(amount: int) -> str:
    """Bytes in words."""
    return f"{tqdm.format_sizeof(amount)}B"


def _resource(each: Found) -> tuple[str, ...]:
    return ("NO" if each.problem else "yes", size(each.size) if each.size else "?", size(each.here), each.need.name)


def _step(each: plan.Ready, reason: str) -> tuple[str, ...]:
    name = each.step.name
    cpu, gpu = (in_words(seconds) for seconds in SECONDS[name]) if name in SECONDS else ("?", "?")
    return (name, cpu, gpu, reason) if reason else (name, "-", "-", "its record is kept")


def explained(missing: Sequence[Found]) -> list[str]:
    """A line for each thing that is missing, those that lack the same for the same reason together."""
    names: dict[str, list[str]] = {}
    for each in missing:
        names.setdefault(_help(each), []).append(each.need.name)
    return [f"- {', '.join(alike)}: {told}" for told, alike in names.items()]


def _help(each: Found) -> str:
    """Why a need cannot be used, what is read of it, where a copy goes, and which steps use it."""
    need = each.need
    parts = [each.problem]
    parts += [f"revision {need.revision}"] if need.revision else []
    parts += [f"columns {', '.join(need.columns)}"] if need.columns else []
    parts += [f"from {need.id.rpartition('/')[0]}/"] if need.kind == "file" else []
    return "; ".join([*parts, f"a local copy goes to {need.place}", f"used by {', '.join(need.steps)}"])


def tell(rows: Sequence[tuple[str, ...]]) -> None:
    """Prints a table, no line wider than ``WIDTH``."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if len(rows) > 1 else ():
        line = "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True))
        cli.say(line[:WIDTH].rstrip())
