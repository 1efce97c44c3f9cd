"""The shapes in the annotations, checked at run time by jaxtyping and beartype on calls that are meant to work.

In a process of its own, because the hook must come before the import, and because elsewhere the tests want the
package's own refusals, not the hook's.
"""

import subprocess
import sys

import pytest

from scripts import REPOSITORY as ROOT

CHECKED_CALLS = """
from jaxtyping import install_import_hook

import sys

sys.path.append("Figure_2_Cone_Effect")
MODULES = ["geometry", "measures", "contrastive", "cone", "training.losses"]
MODULES += [f"numerics.{name}" for name in ("moments", "cosines", "reduction", "statistics", "procrustes")]
MODULES = [*(f"util.{name}" for name in MODULES), "seed_variance", "theorem_1", "theorem_2"]
with install_import_hook(MODULES, "beartype.beartype"):
    import numpy as np
    import torch
    from util import cone, contrastive, geometry, measures
    from util.numerics import moments, procrustes, reduction, statistics
    import seed_variance
    import theorem_1
    import theorem_2

rng = np.random.default_rng(0)
x = geometry.unit_rows(rng.normal(size=(30, 8)).astype(np.float32) + 0.5)
y = geometry.unit_rows(rng.normal(size=(30, 8)).astype(np.float32) - 0.5)
for a, b in ((x, y), (torch.from_numpy(x), torch.from_numpy(y))):
    assert geometry.centroid(a).shape == geometry.gap_vector(a, b).shape == geometry.unit_gap_vector(a, b).shape == (8,)
    assert all(isinstance(v, float) for v in (geometry.gap_distance(a, b[:20]), geometry.mean_cosine(a)))
    assert isinstance(geometry.matched_cosine(a, b), float)
    assert isinstance(geometry.relative_gap(a, b), float)
    assert moments.pair_moments(a, b[:20], None).first.centroid.shape == (8,)
    moved = geometry.shift(a, b, 0.3, geometry.gap_vector(a, b))
    assert moved[0].shape == moved[1].shape == (30, 8)
    assert geometry.signed_gap_distances(a, b, [0.0, 0.5, 1.0]).shape == (3,)
    stats = geometry.cosine_statistics(a, bins=7)
    assert stats.histogram.shape == (7,) and stats.edges.shape == (8,)
    assert isinstance(contrastive.contrastive_loss(a, b, 0.1, 10), float)
    assert contrastive.sweep(a, b, [0.0, 0.5, 1.0], [0.1, 1.0], 10, direction=geometry.gap_vector(a, b)).shape == (3, 2)
    assert contrastive.sweep_both(a, b, [0.5], [0.1]).symmetric.shape == (1, 1)
assert isinstance(measures.separability(x, y), float)
assert len(measures.sample((30, 30), np.tile(np.arange(30)[:, None], 2), 7, 0)[1]) == 7
assert reduction.svd_coordinates(x).shape == (30, 2)
from util.training import losses

assert procrustes.orthogonal_map(x, y).shape == (8, 8)
for loss in losses.LOSSES.values():
    assert loss(torch.from_numpy(x), torch.from_numpy(y), torch.tensor(10.0)).shape == ()
pca = reduction.joint_pca([x, y], 3)
assert pca.coordinates(x).shape == (30, 3) and pca.direction(x[0].astype(float)).shape == (3,)

assert cone.draw_inputs(3, 4, seed=0).shape == (3, 4) and cone.draw_layer(4, 0, 1)[1].shape == (4,)
assert {v.shape for v in cone.mean_cosine_by_depth("all", layers=2, width=8, batch=5).values()} == {(3,)}
for h in (rng.normal(size=(3, 4, 5)), torch.ones(3, 4, 5).cumsum(0) + torch.eye(4, 5)):
    assert isinstance(seed_variance.seed_variance(h).within_cosine, float)
    assert len(seed_variance.explained_fractions(h)) == 2
    assert seed_variance.seed_fractions_left_out(h).shape == (3,)
assert statistics.clopper_pearson(np.array([[1, 2]]), 5)[0].shape == (1, 2)
assert len(statistics.prediction_interval([1.0, 2.0])) == len(statistics.jackknife_interval(0.5, rng.normal(size=4)))
raised = theorem_1.raise_cosines([0.5, 0.9], [1.0, 2.0], [1.0, 1.0], widest=128, trials=3)
assert raised.raised.shape == (2, 5) and raised.n_trials.shape == (5,)
assert theorem_2.equal_cosines(4, 0.5).shape == (4, 5)
assert theorem_2.one_layer(0.5, relu=True, bias=False, seeds=3, items=4, width=8).left_out.shape == (3,)
assert len(theorem_2.by_depth(layers=2, seeds=3, items=4, width=16)[True]) == 2

try:
    contrastive.SweepLosses  # the hook is at work: a shape that contradicts an annotation is an error
    geometry.matched_cosine(x, y[:20])
except Exception as error:
    assert "jaxtyping" in type(error).__module__, type(error)
else:
    raise AssertionError("the hook checked nothing")
print("shapes hold")
"""


TABLE_CALLS = """
import pathlib, tempfile
from jaxtyping import install_import_hook

import sys

sys.path.append("Table_2_Implications_CLIP_Fairness")
MODULES = ["numerics.statistics", "extraction", "parts", "corpora.labelled"]
MODULES += [f"zero_shot.{name}" for name in ("shifted", "metrics", "outcomes", "resampling", "selection")]
MODULES += [f"interventions.{name}" for name in ("intervention", "moves", "linear", "calibration")]
MODULES += [f"fairness.{name}" for name in ("declared", "audit", "disparity")]
with install_import_hook([*(f"util.{name}" for name in MODULES), "published_counts"], "beartype.beartype"):
    import numpy as np
    import torch
    from util import interventions
    from util.fairness import audit, declared, disparity
    from util.numerics import statistics
    import published_counts as published
    from util.zero_shot import metrics, outcomes, resampling, selection, shifted
from util import geometry

rng = np.random.default_rng(0)
x = geometry.unit_rows(rng.normal(size=(30, 8)).astype(np.float32) + 0.5)
y = geometry.unit_rows(rng.normal(size=(10, 8)).astype(np.float32) - 0.5)
shifts, labels = np.array([-0.5, 0.0, 0.5]), np.arange(30) % 10
for a, b in ((x, y), (torch.from_numpy(x), torch.from_numpy(y))):
    assert shifted.predict(a, b, shifts).shape == (3, 30)
    found = shifted.classify(a, b, labels, shifts, x[0].astype(float), "first")
    recalls = metrics.mean_per_class_recall(found.predicted, labels, 10)
    assert metrics.top_k(found.ranks, 5).shape == recalls.shape == (3,)
    margins = shifted.binary_margins(a, b[:2], shifts)
    retrieved = shifted.retrieve(b, a, labels, shifts)
    assert retrieved.image_ranks.shape == (3, 10) and retrieved.text_ranks.shape == (3, 30)
    assert metrics.top_k(retrieved.text_ranks, 5).shape == (3,)
for some in (outcomes.Hits(found.ranks < 1, labels), outcomes.Margins(margins, labels % 2)):
    assert some.values().shape == (3,)
    assert some.resampled(5, 0).shape == (5, 3)
    selection.on_test(some, shifts, 1 - shifts, 0, 20, 20)
    first, second = selection.halves(30, None, 0)
    selection.held_out([(some.take(first), some.take(second), 1 - shifts)], list(shifts), 0, 20)
assert statistics.holm([0.1, 0.2]).shape == (2,)
assert 0 < resampling.paired_p_value(np.array([1, -2, 3])) <= 1

pairs = geometry.unit_rows(rng.normal(size=(30, 8)).astype(np.float32) - 0.5)
for a, b in ((x, pairs), (torch.from_numpy(x), torch.from_numpy(pairs))):
    fits = [kind.fit(a, b) for kind in interventions.KINDS.values() if kind.kind != "ablation"]
    for fitted in [*fits, interventions.Ablation.fit(a, b, 2)]:
        assert fitted.transform(a, b[:20])[1].shape == (20, 8 - 2 * (fitted.kind == "ablation"))
        with tempfile.TemporaryDirectory() as folder:
            interventions.load(interventions.save(pathlib.Path(folder) / "c.safetensors", fitted))

faces = declared.Declared.read()
some = audit.Faces(faces, rng.integers(0, 7, 200), rng.integers(0, 2, 200))
answers = audit.Answers(rng.integers(0, 21, (3, 200)).astype(np.int32), some, shifts)
assert len(audit.audit(answers, shifts)) == 3 * 7 and len(audit.confusion(answers, [0.0], "race")) == 7 * 14
disparity.disparity(answers, 0, 100), disparity.accuracy_cost(answers)
published.agreement(), published.net_changes()

try:
    metrics.top_k(found.ranks[0], 1)  # the hook is at work: one row is no matrix
except Exception as error:
    assert "jaxtyping" in type(error).__module__, type(error)
else:
    raise AssertionError("the hook checked nothing")
print("shapes hold")
"""


@pytest.mark.parametrize("calls", [CHECKED_CALLS, TABLE_CALLS], ids=["figures", "tables"])
def test_the_shapes_in_the_docstrings_and_annotations_hold(calls):
    done = subprocess.run([sys.executable, "-c", calls], capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.stdout.strip() == "shapes hold", done.stderr[-3000:]
