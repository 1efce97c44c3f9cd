"""Figure 2 (c): one cone for each random initialization, in numbers and in pictures that repeat."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import scripts
import smoke_runs
from util import UserError, published
from util.numerics import reduction

script = scripts.load("Figure_2_Cone_Effect/initializations.py")
VISION = "ViT-S-32-alt vision"


def test_tables_have_the_contracts_columns_and_every_encoder_on_both_inputs(smoke):
    table, points = smoke.tables[""], smoke.tables["points"]
    wanted = ["encoder", "input", "n_seeds", "n", "within_cosine", "between_cosine", "explained_by_seed"]
    assert list(table.columns)[:7] == wanted
    assert list(points.columns) == ["encoder", "input", "seed", "item", "method", "x", "y"]
    assert table.groupby("encoder")["input"].nunique().eq(2).all()
    assert set(table["encoder"]) == {"ResNet-18", VISION, VISION.replace("vision", "text"), "MLP"}
    counts = points.groupby(["encoder", "input", "method"]).size().unstack()
    assert (counts["umap"] == counts["pca"]).all()
    expected = table.set_index(["encoder", "input"])[["n_seeds", "n"]].prod(axis=1)
    assert (counts["pca"].sort_index() == expected.sort_index()).all()


def test_seeds_have_different_cones(smoke):
    table = smoke.tables[""]
    assert (table["within_cosine"] > table["between_cosine"] + 0.1).all()
    noise = table[table["input"] == "noise"].set_index("encoder")
    assert noise["within_cosine"][VISION] > 0.9
    assert abs(noise["between_cosine"][VISION]) < 0.1
    assert noise["explained_by_seed"]["ResNet-18"] > 0.99
    assert smoke.about["results"]["least_within_minus_between"] > 0.1


def test_the_same_run_gives_the_same_numbers_and_coordinates(smoke, tmp_path_factory, monkeypatch):
    """With fewer points in the pictures than the numbers use, which move no number."""
    monkeypatch.setenv("MODALITY_GAP_DATA", str(smoke_runs.cache(tmp_path_factory)))
    settings = replace(script.PRESETS["smoke"], points=2)
    first, again = (script.measure(settings, "cpu").tables for _ in range(2))
    for what, table in first.items():
        pd.testing.assert_frame_equal(table, again[what], check_exact=True)
    assert first["points"].groupby(["encoder", "input", "method", "seed"]).size().eq(2).all()
    pd.testing.assert_frame_equal(first[""], smoke.tables[""], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "n", "seeds", "judged"),
    [
        ("MSCOCO val2017", 5000, 25, True),
        ("MSCOCO val2017", 8, 25, False),
        ("MSCOCO val2017", 5000, 10, False),
        ("noise", 5000, 25, False),
    ],
)
def test_every_component_stands_beside_the_published_one_and_is_judged_on_the_papers_data_alone(name, n, seeds, judged):
    theirs = list(published.numbers(script.KEY).values())
    about = {"encoder": script.VISION, "input": name}
    ours = [number.value + (0.002 if k else 0.02) for k, number in enumerate(theirs)]
    spectrum = pd.DataFrame({**about, "component": range(1, 11), "explained_variance_ratio": ours})
    found = script.compare(spectrum, pd.DataFrame([{**about, "n": n, "n_seeds": seeds}]))
    assert [c.key for c in found] == [number.key for number in theirs]
    assert [c.agrees for c in found] == ([False] + [True] * 9 if judged else [None] * 10)
    assert all(c.own is judged for c in found)


def test_the_spectrum_is_of_all_rows_and_sums_to_at_most_one(smoke):
    for _, part in smoke.tables["spectrum"].groupby(["encoder", "input"]):
        ratios = part["explained_variance_ratio"].to_numpy()
        assert (np.diff(ratios) <= 1e-9).all()
        assert 0 < ratios.sum() <= 1 + 1e-6


def test_umap_repeats_by_seed_and_finds_the_clusters(rng):
    centres = np.repeat(rng.normal(size=(4, 16)), 12, axis=0)
    rows = centres + 0.05 * rng.normal(size=centres.shape)
    first = reduction.umap_coordinates(rows, seed=1)
    assert np.array_equal(first, reduction.umap_coordinates(rows, seed=1))
    assert not np.allclose(first, reduction.umap_coordinates(rows, seed=2), atol=0.1)
    distance = np.linalg.norm(first[:, None] - first[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (np.argmin(distance, axis=1) // 12 == np.arange(48) // 12).all()


def test_umap_of_three_rows_is_refused(rng):
    with pytest.raises(UserError, match="at least 4 rows"):
        reduction.umap_coordinates(rng.normal(size=(3, 5)))


test_bad_input_is_one_line_and_leaves_no_file = smoke_runs.refuses(
    script,
    (("--seeds", "1"), "--seeds"),
    (("--images", "1"), "--images"),
    (("--points", "1"), "--points"),
)
