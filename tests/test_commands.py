"""``modality-gap`` and what every command line shares."""

import json
import subprocess
import sys

import numpy as np
import pytest

import reference
import util as imported_util
from util import Embeddings, UserError, cli, commands, geometry


@pytest.fixture
def mine(tmp_path, rng):
    x, y = reference.pairs(rng, 40, 6)
    return Embeddings.of({"image": x, "audio": x[:10], "text": y}, pairs=np.tile(np.arange(10)[:, None], 3)).save(
        tmp_path / "mine.npz"
    )


def test_the_imported_util_is_this_one():
    import scripts

    assert imported_util.__file__ == str(scripts.REPOSITORY / "util" / "__init__.py")


def test_measure_prints_every_pair_of_modalities(mine, capsys):
    commands.main(["measure", str(mine), "--as-json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["modalities"] for row in rows] == [["image", "audio"], ["image", "text"], ["audio", "text"]]
    parts = Embeddings.load(mine).modalities
    assert rows[1]["gap_distance"] == pytest.approx(geometry.gap_distance(parts["image"], parts["text"]))
    assert rows[0]["matched_cosine"] == pytest.approx(1, abs=1e-6)


def test_measure_in_words(mine, capsys):
    commands.main(["measure", str(mine)])
    said = capsys.readouterr().out
    assert "image (40 x 6) and text (40 x 6)" in said and said.count("gap distance") == 3


def test_shift_writes_embeddings_with_a_smaller_gap(mine, tmp_path, capsys):
    commands.main(["shift", str(mine), "--amount", "0.5", "--output", str(tmp_path / "closer.npz")])
    before, after = Embeddings.load(mine), Embeddings.load(tmp_path / "closer.npz")
    expected = geometry.shift(before.modalities["image"], before.modalities["text"], 0.5)
    assert after.modalities["image"] == pytest.approx(expected[0], abs=1e-6)
    assert after.modalities["text"] == pytest.approx(expected[1], abs=1e-6)
    assert after.modalities["audio"] == pytest.approx(before.modalities["audio"], abs=1e-6)
    assert after.pairs.tolist() == before.pairs.tolist()
    assert "gap distance" in capsys.readouterr().out


def test_shift_keeps_unpaired_embeddings_unpaired(tmp_path, rng):
    x, y = reference.pairs(rng, 12, 6)
    path = Embeddings.of({"image": x, "text": y}, pairs=np.empty((0, 2), int)).save(tmp_path / "unpaired.npz")
    commands.main(["shift", str(path), "--amount", "0.2", "--output", str(tmp_path / "out.npz")])
    assert Embeddings.load(tmp_path / "out.npz").pairs is None


@pytest.mark.parametrize("words", [["measure"], ["measure", "nowhere.npz"], ["report", "--outputs", "nowhere"]])
def test_a_users_error_is_one_line_and_exit_code_2(words, capsys):
    with pytest.raises(SystemExit) as stop:
        commands.main(words)
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_published_without_a_network_names_the_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path))
    from util import published

    monkeypatch.setattr(published, "address", lambda name: f"http://127.0.0.1:9/{name}")
    commands.main(["published", "--keep-going"])
    said = capsys.readouterr().out
    assert "features_clip.npy" in said and "0 of 8 files" in said and str(tmp_path) in said
    with pytest.raises(SystemExit) as stop:
        commands.main(["published"])
    assert stop.value.code == 2


def test_presets_are_defaults_that_options_override(tmp_path):
    presets = {name: cli.Common(preset=name, output=tmp_path, seed=i) for i, name in enumerate(("embedded", "smoke"))}
    assert cli.parse(presets, "", []).seed == 0
    assert cli.parse(presets, "", ["--preset", "smoke"]).seed == 1
    assert cli.parse(presets, "", ["--preset=smoke", "--seed", "7"]) == cli.Common(
        preset="smoke", output=tmp_path, seed=7
    )


def test_a_negative_seed_is_refused(tmp_path):
    with pytest.raises(UserError, match="--seed must be a whole number of at least 0"):
        cli.parse({"embedded": cli.Common(output=tmp_path)}, "", ["--seed", "-1"])


def test_cuda_without_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert cli.resolve_device("auto") == "cpu"
    with pytest.raises(UserError, match="no GPU here"):
        cli.resolve_device("cuda")


def test_the_module_runs_as_a_command():
    done = subprocess.run([sys.executable, "-m", "util", "--help"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "measure" in done.stdout
