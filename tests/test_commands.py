"""``modality-gap`` and what every command line shares."""

import json
import shutil
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reference
from refusals import command, stopped
from util import Embeddings, UserError, cli, files, geometry, interventions, published
from util.measures import CARD, Sums


@pytest.fixture
def mine(tmp_path, rng):
    x, y = reference.pairs(rng, 40, 6)
    np.savez(tmp_path / "mine.npz", image=x, audio=x[:30], text=y)  # of another length, and it unpairs nothing
    return tmp_path / "mine.npz"


def test_measure_prints_every_pair_of_modalities(mine, capsys):
    command("measure", mine, shutil.copy(mine, mine.with_name("again.npz")), "--json")
    rows = json.loads(capsys.readouterr().out)
    columns = ["file", "first", "last", "measure", "value", "low", "high", "n", "unit", "note", "interval", "null"]
    assert list(rows[0]) == [*columns, "p_value"]
    found = {(row["measure"], row["first"], row["last"]): row["value"] for row in rows}
    assert len(rows) == 2 * len(found) and {each[0] for each in found} == {*CARD}
    assert rows[-1]["file"].endswith("again.npz")
    parts = Embeddings.load(mine).modalities
    for first, last in combinations(("image", "audio", "text"), 2):
        assert found["gap_distance", first, last] == pytest.approx(geometry.gap_distance(parts[first], parts[last]))
    matched = (parts["image"] * parts["text"]).sum(1).mean()
    assert found["matched_cosine", "image", "text"] == pytest.approx(matched)
    assert found["matched_cosine", "image", "audio"] is None
    assert found["mean_cosine", "audio", "audio"] == pytest.approx(geometry.mean_cosine(parts["audio"]))
    command("measure", mine)
    said = capsys.readouterr().out
    assert "image (40 x 6), audio (30 x 6), text (40 x 6)" in said and said.count("gap distance of ") == 3


def test_parts_that_are_saved_merge_to_the_card_of_the_whole_and_models_compare(tmp_path, rng, capsys):
    x, y = reference.pairs(rng, 60, 6)
    for name, some in (("whole", slice(60)), ("a", slice(25)), ("b", slice(25, 60))):
        np.savez(tmp_path / f"{name}.npz", image=x[some], text=y[some])
    whole, a, b = (tmp_path / f"{name}.npz" for name in ("whole", "a", "b"))
    for path in (a, b):
        command("measure", path, "--save", path.with_suffix(".sums"), "--no-ci")
    capsys.readouterr()
    command("merge", *(path.with_suffix(".sums") for path in (a, b)), "--json", "--save", tmp_path / "both.npz")
    merged = {(row["measure"], row["first"]): row["value"] for row in json.loads(capsys.readouterr().out)}
    command("measure", whole, "--csv", tmp_path / "card.csv")
    table = pd.read_csv(tmp_path / "card.csv").set_index(["measure", "first"])
    assert merged == pytest.approx({key: table.loc[key, "value"] for key in merged}, abs=1e-6) and len(merged) > 20
    assert Sums.load(tmp_path / "both.npz").totals.n.sum() == 120
    capsys.readouterr()
    command("measure", whole, "--no-second", "--no-ci", "--json")
    rows = json.loads(capsys.readouterr().out)
    assert all(row["low"] is row["null"] is None for row in rows)
    assert {*CARD} - {row["measure"] for row in rows} == {key for key in CARD if "second" in CARD[key]["needs"]}
    words = ("compare", whole, tmp_path / "other.npz", "--json")
    np.savez(words[2], image=x + 0.1, text=y)
    command(*words, "--same-items")
    rows = [row for row in json.loads(capsys.readouterr().out) if row["measure"] == "gap_distance"]
    assert [(row["model"], row["interval"]) for row in rows] == [("whole", ""), ("other", "paired")]
    assert rows[1]["difference"] == pytest.approx(rows[1]["value"] - rows[0]["value"])
    assert "no engine 'nonsense'" in stopped(capsys, "measure", whole, "--engine", "nonsense")
    assert "--save keeps the sums of one set" in stopped(capsys, "measure", a, b, "--save", tmp_path / "c.npz")
    assert "other numbers of rows than whole" in stopped(capsys, "compare", whole, a, "--same-items")
    assert "no sums of modality-gap measure" in stopped(capsys, "merge", whole)


TWO = ("--columns", "image=image", "text=text")


@pytest.mark.parametrize("side, same", [("both", "both"), ("image", "first"), ("text", "second"), ("first", "first")])
def test_shift_writes_embeddings_with_a_smaller_gap(side, same, mine, tmp_path, capsys):
    assert "choose two of them" in stopped(capsys, "shift", mine, "--amount", 0.5, "-o", tmp_path / "closer.npz")
    command("shift", mine, *TWO, "--amount", 0.5, "--side", side, "--output", tmp_path / "closer.npz")
    before = Embeddings.load(mine, columns={"image": "image", "text": "text"})
    after = Embeddings.load(tmp_path / "closer.npz")
    expected = reference.shifted(*before.modalities.values(), 0.5, side=same)
    for rows, right in zip(after.modalities.values(), expected, strict=True):
        assert rows == pytest.approx(right, abs=1e-6)
    said = capsys.readouterr()
    assert "gap distance" in said.out and said.err.count("stays as it was") == (same != "both")


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "Expected one of {measure, merge, compare, evaluate, shift,"),
        (["mesure", "mine.npz"], "Unrecognized options: mesure, mine.npz; Available subcommands: measure, merge,"),
        (["measure"], "name a file of embeddings, for instance mine.npz, or two"),
        (["measure", "nowhere.npz"], "nowhere.npz"),
        (["measure", "mine.npz", "--sed", "3"], "Unrecognized options: --sed, 3; Perhaps you meant: --seed INT; see"),
        (["shift", "mine.npz", "--amount", "1"], "Missing from modality-gap shift: -o PATH, --output PATH; see --help"),
        (["report", "--outputs", "nowhere"], "nowhere: no records"),
        (["figures", "--only"], "no step named; the steps are modality_gap,"),
    ],
)
def test_a_users_error_is_one_line_and_exit_code_2(words, said, capsys):
    assert said in stopped(capsys, *words)


def test_an_option_that_a_script_does_not_have_is_one_line_too(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["script.py", "--sed", "3"])
    with pytest.raises(SystemExit) as stop:
        cli.main({"embedded": cli.Common(output=tmp_path)}, pytest.fail, "")
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: Unrecognized options: --sed, 3; Perhaps you meant: --seed INT")
    with pytest.raises(UserError, match=r"options: b\.npy; repeat --embeddings before each file; see --help"):
        cli.parse({"embedded": cli.WithEmbeddings(output=tmp_path)}, "", ["--embeddings", "a.npy", "b.npy"])
    with pytest.raises(SystemExit) as stop:
        cli.parse({"embedded": cli.Common(output=tmp_path)}, "What it does.", ["--help"])
    assert stop.value.code == 0 and "What it does." in capsys.readouterr().out


def test_published_without_a_network_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path))
    monkeypatch.setitem(published.EMBEDDINGS, "base_url", "http://127.0.0.1:9/")
    command("published", "--keep-going")
    said = capsys.readouterr().out
    assert "no network: 8 of the 8 published files" in said and str(tmp_path) in said
    assert "features_clasp_random.npy are missing" in stopped(capsys, "published")


def test_presets_are_defaults_that_options_override_and_cuda_needs_a_gpu(tmp_path, monkeypatch):
    presets = {name: cli.Common(preset=name, output=tmp_path, seed=i) for i, name in enumerate(("embedded", "smoke"))}
    assert cli.parse(presets, "", []).seed == 0
    assert cli.parse(presets, "", ["--preset", "smoke"]).seed == 1
    for words in (["-o", "there"], ["-o=there"], ["--output", "there"]):
        assert cli.parse(presets, "", words).output == Path("there")
    expected = cli.Common(preset="smoke", output=tmp_path, seed=7)
    assert cli.parse(presets, "", ["--preset=smoke", "--seed", "7"]) == expected
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert cli.resolve_device("auto") == "cpu"
    with pytest.raises(UserError, match="no GPU here"):
        cli.resolve_device("cuda")


@pytest.mark.parametrize("preset, suffix", [("embedded", ""), ("smoke", "-smoke"), ("paper", "-paper")])
def test_own_results_of_each_preset_have_a_folder_of_their_own(tmp_path, monkeypatch, preset, suffix):
    @dataclass(frozen=True, kw_only=True)
    class Settings(cli.Common):
        output: Path = Path("default")
        given: tuple = (None,)

        def own(self):
            return self.given

    def output(*given, **more):
        return cli.own_output(Settings(preset=preset, given=given, **more)).output

    monkeypatch.setattr(cli, "OUTPUTS", tmp_path)
    folder = tmp_path / "own" / f"a{suffix}"
    assert output(None) == output() == Path("default")
    assert output(tmp_path / "a.npz", output=Path("mine")) == Path("mine")
    assert output(None, tmp_path / "a.npz") == output(f"image={tmp_path}/a.npz") == folder
    assert output(tmp_path / "a.npz", output=Path("default").absolute()) == folder, "no place for your own"
    assert output("hub:somebody/a") == folder
    assert output("a.npy", None, "text=b/t.npy", "a.npy") == tmp_path / "own" / f"a+t{suffix}"
    assert output(*(f"a{k}.npy" for k in range(40))) == tmp_path / "own" / f"a0+39-more{suffix}"
    folder.mkdir(parents=True)
    (folder / "depth.json").write_text(json.dumps({"own_data": str(tmp_path / "a.npz")}))
    assert output(tmp_path / "a.npz") == folder
    for other in (tmp_path / "a.npy", "hub:other/a"):
        with pytest.raises(UserError, match=r"holds results of other data than .*/a.*; give --output FOLDER"):
            output(other)


FIT = {kind: ["--kind", kind] for kind in interventions.KINDS}
FIT["ablation"] += ["--dimensions", "2"]


@pytest.fixture
def two(tmp_path, rng):
    """Two files of one system: to fit on, and to apply it to; unequal counts, labels, a source."""
    x, y = reference.pairs(rng, 60, 6)
    source = {"model": "mine", "shift": "none"}
    about = {"model": "mine", "caption_rule": "first"}
    fit = Embeddings.of({"image": x[:30], "text": y[:30]}, source=about).save(tmp_path / "fit.safetensors")
    pairs = np.tile(np.arange(20)[:, None], 2)
    new = Embeddings.of({"image": x[30:], "text": y[30:50]}, pairs, np.arange(30) % 3, source)
    return fit, new.save(tmp_path / "new.safetensors")


@pytest.mark.parametrize("kind", interventions.KINDS)
def test_a_calibration_is_fitted_on_one_file_and_applied_to_another(kind, two, tmp_path, capsys):
    calibration, out = tmp_path / "c.safetensors", tmp_path / "out.safetensors"
    command("fit", two[0], *FIT[kind], "-o", calibration)
    command("transform", two[1], "--calibration", calibration, "-o", out)
    before, after, fitted = Embeddings.load(two[1]), Embeddings.load(out), interventions.load(calibration)
    moved = fitted.transform(before.modalities["image"], before.modalities["text"])
    assert after.modalities["image"] == pytest.approx(moved[0], abs=1e-6)
    assert after.modalities["text"] == pytest.approx(moved[1], abs=1e-6)
    assert after.pairs.tolist() == before.pairs.tolist() and after.labels.tolist() == before.labels.tolist()
    told = {"kind": kind, "inverse": False, "calibration_sha256": files.sha256(calibration)}
    assert after.source["model"] == "mine" and after.source["transform"] == told
    about = fitted.about
    assert (about["model"], about["caption_rule"], about["n"]) == ("mine", "first", {"image": 30, "text": 30})
    assert about["data"]["sha256"] == files.sha256(two[0]) and about["data"]["source"]["caption_rule"] == "first"
    said = capsys.readouterr().out.splitlines()
    gaps = geometry.gap_distance(before.modalities["image"], before.modalities["text"]), geometry.gap_distance(*moved)
    assert said[0].startswith(f"{kind}: gap distance ") and "relative gap" in said[0]
    assert said[1].startswith(f"{kind}: gap distance {gaps[0]:.4f} -> {gaps[1]:.4f}, matched cosine")


def test_the_inverse_brings_the_rows_back_and_the_source_tells_both(two, tmp_path):
    calibration, there, back = (tmp_path / f"{name}.safetensors" for name in ("c", "there", "back"))
    command("fit", two[0], "--kind", "shift", "--amount", 0.5, "-o", calibration)
    assert interventions.load(calibration).settings == {"amount": 0.5, "side": "both"}
    command("transform", two[1], "--calibration", calibration, "-o", there)
    command("transform", there, "--calibration", calibration, "-o", back, "--inverse")
    before, after = Embeddings.load(two[1]), Embeddings.load(back)
    for name in before.names:
        assert after.modalities[name] == pytest.approx(before.modalities[name], abs=1e-6)
        assert Embeddings.load(there).modalities[name] != pytest.approx(before.modalities[name], abs=1e-2)
    assert after.source["transform"]["inverse"] and not after.source["transform"]["after"]["inverse"]


def test_unpaired_rows_stay_unpaired(mine, tmp_path, rng, capsys):
    x, y = reference.pairs(rng, 12, 6)
    calibration, out = tmp_path / "c.safetensors", tmp_path / "out.npz"
    command("fit", mine, *TWO, "--kind", "centring", "-o", calibration)
    unpaired = Embeddings.of({"image": x, "text": y}, pairs=np.empty((0, 2), int)).save(tmp_path / "unpaired.npz")
    for verb, *words in (["transform", "--calibration", calibration], ["shift", "--amount", "1"]):
        capsys.readouterr()
        command(verb, unpaired, *words, "-o", out)
        assert len(Embeddings.load(out).pairs) == 0
        assert "gap distance" in (said := capsys.readouterr().out) and "cosine" not in said


def test_too_few_pairs_for_a_rotation_are_remarked_on(mine, tmp_path, rng, capsys):
    x, y = reference.pairs(rng, 12, 16)
    few = Embeddings.of({"image": x, "text": y}).save(tmp_path / "few.npz")
    for words, remarked in ((few,), True), ((mine, *TWO), False):
        command("fit", *words, "--kind", "procrustes", "-o", tmp_path / "c.safetensors")
        assert ("12 pairs do not settle a turn in 16 dimensions" in capsys.readouterr().err) == remarked


def test_fit_refuses_options_that_make_no_sense_and_writes_nothing(two, tmp_path, capsys):
    cases = {
        "--kind ablation needs --dimensions": ["ablation"],
        "amount must be one or more finite numbers": ["shift", "--amount", "nan"],
    }
    for told, words in cases.items():
        assert told in stopped(capsys, "fit", two[0], "--kind", *words, "--output", tmp_path / "c.safetensors")
    assert not (tmp_path / "c.safetensors").exists()


def test_a_calibration_that_does_not_fit_is_refused_and_nothing_is_written(two, mine, tmp_path, rng, capsys):
    calibration, out = tmp_path / "c.safetensors", tmp_path / "out.npz"
    command("fit", two[0], *FIT["ablation"], "-o", calibration)
    x, y = reference.pairs(rng, 12, 4)
    narrow = Embeddings.of({"image": x, "text": y}).save(tmp_path / "narrow.npz")
    width = f"{narrow}, by {calibration}: image: these rows have 4 columns, the calibration is for 6"
    cases = {
        width: [narrow, calibration],
        "no inverse: the 2 dimensions": [two[1], calibration, "--inverse"],
        "no calibration as `modality-gap fit` writes it": [two[0], two[1]],
        "a calibration of image and text has nothing for audio; choose or name the rows": [mine, calibration],
    }
    for told, (embeddings, fitted, *words) in cases.items():
        line = stopped(capsys, "transform", embeddings, "--calibration", fitted, *words, "--output", out)
        assert told in line
    assert not out.exists()
