"""Direct float64 computations, written as the definitions read: what the fast code must agree with."""

import numpy as np

PAPER_SHIFTS = np.arange(-5, 5, 0.25)
PAPER_TEMPERATURES = (1 / 100, 1 / 50, 1 / 30, 1 / 20, 1 / 10, 1.0)


def unit(x):
    x = np.asarray(x, dtype=np.float64)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def cone(rng, n, d, lean=0.8, dtype=np.float32):
    """n unit rows that lean towards one random direction, as the embeddings of one modality do."""
    return unit(rng.normal(size=(n, d)) + lean * np.sqrt(d) * unit(rng.normal(size=(1, d)))).astype(dtype)


def pairs(rng, n, d, noise=0.5, gap=0.6, dtype=np.float32):
    """n matched pairs of unit rows with a gap between the modalities."""
    shared = rng.normal(size=(n, d))
    offset = gap * np.sqrt(d) * unit(rng.normal(size=(1, d)))
    x = unit(shared + noise * rng.normal(size=(n, d)) + offset)
    y = unit(shared + noise * rng.normal(size=(n, d)) - offset)
    return x.astype(dtype), y.astype(dtype)


def gap(x, y):
    return np.asarray(x, dtype=np.float64).mean(0) - np.asarray(y, dtype=np.float64).mean(0)


def shifted(x, y, amount, direction=None, side="both"):
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    u = gap(x, y) if direction is None else np.asarray(direction, dtype=np.float64)
    u = u / np.linalg.norm(u)
    move_x, move_y = {"both": (0.5, 0.5), "first": (1, 0), "second": (0, 1)}[side]
    return unit(x - move_x * amount * u), unit(y + move_y * amount * u)


def log_sum_exp(z, axis):
    top = z.max(axis=axis, keepdims=True)
    return (top + np.log(np.exp(z - top).sum(axis=axis, keepdims=True))).squeeze(axis)


def loss(x, y, temperature, batch=None, released=False):
    batch = batch or len(x)
    losses = []
    for start in range(0, len(x) - batch + 1, batch):
        a, b = (np.asarray(part[start : start + batch], np.float64) for part in (x, y))
        logits = a @ b.T / temperature
        to_text = (log_sum_exp(logits, 1) - np.diag(logits)).mean()
        to_image = (log_sum_exp(logits, 0) - np.diag(logits)).mean()
        losses.append(to_text if released else (to_text + to_image) / 2)
    return float(np.mean(losses))


def sigmoid_loss(x, y, scale, bias, batch):
    losses, signs = [], 2 * np.eye(batch) - 1
    for start in range(0, len(x) - batch + 1, batch):
        a, b = (np.asarray(part[start : start + batch], np.float64) for part in (x, y))
        losses.append(np.logaddexp(0, -signs * (scale * a @ b.T + bias)).sum() / batch)
    return np.mean(losses)


def sweep(x, y, shifts, temperatures, batch=None, released=False, direction=None, side="both"):
    moved = [shifted(x, y, amount, direction, side) for amount in shifts]
    return np.array([[loss(a, b, tau, batch, released) for tau in temperatures] for a, b in moved])


def recalls(images, texts, of):
    """Recall@1 of images to any text of theirs, and of texts to the image that each is of."""
    cosines = unit(images) @ unit(texts).T
    return float((of[cosines.argmax(1)] == np.arange(len(images))).mean()), float((cosines.argmax(0) == of).mean())


def cosines(x):
    x = unit(x)
    return (x @ x.T)[np.triu_indices(len(x), 1)]


def seed_variance(h):
    """Mean cosines within and between seeds of h (s, i, d), and the shares of seed and item, residuals written out."""
    h = np.asarray(h, np.float64)
    seeds, items, _ = h.shape
    rows = np.stack([unit(part) for part in h])
    within = np.mean([cosines(part).mean() for part in rows])
    pairs = [rows[s] @ rows[t].T for s in range(seeds) for t in range(seeds) if s != t]
    a, b, mean = h.mean(1), h.mean(0), h.mean((0, 1))
    rest = h - a[:, None] - b[None] + mean
    ms_a = items / (seeds - 1) * ((a - mean) ** 2).sum()
    ms_b = seeds / (items - 1) * ((b - mean) ** 2).sum()
    ms_e = (rest**2).sum() / ((seeds - 1) * (items - 1))
    parts = np.array([(ms_a - ms_e) / items, (ms_b - ms_e) / seeds, ms_e])
    return [within, np.mean(pairs), *(parts / parts.sum())[:2]]
