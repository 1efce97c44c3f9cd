"""Files as the libraries of other people write them, and each kind of damage, refused in one line that names it.

Cases 07 to 09 of the files that people keep are among them.
"""

import io
import json
import shutil
import sys
import tracemalloc
import zipfile
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

import embedding_files as made
from embedding_files import FRAME, IDS, LISTS, ORDER, PAIR, UNIT, D, N, X, Y
from util import Embeddings, UserError, commands
from util.embeddings import open_sets
from util.measures import measure
from util.numerics.arrays import Parts

IGNORED = {"dict.pt": "model.a", "outputs.npz": "logits_per_image", "groups.h5": "none", "beside.npz": "temperature"}
IGNORED |= dict.fromkeys(("groups.parquet", "half.parquet", "double.parquet", "file.arrow", "stream.arrow"), "tokens")


@pytest.mark.parametrize("name", made.WRITERS)
def test_files_of_other_libraries_give_the_same_numbers_with_what_stands_beside_the_vectors(tmp_path, name, capsys):
    files = made.WRITERS[name](tmp_path / name) or [tmp_path / name]
    found = Embeddings.load(*files)
    assert found.names == ("image", "text") and found.paired_by_row
    half = "half" in name or name in ("file.arrow", "clip_retrieval")
    for rows, unit in zip(found.modalities.values(), UNIT, strict=True):
        assert rows == pytest.approx(unit, abs=2e-3 if half else 2e-6)
    if name in ("pandas.parquet", "numpy_strings.csv", "lists.tsv", "columns.json", "lines.jsonl"):
        assert found.beside["ids"].tolist() == IDS
        assert found.beside["captions"][7] == 'a "7", b'
    if name.startswith("datasets"):
        assert found.beside["classes"].tolist() == ["cat", "dog"] and found.labels[ORDER].tolist() == [0, 1] * 20
    if name == "beside.npz":
        assert found.beside.keys() == {"ids", "logit_scale", "classes"}
    commands.main(["measure", "--json", *map(str, files)])
    said = capsys.readouterr()
    card = {row["measure"]: row["value"] for row in json.loads(said.out) if row["last"] == "text"}
    gap = np.linalg.norm(UNIT[0].mean(0) - UNIT[1].mean(0))
    expected = {"gap_distance": gap, "matched_cosine": (UNIT[0] * UNIT[1]).sum(1).mean()}
    assert {key: card[key] for key in expected} == pytest.approx(expected, abs=1e-3 if half else 1e-6)
    assert (f"not used: {IGNORED[name]}" in said.err) if name in IGNORED else "not used:" not in said.err


def test_one_modality_alone_is_read_by_shard_and_from_a_cache_without_a_header(tmp_path):
    made.mteb(tmp_path / "images")
    made.clip_retrieval(tmp_path / "cr")
    shutil.rmtree(tmp_path / "cr" / "text_emb")
    for path in ("images", "cr"):
        (tmp_path / path / "README.md").write_text("")
        found = Embeddings.load(tmp_path / path)
        assert found.source["notes"][0] == f"{tmp_path / path}: not used: README.md"
        assert found.modalities["image"] == pytest.approx(UNIT[0], abs=2e-3) and len(found.names) == 1


def test_one_model_of_datacomp_is_chosen_by_columns_and_its_scores_agree_within_half_precision(tmp_path):
    made.datacomp(tmp_path / "dc")
    found = Embeddings.load(tmp_path / "dc", columns={"image": "l14_img", "text": "l14_txt"})
    assert found.dim == 2 * D and found.beside["ids"].tolist() == IDS
    assert "b32_img" in found.source["notes"][0]


def test_ids_that_are_neither_numbers_nor_strings_are_named_and_never_saved(tmp_path):
    FRAME.assign(id=[["a"]] * N).to_parquet(tmp_path / "a.parquet")
    found = Embeddings.load(tmp_path / "a.parquet")
    assert "ids" not in found.beside and "not used: id" in found.source["notes"][0]
    assert Embeddings.load(found.save(tmp_path / "b.npz")).beside["captions"][7] == 'a "7", b'


def test_a_data_set_of_the_hub_is_read(monkeypatch):
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda name, split: asked.append((name, split)) or made.data_set())
    assert Embeddings.load("hub:me/mine:test").names == ("image", "text") and asked == [("me/mine", "test")]


def test_files_with_ids_in_another_order_give_the_same_pairs(tmp_path):
    FRAME[["id", "image_embeds"]].to_parquet(tmp_path / "image.parquet")
    FRAME[["id", "txt_emb"]].iloc[ORDER].to_csv(tmp_path / "text.csv")
    LISTS[["id", "txt_emb"]].loc[np.repeat(np.arange(1, N), 2)].to_json(tmp_path / "texts.json", orient="records")
    found = Embeddings.load(tmp_path / "text.csv", tmp_path / "image.parquet")
    for rows, unit in zip(found.paired(), UNIT, strict=True):
        assert rows[found.pairs[:, 0].argsort()] == pytest.approx(unit, abs=2e-6)
    assert "40 pairs matched by ids" in found.source["notes"][-1]
    many = Embeddings.load(tmp_path / "image.parquet", tmp_path / "texts.json")
    assert many.pairs.tolist() == [[1 + k // 2, k] for k in range(2 * N - 2)]
    assert "without a partner: 1 of 40 image, 0 of 78 text" in many.source["notes"][0]
    FRAME[["txt_emb"]].assign(id="x" + FRAME["id"]).to_parquet(tmp_path / "other_text.parquet")
    with pytest.raises(UserError, match="id and id of image and text have 0 values in common"):
        Embeddings.load(tmp_path / "image.parquet", tmp_path / "other_text.parquet")


IN_ANOTHER_ORDER = {"image": X, "text": Y[ORDER], "image_ids": np.array(IDS), "txt_ids": np.array(IDS)[ORDER]}


def test_ids_of_each_modality_in_one_file_tell_its_pairs(tmp_path):
    path, right = tmp_path / "one.npz", np.stack([ORDER, np.arange(N)], 1).tolist()
    np.savez(path, **IN_ANOTHER_ORDER)
    found = Embeddings.load(path)
    assert found.pairs.tolist() == sorted(right) and found.beside["ids"].tolist() == IDS
    assert "40 pairs matched by ids" in found.source["notes"][0]
    np.savez(path, **IN_ANOTHER_ORDER | {"txt_ids": np.arange(N)})
    found = Embeddings.load(path)
    assert found.pairs is None
    assert "image_ids and txt_ids of image and text have 0 values in common" in str(found.source["notes"])
    np.savez(path, **IN_ANOTHER_ORDER | {"txt_ids": np.array([*IDS[1:], "other"])})
    with pytest.raises(UserError, match=r"have 39 values in common, and do not tell .*; mend them, or store"):
        Embeddings.load(path)
    np.savez(path, **IN_ANOTHER_ORDER, pairs=right)
    assert Embeddings.load(path).pairs.tolist() == right
    np.savez(tmp_path / "image.npz", image=X, image_ids=IDS)
    np.savez(tmp_path / "text.npz", text=Y[ORDER], text_ids=np.array(IDS)[ORDER])
    both = Embeddings.load(tmp_path / "text.npz", tmp_path / "image.npz")
    assert both.pairs.tolist() == sorted(right) and len(both.source["notes"]) == 1


def test_files_of_a_set_take_the_columns_that_they_have_and_unused_ones_are_refused(tmp_path):
    pd.DataFrame({"emb": [*X], "more": [*Y]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"emb": [*Y]}).to_parquet(tmp_path / "b.parquet")
    files = [f"image={tmp_path}/a.parquet", f"text={tmp_path}/b.parquet"]
    found = Embeddings.load(*files, columns={"image": "emb", "text": "emb"})
    assert found.modalities["text"] == pytest.approx(UNIT[1], abs=1e-6)
    both = open_sets([tmp_path / "a.parquet", made.jsonl_of(tmp_path)], {"image": "emb", "text": "more"})
    assert [list(one.modalities) for one in both.values()] == [["image", "text"]] * 2
    with pytest.raises(UserError, match="holds image, text; files of a set hold one modality each"):
        open_sets([f"image={made.jsonl_of(tmp_path)}", tmp_path / "b.parquet"])
    with pytest.raises(UserError, match="one for image and text; name each file: image=FILE text=FILE"):
        Embeddings.load(tmp_path / "a.parquet", files[1], columns={"image": "emb", "text": "emb"})
    with pytest.raises(UserError, match="--columns audio=emb: no such column"):
        Embeddings.load(*files, columns={"image": "emb", "text": "emb", "audio": "emb"})


POOLS = []
"""Pools that arrays may still lie in: one that is gone takes the process with it."""


@pytest.mark.parametrize("kind", ["parquet", "folder"])
def test_large_files_are_read_in_the_memory_of_a_block(tmp_path, kind, rng):
    """120 MB of vectors, in one row group of a table or eight parts of a folder, by the count of Python and Arrow."""
    rows = rng.standard_normal((120_000, 128)).astype(np.float32)
    if kind == "parquet":
        flat = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 128)
        pq.write_table(pa.table({"image": flat, "text": flat}), tmp_path / "big", row_group_size=100_000)
    else:
        for name in ("img_emb", "text_emb"):
            (tmp_path / "big" / name).mkdir(parents=True)
            for k, part in enumerate(np.array_split(rows, 8)):
                np.save(tmp_path / "big" / name / f"{name}_{k}.npy", part)
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    POOLS.append(pool)
    pa.set_memory_pool(pool)
    tracemalloc.start()
    stored = Embeddings.load(tmp_path / "big", unit=False)
    assert measure(stored, most=100)["matched_cosine"] == pytest.approx(1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    pa.set_memory_pool(before)
    assert peak < 45e6 and pool.max_memory() < 30e6  # modules that are imported meanwhile count too
    assert pool.max_memory() > 1e6 or kind == "folder"
    assert isinstance(stored.modalities["image"], Parts)
    some = np.array([119_999, 5, 100_000])
    assert (stored.modalities["image"][some] == rows[some]).all()
    assert (stored.modalities["text"][99_990:100_010:3] == rows[99_990:100_010:3]).all()


def rows_of(path, change, suffix_text=""):
    told = [{"image": x.tolist(), "text": y.tolist()} for x, y in zip(X, Y, strict=True)]
    change(told)
    path.write_text("\n".join(map(json.dumps, told)) + suffix_text)


def late_page(path):
    table = made.table_of().drop_columns("tokens")
    pq.write_table(table, path, row_group_size=10, compression="none", use_dictionary=False)
    data, start = bytearray(path.read_bytes()), pq.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)


def cut(write, bytes_less):
    def damage(path):
        write(path)
        path.write_bytes(path.read_bytes()[:-bytes_less])

    return damage


def overwritten(write, first, last):
    def damage(path):
        write(path)
        data = bytearray(path.read_bytes())
        data[first:last] = b"\xff" * (last - first)
        path.write_bytes(data)

    return damage


def saved_pair(path):
    Embeddings.of({"image": X, "text": Y}).save(path.with_suffix(path.suffix.lower())).rename(path)


def header(*shape):
    """What a .npy of this shape begins with, whatever follows."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue()


def member(path, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("image.npy", content)


def folder(*names, wide=""):
    """A writer of a folder with equal tables under these names, whatever the suffix; ``wide`` has a column more."""

    def write(path):
        path.mkdir()
        for name in names:
            pd.DataFrame({"image": [*X]} | ({"more": 1} if name == wide else {})).to_parquet(path / name)

    return write


INFINITE = np.where(np.arange(N)[:, None] == 33, np.inf, X)
BAD = {
    "absurd.npz": (lambda path: member(path, header(10**13, 512)), "not readable"),
    "absurd.npy": (lambda path: path.write_bytes(header(2, 10**9, 512)), "not readable"),
    "deflate.npz": (
        overwritten(lambda path: member(path, header(N, D) + X.tobytes() * 9), 40, 60), "not readable"),
    "empty_member.npz": (lambda path: member(path, b""), "image is no array"),
    "header.npy": (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\x0a\x00((((((((((" + bytes(64)), "not readable"),
    "pickled.npy": (lambda path: np.save(path, np.array([{"a": 1}]), allow_pickle=True), "not readable"),
    "object.npz": (lambda path: np.savez(path, image=np.array([None]), text=X), "image holds objects, which nothing"),
    "metadata.safetensors": (
        lambda path: save_file({"image": torch.eye(4)}, path, {"modality_gap": '{"source": [1]}'}), "metadata"),
    "cut.npy": (cut(saved_pair, 40), "not readable"),
    "cut.npz": (cut(saved_pair, 40), "not readable"),
    "cut.safetensors": (cut(saved_pair, 40), "not readable"),
    "cut.NPY": (cut(saved_pair, 40), "not readable as .npy"),
    "corrupt.npy": (overwritten(saved_pair, 2, 30), "not readable"),
    "corrupt.safetensors": (overwritten(saved_pair, 2, 30), "not readable"),
    "empty.npy": (lambda path: path.write_bytes(b""), "the file is empty"),
    "one_row.npy": (lambda path: np.save(path, X[0]), r"no arrays \(rows, width\) of numbers; it holds .* \(6,\)"),
    "no_rows.npy": (lambda path: np.save(path, np.empty((2, 0, 4))), "needs at least 1 rows"),
    "unknown.txt": (lambda path: path.write_text("1,2"), "unknown format .txt"),
    "nowhere.npy": (lambda path: None, "no such file; expected embeddings as .npy"),
    "nothing": (Path.mkdir, "nothing: a folder of no known layout; it holds nothing; .* known are img_emb/"),
    "plain": (folder("images.npy", "images.parquet", "labels.csv", "texts.npy"),
     "holds images.npy, images.parquet, labels.csv, texts.npy; name its files, image=.*/images.npy text=.*/texts.npy;"),
    "no_dc": (folder("images.npy", "labels.npy", "mine.npz", "texts.npy"), "image=.*/images.npy text=.*/texts.npy"),
    "alike": (folder("images.parquet", "texts.parquet"), "image=.*/images.parquet text=.*/texts.parquet"),
    "unlike": (folder("a.parquet", "b.parquet", wide="b.parquet"), "its columns .* name both: image=FILE"),
    "parted": (folder("test-0.parquet", "train-0.parquet"), "holds the splits test, train; give each a folder"),
    "a.pt": (lambda path: torch.save(torch.nn.Linear(2, 2), path), "holds more than tensors .*nothing unpickles"),
    "numpy.pt": (lambda path: torch.save({"image": X, "text": Y}, path), "holds more than tensors"),
    "script.pt": (lambda path: torch.jit.script(torch.nn.Linear(2, 2)).save(path), "TorchScript"),
    "cut.pt": (cut(lambda path: torch.save(PAIR, path), 200), "not readable as .pt"),
    "list.pt": (lambda path: torch.save([*PAIR.values()], path), "must have two axes"),
    "a.pkl": (lambda path: pd.to_pickle(X, path), "a pickle, and nothing is unpickled"),
    "cut.parquet": (cut(FRAME.to_parquet, 50), "not readable as .parquet"),
    "page.parquet": (late_page, "page.parquet"),
    "infinite.parquet": (
        lambda path: pq.write_table(made.table_of("float16", INFINITE).drop_columns("tokens"), path, row_group_size=7),
        "row 33"),
    "empty.parquet": (FRAME[:0].to_parquet, "the table has no rows"),
    "ragged.parquet": (lambda path: pd.DataFrame({"image": [[1.0, 2], [1]], "text": [[1.0, 2]] * 2}).to_parquet(path),
     "row 1 has 1 numbers where others have 2"),
    "label.csv": (
        lambda path: path.write_text("image_0,image_1,text_0,text_1,label\n1,2,3,4,a\n1,2,3,4,\n"), "row 1 has none"),
    "gap.parquet": (lambda path: pd.DataFrame({"image": [None, [1.0, 2]], "text": [[1.0, 2]] * 2}).to_parquet(path),
     "image: row 0 has no vector"),
    "cut.arrow": (cut(made.arrow, 300), "cut.arrow"),
    "ragged.jsonl": (lambda path: rows_of(path, lambda told: told[35]["image"].pop()),
     "image: row 35 has 5 numbers where"),
    "none.jsonl": (lambda path: rows_of(path, lambda told: told[35].update(text=None)), "text: row 35 has no vector"),
    "cut.jsonl": (lambda path: rows_of(path, list, '\n{"image": [1'), "not readable as .jsonl"),
    "ragged.json": (lambda path: path.write_text('{"image": [[1, 2], [3]], "text": [[1, 2], [3, 4]]}'),
     "image: row 1 has 1 numbers"),
    "text.json": (lambda path: path.write_text('{"image": "a"}'), r"no arrays \(rows, width\) of numbers"),
    "short.csv": (lambda path: path.write_text("image_0,image_1,text_0,text_1\n1,2,3,4\n1,2,3\n"),
     "Expected 4 columns, got 3"),
    "gap.csv": (lambda path: path.write_text("image_0,image_1,text_0,text_1\n1,2,3,4\n1,,3,4\n"),
     "image: row 1 lacks a number in column 'image_1'"),
    "dots.csv": (lambda path: path.write_text('image,text\n[1 2],[1 2]\n[1 ... 2],[3 4]\n'),
     "image: row 1 is no list of numbers; numpy shortens"),
    "twice.csv": (lambda path: path.write_text("image_0,image_0\n1,2\n"), "several columns are called 'image_0'"),
    "zero.csv": (lambda path: path.write_text("image_0,image_1,text_0,text_1\n1,2,3,4\n0,0,3,4\n"),
     "image: row 1 is zero"),
    "splits": (lambda path: made.saved(datasets.DatasetDict(a=made.data_set(), b=made.data_set()), path),
     "its splits are a, b; name one"),
    "dc": (made.datacomp, "b32_img and l14_img are both image; name them"),
    "shuffled": (lambda path: made.datacomp(path, shuffled=True),
     r"b32: row 20 \(00000001.npz, row 0\): the score of the table"),
    "half_dc": (lambda path: made.datacomp(path, missing=True), "00000001.parquet: this part is missing"),
    "mteb": (lambda path: made.mteb(path, rows=30), "does not hold the 40 rows of index.json"),
    "cr": (lambda path: made.clip_retrieval(path, made.one_value(np.inf)), r"row 23 \(img_emb/img_emb_02.npy, row 3\)"),
    "zero": (lambda path: made.clip_retrieval(path, made.one_value(0, slice(None))),
     r"image: row 23 \(img_emb/img_emb_02.npy, row 3\) is zero"),
    "cut": (lambda path: made.clip_retrieval(path, cut(lambda part: None, 30)), "img_emb_02.npy: this part is damaged"),
    "void": (lambda path: made.clip_retrieval(path, lambda part: part.write_bytes(b"")),
     "img_emb_02.npy: this part is damaged"),
    "counts": (lambda path: made.clip_retrieval(path, lambda part: np.save(part, X[:9])),
     "part 2 differs: img_emb 9 rows, text_emb 10 rows"),
    "lacks": (lambda path: made.clip_retrieval(path, lambda part: part.unlink()), "part 2 differs: img_emb no rows"),
    "width": (lambda path: made.clip_retrieval(path, lambda part: np.save(part, Y[:10, :5])),
     "img_emb: rows of its parts have the shapes"),
}  # fmt: skip


@pytest.mark.filterwarnings("error", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_one_line_that_names_them(tmp_path, name, capfd):
    damage, words = BAD[name]
    damage(tmp_path / name)
    capfd.readouterr()
    for load in (Embeddings.load, lambda path: measure(Embeddings.load(path, unit=False))):
        with pytest.raises(UserError, match=words) as caught:
            load(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert "".join(capfd.readouterr()) == ""


COMMANDS = {
    "measure": ["measure", "{}"],
    "shift": ["shift", "{}", "--amount", "0.1", "--output", "{}.out.npz"],
    "fit": ["fit", "{}", "--kind", "centring", "--output", "{}.out.safetensors"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "name", ["numpy.pt", "page.parquet", "infinite.parquet", "dots.csv", "cr", "cut", "shuffled", "splits"]
)
def test_bad_files_stop_every_command_before_it_writes(tmp_path, name, command, capfd):
    BAD[name][0](tmp_path / name)
    before = sorted(tmp_path.rglob("*"))
    capfd.readouterr()
    with pytest.raises(SystemExit) as stop:
        commands.main([word.format(tmp_path / name) for word in COMMANDS[command]])
    out, err = capfd.readouterr()
    assert stop.value.code == 2 and not out and len(err.splitlines()) == 1 and name in err
    assert sorted(tmp_path.rglob("*")) == before


def test_hdf5_without_h5py_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(UserError, match=r"needs h5py; pip install 'modality-gap\[h5\]'"):
        Embeddings.load(tmp_path / "a.h5")
