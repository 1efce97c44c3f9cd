"""The shapes in the annotations, checked as functions are called: of what goes in and of what comes out."""

import inspect

import numpy as np
import pytest
import torch
from beartype import beartype
from jaxtyping import TypeCheckError, jaxtyped

import declared_audit
import gap_figure
import published_counts
import random_networks
import reference
import theorem_1
import theorem_2
from util import Embeddings, contrastive, geometry, interventions, training
from util.corpora.generated import drawing, pictures
from util.encoders import small_clip
from util.fairness import audit
from util.measures import card, of_rows, of_sums, sums
from util.numerics import reduction, statistics
from util.zero_shot import selection, shifted


def checked(monkeypatch, *modules):
    """Every function and method of these modules checks its shapes, also under the names that the others import."""
    names = {module.__name__ for module in modules}
    owners = [*modules]
    for module in modules:
        owners += [each for each in vars(module).values() if inspect.isclass(each) and each.__module__ in names]
    for owner in dict.fromkeys(owners):
        for name, each in list(vars(owner).items()):
            if inspect.isfunction(each) and each.__module__ in names:
                monkeypatch.setattr(owner, name, jaxtyped(each, typechecker=beartype))


SHIFTS = np.array([-0.5, 0.0, 0.5])


@pytest.fixture(params=["numpy", "torch"])
def pairs(request, rng):
    """Two modalities of 30 rows, 8 wide."""
    arrays = reference.pairs(rng, 30, 8)
    return arrays if request.param == "numpy" else tuple(map(torch.from_numpy, arrays))


def test_measures_and_losses(monkeypatch, pairs):
    checked(monkeypatch, geometry, contrastive, card, of_rows, of_sums, sums, reduction, gap_figure, training)
    x, y = pairs
    with pytest.raises(TypeCheckError):
        contrastive.contrastive_loss(x, y[:20], 0.1, 10)
    gap = geometry.gap_vector(x, y)
    geometry.mean_cosine(x)
    geometry.unit_gap_vector(x, y)
    geometry.gap_distance(x, y[:20])
    geometry.shift(x, y, 0.3, gap)
    geometry.signed_gap_distances(x, y, SHIFTS)
    geometry.cosine_statistics(x, bins=7)
    contrastive.contrastive_loss(x, y, 0.1, 10)
    contrastive.sweep(x, y, SHIFTS, [0.1, 1.0], 10, direction=gap)
    contrastive.sweep_both(x, y, [0.5], [0.1])
    rows = [np.asarray(part) for part in pairs]
    of_rows.separability(*rows)
    card.measure(Embeddings.of({"image": x, "text": y}))
    gap_figure.svd_coordinates(rows[0])
    pca = reduction.joint_pca(rows, 3)
    assert pca.transform(rows[0]).shape == (30, 3)
    geometry.orthogonal_map(*rows)
    training.info_nce(*map(torch.from_numpy, rows), torch.tensor(10.0))


def test_random_networks_and_theorems(monkeypatch, rng):
    checked(monkeypatch, random_networks, theorem_1, theorem_2, statistics)
    random_networks.draw_inputs(3, 4, seed=0)
    random_networks.draw_layer(4, 0, 1)
    random_networks.mean_cosine_by_depth(layers=2, width=8, batch=5)
    for features in (rng.normal(size=(3, 4, 5)), torch.ones(3, 4, 5).cumsum(0) + torch.eye(4, 5)):
        theorem_2.seed_variance(features)
        theorem_2.explained_fractions(features)
        theorem_2.seed_fractions_left_out(features)
    statistics.prediction_interval([1.0, 2.0])
    statistics.jackknife_interval(0.5, rng.normal(size=4))
    statistics.holm([0.1, 0.2])
    theorem_1.raise_cosines([0.5, 0.9], [1.0, 2.0], [1.0, 1.0], widest=128, trials=3)
    theorem_2.equal_cosines(4, 0.5)
    theorem_2.one_layer(0.5, relu=True, bias=False, seeds=3, items=4, width=8)
    theorem_2.by_depth(layers=2, seeds=3, items=4, width=16)


def test_zero_shot_at_every_shift(monkeypatch, pairs):
    checked(monkeypatch, shifted, selection)
    images, texts, labels = pairs[0], pairs[1][:10], np.arange(30) % 10
    shifted.predict(images, texts, SHIFTS)
    found = shifted.classify(images, texts, labels, SHIFTS, np.asarray(images)[0].astype(float), "first")
    shifted.retrieve(texts, images, labels, SHIFTS)
    margins = np.stack([each[:, 1] - each[:, 0] for each in shifted.scores(images, texts[:2], SHIFTS)])
    for some in (selection.Hits(found.ranks < 1, labels), selection.Margins(margins, labels=labels % 2)):
        some.values()
        some.resampled(5, 0)
        selection.on_test(some, SHIFTS, 1 - SHIFTS, 0, 20, 20)
        first, second = selection.halves(30, None, 0)
        test = selection.on_test(some, list(SHIFTS), 1 - SHIFTS, 0, 20, 20)
        halves = some.take(first), some.take(second)
        selection.held_out(test, [selection.cross_tested(*halves, list(SHIFTS), 1 - SHIFTS, 0, 20)])
    selection.paired_p_value(np.array([1, -2, 3]))


@pytest.mark.parametrize("kind", interventions.KINDS)
def test_interventions(monkeypatch, pairs, tmp_path, kind):
    checked(monkeypatch, interventions)
    x, y = pairs
    fitted = interventions.fit(kind, x, y, **({"dimensions": 2} if kind == "ablation" else {}))
    assert fitted.transform(x, y[:20])[1].shape == (20, 6 if kind == "ablation" else 8)
    interventions.load(interventions.save(tmp_path / "c.safetensors", fitted))


def test_audits(monkeypatch, rng):
    checked(monkeypatch, audit, published_counts)
    fairface = declared_audit.Declared.read()
    faces = fairface.faces({"race": rng.integers(0, 7, 200), "gender": rng.integers(0, 2, 200)})
    answers = audit.Answers(fairface, faces, rng.integers(0, 21, (3, 200)).astype(np.int32), SHIFTS)
    assert len(audit.audit(answers, SHIFTS, ["race"])) == 3 * 7
    audit.disparity(answers, 0, 100)
    published_counts.agreement()
    published_counts.net_changes()


def test_pictures_and_the_small_clip(monkeypatch):
    checked(monkeypatch, drawing, pictures, small_clip, training)
    twin = small_clip.random(0)
    corpus = pictures.training_corpus(40, 0)
    assert twin.non_text.encode(corpus.images).shape == twin.text.encode(corpus.captions).shape == (40, 128)
    assert len(pictures.distinct_scenes(5, 0)) == 5 and len(pictures.badges(14, 0, None)) == 14
    assert pictures.task_labels("digit", pictures.digits("held_out")).shape == (450,)
    pairs = training.Pairs(small_clip.channels_first(corpus.images), twin.text.prepare(corpus.captions))
    settings = training.TrainingSettings(steps=2, batch=8)
    assert len(training.train(twin.model, pairs, settings, small_clip.prepare)) == 1
    with pytest.raises(TypeCheckError):
        small_clip.prepare(pairs.images[:, :2])
