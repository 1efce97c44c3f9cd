"""Figure 2 (c): one cone for each random initialization, in numbers and in pictures that repeat."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision

import reference
import scripts
import smoke_runs
from encoder_options import VISION, Gathered
from util import UserError, published

script = scripts.load("Figure_2_Cone_Effect/initializations.py")
SMALL = "ViT-S-32-alt vision"


def test_tables_have_the_contracts_columns_and_every_encoder_on_both_inputs(smoke):
    table, points = smoke.tables[""], smoke.tables["points"]
    wanted = ["encoder", "input", "n_seeds", "n", "within_cosine", "between_cosine", "explained_by_seed"]
    assert list(table.columns)[:7] == wanted
    assert list(points.columns) == ["encoder", "input", "seed", "item", "method", "x", "y"]
    inputs = table.groupby("encoder")["input"].nunique()
    assert inputs.to_dict() == {"ResNet-18": 2, SMALL: 2, "ViT-S-32-alt text": 2, "ResNet-50": 1}
    counts = points.groupby(["encoder", "input", "method"]).size().unstack()
    assert (counts["umap"] == counts["pca"]).all()
    expected = table.set_index(["encoder", "input"])[["n_seeds", "n"]].prod(axis=1)
    assert (counts["pca"].sort_index() == expected.sort_index()).all()


def test_seeds_have_different_cones(smoke):
    table = smoke.tables[""]
    assert (table["within_cosine"] > table["between_cosine"] + 0.1).all()
    noise = table[table["input"] == "noise"].set_index("encoder")
    assert noise["within_cosine"][SMALL] > 0.9
    assert abs(noise["between_cosine"][SMALL]) < 0.1
    assert noise["explained_by_seed"]["ResNet-18"] > 0.99
    assert smoke.about["results"]["least_within_minus_between"] > 0.1


def one_encoder(values, name="MSCOCO val2017", n=5000, seeds=25, nearest=1.0):
    """Comparisons of the vision tower with these singular values."""
    about = {"encoder": VISION, "input": name}
    values = np.asarray(values, float)
    spectrum = {"component": range(1, len(values) + 1), "singular_value": values}
    spectrum["explained_variance_ratio"] = values**2 / (values**2).sum()
    table = pd.DataFrame([{**about, "n": n, "n_seeds": seeds, "nearest_own_cone": nearest}])
    return {row.key: row for row in script.compare(table, pd.DataFrame({**about, **spectrum}))}


@pytest.mark.parametrize(
    "name, n, judged", [("MSCOCO val2017", 5000, True), ("MSCOCO val2017", 8, False), ("MSCOCO train2017", 5000, False)]
)
def test_spectra_stand_beside_the_published_ones_and_are_judged_on_the_papers_data_alone(name, n, judged):
    theirs = published.values()["figure_2c"]["singular_values"][VISION]
    found = one_encoder(theirs, name, n)
    keys = [key for key in published.numbers(script.KEY) if key.endswith("vision") or "_vision." in key]
    assert len(keys) == 13 and set(found) == {*keys, "figure_2c.drop", "figure_2c.separate.real"}
    assert all(row.own is judged for row in found.values())
    assert found["figure_2c.drop"].ours == "after component 24, 1.46 times" and found["figure_2c.drop"].agrees
    assert found["figure_2c.ratio_24_to_25.vision"].agrees is (True if judged else None)
    first = found["figure_2c.pca_explained_variance_ratio_vision.0"]  # of the 90% in 50 components, so too large
    assert first.agrees is (False if judged else None)


def test_other_seeds_have_no_spectrum_to_compare_their_drop_is_elsewhere_and_cones_that_mix_are_not_separate():
    found = one_encoder([5, 4, 1, 0.9, 0.8, 0.1], "noise", seeds=3)
    assert set(found) == {"figure_2c.separate.noise"} and not found["figure_2c.separate.noise"].own
    found = one_encoder([5, 4, 1, 0.9, 0.8, 0.1], seeds=3)
    assert set(found) == {"figure_2c.separate.real", "figure_2c.drop"}
    assert found["figure_2c.drop"].agrees and found["figure_2c.drop"].ours.startswith("after component 2,")
    for nearest, agrees in ((1.0, True), (0.991, True), (0.98, False)):
        assert one_encoder([3, 2, 1], seeds=3, nearest=nearest)["figure_2c.separate.real"].agrees is agrees


def test_trained_resnets_come_from_checkpoint_files_by_the_same_code(tmp_path, monkeypatch):
    """Two networks of another size in the files' layout; a third file that is none is one line."""
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(script, "ARCHITECTURE", "resnet18")
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = torchvision.models.resnet18()
        state = {f"module.{name}": value for name, value in network.state_dict().items()}
        torch.save({"state_dict": state, "epoch": 1}, tmp_path / f"{seed}.pth.tar")
    files = tuple(str(tmp_path / f"{seed}.pth.tar") for seed in (0, 1))
    gathered = Gathered(replace(script.PRESETS["smoke"], imagenet=files, images=3), "cpu")
    pictures = [each for each in gathered.real() if each.modality == "image"]
    ((about, rows),) = script.resnets(gathered, pictures).items()
    random = [each.rows for each in gathered.rows(script.RESNET_18, pictures)]
    assert about == ("ResNet-50, trained", pictures[0].name) and np.allclose(rows, random[:2], atol=1e-6)
    table = pd.DataFrame([{"encoder": about[0], "input": about[1], "n_seeds": 2, "n": 3, "nearest_own_cone": 1.0}])
    (row,) = script.compare(table, pd.DataFrame())
    assert row.key == "figure_2c.separate.trained" and row.agrees and not row.own
    (tmp_path / "0.pth.tar").write_bytes(b"no weights")
    with pytest.raises(UserError, match="could not be loaded"):
        script.resnets(gathered, pictures)


def test_the_spectrum_is_that_of_all_centred_rows_however_few_are_shown(rng):
    rows, settings = reference.unit(rng.normal(size=(12, 6)) + 1), replace(script.PRESETS["smoke"], points=2)
    points, spectrum = script.views({("an encoder", "noise"): rows.reshape(3, 4, 6)}, settings)
    assert points.groupby(["method", "seed"]).size().eq(2).all()
    values = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
    assert spectrum["singular_value"].to_numpy() == pytest.approx(values, rel=1e-9)
    assert spectrum["explained_variance_ratio"].to_numpy() == pytest.approx(values**2 / (values**2).sum(), rel=1e-9)


test_bad_input_is_one_line_and_leaves_no_file = smoke_runs.refuses(
    script,
    (("--seeds", "1"), "--seeds"),
    (("--points", "1"), "--points"),
    (("--imagenet", "a1_in1k"), "--imagenet must name two models"),
)
