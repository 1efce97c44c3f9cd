"""Other people's files, through the command line: the value that is right, or the reason why there is none.

Inputs are made here, and so are the right values, in float64.
"""

import numpy as np
import pytest

import reference
import scripts
import smoke_runs
from refusals import command
from util import cli
from util.reporting import comparisons


def record_of(name, folder, *words):
    return smoke_runs.run(scripts.load(name), folder / "out", *words)


def five_captions(rng, n=40, d=24, noise=0.35):
    """n images, and five captions of each one after the other: (n, d) and (5 n, d)."""
    images = reference.unit(rng.normal(size=(n, d)) + 0.8)
    texts = reference.unit(np.repeat(images, 5, axis=0) + noise * rng.normal(size=(5 * n, d)) - 0.3)
    return images.astype(np.float32), texts.astype(np.float32)


@pytest.mark.parametrize("kind", ["pairs", "partly repeated"])
def test_an_image_that_stands_once_for_each_caption_is_one_image(tmp_path, rng, kind, capsys, undrawn):
    images, texts = five_captions(rng)
    of = np.repeat(np.arange(40), 5)
    given = {"image": images, "text": texts, "pairs": np.stack([of, np.arange(200)], 1)}
    if kind == "partly repeated":
        copied = np.where(of < 20, of, np.arange(200) + 20)
        given = {"image": np.concatenate([images, images[of[100:]]])[np.where(of < 20, of, copied - 80)], "text": texts}
    np.savez(tmp_path / "mine.npz", **given)
    table = record_of("zero_shot", tmp_path, "--embeddings", tmp_path / "mine.npz").tables[""]
    table = table[(table["shift"] == 0) & (table["split"] == "all")].set_index("metric")
    found = [table.loc[f"{way} recall@1", "value"].iloc[0] for way in ("image-to-text", "text-to-image")]
    assert found == pytest.approx(reference.recalls(images, texts, of)) and 0.3 < found[0] < 1
    assert table.loc["image-to-text recall@1", "n"].max() == 40
    assert ("rows equal an earlier one" in capsys.readouterr().out) == (kind != "pairs")


def test_with_five_captions_an_image_the_loss_is_that_of_batches_of_different_images(tmp_path, rng, undrawn):
    """Batches of neighbours hold each image five times: their lowest loss, near log 5, lies past the overlap."""
    shared, apart = rng.normal(size=(120, 64)), 0.2 * np.sqrt(64) * reference.unit(rng.normal(size=(1, 64)))
    of = np.repeat(np.arange(120), 5)
    images = reference.unit(shared + 0.9 * rng.normal(size=(120, 64)) + apart).astype(np.float32)
    texts = reference.unit(shared[of] + 0.9 * rng.normal(size=(600, 64)) - apart).astype(np.float32)
    np.savez(tmp_path / "five.npz", image=images, text=texts, pairs=np.stack([of, np.arange(600)], 1))
    record = record_of("loss_landscape", tmp_path, "--embeddings", tmp_path / "five.npz", "--temperatures", 0.01)
    rows = np.concatenate([5 * np.arange(50 * half, 50 * half + 50) + k for half in range(2) for k in range(5)])
    x, table = images[of], record.tables[""]
    options = {"batch": 50, "direction": reference.gap(x, texts)}
    right = reference.sweep(x[rows], texts[rows], table["shift"], (0.01,), **options)[:, 0]
    assert table["loss"].to_numpy() == pytest.approx(right, rel=1e-4, abs=1e-7)
    neighbours = reference.sweep(x, texts, table["shift"], (0.01,), **options)[:, 0]
    gaps = table["signed_gap_distance"]
    assert gaps[right.argmin()] > -0.6 and gaps[neighbours.argmin()] < -1.5 and neighbours.min() > right.min() + 1
    (found,) = record.tables["minima"]["gap_at_minimum"]
    assert np.isnan(found) or found == gaps[right.argmin()]
    assert record.about["results"]["five"]["n_pairs"] == 500


@pytest.mark.parametrize("beside", [False, True])
def test_siglip_s_own_loss(tmp_path, rng, beside, capsys, undrawn):
    scale, bias = 112.67, -16.5
    x, y = (part.astype(np.float64) for part in reference.pairs(rng, 60, 24, noise=0.4, gap=0.3))
    right = reference.sigmoid_loss(x, y, scale, bias, 60)
    extra = {"logit_scale": scale, "logit_bias": bias} if beside else {}
    np.savez(tmp_path / "siglip.npz", image=x.astype(np.float32), text=y.astype(np.float32), **extra)
    options = () if beside else ("--logit-scale", scale, "--bias", bias)
    words = ("--embeddings", tmp_path / "siglip.npz", "--loss", "sigmoid", "--batch", "None", *options)
    record = record_of("loss_landscape", tmp_path, *words)
    table = record.tables[""].set_index("shift")
    assert table.loc[0.0, "loss"] == pytest.approx(right, rel=1e-5)
    assert table["temperature"].unique() == pytest.approx([1 / scale])
    matched = (1 / (1 + np.exp(-scale * (x * y).sum(1) - bias))).mean()
    assert record.about["results"]["siglip"]["mean_matched_probability"] == pytest.approx(matched, rel=1e-5)
    said = capsys.readouterr().out
    assert f"mean matched probability {matched:.4f}"[:-1] in said and ("from beside the vectors" in said) == beside


def test_a_curve_that_is_lowest_where_the_shifts_end_has_no_minimum(tmp_path, rng, capsys, undrawn):
    """Pairs that know nothing of each other: their loss falls for ever, or is nowhere lower than elsewhere."""
    x, _ = reference.pairs(rng, 100, 16)
    _, y = reference.pairs(rng, 100, 16)
    np.savez(tmp_path / "strangers.npz", image=x, text=y)
    record = record_of(
        "loss_landscape", tmp_path, "--embeddings", tmp_path / "strangers.npz", "--temperatures", 0.01, 10
    )
    minima = record.tables["minima"]
    assert (minima["at_edge"] | minima["flat"]).all() and minima["gap_at_minimum"].isna().all()
    said = capsys.readouterr().out
    assert "none at 1/100 (lowest where the shifts end)" in said and "none at 10 (" in said


@pytest.mark.parametrize("given", [(), ("--output", "{default}")])
def test_own_embeddings_never_write_over_what_make_figures_wrote_and_say_nothing_of_the_paper(
    tmp_path, rng, monkeypatch, capsys, given
):
    """The README's own command took the place of the figure's record; its minima were stamped "no"."""
    script, (x, y) = scripts.load("loss_landscape.py"), reference.pairs(rng, 60, 8)
    np.savez(tmp_path / "mine.npz", image=x, text=y)
    monkeypatch.setattr(cli, "OUTPUTS", tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    default = script.Settings.output
    before = sorted((path, path.stat().st_mtime_ns) for path in default.glob("*"))
    given = [word.format(default=default) for word in given]
    record = script.run(smoke_runs.parsed(script, "--embeddings", tmp_path / "mine.npz", *given))
    assert record.folder == tmp_path / "outputs" / "own" / "mine-smoke"
    files = sorted(path.name for path in record.folder.iterdir())
    named = f"loss_landscape.csv, .json, .pdf, .png and {len(files) - 4} more, in"
    assert f"wrote outputs/own/mine-smoke: {named}" in capsys.readouterr().out
    assert sorted((path, path.stat().st_mtime_ns) for path in default.glob("*")) == before
    assert record.about["own_data"] == str(tmp_path / "mine.npz") and record.about["comparisons"] == []
    page = comparisons.write_report(record.folder).read_text()
    assert "loss_landscape.csv" in page and "small models" not in page and "Liang" not in page


@pytest.fixture
def two(tmp_path, rng):
    """Images and texts as two files, not normalised, with their rows in float64."""
    x, y = reference.pairs(rng, 60, 24, dtype=np.float64)
    np.save(tmp_path / "image_embeddings.npy", 3 * x)
    np.save(tmp_path / "text_embeddings.npy", 5 * y)
    return x, y


def test_a_calibration_knows_its_modalities_by_name_in_any_order_and_one_alone(tmp_path, two):
    x, y = two
    np.savez(tmp_path / "fit.npz", image=x[:40], text=y[:40])
    np.savez(tmp_path / "new.npz", text=y[40:], image=x[40:])
    np.save(tmp_path / "queries.npy", y[40:])
    calibration, out = tmp_path / "c.safetensors", tmp_path / "out.npz"
    for fitted_on, centre in (("fit.npz", y[:40]), ("queries.npy", y[40:])):
        command("fit", tmp_path / fitted_on, "--kind", "centring", "-o", calibration)
        command("transform", tmp_path / "queries.npy", "--calibration", calibration, "-o", tmp_path / "moved.npy")
        assert np.load(tmp_path / "moved.npy") == pytest.approx(reference.unit(y[40:] - centre.mean(0)), abs=1e-6)
        if fitted_on == "fit.npz":
            command("transform", tmp_path / "new.npz", "--calibration", calibration, "-o", out)
            assert np.load(out)["text"] == pytest.approx(np.load(tmp_path / "moved.npy"))
            assert np.load(out)["image"] == pytest.approx(reference.unit(x[40:] - x[:40].mean(0)), abs=1e-6)


def test_a_vector_of_somebody_else_is_followed_by_its_own_length_or_another(tmp_path, two, capsys):
    x, y = two
    offset = 0.9 * reference.gap(x, y)
    np.save(tmp_path / "offset.npy", offset)
    np.savez(tmp_path / "mine.npz", image=x, text=y)
    out, texts = tmp_path / "out.npz", tmp_path / "text_embeddings.npy"
    command("shift", tmp_path / "mine.npz", "--direction", tmp_path / "offset.npy", "--side", "text", "-o", out)
    right = reference.unit(y + offset)
    with np.load(out) as moved:
        assert moved["image"] == pytest.approx(x, abs=1e-6) and moved["text"] == pytest.approx(right, abs=1e-6)
    assert f"-> {np.linalg.norm(reference.gap(x, right)):.4f}, matched" in capsys.readouterr().out
    for words in ([], ["--amount", np.linalg.norm(offset)]):
        command("shift", texts, "--direction", tmp_path / "offset.npy", *words, "-o", tmp_path / "moved.npy")
        assert np.load(tmp_path / "moved.npy") == pytest.approx(right, abs=1e-6)
    np.save(tmp_path / "wide.npy", np.ones(128))
    with pytest.raises(SystemExit):
        command("shift", texts, "--direction", tmp_path / "wide.npy", "-o", tmp_path / "no.npy")
    assert "it holds (128,)" in capsys.readouterr().err


def test_texts_that_do_not_differ_are_warned_of_and_one_modality_has_a_cone(tmp_path, two, capsys, undrawn):
    x, y = two
    np.savez(tmp_path / "collapsed.npz", image=2 * x, text=reference.unit(y[:1] + 0.02 * y))
    for words in (["measure"], ["evaluate", "--resamples", "20", "--permutations", "20", "--splits", "2"]):
        command(words[0], tmp_path / "collapsed.npz", *words[1:])
        said = capsys.readouterr().err
        assert "text: rows hardly differ, mean cosine " in said
        assert "rows are made unit-norm here; norms were image 2 to 2" in said
    table = record_of("cosine_similarity", tmp_path, "--embeddings", tmp_path / "text_embeddings.npy").tables[""]
    assert table["mean"].item() == pytest.approx(reference.cosines(y).mean(), abs=1e-6)
