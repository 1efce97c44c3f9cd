"""Folders of embeddings as other programs write them: clip-retrieval, DataComp, mteb's cache, ``datasets``, parquet."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..numerics.arrays import blocks
from ..numerics.parts import Parts
from .arrays import Found, mapped_npy, npz_member
from .tables import read_dataset, read_parquet

SIMILARITY = {"b32": "clip_b32_similarity_score", "l14": "clip_l14_similarity_score"}
AGREE = 2e-3
"""How far a stored cosine may be from that of the vectors: float16 rows of 512 to 768 numbers move it by less."""
TOWERS = ("img_emb", "text_emb")


def read_folder(path: Path) -> Found:
    """Finds out what a folder is by the files in it."""
    if (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():
        import datasets

        return read_dataset(datasets.load_from_disk(str(path)), str(path))
    if any((path / name).is_dir() for name in TOWERS):
        return clip_retrieval(path)
    if (path / "vectors.npy").is_file() and (path / "index.json").is_file():
        return mteb_cache(path)
    if any(path.glob("*.npz")):
        return datacomp(path)
    if tables := sorted(path.glob("*.parquet")):
        return read_parquet(tables, str(path))
    known = "img_emb/ and text_emb/, vectors.npy and index.json, *.npz, *.parquet, or a saved data set"
    alone = "; name its files: image=... text=..." if any(path.glob("*.npy")) else ""
    raise UserError(f"{path}: a folder without embeddings that are known here; expected {known}{alone}")


def clip_retrieval(path: Path) -> Found:
    """img_emb/img_emb_0.npy ..., text_emb/ and metadata/ of the same parts."""
    found, counts, beside = {}, {}, {}
    for name in (name for name in TOWERS if (path / name).is_dir()):
        files = parts_of(path / name, ".npy")
        arrays = [_whole(file) for file in files.values()]
        shapes = {array.shape[1:] for array in arrays}
        if len(shapes) > 1 or arrays[0].ndim != 2:
            raise UserError(f"{path / name}: rows of its parts have the shapes {sorted(shapes)}; expected one width")
        counts[name] = dict(zip(files, map(len, arrays), strict=True))
        dtype, names = np.result_type(*arrays), [f"{name}/{file.name}" for file in files.values()]
        read = lambda k, arrays=arrays, dtype=dtype: arrays[k].astype(dtype, copy=False)  # noqa: E731
        found[name] = Parts(read, [*map(len, arrays)], arrays[0].shape[1], dtype, names, str(path))
    if (path / "metadata").is_dir() and any((path / "metadata").iterdir()):
        files = parts_of(path / "metadata", ".parquet")
        counts["metadata"] = {part: _rows_of(file) for part, file in files.items()}
        beside = read_parquet([*files.values()], str(path / "metadata"))[0]
    _same_counts(path, counts)
    return {**beside, **found}, {"layout": "clip-retrieval"}


def parts_of(folder: Path, suffix: str) -> dict[int, Path]:
    """Part number -> file, in the order of the numbers; a part that stands twice, or none at all, is refused."""
    found: dict[int, Path] = {}
    for file in sorted(folder.glob(f"*{suffix}")):
        match = re.search(r"(\d+)$", file.stem)
        if not match or int(match[1]) in found:
            other = f"the part of {found[int(match[1])].name}" if match else "no part with a number"
            raise UserError(f"{file}: {other}; expected {folder.name}_0{suffix}, {folder.name}_1{suffix} and so on")
        found[int(match[1])] = file
    if not found:
        raise UserError(f"{folder}: holds no parts; expected {folder.name}_0{suffix} and so on")
    return dict(sorted(found.items()))


def _whole(file: Path) -> np.ndarray:
    """A part, mapped; a truncated one, as a stopped writer leaves it, is named."""
    try:
        return mapped_npy(file)
    except (ValueError, OSError, EOFError, RuntimeWarning) as error:
        what = "this part is damaged or was not written to its end"
        raise UserError(f"{file}: {what} ({error}); write it again") from None


def _rows_of(file: Path) -> int:
    """Rows of a parquet file, by its footer."""
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(file).num_rows
    except Exception as error:  # whatever a damaged file makes its parser raise
        raise UserError(f"{file}: this part is damaged or was not written to its end; write it again") from error


def _same_counts(path: Path, counts: Mapping[str, Mapping[int, int]]) -> None:
    """Refuses parts that one folder lacks, and parts of other lengths."""
    for part in sorted({part for each in counts.values() for part in each}):
        there = {name: each.get(part) for name, each in counts.items()}
        if len(set(there.values())) > 1:
            said = ", ".join(f"{name} {'no file' if rows is None else f'{rows} rows'}" for name, rows in there.items())
            raise UserError(f"{path}: part {part} differs: {said}; write that part again, or remove it everywhere")


def mteb_cache(path: Path) -> Found:
    """vectors.npy without a header, float32, longer than its rows: index.json says how many there are, by hash."""
    index = json.loads((path / "index.json").read_text())
    with (path / "vectors.npy").open("rb") as file:
        if file.read(6) == b"\x93NUMPY":
            raise UserError(f"{path / 'vectors.npy'}: has a header, which mteb's cache has not; name the file itself")
    if not (path / "dimension").is_file():
        raise UserError(f"{path}: lacks the file dimension, which says how wide the vectors are")
    width, size = int((path / "dimension").read_text()), (path / "vectors.npy").stat().st_size
    order = np.array(sorted(index.values()), dtype=np.int64)
    if width < 1 or size % (4 * width) or not len(order) or order[0] < 0 or order[-1] >= size // (4 * width):
        what = f"vectors.npy of {size} bytes does not hold the {len(order)} rows of index.json"
        raise UserError(f"{path}: {what}, {width} float32 numbers each")
    rows = np.memmap(path / "vectors.npy", np.float32, "c", 0, (size // (4 * width), width))
    kept = rows[: len(order)] if (order == np.arange(len(order))).all() else rows[order]
    return {"": kept}, {"layout": "mteb cache"}


def datacomp(path: Path) -> Found:
    """Shards NAME.npz with b32_img, b32_txt, l14_img, l14_txt, beside NAME.parquet, whose scores are checked."""
    shards = sorted(path.glob("*.npz"))
    shapes = [_npz_shapes(shard) for shard in shards]
    for shard, each in zip(shards, shapes, strict=True):
        if each.keys() != shapes[0].keys() or len({rows[0] for rows, _ in each.values()}) != 1:
            raise UserError(f"{shard}: its arrays differ in length, or from those of {shards[0].name}; write it again")
    lengths = [next(iter(each.values()))[0][0] for each in shapes]
    found = {}
    for name, (shape, dtype) in shapes[0].items():
        read = lambda k, name=name: _member(shards[k], name)  # noqa: E731
        found[name] = Parts(read, lengths, shape[1], dtype, [shard.name for shard in shards], str(path))
    tables = [shard.with_suffix(".parquet") for shard in shards]
    if not any(table.is_file() for table in tables):
        return found, {"layout": "DataComp"}
    for shard, table, length in zip(shards, tables, lengths, strict=True):
        if not table.is_file() or _rows_of(table) != length:
            rows = f"{_rows_of(table)} rows" if table.is_file() else "missing"
            raise UserError(f"{shard}: holds {length} rows, and {table.name} is {rows}; write that shard again")
    beside = read_parquet(tables, str(path))[0]
    for model, score in SIMILARITY.items():
        if {f"{model}_img", f"{model}_txt", score} <= found.keys() | beside.keys():
            _agrees(path, found, model, beside.pop(score))
    return {**beside, **found}, {"layout": "DataComp"}


def _npz_shapes(shard: Path) -> dict[str, tuple]:
    """Shape and dtype of the arrays with rows in an archive, read from their headers alone."""
    found = {}
    with np.load(shard, allow_pickle=False) as archive:
        for name in archive.files:
            with archive.zip.open(f"{name}.npy") as member:
                np.lib.format.read_magic(member)
                shape, _, dtype = np.lib.format.read_array_header_1_0(member)
            if len(shape) == 2:
                found[name] = (shape, dtype)
    if not found:
        raise UserError(f"{shard}: holds no arrays of rows")
    return found


def _member(shard: Path, name: str) -> np.ndarray:
    with np.load(shard, allow_pickle=False) as archive:
        return npz_member(archive, name, shard)


def _agrees(path: Path, found: Mapping, model: str, scores: np.ndarray) -> None:
    """Refuses vectors whose cosines are not those of the table: then rows are shuffled, or of another model."""
    images, texts = found[f"{model}_img"], found[f"{model}_txt"]
    for start, x in blocks(images):
        x, y = (part.astype(np.float64) for part in (x, texts[start : start + len(x)]))
        with np.errstate(invalid="ignore", divide="ignore"):  # rows that have no cosine are named later
            cosines = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
        off = np.abs(cosines - scores[start : start + len(x)]) > AGREE
        if off.any():
            row = start + int(np.flatnonzero(off)[0])
            said = f"the score of the table is {scores[row]:.4f}, the vectors' cosine {cosines[row - start]:.4f}"
            raise UserError(f"{path}: {model}: {images.place(row)}: {said}; images and texts are not in one order")
