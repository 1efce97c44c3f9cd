"""``modality-gap evaluate`` on one's own files: labels, prompts and pairs as people keep them, against float64."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from reference import recalls, unit
from refusals import stopped
from util import commands, geometry

QUICK = ["--splits", "2", "--resamples", "20", "--permutations", "20", "--shift-step", "0.5"]
NAMES = np.array(["ant", "bee", "cat", "dog", "elk", "fox"])


@pytest.fixture
def task(rng):
    """Images (90, 24), prompts (6, 24) and labels; most images are nearest to their own prompt."""
    texts = rng.normal(size=(6, 24))
    labels = rng.integers(6, size=90)
    return texts[labels] + 1.5 * rng.normal(size=(90, 24)) - 0.4, texts, labels


def evaluate(capsys, *words):
    """The rows of ``evaluate --json`` by metric, and what it said on stderr."""
    commands.main(["evaluate", *map(str, words), "--json", *QUICK])
    said = capsys.readouterr()
    return {row["metric"]: row for row in json.loads(said.out)}, said.err


def accuracy(images, texts, labels):
    return float(((unit(images) @ unit(texts).T).argmax(1) == labels).mean())


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
    mean, of_two = unit(several).mean(1), unit(several[:, :2]).mean(1)
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
    found, scores = values(capsys, tmp_path / "two.npz"), unit(images[two]) @ (unit(texts)[1] - unit(texts)[0])
    assert found["ROC-AUC"] == pytest.approx(roc_auc_score(labels[two], scores))
    assert found["top-1"] == accuracy(images[two], texts[:2], labels[two])


def test_accuracy_of_each_class(tmp_path, task, capsys):
    images, texts, labels = task
    np.savez(tmp_path / "mine.npz", image=images, text=texts, labels=labels, classes=NAMES)
    found, _ = evaluate(capsys, tmp_path / "mine.npz", "--per-class")
    predicted = (unit(images) @ unit(texts).T).argmax(1)
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
    commands.main(["evaluate", str(tmp_path / "mine.npz"), "--side", "first", "--csv", str(tmp_path / "o.csv"), *QUICK])
    out = capsys.readouterr().out
    assert "mine: 90 image, 6 classes; image alone moves; gap distance 0." in out
    for words in ("no shift [95%]", "(signed gap ", "held-out gain [95%]", f"wrote {tmp_path / 'o.csv'}"):
        assert words in out
    assert set(pd.read_csv(tmp_path / "o.csv")["metric"]) == {"top-1", "top-5", "mean per-class recall"}


def test_recalls_go_by_the_names_of_modalities_whatever_stands_first(tmp_path, rng, capsys):
    """Case 02: alphabetical archives store text first, or image; ``first`` is the image in both."""
    images, of = rng.normal(size=(60, 24)) + 0.5, np.arange(60)
    texts = images + 0.9 * rng.normal(size=(60, 24)) - 0.9
    moved, _ = geometry.shift(unit(images), unit(texts), 0.5, side="first")
    right = recalls(images, texts, of)
    assert right[0] != right[1]
    ways = [f"{way} recall@1" for way in ("image-to-text", "text-to-image")]
    for names in ({"text_features": texts, "image_features": images}, {"caption": texts, "photo": images}):
        np.savez(tmp_path / "mine.npz", **names)
        found = values(capsys, tmp_path / "mine.npz", "--side", "first", "--csv", tmp_path / "o.csv")
        assert [found[way] for way in ways] == pytest.approx(right)
        rows = pd.read_csv(tmp_path / "o.csv").query("split == 'all' and shift == 0.5").set_index("metric")["value"]
        assert [rows[way] for way in ways] == pytest.approx(recalls(moved, texts, of))


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
        assert ours == pytest.approx(recalls(images, texts, of))
    assert "audio has 20 rows, text 40; give labels" in stopped(capsys, "evaluate", tmp_path / "mine.npz")
    line = stopped(capsys, "evaluate", tmp_path / "mine.npz", "--pairs", "rows")
    assert "--pairs rows: audio has 20 rows, text 40" in line


def test_classes_and_pairs_are_known_by_name_and_are_refused_where_nothing_tells(tmp_path, rng, task, capsys):
    """Names on both sides, templates by name, more templates than classes, equal texts, labels that may be from 1."""
    images, texts, labels = task
    turned, several = rng.permutation(6), texts[:, None] + 0.5 * rng.normal(size=(6, 20, 24))
    (image, text, mine), right = (tmp_path / name for name in ("image.npz", "text.npz", "mine.npz")), accuracy(*task)
    mean = accuracy(images, unit(several).mean(1), labels)
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
