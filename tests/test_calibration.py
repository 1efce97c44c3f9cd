"""Calibration files: back bit for bit, and every file that is not whole refused in one line."""

import json
import pickle

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import reference
from util.errors import UserError
from util.interventions import KINDS, Intervention, fit, load, save

ABOUT = {
    "model": "ViT-B-16 openai",
    "data": {"id": "MSCOCO", "revision": "2017", "split": "val"},
    "n": {"image": np.int64(40), "text": 40},
    "caption_rule": "first",
    "selection": {"on": "held_out", "grid": [-5.0, 5.0, 0.25]},
}
EVERY = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def fitted(rng):
    x, y = reference.pairs(rng, 40, 6)
    options = {"shift": {"amount": 0.1 + 0.2}, "ablation": {"dimensions": 2}}
    return {kind: fit(kind, x, y, about=ABOUT, **options.get(kind, {})) for kind in KINDS}


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
    made = fit("centring", x, y, about={"n": {"video": 9, "text": 9}})
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
