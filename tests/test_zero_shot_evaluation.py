"""What the tables of Table 1 hold, against direct computations with one shift at a time and scikit-learn."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score, top_k_accuracy_score

import embedded_tasks
import published_gains
import reach
import reference
import zero_shot
from refusals import refuses
from util import Embeddings, UserError, cli, geometry
from util.corpora.captioned import Unreadable
from util.corpora.generated import pictures
from util.corpora.tasks import Labelled, Task
from util.encoders.named import Named
from util.zero_shot import evaluation, selection
from util.zero_shot.evaluation import CURVE_COLUMNS, TABLE_COLUMNS, evaluate
from util.zero_shot.tasks import EmbeddedTask, of_own

SHIFTS = cli.shift_grid(1)
CONTRACT = "dataset metric gap_direction split shift signed_gap_distance value model side"
CONTRACT_TABLE = (
    "dataset metric gap_direction selection default modified ci_low ci_high p_value shift direction model side"
)
QUICK = replace(zero_shot.PRESETS["smoke"], shift_step=1, resamples=60, permutations=60)


def unit(rows):
    return reference.unit(rows).astype(np.float32)


def task(rng, n=90, classes=7, dim=6, **more):
    texts = unit(rng.normal(size=(classes, dim)) + 1)
    labels = rng.integers(classes, size=n)
    images = unit(texts[labels] + 0.9 * rng.normal(size=(n, dim)) - 0.7)
    given = {"metric": "top-1", "images": images, "texts": texts, "labels": labels, "caption_gap": rng.normal(size=dim)}
    return EmbeddedTask(dataset="task", group="any", model="none", source={}, **{**given, **more})


def pairs(rng, n=40, captions=2, dim=6):
    images = unit(rng.normal(size=(n, dim)) + 0.5)
    item_of = np.repeat(np.arange(n), captions)
    texts = unit(images[item_of] + 0.4 * rng.normal(size=(len(item_of), dim)) - 0.6)
    return task(
        rng, metric="retrieval", images=images, texts=texts, labels=np.stack([item_of, np.arange(len(texts))], 1)
    )


def shifted(given, shift, along=None, side="both"):
    """Images and texts after a shift, and their cosines in float64."""
    x, y = geometry.shift(given.images, given.texts, shift, along, side)
    return x, y, x.astype(np.float64) @ y.T.astype(np.float64)


def at(curves, metric, shift, direction="task", side="both", split="all"):
    """The row of one point of a curve."""
    where = {"metric": metric, "shift": shift, "gap_direction": direction, "side": side, "split": split}
    found = curves[np.logical_and.reduce([curves[name] == wanted for name, wanted in where.items()])]
    assert len(found) == 1
    return found.iloc[0]


@pytest.mark.parametrize("side", ["both", "first"])
@pytest.mark.parametrize("direction", ["task", "captions"])
def test_classification_agrees_with_scikit_learn_at_every_shift(rng, side, direction):
    given = task(rng)
    curves, labels = evaluate(given, QUICK)[""], given.labels
    own = geometry.unit_gap_vector(given.images, given.texts)
    along = own if direction == "task" else given.caption_gap / np.linalg.norm(given.caption_gap)
    for shift in SHIFTS:
        x, y, cosines = shifted(given, shift, along, side)
        names = "top-1", "top-5", "mean per-class recall"
        top_1, top_5, recall = (at(curves, name, shift, direction, side) for name in names)
        assert top_1["value"] == accuracy_score(labels, cosines.argmax(1))
        assert top_5["value"] == top_k_accuracy_score(labels, cosines, k=5, labels=np.arange(len(y)))
        assert recall["value"] == pytest.approx(balanced_accuracy_score(labels, cosines.argmax(1)))
        gap = geometry.gap_vector(x, y)
        signed = np.copysign(np.linalg.norm(gap), gap @ own)
        assert recall["signed_gap_distance"] == pytest.approx(signed, abs=1e-6)


def test_roc_auc_agrees_with_scikit_learn(rng):
    given = task(rng, classes=2, metric="ROC-AUC")
    found = evaluate(given, QUICK)
    for shift in SHIFTS:
        x, y, _ = shifted(given, shift)
        row = at(found[""], "ROC-AUC", shift)
        assert row["value"] == pytest.approx(roc_auc_score(given.labels, x @ (y[1] - y[0])), abs=1e-3)  # a float32 tie
        assert row["value_low"] < row["value"] < row["value_high"]
    assert found["table"]["discordant"].isna().all() and found["table"]["chance"].eq(0.5).all()


def test_retrieval_agrees_with_sorting(rng):
    given = pairs(rng)
    curves, item_of = evaluate(given, QUICK)[""], given.labels[:, 0]
    for shift in SHIFTS:
        x, y, cosines = shifted(given, shift)
        for k in (1, 5, 10):
            by_image = (item_of[np.argsort(-cosines, axis=1)[:, :k]] == np.arange(len(x))[:, None]).any(1)
            by_text = (np.argsort(-cosines.T, axis=1)[:, :k] == item_of[:, None]).any(1)
            assert at(curves, f"image-to-text recall@{k}", shift)["value"] == by_image.mean()
            row = at(curves, f"text-to-image recall@{k}", shift)
            assert row["value"] == by_text.mean() and row["n"] == len(y)


def test_a_half_has_the_direction_of_its_own_images_and_the_whole_gallery(rng):
    given = pairs(rng)
    first, _ = selection.halves(len(given.images), None, QUICK.seed)
    texts = np.isin(given.labels[:, 0], first)
    x, y, cosines = shifted(given, 1, geometry.unit_gap_vector(given.images[first], given.texts[texts]))
    right = given.labels[cosines.argmax(1), 0] == np.arange(len(x))
    row = at(evaluate(given, QUICK)[""], "image-to-text recall@1", 1, split="first half")
    assert row["value"] == right[first].mean() and row["n"] == len(first)
    assert abs(row["signed_gap_distance"]) == pytest.approx(geometry.gap_distance(x[first], y[texts]), abs=1e-6)


def test_the_table_holds_what_selection_says_of_both_ways(rng):
    found = evaluate(task(rng), QUICK)
    curves, table = found[""], found["table"]
    assert list(curves.columns[:9]) == CONTRACT.split() and list(curves.columns) == list(CURVE_COLUMNS)
    assert list(table.columns[:13]) == CONTRACT_TABLE.split() and list(table.columns) == list(TABLE_COLUMNS)
    assert len(table) == 2 * 2 * 2 and not table["ci_low"].isna().any()
    curves = curves.query("metric == 'top-1' and side == 'both' and gap_direction == 'task'")
    values = {split: rows.set_index("shift")["value"] for split, rows in curves.groupby("split")}
    test, held = (rows.iloc[0] for rows in published_gains.chosen_both_ways(table))
    assert test["modified"] == values["all"].max() == values["all"][test["shift"]]
    assert held["default"] == test["default"] == values["all"][0.0] and held["n"] == test["n"] == 90
    for half in ("first half", "second half"):
        assert values[half][held[f"shift_{half.replace(' ', '_')}"]] == values[half].max()
    (short,) = zero_shot.summary(table).itertuples()
    assert (short.best_on_test, short.held_out) == (test["modified"], held["modified"])
    assert (short.p_best, short.p_held_out) == (test["p_value"], held["p_value"])
    assert np.isnan(test["shift_first_half"]) and test["chance"] == 1 / 7


def test_a_shift_that_truly_helps_is_found_on_both_halves(rng):
    """The images of class 1 lie where a widened gap brings them to their prompt: all right after, half wrong before."""
    n, angle = 200, 0.15
    labels = np.arange(n) % 2
    texts = unit(np.array([[1.0, 0.0, 0.4], [1.0, angle, 0.0]]))
    images = np.stack([np.full(n, -1.0), labels * angle, np.where(labels, 0.4, 0.5)], 1)
    images = unit(images + 1e-3 * rng.normal(size=(n, 3)))
    given = task(rng, images=images, texts=texts, labels=labels, caption_gap=None)
    settings = replace(QUICK, shift_step=0.5, side=("both",), resamples=200, permutations=200)
    table = evaluate(given, settings)["table"]
    held = table.set_index("selection").loc["held_out"]
    assert held["gain"] == pytest.approx(0.5, abs=0.02) and held["p_value"] < 1e-6 and held["gain_low"] > 0.3
    assert held["halves_that_chose"] == 6 and held["direction"] == table["direction"][0]
    assert table["gap_direction"].eq("task").all()


def test_captions_of_one_image_are_judged_together_and_few_classes_have_no_top_5(rng):
    several, single, classes = (
        evaluation.sweep(given, SHIFTS, np.eye(6)[0], "both")
        for given in (pairs(rng), pairs(rng, captions=1), task(rng, classes=5))
    )
    assert not several["text-to-image recall@1"].independent and several["image-to-text recall@1"].independent
    assert single["text-to-image recall@1"].independent and set(classes) == {"top-1"}


@pytest.mark.parametrize("metric", ["top-1", "ROC-AUC"])
def test_copies_of_an_image_all_count_and_make_nothing_surer(rng, metric):
    """Each image four times with its labels: the values, the halves, the held-out gain and its test stay."""
    given = task(rng, n=60, classes=2 if metric == "ROC-AUC" else 7, caption_gap=None)
    one = replace(given, metric=metric)
    four = replace(one, images=np.repeat(one.images, 4, 0), labels=np.repeat(one.labels, 4, 0))
    settings = replace(QUICK, resamples=1000, permutations=1000, side=("both",))
    single, copied = (evaluate(each, settings)["table"].set_index("selection") for each in (one, four))
    same = ["default", "modified", "shift", "gain"]
    held = ["gain_low", "gain_high", "p_value", "shift_first_half", "shift_second_half"]
    assert copied[same].to_numpy() == pytest.approx(single[same].to_numpy()) and (copied["n"] == 4 * single["n"]).all()
    near = 1e-12 if metric == "top-1" else 0.01  # others draw copies in another order
    assert copied.loc["held_out", held].tolist() == pytest.approx(single.loc["held_out", held].tolist(), abs=near)
    assert copied.loc["test", "p_value"] == pytest.approx(single.loc["test", "p_value"], abs=0.06)
    copies, items = ((each["default_high"] - each["default_low"])["test"] for each in (copied, single))
    assert copies == pytest.approx(items, rel=0.15)  # half of it, were copies independent
    assert "image: 180 of 240 rows equal an earlier one exactly, 60 items" in evaluation.notes(four)[0]
    assert not evaluation.notes(one)


def test_gaps_and_the_cosine_of_their_directions_by_hand(rng):
    x, y = np.array([[1.0, 0], [1, 0]]), np.array([[0.0, 1], [0, 1]])
    given = task(rng, images=unit(x), texts=unit(y), labels=[0, 1], caption_gap=np.array([3.0, 0.0]))
    gaps = reach.gaps_of(given)
    assert gaps["task_gap"] == pytest.approx(2**0.5) and gaps["captions_gap"] == 3
    assert gaps["cosine_of_directions"] == pytest.approx(0.5**0.5)


@pytest.mark.parametrize("side", ["both", "first", "second"])
def test_only_items_that_their_margins_allow_to_change_do(rng, side):
    """Few classes, projections that differ little: some items cannot change, and those that do are among the others."""
    given = task(rng, n=300, classes=4, dim=12)
    shifts, unit_gap = cli.shift_grid(0.25), geometry.unit_gap_vector(given.images, given.texts)
    q, found = given.texts @ unit_gap, evaluation.sweep(given, shifts, unit_gap, side)["top-1"].items
    cosines, own = given.images @ given.texts.T, np.arange(4) == given.labels[:, None]
    best = [np.where(mask, cosines, -2).max(1) for mask in (own, ~own)]
    amounts = geometry.side_amounts(shifts, side)
    can, same = (reach.can_change(*best, given.images @ unit_gap, each, *amounts) for each in (q, np.full(4, q[0])))
    changes = (found != found[shifts == 0]).any(0)
    assert changes.any() and not (changes & ~can).any() and not same.any()  # no spread, no change
    (row,) = reach.reach(given, shifts, side)
    assert (row["changes"], row["can_change"]) == (changes.mean(), pytest.approx(can.mean()))
    assert row["gained"] + row["lost"] == pytest.approx(row["changes"]) and row["spread"] == pytest.approx(q.std())


def test_the_reach_of_retrieval_is_that_of_either_side(rng):
    """Text to image the projections are those of the images, and no text changes that its margin does not allow."""
    given = pairs(rng)
    unit_gap = geometry.unit_gap_vector(given.images, given.texts)
    for row, candidates in zip(reach.reach(given, SHIFTS, "both"), (given.texts, given.images), strict=True):
        assert 0 < row["changes"] <= row["can_change"]
        assert row["highest"] - row["lowest"] == pytest.approx(np.ptp(candidates @ unit_gap))


def test_one_caption_of_each_image_by_hand(rng):
    image, text, order = unit(rng.normal(size=(3, 4))), unit(rng.normal(size=(6, 4))), np.array([2, 0, 1, 0, 2, 2])
    given = task(rng, metric="retrieval", images=image, texts=text, labels=np.stack([order, np.arange(6)], 1))
    first, last, everything = embedded_tasks.by_caption(given, ("first", "last", "all"))
    for one, rule, rows in ((first, "first", [1, 2, 0]), (last, "last", [3, 2, 5])):
        assert one.labels.tolist() == [[0, 0], [1, 1], [2, 2]] and (one.texts == text[rows]).all()
        assert one.dataset == f"task, {rule} caption" and one.source["caption_rule"] == rule
    assert everything.dataset == "task, all captions" and (everything.texts == text[[1, 3, 2, 0, 4, 5]]).all()
    assert embedded_tasks.by_caption(last, ("all",)) == [last]


def evaluated(**given):
    return evaluate(task(np.random.default_rng(0), caption_gap=None, **given), QUICK)


test_labels_outside_the_classes_and_too_little_data_are_refused_with_the_name_of_the_task = refuses(
    (lambda: evaluated(n=3, labels=[0, 7, 1]), "^task: labels must be 0 to 6 for 7 classes; 1 of 3 .* the first is 7"),
    (lambda: evaluated(n=1, classes=2, labels=[0]), "^task: items to halve must be"),
    (lambda: evaluated(classes=2, labels=[0] * 90, metric="ROC-AUC"), "^task: ROC-AUC"),
)


def test_images_and_texts_in_no_pair_are_left_out_and_said(rng):
    image, text = unit(rng.normal(size=(5, 3))), unit(rng.normal(size=(4, 3)))
    given = Embeddings.of({"image": image, "text": text}, pairs=np.array([[4, 0], [4, 3], [1, 2]]))
    found = of_own("mine", given)
    assert found.is_retrieval and found.labels.tolist() == [[0, 1], [1, 0], [1, 2]]
    assert found.images == pytest.approx(image[[1, 4]]) and found.texts == pytest.approx(text[[0, 2, 3]])
    assert "3 of 5 image rows are in no pair, left out" in found.source["notes"][0]


def test_held_out_means_direction_and_shift_of_one_half_counted_on_the_other(rng):
    """Twelve images, so that a half's gap vector is another than that of all: with that the gains would differ."""

    def gains(given, all_data):
        labels, found = given.labels, []
        for split in range(QUICK.splits):
            one, other = selection.halves(len(labels), labels, QUICK.seed, split)
            for mine, others in ((one, other), (other, one))[: 1 if split else 2]:
                along = geometry.unit_gap_vector(given.images if all_data else given.images[mine], given.texts)
                right = evaluation.sweep(given, SHIFTS, along, "both")["top-1"].items
                shares = right[:, mine].mean(1)
                best = min(range(len(SHIFTS)), key=lambda k: (-shares[k], abs(SHIFTS[k]), SHIFTS[k]))
                found.append(right[best, others].mean() - right[SHIFTS == 0][0, others].mean())
        return np.median(found)

    differ = 0
    for _ in range(6):
        given = task(rng, n=12, classes=3, caption_gap=None)
        _, held = published_gains.chosen_both_ways(evaluate(given, replace(QUICK, side=("both",)))["table"])
        assert held["gain"].item() == pytest.approx(gains(given, all_data=False))
        differ += abs(held["gain"].item() - gains(given, all_data=True)) > 1e-9
    assert differ


def declared(*prompts):
    about = {"key": "t", "title": "T", "group": "any", "metric": "top-1", "dataset": "d"}
    return Task(**about, class_names=("ring", "star"), prompts=prompts)


def test_an_image_that_does_not_decode_takes_its_own_label_with_it(own_cache):
    clip = Named.parse("small-clip").pair(device="cpu")
    images, labels = pictures.scenes(101, seed=5, split="all").images, np.arange(101) % 2

    def opener(row):
        if row == 50:
            raise Unreadable("truncated")
        return Image.fromarray(images[row])

    openers = [partial(opener, row) for row in range(101)]
    data = Labelled(openers, list(map(str, range(101))), {}, labels, ("one", "two"))
    found = embedded_tasks.of_declared(declared("one {}", "the {}"), data, clip)
    assert found.labels.tolist() == np.delete(labels, 50).tolist() and len(found.source["skipped"]) == 1
    assert found.images == pytest.approx(clip.non_text.encode(list(np.delete(images, 50, 0))), abs=1e-5)


def test_prompts_are_embedded_before_images():
    """The prompts of a class point away from each other, and no image can be had."""

    def encode(texts):
        return np.array([[-1.0, 0] if text.startswith("not") else [1.0, 0] for text in texts])

    cancelling = SimpleNamespace(name="cancelling", settings={}, text=SimpleNamespace(encode=encode))
    with pytest.raises(UserError, match="cancel out"):
        embedded_tasks.of_declared(declared("{}", "not {}"), SimpleNamespace(), cancelling)
