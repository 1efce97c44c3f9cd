"""The procedures as the authors' notebooks run them, in our own words: what we are compared with.

Each is the notebook's sequence of operations, with its loops, lists and data structures, neither slowed nor improved.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from sklearn.decomposition import PCA
from torch.nn.functional import cross_entropy


def shifted(x, y, amount):
    """Both modalities half of the shift along the unit gap vector, normalised again."""
    gap = x.mean(0) - y.mean(0)
    gap = gap / np.linalg.norm(gap)
    x, y = x - 0.5 * amount * gap, y + 0.5 * amount * gap
    return x / np.linalg.norm(x, axis=1, keepdims=True), y / np.linalg.norm(y, axis=1, keepdims=True)


def batch_loss(x, y, logit_scale, size=50):
    """Mean over consecutive batches of 50 of two cross-entropies (both image-to-text, as released)."""
    losses = []
    for start in range(0, len(x) - size + 1, size):
        a, b = torch.from_numpy(x[start : start + size]), torch.from_numpy(y[start : start + size])
        logits_per_image = logit_scale * a @ b.t()
        logits_per_text = logit_scale * b @ a.t()
        labels = torch.arange(len(a))
        loss = cross_entropy(logits_per_image, labels) + cross_entropy(logits_per_text.t(), labels)
        losses.append((loss / 2).item())
    return np.mean(losses)


def loss_landscape(x, y, shifts, logit_scales):
    """Per temperature and shift: shift, loss over batches of 50, a 6-component PCA transform for the sign."""
    pca = PCA(n_components=6).fit(np.concatenate([x, y]))
    losses, distances = [], []
    for logit_scale in logit_scales:
        for amount in shifts:
            a, b = shifted(x, y, amount)
            losses.append(batch_loss(a, b, logit_scale))
            sign = np.sign(pca.transform(a)[:, 0].mean() - pca.transform(b)[:, 0].mean())
            distances.append(sign * np.linalg.norm(a.mean(0) - b.mean(0)))
    return np.array(losses).reshape(len(logit_scales), len(shifts)).T, np.array(distances)


def full_batch_loss(x, y, amount, logit_scale):
    """One (shift, temperature) over all pairs as one batch: direct torch cross-entropy, both directions."""
    a, b = (torch.from_numpy(part) for part in shifted(x, y, amount))
    logits, labels = logit_scale * a @ b.t(), torch.arange(len(a))
    return ((cross_entropy(logits, labels) + cross_entropy(logits.t(), labels)) / 2).item()


def cosine_statistics(x):
    """The full cosine matrix, its off-diagonal entries as a list, what the notebook prints of it, seaborn's histogram.

    The bars are made, and the figure is not rendered.
    """
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    matrix = x @ x.T
    values = matrix[~np.eye(len(matrix), dtype=bool)].tolist()
    smallest, mean = min(values), np.mean(values)
    frame = pd.DataFrame({"cosine": values})
    axes = sns.histplot(data=frame, x="cosine")
    plt.close(axes.figure)
    return smallest, mean, frame["cosine"].describe()


def depth_curve(activation, layers=25, width=512, batch=1024):
    """Figure 2 (b) for one activation: fresh Linear layers, and after each the mean of a list of all cosines."""
    x, means = torch.randn(batch, width), []
    with torch.no_grad():
        for _ in range(layers):
            layer = torch.nn.Linear(width, width)
            torch.nn.init.normal_(layer.weight, std=width**-0.5)
            torch.nn.init.normal_(layer.bias, std=width**-0.5)
            x = activation(layer(x))
            rows = torch.nn.functional.normalize(x, dim=1)
            means.append(np.mean((rows @ rows.t()).flatten().tolist()))
    return means


def encode_loop(tower, inputs, prepare, batch):
    """Embeddings batch after batch, whole tower, full length, float32."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(inputs), batch):
            rows = tower(prepare(inputs[start : start + batch]))
            parts.append((rows / rows.norm(dim=-1, keepdim=True)).numpy())
    return np.concatenate(parts)


def hit_at_k(ranking, labels, k):
    """Share of the rows of a ranking whose label is among its first k, counted row by row."""
    hits = [labels[i] in ranking[i, :k] for i in range(len(ranking))]
    return sum(hits) / len(ranking)


def classification(x, y, labels, shifts, ks=(1, 5)):
    """Per shift: shift, all cosines of images and classes, their full order, a loop over the images for each k."""
    accuracies = []
    for amount in shifts:
        a, b = shifted(x, y, amount)
        ranking = np.argsort(a @ b.T, axis=1)[:, ::-1]
        accuracies.append([hit_at_k(ranking, labels, k) for k in ks])
    return np.array(accuracies).T


def retrieval(x, y, shifts, ks=(1, 5, 10)):
    """Per shift: shift, all cosines, their full order both ways, a loop over the queries of each; one text an image."""
    recalls, own = [], np.arange(len(x))
    for amount in shifts:
        a, b = shifted(x, y, amount)
        cosines = a @ b.T
        rankings = [np.argsort(part, axis=1)[:, ::-1] for part in (cosines, cosines.T)]
        recalls.append([[hit_at_k(ranking, own, k) for k in ks] for ranking in rankings])
    return np.array(recalls).transpose(1, 2, 0)
