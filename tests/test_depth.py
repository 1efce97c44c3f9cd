"""Figure 2 (b): random networks against float64, and the script end to end, its files and its faults."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import random_networks
import reference
import scripts
import smoke_runs
from random_networks import ACTIVATIONS, draw_inputs, draw_released, mean_cosine_by_depth, released_by_depth
from refusals import refuses
from util import published
from util.numerics import statistics

pytestmark = pytest.mark.usefixtures("one_thread")

script = scripts.load("Figure_2_Cone_Effect/depth.py")
CONTRACT = ["activation", "bias", "layers", "seed", "mean_cosine", "mean_cosine_with_self"]


def small(output, **changes):
    return replace(script.PRESETS["smoke"], **{"units": 32, "batch": 16, "output": output, **changes})


def test_the_record_and_its_table_are_complete(smoke):
    table, about = smoke.tables[""], smoke.about
    assert list(table.columns) == CONTRACT
    assert len(table) == 5 * 2 * 4 * 3 and not table.isna().any().any()
    assert table["activation"].unique().tolist() == about["settings"]["activations"] == list(ACTIVATIONS)
    assert table.groupby(["activation", "bias", "seed"])["layers"].apply(list).map(lambda x: x == [0, 1, 2, 3]).all()
    assert about["data"][0]["seeds"] == [0, 1, 2] and "1024 inputs" in about["data"][0]["data"]
    assert about["left_out"] == []


def test_the_table_holds_what_the_networks_give(smoke):
    means = mean_cosine_by_depth(["relu"], (False,), layers=3, seed=2)["relu", False]
    rows = smoke.tables[""].query("activation == 'relu' and not bias and seed == 2")
    assert rows["mean_cosine"].tolist() == pytest.approx(means, abs=1e-8)
    assert rows["mean_cosine_with_self"].tolist() == pytest.approx(means * 1023 / 1024 + 1 / 1024, abs=1e-8)


def test_the_published_values_stand_beside_ours_in_a_band_of_all_layers_together(smoke):
    theirs = published.numbers("figure_2b.relu_bias.")
    table = smoke.tables[""].query("activation == 'relu' and bias")
    found = {row["key"]: row for row in smoke.about["comparisons"]}
    for layers in range(4):
        row, ours = found[f"figure_2b.relu_bias.{layers}"], table.query("layers == @layers")["mean_cosine_with_self"]
        low, high = statistics.prediction_interval(ours, 1 - 0.05 / 4)
        assert row["published"] == theirs[row["key"]].value and row["interval"].endswith("3 seeds, 4 layers at once")
        assert (row["ours"], row["low"], row["high"]) == pytest.approx((ours.mean(), low, high))
        assert row["agrees"] is (low <= row["published"] <= high)
    assert f"{script.RELU}4" not in found and found["figure_2b.sigmoid_2_layers"]["agrees"]
    curves = [row for key, row in found.items() if key.startswith(script.CURVE)]
    assert len(curves) == 12 and all(row["agrees"] is None for row in curves), "three layers are no whole curve"


def one_curve(moved, spread):
    """The verdict on the readings of tanh where three seeds have them, moved at one layer."""
    theirs = script.readings("figure", "tanh").reindex(range(26)).fillna(0.01)
    ours = theirs.where(theirs.index != 20, theirs + moved)
    rows = [(layers, seed, value + spread * seed) for seed in (-1, 0, 1) for layers, value in ours.items()]
    table = pd.DataFrame(rows, columns=["layers", "seed", "mean_cosine"]).assign(activation="tanh", bias=True)
    (row,) = script.compare({"": table.assign(mean_cosine_with_self=table["mean_cosine"])}, "here")
    return row


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    "moved, spread, agrees", [(0.0015, 1e-7, True), (0.003, 1e-7, False), (0.1, 0.01, True), (0.3, 0.01, False)]
)
def test_a_curve_may_miss_a_reading_by_the_reading_error_and_the_band_of_all_layers_alone(sign, moved, spread, agrees):
    """Of 22 layers at once the band is 24 spreads wide, of one layer five."""
    row = one_curve(sign * moved, spread)
    assert row.key == "figure_2b.curve.figure.tanh" and row.agrees is agrees
    assert ("outside at 20 layers" in row.note) is not agrees
    assert row.ours == f"{22 if agrees else 21} of 22 readings inside"


def test_the_released_layers_are_those_written_out():
    """In float64, with biases that are uniform on +-1/sqrt(width); "linear" is the network without any bias."""
    means = released_by_depth(layers=2, width=40, batch=12, seed=3, device="cpu")
    drawn = [[[part.double().numpy() for part in draw_released(40, 3, k, p)] for p in (0, 1)] for k in (1, 2)]
    biases = np.concatenate([bias for layer in drawn for _, bias in layer])
    assert np.abs(biases).max() <= 40**-0.5 and biases.var() * 120 == pytest.approx(1, abs=0.25)
    inputs = draw_inputs(12, 40, 3).double().numpy()
    written = {
        "linear+bias": lambda x, w, b, *_: x @ w.T + b,
        "linear+tanh": lambda x, w, b, *_: np.tanh(x @ w.T + b),
        "linear+leaky_relu": lambda x, w, b, *_: np.where((h := x @ w.T + b) > 0, h, h / 100),
        "linear+maxout": lambda x, w, b, v, c: np.maximum(x @ w.T + b, x @ v.T + c),
        "relu+linear": lambda x, w, b, *_: np.maximum(x, 0) @ w.T + b,
        "linear+relu+linear": lambda x, w, b, v, _: np.maximum(np.maximum(x @ w.T + b, 0) @ v.T, 0),
    }
    for name, function in written.items():
        x = inputs
        for layer, (first, second) in enumerate(drawn, 1):
            x = function(x, *first, *second)
            assert means[name][layer] == pytest.approx(reference.cosines(x).mean(), abs=2e-6), name
    alone = mean_cosine_by_depth(["none"], (False,), layers=2, width=40, batch=12, seed=3)["none", False]
    assert means["linear"] == pytest.approx(alone.tolist(), abs=1e-6)


def test_another_width_leaves_the_published_curve_out(tmp_path, capsys, undrawn):
    record = script.run(small(tmp_path, seed=5, activations=("tanh", "relu", "tanh"), layers=2, released=False))
    assert record.tables[""]["activation"].unique().tolist() == ["tanh", "relu"]
    assert record.tables[""]["seed"].unique().tolist() == [5, 6, 7]
    assert set(record.tables) == {""} and record.about["comparisons"] == []
    assert "left out: the published curves" in capsys.readouterr().out


test_a_users_error_is_one_line_exit_code_2_and_no_files = smoke_runs.refuses(
    script,
    (["--activations", "relu", "swish"], "'swish' is unknown; choose from sigmoid, relu"),
    (["--seeds", "1"], "--seeds must be"),
)


def test_a_run_that_fails_while_drawing_leaves_the_old_results(tmp_path, monkeypatch):
    (tmp_path / "depth.csv").write_text("old")
    monkeypatch.setattr("util.figures.save", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        script.run(small(tmp_path, activations=("relu",), layers=2, released=False))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("depth.csv", "old")]


def test_the_presets_are_the_papers_settings():
    embedded, paper = script.PRESETS["embedded"], script.PRESETS["paper"]
    assert replace(paper, preset="embedded") == embedded
    assert (paper.units, paper.batch, paper.layers, paper.seeds) == (512, 1024, 25, 10)


DIRECT = {
    "sigmoid": lambda h: 1 / (1 + np.exp(-h)),
    "relu": lambda h: h * (h > 0),
    "leaky_relu": lambda h: np.where(h > 0, h, 0.01 * h),
    "tanh": np.tanh,
    "none": lambda h: h,
}


def forward(activation, bias, layers, width, batch, seed):
    """Mean cosine after every layer, in float64, over all pairs."""
    x = random_networks.draw_inputs(batch, width, seed).double().numpy()
    means = [reference.cosines(x).mean()]
    for layer in range(1, layers + 1):
        w, b = (part.double().numpy() for part in random_networks.draw_layer(width, seed, layer))
        x = DIRECT[activation](x @ w.T + b * bias)
        means.append(reference.cosines(x).mean())
    return np.array(means)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", list(random_networks.ACTIVATIONS))
def test_the_networks_are_the_float64_ones(name, bias):
    found = random_networks.mean_cosine_by_depth([name], (bias,), layers=6, width=40, batch=30, seed=5)[name, bias]
    assert found == pytest.approx(forward(name, bias, 6, 40, 30, 5), abs=2e-6)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "none"])
def test_rows_that_shrink_for_hundreds_of_layers_keep_their_cosines(name):
    """Rows of ReLU are 2**-160 of their size at the end, out of the range of float32; float64 holds them."""
    found = random_networks.mean_cosine_by_depth([name], (False,), layers=320, width=32, batch=12, seed=1)[name, False]
    assert found == pytest.approx(forward(name, False, 320, 32, 12, 1), abs=2e-4)


def test_one_seed_shares_its_draws_whatever_is_measured():
    options = {"width": 24, "batch": 20}
    everything, other = (random_networks.mean_cosine_by_depth(layers=4, seed=seed, **options) for seed in (3, 1))
    for name, bias in (("relu", True), ("tanh", False)):
        alone = random_networks.mean_cosine_by_depth([name], (bias,), layers=2, seed=3, **options)[name, bias]
        assert alone.tolist() == everything[name, bias][:3].tolist()
        assert not np.isclose(alone, other[name, bias][:3]).any()
    assert len({values[0] for values in everything.values()}) == 1


def test_weights_and_biases_have_variance_one_over_width():
    weights, bias = random_networks.draw_layer(400, 0, 1)
    assert weights.shape == (400, 400) and bias.shape == (400,) and weights.dtype == torch.float32
    assert float(weights.var()) * 400 == pytest.approx(1, abs=0.02)
    assert float(bias.var()) * 400 == pytest.approx(1, abs=0.3)
    assert float(random_networks.draw_inputs(300, 400, 0).std()) == pytest.approx(1, abs=0.02)
    streams = [random_networks.draw_layer(8, *key)[0][0, 0].item() for key in ((0, 1), (0, 2), (1, 1), (0, 1, 1))]
    assert len(set(streams)) == 4


def test_self_pairs_are_those_of_the_full_matrix(rng):
    x = reference.cone(rng, 50, 8)
    unit = reference.unit(x)
    ours = random_networks.with_self_pairs(reference.cosines(x).mean(), 50)
    assert ours == pytest.approx((unit @ unit.T).mean(), abs=1e-12)
    assert random_networks.with_self_pairs(np.array([0.0, 1.0]), 4).tolist() == [0.25, 1.0]


def few(**options):
    return random_networks.mean_cosine_by_depth(**{"layers": 2, "width": 16, "batch": 8, **options})


test_what_makes_no_sense_is_refused_in_one_line = refuses(
    (lambda: few(activations=()), "no activation given"),
    (lambda: few(layers=0), "layers must be"),
    (lambda: few(width=0), "width must be"),
    (lambda: few(batch=1), "batch must be"),
    (lambda: few(seed=-1), "seed must be"),
    (lambda: few(activations=["relu"], width=1, batch=20), r"\('relu', True\), layer 1: no direction"),
)
