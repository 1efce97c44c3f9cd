"""Interventions: by hand, against their formulas, back again, on new rows; calibration files and their refusals."""

import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

import reference
from refusals import refuses
from util import UserError, geometry, interventions
from util.geometry import orthogonal_map
from util.interventions import KINDS, Intervention, load, save

OPTIONS = {"shift": {"amount": 0.4}, "ablation": {"dimensions": 3}}
EVERY = pytest.mark.parametrize("kind", KINDS)


def rows(*given):
    return np.array(given, dtype=np.float64)


def fit(kind, x, y):
    return interventions.fit(kind, x, y, **OPTIONS.get(kind, {}))


def along(amount, side="both"):
    """A shift along the first of two axes."""
    axes = np.eye(2)
    return interventions.fit("shift", axes, axes, amount=amount, direction=axes[0], side=side)


def near(expected, tolerance=1e-12):
    return pytest.approx(np.asarray(expected), abs=tolerance)


def test_a_quarter_turn_by_hand():
    x = rows([1, 0], [0, 1], [-1, 0])
    y = rows([0, 1], [-1, 0], [0, -1])
    turn = interventions.fit("procrustes", x, y)
    assert turn.steps["y"][0] == near([[0, -1], [1, 0]])
    images, texts = turn.transform(rows([0.6, 0.8]), rows([0.6, 0.8]))
    assert images == near([[0.6, 0.8]]) and texts == near([[0.8, -0.6]])
    assert turn.inverse(y=texts)[1] == near([[0.6, 0.8]])


def test_an_ablation_by_hand():
    x, y = rows([0.6, 0, 0.8, 0], [0.6, 0.8, 0, 0]), rows([0.6, 0, 0, 0.8], [0.6, 0, 0, -0.8])
    one, two = (interventions.fit("ablation", x, y, dimensions=k) for k in (1, 2))
    found = one.settings["dimensions"], two.settings["dimensions"]
    assert found == ([1], [1, 2]), "of equal ones the first comes first"
    images, texts = one.transform(rows([0.6, 0.8, 0, 0]), rows([0.48, 0.6, 0.64, 0]))
    assert images == near([[1, 0, 0]]) and texts == near([[0.6, 0.8, 0]])
    assert two.transform(x[:1])[0] == near([[1, 0]])
    down = interventions.fit("ablation", rows([0.6, -0.8]), rows([0.8, 0.6]), dimensions=1)
    assert down.settings == {"dimensions": [1]}, "whatever the sign"


@pytest.mark.parametrize("side", ["both", "first", "second"])
@pytest.mark.parametrize("amount", [-1.5, 0.0, 0.3, 2.0])
def test_a_shift_of_the_fitted_rows_is_that_of_geometry(rng, amount, side):
    x, y = reference.pairs(rng, 30, 8)
    shift = interventions.fit("shift", x, y, amount=amount, side=side)
    for got, expected in zip(shift.transform(x, y), geometry.shift(x, y, amount, side=side), strict=True):
        assert got.dtype == np.float32 and got == near(expected, 2e-7)


def test_without_an_amount_the_centroids_meet_before_they_are_renormalised(rng):
    x, y = reference.pairs(rng, 40, 8, dtype=np.float64)
    shift = interventions.fit("shift", x, y)
    assert shift.settings == {"amount": pytest.approx(geometry.gap_distance(x, y), abs=1e-12), "side": "both"}
    assert (x + shift.steps["x"][0]).mean(0) == near((y + shift.steps["y"][0]).mean(0))
    direction = reference.unit(rng.normal(size=(1, 8)))[0]
    tilted = interventions.fit("shift", x, y, direction=3 * direction)
    assert tilted.settings["amount"] == pytest.approx(reference.gap(x, y) @ direction)


def test_centring_leaves_no_gap_before_renormalising_and_a_small_one_after(rng):
    x, y = reference.pairs(rng, 200, 12, dtype=np.float64)
    centring = interventions.fit("centring", x, y, about={"model": "mine"})
    assert centring.about == {"n": {"x": 200, "y": 200}, "model": "mine"}
    for rows, (step,) in zip((x, y), centring.steps.values(), strict=True):
        assert (rows + step).mean(0) == near(np.zeros(12), 1e-15)
    moved = centring.transform(x, y)
    assert moved[0] == near(reference.unit(x - x.mean(0))) and moved[1] == near(reference.unit(y - y.mean(0)))
    assert 1e-4 < geometry.gap_distance(*moved) < 0.1 * geometry.gap_distance(x, y)


def test_realign_matches_mean_and_trace_before_the_last_renormalisation(rng):
    x, y = reference.pairs(rng, 60, 10, noise=0.3, dtype=np.float64)
    y = y[:45]
    realign = interventions.fit("realign", x, y)
    a = realign.settings["scale"] * (y - y.mean(0)) + x.mean(0)
    assert a.mean(0) == near(x.mean(0))
    assert np.trace(np.cov(a.T)) == pytest.approx(np.trace(np.cov(x.T)), rel=1e-12)
    b = reference.unit(a)
    assert realign.transform(y=y)[1] == near(reference.unit(b - b.mean(0) + x.mean(0)))


def test_procrustes_is_the_map_of_the_amended_initialization_and_an_isometry(rng):
    x, y = reference.pairs(rng, 50, 8, dtype=np.float64)
    turn = interventions.fit("procrustes", x, y)
    assert turn.steps["y"][0] == near(orthogonal_map(x, y))
    new = reference.unit(rng.normal(size=(20, 8)))
    texts = turn.transform(y=new)[1]
    assert texts @ texts.T == near(new @ new.T) and np.abs(texts - new).max() > 0.1
    assert turn.transform(x=new)[0] == near(new)


SHIFTS = [("shift", side) for side in ("both", "first", "second")]


@given(
    st.sampled_from([*SHIFTS, ("centring", ""), ("realign", ""), ("procrustes", "")]),
    st.integers(3, 20),
    st.integers(3, 8),
    st.floats(-0.95, 0.95),
    st.integers(0, 999),
)
@settings(max_examples=80, deadline=None)
def test_what_was_done_to_new_rows_is_undone(case, n, d, amount, seed):
    (kind, side), rng = case, np.random.default_rng(seed)
    options = {"amount": amount * (2 if side == "both" else 1), "side": side} if side else {}
    fitted = interventions.fit(kind, *reference.pairs(rng, n, d, gap=0.3, dtype=np.float64), **options)
    if kind == "realign":
        assume(max(np.linalg.norm(step) for step in fitted.steps["y"]) < 0.95)
    x, y = reference.unit(rng.normal(size=(5, d))), reference.unit(rng.normal(size=(4, d)))
    back = fitted.inverse(*fitted.transform(x, y))
    assert back[0] == near(x, 1e-12) and back[1] == near(y, 1e-12)
    there = fitted.transform(*fitted.inverse(x, y))
    assert there[0] == near(x, 1e-12) and there[1] == near(y, 1e-12), "every direction was somewhere before"


def test_a_step_of_nearly_one_is_undone_and_beyond_one_two_rows_come_to_one_direction():
    angles = np.linspace(0.1, 3.1, 30)
    x, shift = np.stack([np.cos(angles), np.sin(angles)], axis=1), along(1 - 1e-6, "first")
    assert shift.inverse(shift.transform(x)[0])[0] == near(x, 1e-10)
    far = along(2.0, "first")
    both = far.transform(rows([0, 1], [0.8, 0.6]))[0]  # by hand: (-2, 1) and (-1.2, 0.6)
    assert both == near([np.array([-2, 1]) / np.sqrt(5)] * 2)
    with pytest.raises(UserError, match="x: a step of 2 has no inverse: from 1 on, two rows may come to one"):
        far.inverse(both)
    assert far.inverse(y=both)[1] == near(both), "texts did not move"
    with pytest.raises(UserError, match="y: a step of 1 has no inverse"):
        along(2.0).inverse(y=both)


@EVERY
def test_fitted_on_one_half_it_narrows_the_gap_of_the_other(kind, rng):
    x, y = reference.pairs(rng, 400, 16)
    fitted = fit(kind, x[:200], y[:200])
    before, after = (geometry.gap_distance(*rows) for rows in ((x[200:], y[200:]), fitted.transform(x[200:], y[200:])))
    assert after < (0.95 if kind == "ablation" else 0.7) * before


@EVERY
def test_a_row_comes_out_the_same_whatever_comes_with_it(kind, rng):
    x, y = reference.pairs(rng, 60, 8, dtype=np.float64)
    fitted = fit(kind, x, y)
    together = fitted.transform(x, y)
    assert fitted.transform(x=x[7:9])[0] == near(together[0][7:9], 1e-15)
    assert fitted.transform(x=x)[1] is None and fitted.transform(y=y)[0] is None
    assert fitted.transform(y=y[:1])[1] == near(together[1][:1], 1e-15)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@EVERY
def test_torch_in_torch_out(kind, dtype, rng):
    x, y = reference.pairs(rng, 60, 16, dtype=np.float64)
    a, b = torch.from_numpy(x).to(dtype), torch.from_numpy(y).to(dtype)
    fitted = fit(kind, a, b)
    moved = fitted.transform(a, b)
    expected = fit(kind, x, y).transform(x, y)
    tolerance = {torch.float16: 3e-3, torch.bfloat16: 3e-2, torch.float32: 1e-5, torch.float64: 1e-13}[dtype]
    for got, wanted in zip(moved, expected, strict=True):
        assert isinstance(got, torch.Tensor) and got.dtype == (dtype if dtype == torch.float64 else torch.float32)
        assert got.double().norm(dim=1).numpy() == near(np.ones(60), 1e-6)
        assert got.double().numpy() == near(wanted, tolerance)
    assert isinstance(fitted.transform(x, b)[0], np.ndarray), "each modality is answered in its own kind"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@EVERY
def test_cuda_gives_the_rows_of_the_cpu(kind, rng):
    x, y = (torch.from_numpy(part) for part in reference.pairs(rng, 300, 32))
    fitted = fit(kind, x.cuda(), y.cuda())
    for place, steps in fitted.steps.items():
        assert all(a == near(b, 1e-6) for a, b in zip(steps, fit(kind, x, y).steps[place], strict=True))
    moved = fitted.transform(x.cuda(), y.cuda())
    for got, wanted in zip(moved, fitted.transform(x, y), strict=True):
        assert got.is_cuda and got.cpu().numpy() == near(wanted.numpy(), 1e-6)
    if kind != "ablation":
        assert fitted.inverse(*moved)[1].cpu().numpy() == near(y.numpy(), 1e-5)


@EVERY
def test_nothing_given_is_changed_and_nothing_fitted_can_be(kind, rng):
    x, y = reference.pairs(rng, 30, 8, dtype=np.float64)
    before = x.copy(), y.copy()
    fitted = fit(kind, x, y)
    images = fitted.transform(x, y)[0]
    images[:] = 0
    assert (x == before[0]).all() and (y == before[1]).all()
    for step in (*fitted.steps["x"], *fitted.steps["y"]):
        with pytest.raises(ValueError, match="read-only"):
            step[0] = 0


SQUARE = np.eye(4)
FIT = interventions.fit
ONE = FIT("shift", SQUARE, SQUARE, amount=0.5, direction=SQUARE[0])


test_bad_input_is_refused_in_words = refuses(
    (lambda: FIT("nothing", SQUARE, SQUARE), "kind 'nothing' is unknown; known are shift, centring"),
    (lambda: ONE.transform(), "give rows of the first modality"),
    (lambda: ONE.transform(y=np.eye(3)), "y: these rows have 3 columns, the calibration is for 4; fit one on"),
    (lambda: ONE.transform(y=2 * SQUARE), "y must have unit-norm rows; row 0 has norm 2"),
    (lambda: ONE.transform(SQUARE * np.nan), "not finite"),
    (lambda: along(2.0).transform(SQUARE[:2, :2]), "x: row 0 comes to zero"),
    (lambda: FIT("centring", SQUARE[:1], SQUARE).transform(SQUARE[[1, 0]]), "x: row 1 comes to zero"),
    (lambda: FIT("ablation", SQUARE[:1], SQUARE[1:2], dimensions=1).transform(y=SQUARE), "y: row 0 is zero"),
    (lambda: FIT("ablation", SQUARE[:1], SQUARE[1:2], dimensions=2).inverse(SQUARE), "no inverse: the 2 dimensions"),
    (lambda: FIT("centring", SQUARE, -SQUARE, amount=1), "options of centring: got an unexpected .* 'amount'"),
    (lambda: FIT("ablation", SQUARE, -SQUARE), "options of ablation: missing a required argument: 'dimensions'"),
    (lambda: along(np.nan), "amount must be one or more finite numbers"),
    (lambda: FIT("realign", SQUARE), "options of realign: missing a required argument: 'y'"),
    (lambda: FIT("centring", SQUARE, np.eye(3)), "one width"),
    (lambda: FIT("realign", SQUARE, SQUARE[:1]), "y: ReAlign needs rows that differ"),
    (lambda: FIT("realign", SQUARE[[0, 0]], SQUARE), "x: ReAlign needs rows that differ"),
    (lambda: FIT("procrustes", SQUARE, SQUARE[:3]), "needs pairs; x has 4 rows and y 3"),
    (lambda: FIT("ablation", SQUARE[:2], SQUARE[2:], dimensions=0), "dimensions must be a whole number of at least 1"),
    (lambda: FIT("ablation", SQUARE[:2], SQUARE[2:], dimensions=4), "dimensions must be at most 3 of 4"),
)


ABOUT = {
    "model": "ViT-B-16 openai",
    "data": {"id": "MSCOCO", "revision": "2017", "split": "val"},
    "n": {"image": np.int64(40), "text": 40},
    "caption_rule": "first",
    "selection": {"on": "held_out", "grid": [-5.0, 5.0, 0.25]},
}


@pytest.fixture
def fitted(rng):
    x, y = reference.pairs(rng, 40, 6)
    options = {"shift": {"amount": 0.1 + 0.2}, "ablation": {"dimensions": 2}}
    return {kind: interventions.fit(kind, x, y, about=ABOUT, **options.get(kind, {})) for kind in KINDS}


def rewritten(path, arrays=None, drop=(), **told):
    """The file again with other arrays (None: left out) or other metadata, everything else as it was."""
    with safe_open(path, framework="np") as file:
        old = {name: file.get_tensor(name) for name in list(file.keys())}
        said = json.loads(file.metadata()["calibration"])
    new = {name: array for name, array in {**old, **(arrays or {})}.items() if array is not None}
    said = {key: value for key, value in {**said, **told}.items() if key not in drop}
    save_file(new, path, {"calibration": json.dumps(said)})
    return path


def refused(path, words):
    with pytest.raises(UserError, match=words) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: ") and len(str(error.value).splitlines()) == 1


@EVERY
def test_what_comes_back_is_what_was_saved_bit_for_bit_and_says_where_it_comes_from(kind, fitted, tmp_path, rng):
    before = fitted[kind]
    after = load(save(tmp_path / "c.safetensors", before))
    assert after.kind == kind and after.settings == before.settings and list(after.steps) == list(before.steps)
    for place, steps in before.steps.items():
        for step, again in zip(steps, after.steps[place], strict=True):
            assert step.tobytes() == again.tobytes() and step.dtype == again.dtype
    new = reference.pairs(rng, 9, 6)
    for ours, theirs in zip(after.transform(*new), before.transform(*new), strict=True):
        assert (ours == theirs).all()
    about = after.about
    assert {**about, "n": ABOUT["n"]} == {**ABOUT, "versions": about["versions"], "commit": about["commit"]}
    assert about["n"] == {"image": 40, "text": 40}
    assert about["versions"]["torch"] and set(about["commit"]) == {"hash", "clean"}
    old = rewritten(tmp_path / "c.safetensors", about={**about, "versions": {"torch": "1.0"}})
    again = load(save(tmp_path / "again.safetensors", load(old))).about
    assert again["versions"] == {"torch": "1.0"}


def test_one_modality_alone_comes_back_and_two_in_their_order_whatever_their_names(tmp_path, rng):
    made = Intervention(kind="centring", steps={"x": (np.array([0.6, 0.8]),)})
    after = load(save(tmp_path / "c.safetensors", made))
    assert [after.about[name] for name in ABOUT] == [None] * 5 and after.names == ("x",)
    with pytest.raises(UserError, match="this centring was fitted on x alone"):
        after.transform(y=np.eye(2))
    x, y = reference.pairs(rng, 9, 6)
    made = interventions.fit("centring", x, y, about={"n": {"video": 9, "text": 9}})
    after = load(save(tmp_path / "c.safetensors", made))
    assert after.names == ("video", "text")
    assert (after.by_name({"text": y})[0] == made.transform(y=y)[1]).all()


class Trap:
    """What unpickling would run."""

    def __reduce__(self):
        return pytest.fail, ("it was unpickled",)


@pytest.mark.parametrize("content", [0.0, 0.001, 0.3, 0.9, 0.999, pickle.dumps(Trap())])
def test_a_damaged_file_and_a_pickle_are_refused(content, fitted, tmp_path):
    path = save(tmp_path / "c.safetensors", fitted["centring"])
    whole = path.read_bytes()
    path.write_bytes(content if isinstance(content, bytes) else whole[: int(content * len(whole))])
    refused(path, "not readable as a calibration .* is it damaged")
    refused(tmp_path, "no such file; `modality-gap fit` writes a calibration")


@pytest.mark.parametrize(
    "metadata", [None, {}, {"source": "{}"}, *({"calibration": text} for text in ("[1]", "{}", "{", "[" * 100_000))]
)
def test_a_foreign_safetensors_file_is_refused(metadata, tmp_path):
    save_file({"x.0": np.array([1.0, 0.0])}, tmp_path / "c.safetensors", metadata)
    refused(tmp_path / "c.safetensors", "no calibration as `modality-gap fit` writes it")


@pytest.mark.parametrize(
    "kind, change, words",
    [
        ("shift", {"kind": "whiten"}, "kind: Input should be 'shift', 'centring', 'realign', 'procrustes' or 'abla"),
        ("shift", {"schema_version": 1}, "schema_version: Input should be 2"),
        ("shift", {"drop": ["settings"]}, "settings: Field required"),
        ("shift", {"about": {"model": "mine"}}, "about.data: Field required"),
        ("shift", {"about": {**ABOUT, "n": 40}}, "about.n: Input should be an object"),
        ("shift", {"settings": "both"}, "settings: Input should be an object"),
        ("shift", {"arrays": {"x.0": np.full(6, np.nan)}}, "a step must be finite numbers"),
        ("shift", {"arrays": {"x.0": np.ones(6, np.int64)}}, "a step must be finite numbers .* not int64"),
        ("shift", {"arrays": {"x.0": np.ones(0)}}, "a step must be finite numbers"),
        ("shift", {"arrays": {"y.0": np.ones(5)}}, r"steps must be of one width, not \[5, 6\]"),
        ("shift", {"arrays": {"x.0": None}}, "steps must be of x, or of x and y, for image, text, not y"),
        ("shift", {"arrays": {"y.0": None}}, "steps must be of x, or of x and y, for image, text, not x"),
        ("shift", {"arrays": {"x.0": np.ones(6, bool), "x.1": np.ones(6)}}, "columns may go in the last step alone"),
        ("shift", {"arrays": {"z": np.ones(6)}}, "for image, text, not x, y, z"),
        ("procrustes", {"arrays": {"y.0": 2 * np.eye(6)}}, "must be orthogonal"),
        ("procrustes", {"arrays": {"y.0": np.ones((6, 5))}}, "must be square"),
    ],
)
def test_a_file_that_is_not_what_its_kind_needs_is_refused(kind, change, words, fitted, tmp_path):
    path = save(tmp_path / "c.safetensors", fitted[kind])
    load(path)
    refused(rewritten(path, **change), words)


def test_another_suffix_and_what_json_cannot_hold_are_refused(fitted, tmp_path):
    with pytest.raises(UserError, match=r"a calibration is a .safetensors file"):
        save(tmp_path / "c.npz", fitted["shift"])
    bad = Intervention(kind="shift", steps={"x": (np.ones(2),)}, about={"model": object()})
    with pytest.raises(UserError, match="about must hold what json can"):
        save(tmp_path / "c.safetensors", bad)
    assert not list(tmp_path.iterdir())
