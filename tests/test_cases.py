"""Other people's files, through the command line: the value that is right, or the reason why there is none.

Inputs are made here, labels, prompts and pairs as people keep them, and so are the right values, in float64.
"""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import reference
import scripts
import smoke_runs
from refusals import command, stopped
from util import cli, geometry
from util.reporting import comparisons

QUICK = ["--splits", "2", "--resamples", "20", "--permutations", "20", "--shift-step", "0.5"]
NAMES = np.array(["ant", "bee", "cat", "dog", "elk", "fox"])


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


@pytest.fixture
def task(rng):
    """Images (90, 24), prompts (6, 24) and labels; most images are nearest to their own prompt."""
    texts = rng.normal(size=(6, 24))
    labels = rng.integers(6, size=90)
    return texts[labels] + 1.5 * rng.normal(size=(90, 24)) - 0.4, texts, labels


def evaluate(capsys, *words):
    """The rows of ``evaluate --json`` by metric, and what it said on stderr."""
    command("evaluate", *words, "--json", *QUICK)
    said = capsys.readouterr()
    return {row["metric"]: row for row in json.loads(said.out)}, said.err


def accuracy(images, texts, labels):
    return float(((reference.unit(images) @ reference.unit(texts).T).argmax(1) == labels).mean())


def values(capsys, *words):
    """Values without a shift by metric."""
    return {name: row["value"] for name, row in evaluate(capsys, *words)[0].items()}


def table(path, rows, **beside):
    """A csv with columns of vectors."""
    columns = {f"dim_{k}": column for k, column in enumerate(np.asarray(rows).T)}
    pd.DataFrame({**beside, **columns}).to_csv(path, index=False)
    return path


def test_labels_and_prompts_in_files_of_their_own_are_matched_by_name_and_by_id(tmp_path, rng, task, capsys):
    images, texts, labels = task
    ids = np.array([f"{year}-01-01T00:00" for year in range(1900, 1990)])
    image, order, turned = tmp_path / "image.jsonl", rng.permutation(90), rng.permutation(6)
    pd.DataFrame({"id": ids, "image": images.tolist()}).to_json(image, orient="records", lines=True)
    prompts = table(tmp_path / "prompts.csv", texts[turned], name=NAMES[turned])
    numbered = table(tmp_path / "numbered.csv", texts[turned], class_id=turned)
    by_name, by_number = (tmp_path / name for name in ("names.csv", "numbers.csv"))
    pd.DataFrame({"id": ids[order], "species": NAMES[labels][order], "x": 7}).to_csv(by_name, index=False)
    named = ["--labels", by_name, "--label-column", "species"]
    pd.DataFrame({"id": ids, "species": NAMES[labels]}).iloc[order].to_csv(by_number, header=False, index=False)
    assert values(capsys, image, "--labels", by_number, "--prompts", prompts)["top-1"] == accuracy(*task)
    assert accuracy(images, texts[turned], labels) < accuracy(*task) - 0.3
    for count, words in ((90, [*named, "--prompts", prompts]), (80, ["--labels", by_number, "--prompts", numbered])):
        rows = order[:count]
        pd.DataFrame({"id": ids[rows], "label": labels[rows]}).to_csv(by_number, index=False)
        found, said = evaluate(capsys, image, *words)
        assert found["top-1"]["value"] == pytest.approx(accuracy(images[rows], texts, labels[rows]))
        assert found["top-1"]["n"] == count
    assert "80 pairs matched by ids; without a partner: 10 of 90 image" in said
    line = stopped(capsys, "evaluate", image, "--labels", by_name, "--prompts", prompts)
    assert "names.csv: which column holds the labels cannot be told; there are species, x" in line


def test_prompts_in_every_shape_in_the_archive_and_in_a_file_of_their_own(tmp_path, rng, task, capsys):
    """Case 11: several templates of a class, before it or behind, and an array that is turned."""
    images, texts, labels = task
    several = texts[:, None] + 0.5 * rng.normal(size=(6, 4, 24))
    mean, of_two = reference.unit(several).mean(1), reference.unit(several[:, :2]).mean(1)
    np.save(tmp_path / "image.npy", images)
    np.savetxt(tmp_path / "labels.txt", labels, "%d")
    apart = tmp_path / "image.npy", "--labels", tmp_path / "labels.txt", "--prompts", tmp_path / "weights.npy"
    stacked = several.swapaxes(0, 1)
    for prompts, classes in ((several, mean), (stacked, mean), (stacked[:2], of_two), (texts.T, texts)):
        np.savez(tmp_path / "mine.npz", image=images, text=prompts, labels=labels)
        np.save(tmp_path / "weights.npy", prompts)
        for words in ([tmp_path / "mine.npz"], apart):
            found, said = evaluate(capsys, *words)
            assert found["top-1"]["value"] == pytest.approx(accuracy(images, classes, labels)), prompts.shape
            assert f"{words[-1].name}: text " in said


def test_labels_as_people_have_them(tmp_path, task, capsys):
    """Case 10: names, whole numbers stored as floats, a column for each class, two classes as true and false."""
    images, texts, labels = task
    given = {"image": images, "text": texts}
    for arrays in (
        {**given, "labels": NAMES[labels], "classes": NAMES},
        {**given, "labels": labels.astype(np.float32)},
        {**given, "labels": np.eye(6, dtype=int)[labels]},
        {"text_features": texts[None], "image_features": images, "labels": labels},
    ):
        np.savez(tmp_path / "mine.npz", **arrays)
        assert values(capsys, tmp_path / "mine.npz")["top-1"] == pytest.approx(accuracy(*task))
    two = labels < 2
    np.savez(tmp_path / "two.npz", image=images[two], text=texts[:2], labels=labels[two] == 1)
    found, scores = (
        values(capsys, tmp_path / "two.npz"),
        reference.unit(images[two]) @ (reference.unit(texts)[1] - reference.unit(texts)[0]),
    )
    assert found["ROC-AUC"] == pytest.approx(roc_auc_score(labels[two], scores))
    assert found["top-1"] == accuracy(images[two], texts[:2], labels[two])


def test_accuracy_of_each_class(tmp_path, task, capsys):
    images, texts, labels = task
    np.savez(tmp_path / "mine.npz", image=images, text=texts, labels=labels, classes=NAMES)
    found, _ = evaluate(capsys, tmp_path / "mine.npz", "--per-class")
    predicted = (reference.unit(images) @ reference.unit(texts).T).argmax(1)
    for number, name in enumerate(NAMES):
        row = found[f"accuracy of class {name}"]
        assert (row["value"], row["n"]) == ((predicted == number)[labels == number].mean(), (labels == number).sum())


def test_what_cannot_be_evaluated_is_refused_in_a_line(tmp_path, rng, task, capsys):
    images, texts, labels = task
    one_each, several = {"image": images, "text": images + 1}, np.eye(6, dtype=bool)[labels]
    several[0], several[1] = False, True
    named = {"image": images, "text": texts, "labels": NAMES[labels]}
    np.save(tmp_path / "prompts.npy", texts)
    for name, arrays, words, said in (
        ("paired", {**one_each, "labels": labels}, [], "text has 90 rows, for 90 image rows of 6 classes"),
        ("five", {"image": images, "text": np.repeat(images, 5, 0), "labels": labels}, [], "450 rows, for 90 image"),
        ("named", {**one_each, "labels": labels, "classes": NAMES}, [], "90 rows, for 90 image rows of 6 classes"),
        ("strings", named, [], "for retrieval, evaluate --pairs rows"),
        ("bare", named, ["--prompts", tmp_path / "prompts.npy"], "give --prompts a table with a column of names"),
        ("from_1", {"image": images, "text": texts, "labels": labels + 1}, [], "take 1 away if yours count from 1"),
        ("several", {"image": images, "text": texts, "labels": several}, [], "2 of 90 rows no class or several; give"),
        ("beyond", {"image": images, "text": texts, "labels": labels + 2}, [], "labels must be 0 to 5 for 6 classes"),
        ("none", one_each, ["--per-class"], "--per-class is for labels; leave it out"),
        ("stacked", {**named, "text": np.ones((20, 6, 24)), "labels": labels + 1}, [], "which axis is of the classes"),
        ("captions", {**named, "text": images[:80], "labels": labels, "pairs": np.eye(2, dtype=int)}, [], "80 rows"),
        ("column", one_each, ["--label-column", "x"], "--label-column is of the file of --labels"),
        ("wide", {"image": images, "text": texts[:, :20], "labels": labels}, [], "columns are image 24, text 20"),
    ):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        assert said in stopped(capsys, "evaluate", tmp_path / f"{name}.npz", *words), name
    np.save(tmp_path / "few.npy", labels[:80])
    line = stopped(capsys, "evaluate", tmp_path / "none.npz", "--labels", tmp_path / "few.npy")
    assert "few.npy: 80 labels for 90 image rows, and ids not in both" in line


def test_a_table_for_people_names_what_moves_and_where_the_curve_is(tmp_path, task, capsys):
    images, texts, labels = task
    np.savez(tmp_path / "mine.npz", image=images, text=texts, labels=labels)
    command("evaluate", tmp_path / "mine.npz", "--side", "first", "--csv", tmp_path / "o.csv", *QUICK)
    out = capsys.readouterr().out
    assert "mine: 90 image, 6 classes; image alone moves; gap distance 0." in out
    for words in ("no shift [95%]", "(signed gap ", "held-out gain [95%]", f"wrote {tmp_path / 'o.csv'}"):
        assert words in out
    assert set(pd.read_csv(tmp_path / "o.csv")["metric"]) == {"top-1", "top-5", "mean per-class recall"}


def test_recalls_go_by_the_names_of_modalities_whatever_stands_first(tmp_path, rng, capsys):
    """Case 02: alphabetical archives store text first, or image; ``first`` is the image in both."""
    images, of = rng.normal(size=(60, 24)) + 0.5, np.arange(60)
    texts = images + 0.9 * rng.normal(size=(60, 24)) - 0.9
    moved, _ = geometry.shift(reference.unit(images), reference.unit(texts), 0.5, side="first")
    right = reference.recalls(images, texts, of)
    assert right[0] != right[1]
    ways = [f"{way} recall@1" for way in ("image-to-text", "text-to-image")]
    for names in ({"text_features": texts, "image_features": images}, {"caption": texts, "photo": images}):
        np.savez(tmp_path / "mine.npz", **names)
        found = values(capsys, tmp_path / "mine.npz", "--side", "first", "--csv", tmp_path / "o.csv")
        assert [found[way] for way in ways] == pytest.approx(right)
        rows = pd.read_csv(tmp_path / "o.csv").query("split == 'all' and shift == 0.5").set_index("metric")["value"]
        assert [rows[way] for way in ways] == pytest.approx(reference.recalls(moved, texts, of))


def test_pairs_of_a_file_and_of_rows(tmp_path, rng, capsys):
    images, of = rng.normal(size=(20, 8)), rng.permutation(np.repeat(np.arange(20), 2))
    texts = images[of] + 0.8 * rng.normal(size=(40, 8))
    np.savez(tmp_path / "mine.npz", audio=images, text=texts)
    np.save(tmp_path / "of.npy", of)
    pd.DataFrame({"audio": of, "text": np.arange(40)}).to_csv(tmp_path / "pairs.csv", index=False)
    np.savez(tmp_path / "ids.npz", audio=images, text=texts, audio_ids=np.arange(20) + 7, text_audio_ids=of + 7)
    for file, pairs in (("mine", tmp_path / "of.npy"), ("mine", tmp_path / "pairs.csv"), ("ids", "rows")):
        found = values(capsys, tmp_path / f"{file}.npz", "--pairs", pairs)
        ours = [found[f"{way} recall@1"] for way in ("audio-to-text", "text-to-audio")]
        assert ours == pytest.approx(reference.recalls(images, texts, of))
    assert "audio has 20 rows, text 40; give labels" in stopped(capsys, "evaluate", tmp_path / "mine.npz")
    line = stopped(capsys, "evaluate", tmp_path / "mine.npz", "--pairs", "rows")
    assert "--pairs rows: audio has 20 rows, text 40" in line


def test_classes_and_pairs_are_known_by_name_and_are_refused_where_nothing_tells(tmp_path, rng, task, capsys):
    """Names on both sides, templates by name, more templates than classes, equal texts, labels that may be from 1."""
    images, texts, labels = task
    turned, several = rng.permutation(6), texts[:, None] + 0.5 * rng.normal(size=(6, 20, 24))
    (image, text, mine), right = (tmp_path / name for name in ("image.npz", "text.npz", "mine.npz")), accuracy(*task)
    mean = accuracy(images, reference.unit(several).mean(1), labels)
    for beside, of_texts, rows, value in (
        ({"labels": labels, "classes": NAMES}, {"classes": NAMES[turned]}, texts[turned], right),
        ({"labels": labels}, {"id": np.arange(6), "labels": turned.astype(float)}, texts[turned], right),
        ({"labels": NAMES[labels]}, {"classes": np.repeat(NAMES, 20)}, several.reshape(120, 24), mean),
    ):
        np.savez(image, image=images, **beside)
        np.savez(text, text=rows, **of_texts)
        for words in ((image, text), (image, "--prompts", text)):
            assert values(capsys, *words)["top-1"] == pytest.approx(value)
    np.savez(mine, image=images, text=texts[turned], classes=NAMES[turned])
    pd.DataFrame(np.eye(6, dtype=int)[labels], columns=NAMES).to_csv(tmp_path / "dummies.csv", index=False)
    assert values(capsys, mine, "--labels", tmp_path / "dummies.csv")["top-1"] == pytest.approx(right)
    np.savez(mine, image=images, text=texts[turned], labels=labels, text_labels=turned)
    assert values(capsys, mine)["top-1"] == pytest.approx(right)
    np.savez(mine, image=images, text=several, labels=labels)
    assert values(capsys, mine)["top-1"] == pytest.approx(mean)
    equal = texts[[0, 1, 2, 3, 4, 1]]
    np.savez(mine, image=images, text=equal, labels=labels)
    found, said = evaluate(capsys, mine)
    assert found["top-1"]["value"] == pytest.approx(accuracy(images, texts[:5], np.where(labels == 5, 1, labels)))
    assert "1 of 6 classes have the text of an earlier one" in said
    kept, order = labels < 5, rng.permutation(90)
    pairs = np.stack([order, np.arange(90)], 1)
    pd.DataFrame({"text_id": order, "image_id": np.arange(90)}).to_csv(tmp_path / "pairs.csv", index=False)
    for arrays, words, said in (
        ({"image": images, "text": texts, "img_ids": order}, ["--pairs", tmp_path / "pairs.csv"], "of row numbers, or"),
        ({"image": images[kept], "text": texts, "labels": labels[kept] + 1}, [], "labels are 1 to 5 for 6 classes"),
        ({"text": images, "image": images[order], "pairs": pairs}, [], "which column of the pairs is of image"),
        ({"image": images[order], "text": images + 0.1}, ["--pairs", tmp_path / "pairs.npy"], "give --pairs a table"),
    ):
        np.savez(mine, **arrays)
        np.save(tmp_path / "pairs.npy", order)
        assert said in stopped(capsys, "evaluate", mine, *words)
    assert values(capsys, mine, "--pairs", tmp_path / "pairs.csv")["image-to-text recall@1"] == 1
    np.savez(mine, audio=images, image=images, text=images + 0.1)
    assert "left out: mine: audio, image: the gap is zero" in evaluate(capsys, mine)[1]
    for name, said in (("audio.npy", "its name says audio alone"), ("image.csv", "column 2 holds whole numbers among")):
        np.save(tmp_path / "audio.npy", np.stack([images, images]))
        pd.DataFrame(np.c_[labels, images], [f"{k}.jpg" for k in order]).to_csv(tmp_path / "image.csv", header=False)
        assert said in stopped(capsys, "evaluate", tmp_path / name)
