"""Files and folders of embeddings, told apart by content, read without unpickling anything; what can be is mapped.

Folders are those of clip-retrieval, DataComp, mteb's cache, ``datasets`` and parquet.
"""

import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import safe_open
from safetensors.numpy import save_file

from .. import UserError, reason
from ..files import replacing
from ..numerics.arrays import Parts, blocks
from .meaning import NAME, TEXT, role
from .tables import BLOCK, UNKNOWN, Found, as_array, read_arrow, read_dataset, read_delimited, read_json, read_parquet

__all__ = ["NAME", "TEXT", "WRITTEN", "read", "role", "write"]

WRITTEN = (".npy", ".npz", ".safetensors")
METADATA = "modality_gap"
"""The one metadata value of a .safetensors file written here, so that equal content has equal bytes."""
MAGIC = {b"\x93NUMPY": ".npy", b"PAR1": ".parquet", b"ARROW1": ".arrow", b"\xff" * 4: ".arrow", b"\x89HDF": ".h5"}
TEXTS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
SIMILARITY = {"b32": "clip_b32_similarity_score", "l14": "clip_l14_similarity_score"}
AGREE = 2e-3
"""How far a stored cosine may be from that of the vectors: float16 rows of 512 to 768 numbers move it by less."""
TOWERS = ("img_emb", "text_emb")
SAVED = re.compile(r"dataset_(info|dict)\.json|state\.json|.*\.arrow")
SPLIT = re.compile(r"(?i)(?<![a-z])(train|test|val|valid|validation|dev)(?![a-z])")
HOLDING = re.compile(r"(?i)\.(npy|npz|safetensors|pth?|parquet|arrow|feather|csv|tsv|jsonl|ndjson|h5|hdf5)")
"""Suffixes of files with arrays; .json often tells about those beside it."""
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


def write(path: Path, arrays: Mapping[str, np.ndarray], order: Sequence[str], source: Mapping) -> None:
    """Writes arrays: modalities in this ``order``, which are all that .npy holds. .safetensors keeps ``source``."""
    if path.suffix not in WRITTEN:
        raise UserError(f"{path}: {path.suffix or 'no suffix'} cannot be written; expected {', '.join(WRITTEN)}")
    if path.suffix == ".safetensors" and (texts := [k for k, v in arrays.items() if v.dtype.kind not in "biuf"]):
        raise UserError(f"{path}: .safetensors holds numbers only, and {texts[0]} are text; use .npz")
    with replacing(path) as part:
        if path.suffix == ".npy":
            whole = [arrays[name] for name in order]
            np.save(part, np.stack(whole) if len(whole) > 1 else whole[0], allow_pickle=False)
        elif path.suffix == ".npz":
            with zipfile.ZipFile(part, "w") as archive:
                for name, array in arrays.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
        else:
            told = json.dumps({"order": [*order], "source": dict(source)}, sort_keys=True)
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, part, {METADATA: told})


def mapped_npy(path: Path) -> np.ndarray:
    """Mapped, so that a header cannot claim more than the file holds, and a large file costs no memory.

    Copy on write: torch takes only writable arrays without a copy, and nothing writes into this one.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a shape that overflows is a warning of numpy's, and then an odd error
        return np.lib.format.open_memmap(path, mode="c")


def read_npy(path: Path) -> dict:
    """One modality (n, d), or two of them (2, n, d), of which text is the second; a file of texts holds texts alone."""
    array, alone = mapped_npy(path), role(path.stem)
    if array.ndim != 3 or len(array) != 2 or alone == TEXT:
        return {"": array}
    if alone:
        how = f"rename it if it holds {alone} and {TEXT}, or save a file (n, d) of each"
        raise UserError(f"{path}: two arrays {array.shape[1:]}, while its name says {alone} alone; {how}")
    return {"image": array[0], TEXT: array[1]}


def read_npz(path: Path) -> dict:
    """The members of an archive; a scalar is an array without axes."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: npz_member(archive, name, path) for name in archive.files}


def npz_member(archive, name: str, path: Path) -> np.ndarray:
    """One array of an opened archive."""
    try:
        array = archive[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise UserError(f"{path}: {name} holds objects, which nothing unpickles; save it as .astype(str)") from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: {name} is no array; save arrays by numpy.savez")
    return array


def read_safetensors(path: Path) -> Found:
    """Mapped; bfloat16, which numpy lacks, becomes float32 in memory."""
    with safe_open(path, framework="pt") as file:
        told = {"source": {}, "order": []} | json.loads((file.metadata() or {}).get(METADATA, "{}"))
        found = {name: as_array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    if not isinstance(told["source"], dict):
        raise UserError(f"{path}: its metadata hold no mapping as source")
    order = [name for name in told["order"] if name in found]
    return {name: found[name] for name in [*order, *sorted(found.keys() - order)]}, told["source"]


def read_torch(path: Path) -> dict:
    """A tensor, or dicts of tensors, numbers and lists of strings, mapped where the file allows it."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of programs that look like tensors, which are refused in one line
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError) as error:
        if not (named := re.search(r"GLOBAL [\w.]+|TorchScript", str(error))):
            raise
        raise UserError(f"{path}: holds more than tensors ({named[0]}), which nothing unpickles; save them") from None
    return {name: as_array(value) for name, value in _flat(found)}


def _flat(value, name: str = "") -> Iterator[tuple[str, object]]:
    """Names and values of dicts in dicts: "image.features"."""
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, inner in value.items():
        yield from _flat(inner, f"{name}.{key}" if name else str(key))


def read_h5(path: Path) -> dict:
    """Every data set of an HDF5 file by its path, read in blocks of rows; needs h5py."""
    try:
        import h5py
    except ImportError:
        raise UserError(f"{path}: reading HDF5 needs h5py; pip install 'modality-gap[h5]'") from None
    found = {}

    def collect(name: str, item) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if h5py.check_string_dtype(item.dtype):
            found[name] = item.asstr()[...].astype(str)
        elif item.dtype.kind not in "biuf" or item.shape is None:
            found[name] = UNKNOWN
        elif item.ndim != 2:
            found[name] = item[...]
        else:
            starts = range(0, len(item), BLOCK)
            lengths = [min(BLOCK, len(item) - start) for start in starts]
            rows = lambda k: item[starts[k] : starts[k] + BLOCK]  # noqa: E731
            found[name] = Parts(rows, lengths, item.shape[1], item.dtype, where=str(path))

    h5py.File(path, "r").visititems(collect)  # open as long as its data sets are
    return found


def read_folder(path: Path) -> Found:
    """Finds out what a folder is by the files in it, part.2 before part.10; those that it does not use are said."""
    files = [file for file in path.iterdir() if not file.name.startswith(".")]
    files.sort(key=lambda file: [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", file.name)])
    if (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():
        import datasets

        found = read_dataset(datasets.load_from_disk(str(path)), str(path))
        used = [file for file in files if SAVED.fullmatch(file.name) or (file / "dataset_info.json").is_file()]
    elif any((path / name).is_dir() for name in TOWERS):
        found, files = clip_retrieval(path), sorted(file for file in path.rglob("[!.]*") if file.is_file())
        used = [*path.glob("*_emb/*.npy"), *path.glob("metadata/*.parquet")]
    elif (path / "vectors.npy").is_file() and (path / "index.json").is_file():
        found, used = mteb_cache(path), [path / name for name in ("vectors.npy", "index.json", "dimension")]
    else:
        found, used = _of_files(path, files), [file for file in files if HOLDING.fullmatch(file.suffix)]
    left = [str(file.relative_to(path)) for file in files if file not in used]
    return found, {"notes": [f"{path}: not used: {', '.join(left)}"]} if left else {}


def _of_files(path: Path, files: Sequence[Path]) -> dict:
    """DataComp's shards or one parquet data set; other files with arrays make the folder neither, and are named."""
    holding = [file for file in files if HOLDING.fullmatch(file.suffix)]
    tables = [file for file in holding if file.suffix.lower() == ".parquet"]
    kinds = {file.suffix.lower() for file in holding}
    if kinds == {".npz", ".parquet"} and all(table.with_suffix(".npz") in files for table in tables):
        return datacomp(path, [file for file in holding if file not in tables])
    splits = {match[0].lower() for table in tables if (match := SPLIT.search(table.stem))}
    if len(splits) > 1:
        raise UserError(f"{path}: holds the splits {', '.join(sorted(splits))}; give each a folder of its own")
    if kinds == {".parquet"} and len({role(table.stem) for table in tables}) == 1:
        return read_parquet(tables, str(path))
    named = {role(file.stem): file for file in reversed(holding) if role(file.stem)}
    how = " ".join(f"{name}={named[name]}" for name in sorted(named)) or "image=FILE text=FILE"
    there = ", ".join([file.name for file in files[:8]] + ["..."] * (len(files) > 8)) or "nothing"
    known = "img_emb/ and text_emb/, vectors.npy and index.json, *.npz with *.parquet, *.parquet, or a saved data set"
    raise UserError(f"{path}: a folder of no known layout; it holds {there}; name its files, {how}; known are {known}")


def clip_retrieval(path: Path) -> dict:
    """img_emb/img_emb_0.npy ..., text_emb/ and metadata/ of the same parts."""
    found, beside, counts = {}, {}, {}
    for name in (name for name in TOWERS if (path / name).is_dir()):
        files = parts_of(path / name, ".npy")
        arrays = [_of_part(file, mapped_npy) for file in files.values()]
        shapes = {array.shape[1:] for array in arrays}
        if len(shapes) > 1 or arrays[0].ndim != 2:
            raise UserError(f"{path / name}: rows of its parts have the shapes {sorted(shapes)}; expected one width")
        lengths, names = [*map(len, arrays)], [f"{name}/{file.name}" for file in files.values()]
        counts[name] = dict(zip(files, lengths, strict=True))
        found[name] = Parts(arrays.__getitem__, lengths, *shapes.pop(), np.result_type(*arrays), names, str(path))
    if (path / "metadata").is_dir() and any((path / "metadata").iterdir()):
        files = parts_of(path / "metadata", ".parquet")
        counts["metadata"] = {part: _of_part(file, pq.read_metadata).num_rows for part, file in files.items()}
        beside = read_parquet([*files.values()], str(path / "metadata"))
    for part in sorted({part for each in counts.values() for part in each}):
        there = {name: each.get(part, "no") for name, each in counts.items()}
        if len(set(there.values())) > 1:
            said = ", ".join(f"{name} {rows} rows" for name, rows in there.items())
            raise UserError(f"{path}: part {part} differs: {said}; write that part again, or remove it everywhere")
    return {**beside, **found}


def parts_of(folder: Path, suffix: str) -> dict[int, Path]:
    """Part number -> file, in the order of the numbers; a part that stands twice, or none at all, is refused."""
    found: dict[int, Path] = {}
    for file in sorted(folder.glob(f"*{suffix}")):
        match = re.search(r"\d+$", file.stem)
        if not match or (part := int(match[0])) in found:
            other = f"the part of {found[part].name}" if match else "no part with a number"
            raise UserError(f"{file}: {other}; expected {folder.name}_0{suffix}, {folder.name}_1{suffix} and so on")
        found[part] = file
    if not found:
        raise UserError(f"{folder}: holds no parts; expected {folder.name}_0{suffix} and so on")
    return dict(sorted(found.items()))


def _of_part(file: Path, read: Callable):
    """What is read of a part; one that is missing, or truncated as a stopped writer leaves it, is named."""
    try:
        return read(file)
    except Exception as error:  # whatever a damaged file makes its parser raise
        how = f"damaged or was not written to its end ({reason(error)})" if file.is_file() else "missing"
        raise UserError(f"{file}: this part is {how}; write it again") from error


def mteb_cache(path: Path) -> dict:
    """vectors.npy without a header, float32, longer than its rows: index.json says how many there are, by hash."""
    order = np.array(sorted(json.loads((path / "index.json").read_text()).values()), dtype=np.int64)
    with (path / "vectors.npy").open("rb") as file:
        if file.read(6) == b"\x93NUMPY":
            raise UserError(f"{path / 'vectors.npy'}: has a header, which mteb's cache has not; name the file itself")
    width, size = int((path / "dimension").read_text()), (path / "vectors.npy").stat().st_size
    if width < 1 or size % (4 * width) or not len(order) or order[0] < 0 or order[-1] >= size // (4 * width):
        raise UserError(f"{path}: vectors.npy of {size} bytes does not hold the {len(order)} rows of index.json")
    rows = np.memmap(path / "vectors.npy", np.float32, "c", 0, (size // (4 * width), width))
    return {"": rows[: len(order)] if order[-1] == len(order) - 1 else rows[order]}


def datacomp(path: Path, shards: list[Path]) -> dict:
    """Shards NAME.npz with b32_img, b32_txt, l14_img, l14_txt, beside NAME.parquet, whose scores are checked."""
    tables = [shard.with_suffix(".parquet") for shard in shards]
    lengths = [_of_part(table, pq.read_metadata).num_rows for table in tables]
    names = [shard.name for shard in shards]

    def member(name: str, k: int) -> np.ndarray:
        with np.load(shards[k], allow_pickle=False) as archive:
            return npz_member(archive, name, shards[k])

    found = {}
    for name, rows in read_npz(shards[0]).items():
        if rows.ndim == 2:
            found[name] = Parts(partial(member, name), lengths, rows.shape[1], rows.dtype, names, str(path))
    beside = read_parquet(tables, str(path))
    for model, score in SIMILARITY.items():
        if {f"{model}_img", f"{model}_txt", score} <= found.keys() | beside.keys():
            _check_scores(found[f"{model}_img"], found[f"{model}_txt"], beside.pop(score), f"{path}: {model}")
    return {**beside, **found}


def _check_scores(images: Parts, texts: Parts, scores: np.ndarray, where: str) -> None:
    """Refuses vectors whose cosines are not those of the table: then rows are shuffled, or of another model."""
    for start, x in blocks(images):
        x, y = (part.astype(np.float64) for part in (x, texts[start : start + len(x)]))
        with np.errstate(invalid="ignore", divide="ignore"):  # rows that have no cosine are named later
            cosines = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
        off = np.isfinite(cosines) & ~(np.abs(cosines - scores[start : start + len(x)]) <= AGREE)  # nor NaN
        if off.any():
            row = start + int(off.argmax())
            said = f"the score of the table is {scores[row]:.4f}, the vectors' cosine {cosines[row - start]:.4f}"
            raise UserError(f"{where}: {images.place(row)}: {said}; rows and scores are not in one order")


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
