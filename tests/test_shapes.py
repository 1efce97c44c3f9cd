"""The shapes in the annotations, checked at run time by jaxtyping and beartype on calls that are meant to work.

In a process of its own, because the hook must come before the import, and because elsewhere the tests want the
package's own refusals, not the hook's.
"""

import subprocess
import sys

CHECKED_CALLS = """
from jaxtyping import install_import_hook

with install_import_hook(["util.geometry", "util.cosines", "util.contrastive", "util.reduction"], "beartype.beartype"):
    import numpy as np
    import torch
    from util import contrastive, geometry, reduction

rng = np.random.default_rng(0)
x = geometry.unit_rows(rng.normal(size=(30, 8)).astype(np.float32) + 0.5)
y = geometry.unit_rows(rng.normal(size=(30, 8)).astype(np.float32) - 0.5)
for a, b in ((x, y), (torch.from_numpy(x), torch.from_numpy(y))):
    assert geometry.centroid(a).shape == geometry.gap_vector(a, b).shape == geometry.unit_gap_vector(a, b).shape == (8,)
    assert all(isinstance(v, float) for v in (geometry.gap_distance(a, b[:20]), geometry.mean_cosine(a)))
    assert isinstance(geometry.matched_cosine(a, b), float)
    moved = geometry.shift(a, b, 0.3, geometry.gap_vector(a, b))
    assert moved[0].shape == moved[1].shape == (30, 8)
    assert geometry.signed_gap_distances(a, b, [0.0, 0.5, 1.0]).shape == (3,)
    stats = geometry.cosine_statistics(a, bins=7)
    assert stats.histogram.shape == (7,) and stats.edges.shape == (8,)
    assert isinstance(contrastive.contrastive_loss(a, b, 0.1, 10), float)
    assert contrastive.sweep(a, b, [0.0, 0.5, 1.0], [0.1, 1.0], 10, direction=geometry.gap_vector(a, b)).shape == (3, 2)
    assert contrastive.sweep_both(a, b, [0.5], [0.1]).symmetric.shape == (1, 1)
pca = reduction.joint_pca([x, y], 3)
assert pca.coordinates(x).shape == (30, 3) and pca.direction(x[0].astype(float)).shape == (3,)

try:
    contrastive.SweepLosses  # the hook is at work: a shape that contradicts an annotation is an error
    geometry.matched_cosine(x, y[:20])
except Exception as error:
    assert "jaxtyping" in type(error).__module__, type(error)
else:
    raise AssertionError("the hook checked nothing")
print("shapes hold")
"""


def test_the_shapes_in_the_docstrings_and_annotations_hold():
    done = subprocess.run([sys.executable, "-c", CHECKED_CALLS], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "shapes hold", done.stderr[-3000:]
