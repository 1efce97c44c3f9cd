"""Embeddings of forty pairs in files as the libraries of other people write them."""

import json

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import reference
from util import geometry

N, D = 40, 6
X, Y = (rows.astype(np.float32) for rows in reference.pairs(np.random.default_rng(0), N, D))
IDS = [f"i{k}" for k in range(N)]
ORDER = np.random.default_rng(1).permutation(N)
FRAME = pd.DataFrame({"id": IDS, "image_embeds": [*X], "txt_emb": [*Y], "caption": [f'a "{k}", b' for k in range(N)]})
LISTS = FRAME.assign(image_embeds=X.tolist(), txt_emb=Y.tolist())
PAIR = {"image_features": torch.from_numpy(X), "text_features": torch.from_numpy(Y)}
PARTS = {"basename_template": "part.{i}.parquet", "max_rows_per_file": 3, "row_group_size": 3}
UNIT = [geometry.unit_rows(rows.astype(np.float64)) for rows in (X, Y)]


def arrow(path, dtype="float32", new=pa.ipc.new_file):
    table = table_of(dtype)
    with new(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=9)


def table_of(dtype="float32", rows=X):
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(rows.astype(dtype).ravel()), D)
    text = pa.array([*Y.astype(dtype)], pa.list_(pa.from_numpy_dtype(dtype)))
    return pa.table({"b32_img": fixed, "b32_txt": text, "tokens": [[1] * (k % 3) for k in range(N)]})


def numbered(path, **options):
    for name, rows in (("image", X), ("text", Y)):
        pd.DataFrame(rows).to_csv(path.with_name(f"{name}.csv"), **options)
    return [path.with_name("image.csv"), path.with_name("text.csv")]


def apart(write_image, write_text, image="image.csv", text="text.csv"):
    """A file for each modality, text first."""

    def write(path):
        write_image(path.with_name(image), X)
        write_text(path.with_name(text), Y)
        return [path.with_name(text), path.with_name(image)]

    return write


def with_paths(path, rows):
    pd.DataFrame(rows).add_prefix("dim_").assign(path=[f"{k}.jpg" for k in range(N)]).to_csv(path, index=False)


def tabs(path, rows):
    np.savetxt(path, rows, delimiter="\t")


def lists(path, rows):
    path.write_text(json.dumps(rows.tolist()))


def tensor(path, rows):
    torch.save(torch.from_numpy(rows), path)


def wide(path):
    names = [f"{name}_{k}" for name in ("image", "text") for k in range(D)]
    pd.DataFrame(np.hstack([X, Y])[:, ::-1], columns=names[::-1]).assign(label=["a", "b"] * 20).to_csv(path)


def saved(dataset, path, inner=""):
    dataset.save_to_disk(path)
    return [path / inner]


def data_set():
    vector = datasets.Sequence(datasets.Value("float32"))
    features = {"img_emb": vector, "txt_emb": vector, "label": datasets.ClassLabel(names=["cat", "dog"])}
    columns = {"img_emb": X[ORDER], "txt_emb": Y[ORDER], "label": [0, 1] * 20}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features)).select(np.argsort(ORDER))


def clip_retrieval(path, change=None):
    """Four parts with numbers of two digits, and metadata with numbers of one."""
    for name, rows in (("img_emb", X), ("text_emb", Y)):
        (path / name).mkdir(parents=True)
        for k in range(4):
            np.save(path / name / f"{name}_{k:02d}.npy", rows[10 * k : 10 * k + 10].astype(np.float16))
    (path / "metadata").mkdir()
    for k in range(4):
        FRAME[["caption"]][10 * k : 10 * k + 10].to_parquet(path / "metadata" / f"metadata_{k}.parquet")
    if change:
        change(path / "img_emb" / "img_emb_02.npy")


def one_value(value, column=2):
    def change(part):
        rows = np.load(part)
        rows[3, column] = value
        np.save(part, rows)

    return change


def datacomp(path, shuffled=False, missing=False):
    path.mkdir()
    for k in range(2):
        x, y = (rows[20 * k : 20 * k + 20] for rows in UNIT)
        texts = y[::-1] if shuffled and k else y
        half = {"b32_img": x, "b32_txt": texts, "l14_img": np.hstack([x, x]), "l14_txt": np.hstack([texts, texts])}
        np.savez(path / f"{k:08d}.npz", **{name: rows.astype(np.float16) for name, rows in half.items()})
        scores = {f"clip_{name}_similarity_score": (x * y).sum(1) for name in ("b32", "l14")}
        if not missing or k == 0:
            pd.DataFrame({"uid": IDS[20 * k : 20 * k + 20], **scores}).to_parquet(path / f"{k:08d}.parquet")


def mteb(path, rows=100, index=N):
    path.mkdir()
    whole = np.zeros((rows, D), np.float32)
    whole[: min(N, rows)] = X[:rows]
    whole.tofile(path / "vectors.npy")
    (path / "index.json").write_text(json.dumps({f"h{k}": k for k in range(index)}))
    (path / "dimension").write_text(str(D))


def h5(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["clip/image"], file["clip/text"], file["clip/ids"], file["none"] = X, Y, IDS, h5py.Empty("f")


def jsonl(path):
    FRAME.to_json(path, orient="records", lines=True)


def jsonl_of(folder):
    jsonl(folder / "mine.jsonl")
    return folder / "mine.jsonl"


WRITERS = {
    "pandas.parquet": FRAME.to_parquet,
    "feather.arrow": FRAME.to_feather,
    "numpy_strings.csv": FRAME.to_csv,
    "lists.tsv": lambda path: LISTS.to_csv(path, sep="\t", index=False),
    "columns.json": FRAME.to_json,
    "records.json": lambda path: FRAME.to_json(path, orient="records"),
    "lines.json": jsonl,
    "lines.jsonl": jsonl,
    "numbered.csv": numbered,
    "header_of_numbers.csv": lambda path: numbered(path, index=False),
    "headless.csv": lambda path: numbered(path, index=False, header=False),
    "named_rows.csv": lambda path: numbered(path, header=False),
    "semicolons.csv": lambda path: numbered(path, sep=";"),
    "savetxt": apart(np.savetxt, tabs, text="text.tsv"),
    "paths.csv": apart(with_paths, with_paths, "image_embeddings.csv", "text_embeddings.csv"),
    "lists.json": apart(lists, lists, "image.json", "text.json"),
    "tensors.pt": apart(tensor, tensor, "image.pt", "text.pt"),
    "wide.csv": wide,
    "groups.parquet": lambda path: pq.write_table(table_of(), path, row_group_size=7),
    "half.parquet": lambda path: pq.write_table(table_of("float16"), path),
    "double.parquet": lambda path: pq.write_table(table_of("float64"), path),
    "file.arrow": lambda path: arrow(path, "float16"),
    "stream.arrow": lambda path: arrow(path, new=pa.ipc.new_stream),
    "parts": lambda path: pq.write_to_dataset(pa.Table.from_pandas(FRAME), path, **PARTS),
    "datasets.arrow": lambda path: saved(data_set(), path, "data-00000-of-00001.arrow"),
    "datasets": lambda path: saved(data_set(), path),
    "one_split": lambda path: saved(datasets.DatasetDict({"train": data_set()}), path),
    "named_split": lambda path: saved(datasets.DatasetDict(train=data_set(), test=data_set()), path, "test"),
    "dict.pt": lambda path: torch.save({**PAIR, "paths": IDS, "model": {"a": None}}, path),
    "nested.pth": lambda path: torch.save({"val": PAIR}, path),
    "legacy.pt": lambda path: torch.save(PAIR, path, _use_new_zipfile_serialization=False),
    "outputs.npz": lambda path: np.savez(path, image_embeds=X, text_embeds=Y, logits_per_image=X @ Y.T),
    "beside.npz": lambda path: np.savez(
        path, image=X, text=Y, ids=np.arange(N), logit_scale=np.float32(100), class_list=["a", "b"], temperature=[1.0]
    ),
    "groups.h5": h5,
    "clip_retrieval": clip_retrieval,
}
