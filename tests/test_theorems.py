"""Theorems 1 and 2: closed forms by quadrature, experiments against plain ones, rates, and the script end to end."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

import random_networks
import reference
import scripts
import smoke_runs
import theorem_1
import theorem_2
from refusals import refuses
from util.numerics import statistics

pytestmark = pytest.mark.usefixtures("one_thread")

CORRELATIONS = st.floats(-0.999, 0.999)


def relu(x):
    return np.maximum(x, 0)


def expectation(function, rho):
    """E f(x, y) of standard normal x, y of correlation rho where both are positive, by Gauss-Legendre in polar form."""
    theta = math.acos(rho)
    angle, weights = np.polynomial.legendre.leggauss(60)
    angle, weights = theta / 2 + (math.pi - theta) / 2 * angle, (math.pi - theta) / 2 * weights
    radius = np.linspace(0, 12, 2001)
    r, phi = np.meshgrid(radius, angle, indexing="ij")
    inner = function(r * np.cos(phi), r * np.cos(phi - theta)) * r * np.exp(-(r**2) / 2) / (2 * math.pi)
    return float(integrate.simpson(inner @ weights, x=radius))


def after_relu(rng, u, v, d_out, trials):
    """Cosines after a ReLU layer with real weights and biases; NaN for an all-zero output."""
    w = rng.normal(size=(trials, d_out, len(u))) / math.sqrt(d_out)
    b = rng.normal(size=(trials, d_out)) / math.sqrt(d_out)
    x, y = relu(w @ u + b), relu(w @ v + b)
    with np.errstate(invalid="ignore"):
        return (x * y).sum(1) / np.sqrt((x**2).sum(1) * (y**2).sum(1))


def vectors(cosine, ratio, norm):
    """u and v in three dimensions."""
    return np.array([cosine, math.sqrt(1 - cosine**2), 0]) * ratio * norm, np.array([norm, 0.0, 0])


@pytest.mark.parametrize("rho", [-0.9, -0.3, 0.0, 0.5, 0.95, 0.999])
def test_the_kernel_and_the_spread_are_the_moments(rho):
    kappa = 2 * expectation(lambda x, y: x * y, rho)
    both = expectation(lambda x, y: (2 * x * y - kappa * (x**2 + y**2)) ** 2, rho)
    one = kappa**2 * (1.5 - expectation(lambda x, y: x**4, rho))  # where only one of the two is positive, twice
    assert theorem_1.arc_cosine_kernel(rho) == pytest.approx(kappa, abs=1e-8)
    assert theorem_1.cosine_spread(rho) ** 2 == pytest.approx(both + 2 * one, abs=1e-7)


@given(CORRELATIONS, st.floats(0.05, 20), st.floats(0, 20))
def test_the_kernel_lies_above_and_a_swap_of_the_vectors_changes_nothing(cosine, ratio, norm):
    rho = theorem_1.preactivation_correlation(cosine, ratio, norm)
    assert rho == pytest.approx(theorem_1.preactivation_correlation(cosine, 1 / ratio, ratio * norm))
    assert -1 <= rho <= 1 and (theorem_1.arc_cosine_kernel(rho) > rho or rho > 1 - 1e-9)
    if cosine < theorem_1.largest_cosine(ratio):
        assert rho >= cosine - 1e-12  # why the condition suffices


def test_the_kernel_the_condition_and_the_correlation_by_hand():
    assert theorem_1.arc_cosine_kernel(np.array([1.0, 0.0, -1.0])) == pytest.approx([1, 1 / math.pi, 0])
    assert theorem_1.largest_cosine(1.0) == 1 and theorem_1.largest_cosine(2.0) == pytest.approx(0.8)
    u, v = vectors(0.6, 2.0, 1.5)
    expected = (u @ v + 1) / math.sqrt((u @ u + 1) * (v @ v + 1))
    assert theorem_1.preactivation_correlation(0.6, 2.0, 1.5) == pytest.approx(expected)


@pytest.mark.parametrize(
    "relu_, bias, at_half", [(False, False, 0.5), (False, True, 0.75), (True, False, 0.4264), (True, True, 0.6890)]
)
def test_the_share_of_one_layer_by_hand(relu_, bias, at_half):
    share = theorem_2.seed_share(np.array([0.0, 0.5, 1.0]), relu=relu_, bias=bias)
    assert share[1:] == pytest.approx([at_half, 1], abs=5e-5)
    assert bias or share[0] == pytest.approx(0)


def test_the_kernel_counts_as_the_definition_does(rng):
    """Every width of one pass against cosines written out, with an output that is all zero among them."""
    first, second = rng.normal(size=(2, 3, 8, 4)).astype(np.float32)
    first[0, :, 2] = -1  # the third layer of width 8 in the first trial gives zero for u
    rho, cosine, raised = np.array([0.3, 0.8]), np.array([-0.5, 0.6]), np.zeros((2, 3), np.int64)
    theorem_1.count_raised(first, second, rho, cosine, raised)
    for cell in range(2):
        x, other = relu(first.astype(float)), math.sqrt(1 - rho[cell] ** 2)
        y = relu(rho[cell] * first.astype(float) + other * second.astype(float))
        for level, blocks in enumerate((4, 2, 1)):
            u, v = (np.stack([z[:, :, j::blocks].reshape(3, -1) for j in range(blocks)], 1) for z in (x, y))
            dot, lengths = (u * v).sum(-1), np.linalg.norm(u, axis=-1) * np.linalg.norm(v, axis=-1)
            assert raised[cell, level] == ((dot > cosine[cell] * lengths) & (lengths > 0)).sum()


@pytest.mark.parametrize("cell", [(0.5, 1.0, 1.0), (0.9, 4.0, 1.0), (-0.5, 1.5, 4.0), (0.75, 4.0, 0.25)])
def test_the_exact_joint_distribution_is_that_of_real_layers(rng, cell):
    after = after_relu(rng, *vectors(*cell), d_out=16, trials=20_000)
    direct = (after > cell[0]).sum()  # NaN, an all-zero output, is not raised
    *_, raised = theorem_1.raise_cosines(*([value] for value in cell), widest=16, trials=20_000)
    assert stats.fisher_exact([[direct, 20_000 - direct], [n := raised[0, 1], 20_000 - n]]).pvalue > 1e-3


def test_the_outcome_in_the_limit_is_that_of_the_closed_form():
    """Outside the condition, at r = 4: raised at |v| = 1/4 and 4, but not at 1, at cosine 0.75."""
    norms = np.array([0.25, 1.0, 4.0])
    _, n_trials, raised = theorem_1.raise_cosines([0.75] * 3, [4.0] * 3, norms, widest=4096, trials=200)
    rho = theorem_1.preactivation_correlation(0.75, 4.0, norms)
    limit = theorem_1.arc_cosine_kernel(rho)
    assert (limit > 0.75).tolist() == (raised[:, -1] > 100).tolist() == [True, False, True]
    assert n_trials.tolist() == [200 * 512 >> level for level in range(10)]
    normal = stats.norm.cdf(math.sqrt(4096) * (limit[1] - 0.75) / theorem_1.cosine_spread(rho[1]))
    exact = stats.binomtest(raised[1, -1], 200).proportion_ci(0.999)
    assert exact.low <= normal <= exact.high


def test_experiments_repeat_by_seed():
    runs = [theorem_1.raise_cosines([0.5], [1.0], [1.0], widest=64, trials=50, seed=s)[2] for s in (0, 0, 1)]
    assert np.array_equal(runs[0], runs[1]) and not np.array_equal(runs[0], runs[2])
    one = [theorem_2.one_layer(0.5, relu=True, bias=True, seeds=4, items=5, width=8, seed=s) for s in (0, 0, 1)]
    deep = [theorem_2.by_depth(layers=2, seeds=3, items=4, width=16, seed=s)[True][1] for s in (0, 0, 5)]
    for first, again, other in (one, deep):
        assert first.share == again.share != other.share


@given(st.floats(0, 1), st.integers(2, 9))
def test_inputs_of_equal_cosines_have_them(cosine, items):
    x = theorem_2.equal_cosines(items, cosine).numpy()
    assert x @ x.T == pytest.approx(cosine + (1 - cosine) * np.eye(items), abs=1e-12)


@pytest.mark.parametrize("relu_, bias", [(False, True), (False, False), (True, True), (True, False)])
@pytest.mark.parametrize("cosine", [0.0, 0.5, 0.9])
def test_one_layer_has_the_share_of_the_closed_form(relu_, bias, cosine):
    found = theorem_2.one_layer(cosine, relu=relu_, bias=bias, seeds=40, items=30, width=128, seed=7)
    low, high = statistics.jackknife_interval(found.share, found.left_out, confidence=0.9999)
    assert low <= found.expected <= high and high - low < 0.12
    assert found.expected == theorem_2.seed_share(cosine, relu=relu_, bias=bias)


def test_the_share_by_depth_is_that_of_networks_written_out():
    found = theorem_2.by_depth(layers=3, seeds=4, items=6, width=32, seed=2)
    x = {key: np.repeat(random_networks.draw_inputs(6, 32, 2).double().numpy()[None], 4, 0) for key in (True, False)}
    for layer in range(3):
        drawn = [random_networks.draw_layer(32, 2 + k, layer + 1) for k in range(4)]
        w, b = (np.stack([part[i].double().numpy() for part in drawn]) for i in (0, 1))
        for unit, rows in x.items():
            rows = rows / np.linalg.norm(rows, axis=-1, keepdims=True) if unit else rows
            h, share = rows @ w.transpose(0, 2, 1) + b[:, None], found[unit][layer]
            gram = np.einsum("sid,sjd->sij", rows, rows)
            pairs, own = gram[:, ~np.eye(6, dtype=bool)].mean(), np.einsum("sii->si", gram).mean()
            assert share.share == pytest.approx(reference.seed_variance(h)[2], abs=1e-5)
            assert share.expected == pytest.approx((pairs + 1) / (own + 1), abs=1e-5)
            assert share.cosine == pytest.approx(np.mean([reference.cosines(part).mean() for part in rows]), abs=1e-5)
            x[unit] = relu(h)


test_what_makes_no_sense_is_refused = refuses(
    (lambda: theorem_1.raise_cosines([1.5], [1.0], [1.0]), "cosine must be from -1 to 1, not 1.5"),
    (lambda: theorem_1.raise_cosines([0.5], [0.0], [1.0]), "norm ratio must be"),
    (lambda: theorem_1.raise_cosines([0.5], [1.0], [-1.0]), "norm must be"),
    (lambda: theorem_1.raise_cosines([math.nan], [1.0], [1.0]), "finite"),
    (lambda: theorem_2.equal_cosines(3, -0.1), "from 0 to 1"),
    (lambda: theorem_2.one_layer(0.5, relu=True, bias=True, seeds=2), "at least 3 seeds"),
    (lambda: theorem_2.one_layer(0.5, relu=True, bias=True, items=1), "items must be"),
    (lambda: theorem_2.by_depth(seeds=3, items=9, width=1, layers=3), "row . is zero"),
)


script = scripts.load("Figure_2_Cone_Effect/theorems.py")
CONTRACT = "theorem cosine norm_ratio norm d_out layers in_condition n_trials estimate ci_low ci_high predicted"


def test_the_record_and_its_table_are_complete(smoke):
    table, about = smoke.tables[""], smoke.about
    assert list(table.columns) == [*CONTRACT.split(), "case"]
    first, second = table.query("theorem == 1"), table.query("theorem == 2")
    assert len(first) == 7 * 4 * 4 * 7 and sorted(first["d_out"].unique()) == [8 << k for k in range(7)]
    assert len(second) == 4 * 11 + 2 * 4 and second["n_trials"].eq(8).all()
    assert not table.drop(columns=["norm", "norm_ratio"]).isna().any().any()
    assert len(about["data"]) == 2 and about["data"][1]["seeds"] == list(range(8))
    assert [row["key"] for row in about["comparisons"]] == ["theorem_1.bounded", *["theorem_2.share"] * 3]
    assert all(row["agrees"] for row in about["comparisons"] if row["agrees"] is not None)


def test_theorem_1_is_counted_with_its_intervals(smoke):
    first = smoke.tables[""].query("theorem == 1")
    assert (first["n_trials"] == 200 * 512 // first["d_out"]).all() and first["layers"].eq(1).all()
    assert first["estimate"].between(first["ci_low"] - 1e-8, first["ci_high"] + 1e-8).all()
    assert (first["in_condition"] == (first["cosine"] < 2 / (first["norm_ratio"] + 1 / first["norm_ratio"]))).all()
    assert first.query("in_condition")["predicted"].eq(1).all()
    assert set(first.query("not in_condition")["predicted"]) == {0, 1}
    assert first.query("d_out == 512 and cosine <= 0.25")["estimate"].eq(1).all()


def test_theorem_2_stands_beside_its_bound(smoke):
    second = smoke.tables[""].query("theorem == 2")
    holds = {**dict.fromkeys(theorem_2.ONE_LAYER, False), theorem_2.AS_FIGURE: False}
    holds |= {"pre-activation, bias": True, theorem_2.ON_SPHERE: True}
    assert second.groupby("case")["in_condition"].first().to_dict() == holds
    held = second.query("in_condition")
    assert (held["estimate"] >= held["cosine"]).all()
    assert held["predicted"].to_numpy() == pytest.approx((1 + held["cosine"]) / 2, abs=1e-6)
    assert (second["ci_low"] <= second["ci_high"]).all()
    below = second[(second["case"] == "after ReLU, no bias") & (second["cosine"] == 0.5)].iloc[0]
    assert below["predicted"] == pytest.approx(0.4264, abs=1e-4) and below["estimate"] < 0.5
    assert second[second["case"] == theorem_2.AS_FIGURE]["norm"].isna().all()


def bounded(failures, norm):
    """The verdict on one cell with these failure rates at d_out 8, 16, 32 and 64."""
    table = pd.DataFrame({"d_out": (8, 16, 32, 64), "estimate": 1 - np.array(failures)})
    (row,) = theorem_1.comparisons(table.assign(cosine=0.5, norm_ratio=1.0, norm=norm, in_condition=True))
    return row


@pytest.mark.parametrize(
    "failures, norm, agrees, largest",
    [
        *(([0.4, 0.1, 0.01, 0], 1.0, True, 3.2), ([0.1, 0.1, 0.01, 0], 1.0, True, 1.6)),
        *(([0.1] * 4, 1.0, False, 6.4), ([0.1] * 4, 4.0, True, 6.4)),
    ],
)
def test_a_failure_rate_that_keeps_up_with_the_width_past_its_peak_is_not_bounded(failures, norm, agrees, largest):
    """Long vectors: limit 0.18 spreads above the cosine, so the peak is at d_out (1.19 / 0.18)^2 = 42."""
    row = bounded(failures, norm)
    assert row.published == "bounded" and row.agrees is agrees and row.ours == pytest.approx(largest)


@pytest.mark.parametrize("ratio, count", [(1.0, 4), (8.0, 3)])
def test_a_grid_all_inside_or_all_outside_the_condition(tmp_path, undrawn, ratio, count):
    small = {"cosines": (0.5,), "norms": (1.0,), "widest": 64, "items": 4, "units": 16, "seeds": 4, "layers": 2}
    settings = replace(script.PRESETS["smoke"], **small, norm_ratios=(ratio,), output=tmp_path)
    assert len(script.run(settings).about["comparisons"]) == count


test_a_users_error_is_one_line_exit_code_2_and_no_files = smoke_runs.refuses(
    script,
    (["--widest", "100"], "the widest d_out must be a power of two"),
    (["--trials", "0"], "--trials must be"),
    (["--seeds", "2"], "--seeds must be"),
    (["--items", "1"], "--items must be"),
    (["--layers", "0"], "--layers must be"),
)
