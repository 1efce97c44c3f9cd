"""Folders of embeddings as other programs write them: clip-retrieval, DataComp, mteb's cache, ``datasets``."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..numerics.arrays import Parts, blocks
from .arrays import Found, mapped_npy, read_npz
from .tables import read_dataset, read_parquet

SIMILARITY = {"b32": "clip_b32_similarity_score", "l14": "clip_l14_similarity_score"}
AGREE = 2e-3
"""How far a stored cosine may be from that of the vectors: float16 rows of 512 to 768 numbers move it by less."""


def read_folder(path: Path) -> Found:
    """Finds out what a folder is by the files in it."""
    if (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():
        import datasets

        return read_dataset(datasets.load_from_disk(str(path)), str(path))
    if any((path / name).is_dir() for name in ("img_emb", "text_emb")):
        return clip_retrieval(path)
    if (path / "vectors.npy").is_file() and (path / "index.json").is_file():
        return mteb_cache(path)
    if any(path.glob("*.npz")):
        return datacomp(path)
    known = "img_emb/ and text_emb/, vectors.npy and index.json, *.npz, or a saved data set"
    raise UserError(f"{path}: a folder without embeddings that are known here; expected {known}")


def clip_retrieval(path: Path) -> Found:
    """img_emb/img_emb_0.npy ..., text_emb/ and metadata/ of the same parts."""
    found, counts = {}, {}
    for name in ("img_emb", "text_emb"):
        if files := parts_of(path / name, ".npy"):
            arrays = [_whole(file) for file in files.values()]
            counts[name] = dict(zip(files, map(len, arrays), strict=True))
            found[name] = joined(arrays, str(path / name))
    captions = {}
    if files := parts_of(path / "metadata", ".parquet"):
        tables = [read_parquet(file)[0] for file in files.values()]
        counts["metadata"] = {part: len(next(iter(t.values()), ())) for part, t in zip(files, tables, strict=True)}
        shared = set.intersection(*(set(table) for table in tables))
        captions = {name: np.concatenate([table[name][:] for table in tables]) for name in tables[0] if name in shared}
    _same_counts(path, counts)
    return {**found, **captions}, {"layout": "clip-retrieval"}


def parts_of(folder: Path, suffix: str) -> dict[str, Path]:
    """Part number -> file, in the order of the numbers."""
    numbered = {match[1]: file for file in folder.glob(f"*{suffix}") if (match := re.search(r"(\d+)$", file.stem))}
    return dict(sorted(numbered.items(), key=lambda item: int(item[0])))


def _whole(file: Path) -> np.ndarray:
    """A part, mapped; a truncated one, as a stopped writer leaves it, is named."""
    try:
        return mapped_npy(file)
    except (ValueError, OSError, EOFError, RuntimeWarning) as error:
        raise UserError(
            f"{file}: this part is damaged or was not written to its end ({error}); write it again"
        ) from None


def joined(arrays: list[np.ndarray], where: str) -> Parts:
    """Arrays of one width below each other."""
    if len({array.shape[1:] for array in arrays}) > 1 or arrays[0].ndim != 2:
        raise UserError(f"{where}: parts differ in shape: {sorted({array.shape[1:] for array in arrays})}")
    dtype = np.result_type(*arrays)
    return Parts(lambda k: arrays[k].astype(dtype, copy=False), [*map(len, arrays)], arrays[0].shape[1], dtype)


def _same_counts(path: Path, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Refuses parts that one folder lacks, and parts of other lengths."""
    for part in sorted({part for each in counts.values() for part in each}, key=int):
        there = {name: each.get(part) for name, each in counts.items()}
        if len(set(there.values())) > 1:
            said = ", ".join(f"{name} {'no file' if rows is None else f'{rows} rows'}" for name, rows in there.items())
            raise UserError(f"{path}: part {part} differs: {said}; write that part again, or remove it everywhere")


def mteb_cache(path: Path) -> Found:
    """vectors.npy without a header, float32, longer than its rows: index.json says how many there are."""
    index = json.loads((path / "index.json").read_text())
    width = int(json.loads((path / "dimension").read_text())) if (path / "dimension").is_file() else 0
    size = (path / "vectors.npy").stat().st_size
    if not width or size % (4 * width) or size // (4 * width) < len(index):
        raise UserError(
            f"{path}: vectors.npy of {size} bytes does not hold {len(index)} rows of {width} float32 numbers"
        )
    rows = np.memmap(path / "vectors.npy", np.float32, "c", 0, (size // (4 * width), width))
    order = np.array(sorted(index.values()))
    if len(order) and order[-1] >= len(rows):
        raise UserError(f"{path}: index.json names row {order[-1]}; vectors.npy has {len(rows)}")
    kept = rows[: len(index)] if (order == np.arange(len(order))).all() else rows[order]
    return {"": kept, "ids": np.array(sorted(index, key=index.get), dtype=str)}, {"layout": "mteb cache"}


def datacomp(path: Path) -> Found:
    """Shards NAME.npz with b32_img, b32_txt, l14_img, l14_txt, beside NAME.parquet, whose scores are checked."""
    shards, first = sorted(path.glob("*.npz")), {}
    first = read_npz(shards[0])[0]
    names = [name for name, array in first.items() if array.ndim == 2]
    lengths = [len(read_npz(shard)[0][names[0]]) for shard in shards] if names else []
    found = {}
    for name in names:
        read = lambda k, name=name: read_npz(shards[k])[0][name]  # noqa: E731
        found[name] = Parts(read, lengths, first[name].shape[1], first[name].dtype)
    tables = [read_parquet(file)[0] if (file := shard.with_suffix(".parquet")).is_file() else {} for shard in shards]
    for shard, table, length in zip(shards, tables, lengths, strict=True):
        if table and len(next(iter(table.values()))) != length:
            raise UserError(f"{shard}: holds {length} rows, and its parquet file {len(next(iter(table.values())))}")
    for model, score in SIMILARITY.items():
        if {f"{model}_img", f"{model}_txt"} <= {*found} and all(score in table for table in tables):
            _agrees(path, found, model, np.concatenate([table[score] for table in tables]))
    beside = {
        name: np.concatenate([t[name] for t in tables]) for name in ("uid", "url") if all(name in t for t in tables)
    }
    return {**found, **beside}, {"layout": "DataComp"}


def _agrees(path: Path, found: Mapping, model: str, scores: np.ndarray) -> None:
    """Refuses vectors whose cosines are not those of the table: then rows are shuffled, or of another model."""
    for start, x in blocks(found[f"{model}_img"]):
        y = found[f"{model}_txt"][start : start + len(x)]
        x, y = (part.astype(np.float64) for part in (x, y))
        cosines = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
        off = np.abs(cosines - scores[start : start + len(x)]) > AGREE
        if off.any():
            row = start + int(np.flatnonzero(off)[0])
            said = f"the score of the table is {scores[row]:.4f}, the vectors' cosine {cosines[row - start]:.4f}"
            raise UserError(f"{path}: {model}, row {row}: {said}; images and texts are not in one order")
