"""Sums: parts add up to the whole, bit for bit the same by any engine, whatever is stopped, full or damaged."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import reference
from refusals import refuses
from scripts import REPOSITORY
from util import Embeddings, UserError
from util.measures import measure, merged
from util.measures import sums as module
from util.measures.commands import Measure, Merge
from util.measures.sums import Sums, sums
from util.numerics import engines


def embeddings(rng, n, k=2, d=4, pairs=False, labels=False):
    """k modalities of n rows, or of n to n + k - 1 rows with pairs in any order, some rows in several or none."""
    modalities = {
        name: rng.normal(size=(n + pairs * at, d)) + at for at, name in enumerate(("image", "audio", "text")[3 - k :])
    }
    joined = np.stack([rng.integers(0, len(rows), n) for rows in modalities.values()], 1) if pairs else None
    classes = rng.choice(["b", "a", "c"], n) if labels else None
    return Embeddings.of(modalities, joined, classes, unit=False)


def same(one, other):
    """Whether two sums have the same bits."""
    told = all(getattr(one, name) == getattr(other, name) for name in ("names", "classes", "copies"))
    both = [(part, other.arrays[name]) for name, part in one.arrays.items()]
    kinds = [a.dtype == b.dtype and np.array_equal(a, b) for a, b in both]
    return told and one.arrays.keys() == other.arrays.keys() and all(kinds)


@settings(max_examples=12, deadline=None, derandomize=True, phases=[Phase.generate])
@given(
    seed=st.integers(0, 10_000), n=st.integers(2, 90), k=st.integers(1, 3), pairs=st.booleans(), labels=st.booleans()
)
def test_sums_are_those_of_rows_and_of_parts(seed, n, k, pairs, labels):
    rng, pairs = np.random.default_rng(seed), pairs and k > 1
    one, other = (embeddings(rng, m, k, pairs=pairs, labels=labels) for m in (n, n + 7))
    whole = sums(one) + sums(other)
    found = whole.totals
    units = [[reference.unit(rows) for rows in each.modalities.values()] for each in (one, other)]
    for a, parts in enumerate(zip(*units, strict=True)):
        rows, stored = (np.concatenate(each) for each in (parts, [e.modalities[one.names[a]] for e in (one, other)]))
        assert found.n[a] == len(rows) and found.total[a] == pytest.approx(rows.sum(0))
        assert found.raw[a] == pytest.approx(stored.sum(0)) and found.squares[a] == pytest.approx((stored**2).sum())
        assert found.second[a] == pytest.approx(rows.T @ rows)
    for c, (a, b) in enumerate(combinations(range(k), 2)):
        names, x, y = (one.names[a], one.names[b]), [], []
        for each, unit in zip((one, other), units, strict=True):
            joined = each.pairs_between(names)
            x.append(unit[a][joined[:, 0]])
            y.append(unit[b][joined[:, 1]])
        x, y = np.concatenate(x), np.concatenate(y)
        cosines = (x * y).sum(1)
        assert found.pairs[c, :3] == pytest.approx((len(x), cosines.sum(), (cosines**2).sum()), abs=1e-9)
        assert found.cross[c] == pytest.approx(x.T @ y, abs=1e-9)
    for place, label in enumerate(whole.classes):
        rows = [unit[0][each.labels == label] for each, unit in zip((one, other), units, strict=True)]
        assert found.by_class[place, 0] == pytest.approx(np.concatenate(rows).sum(0))
    left = sum(each.n for each in whole.left_out(True))
    assert left == pytest.approx(9 * found.n) and whole.sizes(False).sum() == found.n.sum()
    lengths = np.concatenate([np.linalg.norm(each.modalities["text"], axis=1) for each in (one, other)])
    assert whole.arrays["norms"][-1] == pytest.approx((-lengths.min(), lengths.max()))


def test_what_is_saved_comes_back_bit_for_bit_and_merges_to_the_card_of_the_whole(tmp_path, rng):
    given_all = embeddings(rng, 120, 3, labels=True)
    halves = [
        replace(
            given_all, modalities={k: v[half] for k, v in given_all.modalities.items()}, labels=given_all.labels[half]
        )
        for half in (slice(0, 50), slice(50, 120))
    ]
    for place, half in enumerate(halves):
        made = measure(half, save=tmp_path / f"{place}.npz").sums
        assert same(Sums.load(tmp_path / f"{place}.npz"), made)
    found, right = merged(tmp_path / "0.npz", tmp_path / "1.npz"), measure(given_all)
    assert {row["measure"] for row in right.rows} - {row["measure"] for row in found.rows} == {
        "matched_above_unmatched", "score_overlap", "uniformity", "mutual_knn", "separability", "hubness_skewness"
    }  # fmt: skip
    for key, value in found.values.items():
        assert value == pytest.approx(right.values[key], abs=1e-9), key
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.npz", "1.npz"]


def test_what_is_read_is_not_written_over_and_the_same_sums_count_once(tmp_path, rng):
    path, saved = tmp_path / "mine.npz", tmp_path / "sums.npz"
    np.savez(path, image=rng.normal(size=(9, 4)), text=rng.normal(size=(9, 4)))
    with pytest.raises(UserError, match=r"mine.npz: is read here; choose another file"):
        measure(path, save=path)
    measure(path, save=saved)
    with pytest.raises(UserError, match="hold the same sums; leave one out"):
        merged(saved, saved)
    measure(path, columns={"image": "text", "text": "image"}, save=tmp_path / "other.npz")
    for work in (Merge(sums=(saved, tmp_path / "other.npz"), save=saved), Measure(embeddings=(f"{path}",), csv=path)):
        with pytest.raises(UserError, match=r"(sums|mine).npz: is read here; choose another file to write"):
            work()
    assert "nobody looked across parts" in " ".join(merged(saved, tmp_path / "other.npz").notes)


def test_a_full_disk_leaves_nothing(tmp_path, rng):
    """A file of sums is larger than what this process may write."""
    code = "import resource, sys, numpy as np; from util import measure; x = np.eye(60, 64) + 1"
    code += (
        "; measure(x, x + 1, only=['cka'], intervals=False); resource.setrlimit(resource.RLIMIT_FSIZE, (100_000,) * 2)"
    )
    code += "; import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)"
    code += "; measure(x, x + 1, only=['cka'], intervals=False, save=sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "s.npz"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert "UserError" in done.stderr.splitlines()[-1] and "could not be written" in done.stderr
    assert not list(tmp_path.iterdir())


def damaged(tmp_path, **changes):
    """A file of sums with other arrays."""
    whole = sums(embeddings(np.random.default_rng(0), 9))
    with np.load(whole.save(tmp_path / "s.npz")) as file:
        arrays = {**file, **changes}
    np.savez(tmp_path / "s.npz", **{name: value for name, value in arrays.items() if value is not None})
    return tmp_path / "s.npz"


@pytest.mark.parametrize(
    "changes",
    [{"about": None}, {"n": None}, {"total": np.zeros((40, 2, 5))}, {"total": np.full((40, 2, 4), np.nan)},
     {"about": np.array('{"version": 0}')}, {"about": np.array([{}], dtype=object)}, {"cross": None},
     {"second": np.zeros((10, 2, 4, 4), complex)}],
)  # fmt: skip
def test_damaged_or_foreign_files_of_sums_are_refused(changes, tmp_path):
    with pytest.raises(UserError, match=r"s.npz: no sums of modality-gap measure --save \(") as said:
        merged(damaged(tmp_path, **changes))
    assert "\n" not in str(said.value)
    (tmp_path / "s.npz").write_bytes(damaged(tmp_path).read_bytes()[:900])
    with pytest.raises(UserError, match="no sums of modality-gap measure"):
        merged(tmp_path / "s.npz")


A = sums(embeddings(np.random.default_rng(0), 9))


def test_copies_add_up_where_somebody_looked():
    for copied, both in (((3, 4), (4, 6)), ((-1, -1), (-1, -1))):
        assert (replace(A, copies=(1, 2)) + replace(A, copies=copied)).copies == both


test_sums_that_do_not_add_up_are_refused = refuses(
    (
        lambda: A + sums(embeddings(np.random.default_rng(0), 9, d=5)),
        "of 4 columns and of .* of 5 columns do not add up",
    ),
    (lambda: A + sums(embeddings(np.random.default_rng(0), 9, k=3)), "do not add up; merge parts of one model"),
    (lambda: A + sums(embeddings(np.random.default_rng(0), 9), second=False), "some of these sums lack second moments"),
    (lambda: A + sums(embeddings(np.random.default_rng(0), 9, labels=True)), "lack second moments, or labels"),
    (lambda: merged(), "name files of sums"),
    (lambda: merged("nowhere.npz"), "nowhere.npz: cannot be read"),
    (lambda: [*engines.run(max, [(1, 2)], "nonsense")], "no engine 'nonsense'; choose dask://HOST:PORT, ray or spark"),
    (lambda: [*engines.run(max, [(1, 2)], "dask")], "no engine 'dask'"),
)


def test_a_value_that_is_not_finite_in_a_late_row_is_named_with_its_file(tmp_path):
    rows = np.lib.format.open_memmap(tmp_path / "bad.npy", "w+", np.float32, (2, 30_000, 4))
    rows[:] = 1 + np.arange(4)
    rows[1, 28_765, 2] = np.nan
    rows.flush()
    with pytest.raises(UserError, match=r"bad.npy: text: row 28765 holds a value that is not finite"):
        measure(tmp_path / "bad.npy")


def test_any_number_of_threads_gives_the_same_bits(rng, monkeypatch):
    given_all, found = embeddings(rng, 9000, 2, 16, pairs=True, labels=True), []
    monkeypatch.setattr(module, "ROWS", 16)
    monkeypatch.setattr(module, "MOST_DEALT", 100)
    for threads in (1, 2, 4):
        monkeypatch.setattr(engines.os, "cpu_count", lambda threads=threads: threads)
        found.append(sums(given_all))
    assert same(*found[:2]) and same(*found[1:])
    assert 150 < found[0].arrays["n"][:, 0].min() <= found[0].arrays["n"][:, 0].max() < 300


RUN = """
import sys, time
from util import measures
from util.measures import sums
path, column, wait = sys.argv[1:]
part = sums._part
def slow(*task):
    time.sleep(float(wait))
    print("task", flush=True)
    return part(*task)
sums._part, sums.ROWS = slow, 10
columns = {"image": column, "text": "c"}
measures.measure(path, only=["cka"], intervals=False, save=path + ".sums.npz", columns=columns)
"""


def test_a_run_that_is_killed_goes_on_where_it_was_with_the_same_bits(tmp_path, rng, monkeypatch):
    path, saved = tmp_path / "mine.npz", tmp_path / "mine.npz.sums.npz"
    np.savez(path, **{name: rng.normal(size=(400, 4)) for name in "abc"})

    def start(column, wait):
        words = [sys.executable, "-c", RUN, str(path), column, str(wait)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)

    process = start("a", 0.1)
    for _ in range(12):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (folder,) = tmp_path.glob("*.parts")
    assert (kept := len(list(folder.rglob("*.npz")))) > 5 and not saved.exists()
    shutil.copytree(folder, tmp_path / "of a")
    assert start("b", 0).communicate()[0].count("task") == 40, "those of another column do not count"
    saved.unlink()
    shutil.copytree(tmp_path / "of a", folder)
    next(folder.rglob("*.npz")).write_bytes(b"")
    (folder / "mine.txt").touch()
    assert start("a", 0).communicate()[0].count("task") == 41 - kept, "an empty one is made again"
    assert [path.name for path in folder.iterdir()] == ["mine.txt"], "what is not its own stays"
    columns = {"image": "a", "text": "c"}
    monkeypatch.setattr(module, "ROWS", 10)
    assert same(Sums.load(saved), measure(path, columns=columns, only=["cka"], intervals=False).sums)


@pytest.fixture
def stored(tmp_path, rng):
    n = 5 * module.ROWS
    labels = rng.integers(0, 3, n)
    np.savez(tmp_path / "x.npz", image=rng.normal(size=(n, 8)), text=rng.normal(size=(n, 8)), labels=labels)
    return str(tmp_path / "x.npz")


def slowly(path):
    time.sleep(0.1)
    return Embeddings.load(path, unit=False)


def test_two_workers_of_dask_give_the_bits_of_one_process_and_one_that_is_killed_loses_nothing(stored):
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")
    right, stopped = measure(stored, only=["cka"], intervals=False).sums, threading.Event()
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:

        def kill():
            os.kill(cluster.workers[0].pid, signal.SIGKILL)
            stopped.set()

        options = {"engine": cluster.scheduler_address.replace("tcp://", "dask://"), "reopen": partial(slowly, stored)}
        timer = threading.Timer(1, kill)
        timer.start()
        found = measure(stored, only=["cka"], intervals=False, **options)
        assert stopped.is_set() and same(found.sums, right)


def test_a_scheduler_without_workers_is_named_and_not_waited_for_without_end(stored, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")
    monkeypatch.setattr(engines, "PATIENCE", 1)
    with distributed.LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        engine = cluster.scheduler_address.replace("tcp://", "dask://")
        with pytest.raises(UserError, match=r"--engine dask://.*; is it running, with workers\?"):
            measure(stored, only=["cka"], engine=engine, reopen=partial(slowly, stored))


TORCHRUN = """
import sys
from util import measures
measures.measure(sys.argv[1], only=["cka"], intervals=False, save=sys.argv[2])
"""


def test_two_processes_of_torchrun_give_the_bits_of_one(stored, tmp_path):
    (tmp_path / "run.py").write_text(TORCHRUN)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", tmp_path / "run.py", stored]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, *words, tmp_path / "s.npz"], check=True, cwd=tmp_path, env=environment)
    assert same(Sums.load(tmp_path / "s.npz"), measure(stored, only=["cka"], intervals=False).sums)
