"""Figure 2 (c): one cone for each random initialization, in numbers and in pictures that repeat."""

import numpy as np
import pandas as pd
import pytest

import scripts
from util import UserError, cli
from util import records as record_files
from util.numerics import reduction

script = scripts.load("Figure_2_Cone_Effect/initializations.py")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path_factory.getbasetemp() / "cone_cache"))


def run(*words):
    script.main(cli.parse(script.PRESETS, "", words))


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODALITY_GAP_DATA", str(tmp_path_factory.getbasetemp() / "cone_cache"))
        run("--preset", "smoke", "--output", str(folder))
    return record_files.load(folder, "initializations")


def test_tables_have_the_contracts_columns_and_every_encoder_on_both_inputs(smoke):
    table, points = smoke.tables[""], smoke.tables["points"]
    wanted = ["encoder", "input", "n_seeds", "n", "within_cosine", "between_cosine", "explained_by_seed"]
    assert list(table.columns)[:7] == wanted
    assert list(points.columns) == ["encoder", "input", "seed", "item", "method", "x", "y"]
    assert table.groupby("encoder")["input"].nunique().eq(2).all()
    assert set(table["encoder"]) == {"ResNet-18", "CLIP ViT-B/32 vision", "CLIP ViT-B/32 text", "MLP"}
    counts = points.groupby(["encoder", "input", "method"]).size().unstack()
    assert (counts["umap"] == counts["pca"]).all()
    expected = table.set_index(["encoder", "input"])[["n_seeds", "n"]].prod(axis=1)
    assert (counts["pca"].sort_index() == expected.sort_index()).all()


def test_seeds_have_different_cones(smoke):
    table = smoke.tables[""]
    assert (table["within_cosine"] > table["between_cosine"] + 0.1).all()
    noise = table[table["input"] == "noise"].set_index("encoder")
    assert noise["within_cosine"]["CLIP ViT-B/32 vision"] > 0.9
    assert abs(noise["between_cosine"]["CLIP ViT-B/32 vision"]) < 0.1
    assert noise["explained_by_seed"]["ResNet-18"] > 0.99
    assert smoke.about["results"]["least_within_minus_between"] > 0.1


def test_the_same_run_gives_the_same_pictures_and_numbers(smoke, tmp_path):
    run("--preset", "smoke", "--output", str(tmp_path))
    for what in ("", "_points", "_spectrum"):
        first, again = (pd.read_csv(f / f"initializations{what}.csv") for f in (smoke.folder, tmp_path))
        pd.testing.assert_frame_equal(first, again, check_exact=True)
    for picture in ("initializations.png", "initializations_pca.png"):
        assert (tmp_path / picture).read_bytes() == (smoke.folder / picture).read_bytes()


def test_the_pictures_may_show_fewer_points_than_the_numbers_use(smoke, tmp_path):
    run("--preset", "smoke", "--points", "2", "--output", str(tmp_path))
    points = pd.read_csv(tmp_path / "initializations_points.csv")
    assert points.groupby(["encoder", "input", "method", "seed"]).size().eq(2).all()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "initializations.csv"), smoke.tables[""], rtol=1e-6)


def test_the_embedded_presets_share_inputs_with_the_cosines_and_keep_25_seeds():
    cosines = scripts.load("Figure_2_Cone_Effect/cosine_similarity.py").PRESETS
    for preset in ("embedded", "paper", "smoke"):
        for option in ("images", "captions", "noise", "model", "pixels", "precision", "seed"):
            assert getattr(script.PRESETS[preset], option) == getattr(cosines[preset], option)
    assert script.PRESETS["embedded"].seeds == script.PRESETS["paper"].seeds == 25


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


@pytest.mark.parametrize(
    ("words", "message"),
    [(("--seeds", "1"), "--seeds"), (("--images", "1"), "--images"), (("--points", "1"), "--points")],
)
def test_bad_input_is_one_line_and_leaves_no_file(tmp_path, words, message):
    with pytest.raises(UserError, match=message):
        run("--preset", "smoke", *words, "--output", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
