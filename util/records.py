"""The record of a run: tidy tables as csv, and everything that made them as json beside them.

Figures, notebooks, the report and the README tables read records and nothing else.
"""

import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import UserError
from .files import PACKAGE, REPOSITORY, cache_folder, sha256

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
PARTS = ("settings", "commit", "data", "tables", "text_columns", "captions", "comparisons", "left_out", "results")
PACKAGES = (
    "torch", "open_clip_torch", "numpy", "umap-learn", "matplotlib", "pandas", "datasets", "jupyter",
    "scikit-learn", "scipy", "numba", "torchvision", "transformers", "pillow",
)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """One number or claim of ``util/data/paper.json`` beside ours; ``util.published.compare`` makes it from its key.

    Attributes:
        on: the embeddings or data that ours was measured on.
        agrees: None where they are not expected to agree (other model, other data).
        note: how far apart, or why they may differ.
        own: whether the paper's own model and data were measured, or its own embeddings or counts.
        interval: what ``low`` and ``high`` are, for instance "95% Wilson" or "95% Student t, 3 seeds".
    """

    key: str
    panel: str
    quantity: str
    published: float | str | None
    ours: float | str
    on: str
    agrees: bool | None = None
    note: str = ""
    low: float | None = None
    high: float | None = None
    own: bool = False
    interval: str = ""


@dataclass(frozen=True)
class Record:
    """A run as read back: ``about`` is <name>.json; ``tables`` are <name>.csv by "", <name>_what.csv by "what"."""

    name: str
    folder: Path
    about: Mapping
    tables: "Mapping[str, pd.DataFrame]" = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Results of a script, before they are recorded and drawn.

    Attributes:
        tables: "" for ``<script>.csv``, "what" for ``<script>_what.csv``.
        data: a mapping for each input: what it is, revision or hash, split, count, caption rule.
        left_out: one line for each panel that lacks its data, with the reason.
        results: further numbers for the figure, the notebook and the report.
        said: lines for the terminal, shown when the files are in place.
        undrawn: suffixes of the pictures that have nothing to show in this run.
    """

    tables: "Mapping[str, pd.DataFrame]"
    data: Sequence[Mapping]
    dtype: str
    comparisons: Sequence[Comparison] = ()
    left_out: Sequence[str] = ()
    results: Mapping = field(default_factory=dict)
    said: Sequence[str] = ()
    undrawn: Sequence[str] = ()


def save(folder: Path, name: str, found: Measured, *, device: str, seconds: float, own: str = "", **facts) -> Record:
    """Writes ``<name>.csv``, ``<name>_<what>.csv`` and ``<name>.json`` into an existing folder and reads them back.

    Args:
        own: where your own data lie, with " + " between, of which the paper says nothing; empty where there are none.
        facts: ``title``, what the run regenerates; ``settings``, a dataclass with everything that shapes the result,
            the seed included; ``captions``, stem of each figure file -> what it shows, in the order to show them.
    """
    from pandas.api.types import is_numeric_dtype

    files = {f"{name}_{what}.csv" if what else f"{name}.csv": table for what, table in found.tables.items()}
    for file, table in files.items():
        table.to_csv(folder / file, index=False, float_format="%.9g")
    columns = [(column, table[column]) for table in files.values() for column in table if len(table)]
    about = {
        "schema_version": SCHEMA_VERSION,
        "script": name,
        **facts,
        "command": command(),
        "own_data": own,
        "commit": commit(),
        **made_by(name),
        "versions": versions(),
        "machine": machine(device, found.dtype),
        "seconds": round(seconds, 3),
        "data": found.data,
        "tables": {file: list(table.columns) for file, table in files.items()},
        "sha256": {file: sha256(folder / file) for file in files},
        "text_columns": sorted({column for column, values in columns if not is_numeric_dtype(values)}),
        "comparisons": found.comparisons,
        "left_out": found.left_out,
        "results": found.results,
    }
    (folder / f"{name}.json").write_text(json.dumps(plain(about), indent=1, allow_nan=False) + "\n")
    return load(folder, name)


def load(folder: Path, name: str) -> Record:
    """Reads a record; refused are one of another schema, and one whose tables are not there as it names them."""
    import pandas as pd

    path, tables = (folder := Path(folder)) / f"{name}.json", {}
    if not path.is_file():
        raise UserError(f"{path}: no record here; run {name}.py first")
    try:
        about = json.loads(path.read_text())
        if (schema := about["schema_version"]) != SCHEMA_VERSION:
            raise ValueError(f"schema {schema}, expected {SCHEMA_VERSION}")
        if absent := [part for part in PARTS if part not in about]:  # all are read
            raise ValueError(f"no {', '.join(absent)}")
        if other := [file for file, digest in about.get("sha256", {}).items() if sha256(folder / file) != digest]:
            raise ValueError(f"other content in {', '.join(other)}")
        text = dict.fromkeys(about["text_columns"], str)  # a file named 123 or nan is still a name
        for file, columns in about["tables"].items():
            empty = {column: [""] for column in columns if column not in text}
            table = pd.read_csv(folder / file, dtype=text, keep_default_na=False, na_values=empty)
            if list(table.columns) != columns:
                raise ValueError(f"other columns in {file}")
            tables[file.removeprefix(name).removeprefix("_").removesuffix(".csv")] = table
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: damaged record ({error}); run {name}.py again") from error
    return Record(name, folder, about, tables)


REUSE_VARIABLE, AS_THEY_ARE = "MODALITY_GAP_REUSE", "as they are"
"""Set to "as they are", every record of the same preset is reused: notebooks do not know the options of a run."""
NOTEBOOK_VARIABLE = "JPY_SESSION_NAME"
"""Jupyter tells a kernel the path of its notebook by this variable."""
ENDS = (".png", ".pdf", ".html")
"""Ends of the files of a picture, or of a table to read."""


def matching(folder: Path, name: str, settings, any_code: bool = False) -> tuple[Record | None, str]:
    """The whole record in a folder that a run with these settings would make again, or None and why there is none.

    Its pictures are there, its inputs as they were where it names them by path and hash, and unless ``any_code`` the
    same code and published files made it. One of another preset is refused where records are taken as they are.
    """
    if not (Path(folder) / f"{name}.json").is_file():
        return None, "no record"
    try:
        record = load(folder, name)
    except UserError as error:
        return None, str(error)
    wanted, there = plain(settings), record.about["settings"]
    if os.environ.get(REUSE_VARIABLE) == AS_THEY_ARE:
        if (preset := there["preset"]) != wanted["preset"]:
            raise UserError(f"{folder}/{name}.json is of the {preset} preset, not {wanted['preset']}; set PRESET to it")
        return record, ""
    if other := differences(there, wanted, besides=("output", "device")):  # where a run works, not what it gives
        return None, f"other settings: {', '.join(other)}"
    shown = [[record.folder / f"{stem}{end}" for end in ENDS] for stem in record.about["captions"]]
    if lacking := [files[0].stem for *files, page in shown if not (page.is_file() or all(f.is_file() for f in files))]:
        return None, f"no picture of {', '.join(lacking)}"
    if changed := [part["path"] for part in record.about["data"] if not _unchanged(part)]:
        return None, f"other input: {', '.join(changed)}"
    if not any_code and not made_by(name).items() <= record.about.items():
        return None, "made by other code, or with other published files"
    return record, ""


def differences(stored: Mapping, wanted: Mapping, besides: Sequence[str] = ()) -> list[str]:
    """One entry for each setting that differs, "name old -> new"; one that only one of them has counts."""
    pairs = [(key, *(each.get(key, "(not there)") for each in (stored, wanted))) for key in {**wanted, **stored}]
    return [f"{key} {old} -> {new}" for key, old, new in pairs if old != new and key not in besides]


def _unchanged(part: Mapping) -> bool:
    """Whether an input that a record names by path and hash is there as it was; others cannot be told."""
    path, digest = part.get("path"), part.get("sha256")
    if not isinstance(path, str) or not isinstance(digest, (str, Mapping)):
        return True
    files = digest if isinstance(digest, Mapping) else {path: digest}
    places = {file: [base / file for base in (REPOSITORY, cache_folder())] for file in files}
    return all(any(at.is_file() and sha256(at) == files[file] for at in places[file]) for file in files)


@cache
def code(name: str) -> str:
    """Hash of the package's sources and data, and of the script's folder where there is one."""
    files = [*PACKAGE.rglob("*.py"), *PACKAGE.glob("data/*")]
    for script in REPOSITORY.glob(f"*/{name}.py"):
        files += [*script.parent.rglob("*.py"), *script.parent.rglob("*.toml")]
    return hashlib.sha256("".join(sha256(path) for path in sorted(files)).encode()).hexdigest()


def made_by(name: str) -> dict:
    """What makes the record of a script: its code, and the published files that a run could have, with their bytes."""
    files = sorted(f"{path.name} {path.stat().st_size}" for path in cache_folder().glob("*.npy"))
    return {"code": code(name), "cached_files": files}


def command() -> str:
    """The command line of this process, or its notebook, with paths inside the repository made relative to it."""
    if Path(sys.argv[0]).stem == "ipykernel_launcher":
        return f"notebook {os.environ.get(NOTEBOOK_VARIABLE) or Path.cwd()}".replace(f"{REPOSITORY}/", "")
    return shlex.join(["python", *(word.replace(f"{REPOSITORY}/", "") for word in sys.argv)])


def commit() -> dict:
    """The commit that the code stands on and whether the tree was clean; None where there is no repository."""
    asked, how = ("rev-parse HEAD", "status --porcelain"), {"capture_output": True, "text": True, "timeout": 20}
    try:
        git = [subprocess.run(["git", "-C", str(REPOSITORY), *words.split()], check=True, **how) for words in asked]
    except (OSError, subprocess.SubprocessError):
        return {"hash": None, "clean": None}
    return {"hash": git[0].stdout.strip(), "clean": not git[1].stdout}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape results."""
    return {"python": platform.python_version()} | {package: version(package) for package in PACKAGES}


def machine(device: str, dtype: str) -> dict:
    """What a run ran on, in general terms."""
    import numba
    import torch

    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    system = f"{platform.system()} {platform.machine()}"
    threads = {"torch": torch.get_num_threads(), "numba": numba.get_num_threads()}
    return {"device": device, "gpu": gpu, "dtype": dtype, "system": system, "threads": threads}


def plain(value):
    """The value in types that json holds; a number that is not finite becomes None."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(part) for part in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, Path):
        return str(value).replace(f"{REPOSITORY}/", "")
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
