"""All the numbers of a gap at once, from arrays in memory and from files of any size."""

import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file

import reference
from benchmarks import frame
from util import Embeddings, UserError, geometry
from util.measures import measure


@pytest.fixture
def arrays(rng):
    x, y = reference.pairs(rng, 60, 8, gap=1.0)
    return {"image": x, "text": y}


def test_numbers_agree_with_their_definitions(arrays):
    found = measure(Embeddings.of(arrays))
    x, y = arrays.values()
    assert found.counts == {"image": 60, "text": 60} and found.dim == 8
    assert (found.row("matched_cosine")["n"], found.row("gap_distance")["n"]) == (60, 120)
    cosines, own = x.astype(float) @ y.T.astype(float), np.eye(60, dtype=bool)
    matched, unmatched = cosines[own], cosines[~own]
    within = [reference.cosines(part) for part in (x, y)]
    apart, spread = (1 - matched.mean()) / 2, np.mean([(1 - cosine.mean()) / 2 for cosine in within])
    right = {
        "gap_distance": np.linalg.norm(reference.gap(x, y)),
        "relative_gap": apart / (apart + spread),
        "matched_cosine": matched.mean(),
        "matched_std": matched.std(),
        "unmatched_cosine": unmatched.mean(),
        "unmatched_std": unmatched.std(),
        "matched_above_unmatched": (matched > np.quantile(unmatched, 0.95)).mean(),
        "alignment": (2 - 2 * matched).mean(),
    }
    assert {name: found[name] for name in right} == pytest.approx(right, abs=1e-7)
    for name, cosine in zip(arrays, within, strict=True):
        assert found["mean_cosine", name] == pytest.approx(cosine.mean(), abs=1e-7)
        assert found["uniformity", name] == pytest.approx(np.log(np.exp(4 * cosine - 4).mean()), abs=1e-6)
    assert found["separability"] > 0.9 and found.row("separability")["n"] == 60
    assert measure(Embeddings.of(arrays), most=10).row("separability")["n"] == 10


def test_the_card_is_of_paths_arrays_names_and_tensors_alike(arrays, tmp_path):
    path, expected = Embeddings.of(arrays).save(tmp_path / "mine.npz"), measure(arrays)
    tensors = {name: torch.from_numpy(rows) for name, rows in arrays.items()}
    right = expected.to_frame().drop(columns="file")
    for given in ([path], [tensors], [Embeddings.load(path)]):
        pd.testing.assert_frame_equal(measure(*given).to_frame().drop(columns="file"), right, atol=1e-7)
    assert measure(*arrays.values())["mean_cosine", "y"] == expected["mean_cosine", "text"]
    same = np.random.default_rng(1).normal(size=(60, 8))  # their matched cosine is above 1 by a rounding
    assert measure(same, same)["alignment"] >= 0 and "-0.0000" not in str(measure(same, same))
    alone = measure(arrays["text"])
    assert [row["measure"] for row in alone.rows] == ["mean_cosine", "uniformity"]
    assert str(alone).startswith("x (60 x 8)")
    assert "mean cosine            image 0." in str(expected) and "<table" in expected._repr_html_()
    for key, words in ((("mean_cosine",), "mean_cosine: 2 rows"), (("median",), "median: 0 rows of this card")):
        with pytest.raises(UserError, match=words):
            expected[key]
    with pytest.raises(UserError, match="measure takes embeddings, paths"):
        measure()


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".safetensors"])
def test_a_file_of_any_format_and_not_normalised_gives_the_same_numbers(arrays, tmp_path, suffix):
    path, scaled = tmp_path / f"mine{suffix}", {"image": 5 * arrays["image"], "text": arrays["text"] / 10}
    write = {".npy": lambda: np.save(path, np.stack(list(scaled.values()))), ".npz": lambda: np.savez(path, **scaled)}
    write.get(suffix, lambda: save_file(scaled, path))()
    stored = Embeddings.load(path, unit=False)
    assert isinstance(stored.modalities["image"], np.memmap) or suffix != ".npy"
    found, expected = measure(stored), measure(Embeddings.of(arrays))
    for name in ("gap_distance", "relative_gap"):
        assert found[name] == pytest.approx(expected[name], abs=1e-7)
    assert found["separability"] == expected["separability"]
    assert found.norms["image"] == pytest.approx((5, 5)) and "rows are made unit-norm here" in found.notes[0]


def test_several_captions_of_an_image_count_each_row_once(rng):
    x, y = reference.cone(rng, 6, 5), reference.cone(rng, 18, 5)
    pairs = np.array([[i // 3, i] for i in range(18)])
    found = measure(Embeddings.of({"image": x, "text": y}, pairs))
    assert found.row("matched_cosine")["n"] == 18 and found.counts["image"] == 6
    assert found["mean_cosine", "image"] == pytest.approx(geometry.mean_cosine(x), abs=1e-7)
    assert found["matched_cosine"] == pytest.approx(geometry.matched_cosine(np.repeat(x, 3, 0), y), abs=1e-7)


def test_unpaired_modalities_have_no_matched_cosine_and_no_relative_gap(rng):
    found = measure(Embeddings.of({"image": reference.cone(rng, 6, 5), "text": reference.cone(rng, 9, 5)}))
    for name in ("matched_cosine", "relative_gap"):
        assert (found[name], found.row(name)["n"], found.row(name)["note"]) == (None, 0, "not paired")
    assert found.row("separability")["n"] == 6 and "matched cosine         not paired" in str(found)


def test_a_value_that_is_not_finite_is_named_with_its_file(arrays, tmp_path):
    arrays["text"][7, 2] = np.nan
    np.save(tmp_path / "bad.npy", np.stack(list(arrays.values())))
    with pytest.raises(UserError, match=r"bad.npy: text: row 7 holds a value that is not finite"):
        measure(Embeddings.load(tmp_path / "bad.npy", unit=False))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_large_file_is_measured_in_a_part_of_its_own_memory(tmp_path, rng):
    np.save(tmp_path / "small.npy", rng.normal(size=(2, 300, 64)).astype(np.float32))
    large = np.lib.format.open_memmap(tmp_path / "large.npy", "w+", np.float32, (2, 120_000, 128))  # 123 MB
    large[:] = rng.normal(size=(2, 1, 128)) + rng.normal(size=(120_000, 1)) * rng.normal(size=(1, 128))
    large.flush()
    del large
    megabytes, _ = frame.in_fresh_process(measure, (tmp_path / "small.npy",), (tmp_path / "large.npy",))
    assert megabytes < 60
