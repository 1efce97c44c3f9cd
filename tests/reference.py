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


def measures(x, y, k=10):
    """Measures of n pairs as their definitions read, from all cosines: by name, "x" or "y" behind those of one."""
    x, y = unit(x), unit(y)
    (n, d), own, g = x.shape, np.eye(len(x), dtype=bool), gap(x, y)
    both, u = np.concatenate([x, y]), gap(x, y) / np.linalg.norm(gap(x, y))
    around = [
        np.linalg.norm(part - both.mean(0), axis=1) ** 2 for part in (both, np.repeat([x.mean(0), y.mean(0)], n, 0))
    ]
    matched, unmatched, within = (x @ y.T)[own], (x @ y.T)[~own], {"x": cosines(x), "y": cosines(y)}
    apart, spread = np.mean(1 - matched) / 2, np.mean([np.mean(1 - each) / 2 for each in within.values()])
    centroids = unit(x.mean(0)) @ unit(y.mean(0))
    found = {
        "gap_distance": np.linalg.norm(g),
        "centroid_angle": np.degrees(np.arccos(centroids)),
        "gap_variance_share": around[1].sum() / around[0].sum(),
        "relative_gap": apart / (apart + spread),
        "gap_dimensions": 1 / np.square(g**2 / (g**2).sum()).sum(),
        "matched_cosine": matched.mean(),
        "matched_std": matched.std(),
        "unmatched_cosine": unmatched.mean(),
        "unmatched_std": unmatched.std(),
        "matched_above_unmatched": (matched > np.quantile(unmatched, 0.95)).mean(),
        "siglip_margin": (matched.mean() - unmatched.mean()) / 2,
        "siglip_bias": (matched.mean() + unmatched.mean()) / 2,
        "alignment": (np.linalg.norm(x - y, axis=1) ** 2).mean(),
        "cka": hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y)),
    }
    axes, near = [], []
    for name, part in (("x", x), ("y", y)):
        values = np.linalg.svd(part - part.mean(0), compute_uv=False) ** 2 / n
        shares = values[values > 0] / values.sum()
        defect = np.linalg.norm(np.sqrt(d) * values / np.linalg.norm(values) - 1) / np.sqrt(2 * (d - np.sqrt(d)))
        filled = (d - defect**2 * (d - np.sqrt(d))) ** 2 / d**2
        to_normal = (part.mean(0) ** 2).sum() + 1 + values.sum() - 2 / np.sqrt(d) * np.sqrt(values).sum()
        found |= {
            f"mean_cosine {name}": within[name].mean(),
            f"cosine_std {name}": within[name].std(),
            f"effective_rank {name}": np.exp(-(shares * np.log(shares)).sum()),
            f"isoscore {name}": (d * filled - 1) / (d - 1),
            f"w2_uniformity {name}": -np.sqrt(to_normal),
            f"uniformity {name}": np.log(np.exp(-2 * (2 - 2 * within[name])).mean()),
            f"score_overlap {name}": np.mean([(within[name] > each).mean() for each in matched]),
            f"gap_orthogonality {name}": (part @ u).var() / np.square(part - part.mean(0)).sum(1).mean(),
        }
        _, singular, vectors = np.linalg.svd(part)
        axes.append(vectors[: 1 + int((np.cumsum(singular**2) < 0.99 * (singular**2).sum()).sum())])
        near.append([{*np.argsort(-np.delete(part, i, 0) @ part[i])[:k] + 0} for i in range(n)])
        near[-1] = [{j + (j >= i) for j in each} for i, each in enumerate(near[-1])]
    alike = np.linalg.svd(axes[0] @ axes[1].T, compute_uv=False)
    found |= {"shared_dimensions": (alike > 0.999).sum(), "principal_angle": np.degrees(np.arccos(min(1, alike[0])))}
    found["mutual_knn"] = np.mean([len(a & b) / k for a, b in zip(*near, strict=True)])
    for name, cross in (("x", x @ y.T), ("y", y @ x.T)):
        counts = np.bincount(np.argsort(-cross, axis=1)[:, :k].ravel(), minlength=n)
        found[f"hubness_skewness {name}"] = np.mean((counts - counts.mean()) ** 3) / counts.std() ** 3
    return found


def hsic(x, y):
    """Unbiased HSIC of n pairs with linear kernels, by the n x n matrices of Song et al. (2012)."""
    n, one, other = len(x), x @ x.T * (1 - np.eye(len(x))), y @ y.T * (1 - np.eye(len(y)))
    ends = one.sum() * other.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ other).sum()
    return (np.trace(one @ other) + ends) / (n * (n - 3))
