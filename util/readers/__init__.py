"""Files and folders of embeddings, told apart by content, read without unpickling anything."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from ..errors import UserError, reason
from .arrays import WRITTEN, Found, read_h5, read_npy, read_npz, read_safetensors, read_torch, write
from .folders import read_folder
from .names import NAME, TEXT, SortedOut, role
from .tables import read_arrow, read_dataset, read_parquet
from .texts import read_delimited, read_json

__all__ = ["NAME", "TEXT", "WRITTEN", "SortedOut", "read", "role", "write"]

MAGIC = {b"\x93NUMPY": ".npy", b"PAR1": ".parquet", b"ARROW1": ".arrow", b"\xff" * 4: ".arrow", b"\x89HDF": ".h5"}
TEXTS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
READERS: dict[str, Callable[[Path], dict | Found]] = {
    ".npy": read_npy,
    ".npz": read_npz,
    ".safetensors": read_safetensors,
    ".pt": read_torch,
    ".parquet": lambda path: read_parquet([path], str(path)),
    ".arrow": lambda path: read_arrow(pa.memory_map(str(path)), str(path)),
    **dict.fromkeys(TEXTS[:2], read_delimited),
    **dict.fromkeys(TEXTS[2:], read_json),
    ".h5": read_h5,
    "a folder": read_folder,
}
HUB = re.compile(r"hub:([\w.-]+/[\w.-]+)(?::([\w.-]+))?")


def read(path: str | Path) -> Found:
    """The arrays of a file, a folder or hub:OWNER/NAME[:SPLIT] as stored, by name, and its account of their source."""
    if str(path).startswith("hub:"):
        import datasets

        if not (match := HUB.fullmatch(str(path))):
            raise UserError(f"{path}: expected hub:OWNER/NAME, or hub:OWNER/NAME:SPLIT")
        try:
            found = datasets.load_dataset(match[1], split=match[2])
        except Exception as error:  # of many kinds
            raise UserError(f"{path}: could not be loaded ({reason(error)})") from None
        return read_dataset(found, f"hub:{match[1]}"), {}
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path}: no such file; expected embeddings as {', '.join(READERS)}")
    kind = "a folder" if path.is_dir() else kind_of(path)
    try:
        found = READERS[kind](path)
    except UserError as error:
        raise error if str(path) in str(error) else UserError(f"{path}: {error}") from error
    except Exception as error:  # whatever a damaged or hostile file makes its parser raise
        raise UserError(f"{path}: not readable as {kind} ({reason(error)}); is it damaged or pickled?") from error
    return found if isinstance(found, tuple) else (found, {})


def kind_of(path: Path) -> str:
    """What a file is: by its first bytes, and by its suffix where they are text. A pickle is refused."""
    if not path.is_file() or not path.stat().st_size:
        raise UserError(f"{path}: the file is empty, or no regular one")
    with path.open("rb") as file:
        head = file.read(9)
    suffix = path.suffix.lower()
    if found := next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), None):
        return found
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return ".pt" if any(name.endswith("data.pkl") for name in archive.namelist()) else ".npz"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return ".safetensors"
    if suffix in (".pt", ".pth"):
        return ".pt"
    if suffix in TEXTS and b"\0" not in head:
        return suffix
    if head[:1] == b"\x80":
        raise UserError(f"{path}: a pickle, and nothing is unpickled; save its arrays by numpy.savez or safetensors")
    what = f"not readable as {suffix}: damaged, or another format" if suffix in READERS else f"unknown format {suffix}"
    raise UserError(f"{path}: {what}; expected {', '.join(READERS)}")
