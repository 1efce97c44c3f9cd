"""One self-contained page about embeddings: the gap as a dial, computed in the browser, without a network.

``explorer.js`` is the page's one module, plain JavaScript. What it reads is prepared here: exact numbers at every shift
of the dial, and few enough rows to draw. Gap, matched cosine, ablation and decisions are counted over all rows, recall
over ``MOST_ASKED`` pairs. Beyond ``MOST_PAIRS`` the pairs that are drawn, and have a loss, are thinned evenly. The page
says each count. Equal rows are one item (``util.numerics.items``).
"""

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from .. import UserError
from ..embeddings import Embeddings, duos, open_sets
from ..files import replacing
from ..geometry import ZERO_GAP, moments, shifted_centroids, shifted_norms, units
from ..measures import measure
from ..numerics import items
from ..numerics.arrays import as_matrix, blocks, to_numpy
from ..numerics.reduction import joint_pca, umap_coordinates
from ..records import plain, versions
from ..zero_shot import shifted
from ..zero_shot.tasks import of_classes

HERE = Path(__file__).resolve().parent
SHIFTS = np.arange(-50, 251) / 100
"""The places of the dial: from a wider gap to modalities far past each other."""
MOST_SETS, MOST_PAIRS, MOST_ASKED, MOST_SHOWN, MOST_PICTURES, MOST_UMAP = 4, 10_000, 20_000, 500, 200, 5000
"""Sets of a page; pairs that are drawn, recall is counted among, can be chosen, have a picture, that UMAP takes."""
ARRAY, LEAST_SCALE = "\0base64", 5.4
"""The key of an array's bytes, which no source has; a smaller logit scale is a logarithm, as checkpoints store it."""
BATCH, WITHIN, DIMENSIONS, NEAREST, LETTERS, MOVES = 50, 4000, 24, 10, 160, 8  # a batch of the loss as in the paper


@dataclass(frozen=True, repr=False)
class Page:
    """A page as text, ``html``; a notebook shows it in place."""

    html: str
    height: int = 900  # pixels in a notebook

    def _repr_html_(self) -> str:
        frame = f'title="The modality gap" width="100%" height="{self.height}" style="border:0"'
        page = html.escape(self.html).encode("ascii", "xmlcharrefreplace").decode()  # whatever is said of the encoding
        return f'<iframe {frame} srcdoc="{page}"></iframe>'


def report(*given, output=None, columns=None, labels=None, prompts=None, pictures=None, umap=None, seed=0) -> Page:
    """The page about one set of embeddings of two modalities, or about several side by side.

    Args:
        given: paths as ``Embeddings.load`` takes them, each a set unless it holds one modality; or ``Embeddings``,
            also by name; or arrays by name, {"image": images, "text": texts}; or two arrays, called x and y then.
        output: where to write it, for instance "gap.html".
        columns: modality -> name of its array or column in the files.
        labels, prompts: files with the class of each row, and with the embeddings of the classes.
        pictures: the folder that thumbnails may come from, by default that of the file. ``paths`` in the file are
            relative to it; those outside it are left out, for the page may be passed on.
        umap: whether to lay the rows out by UMAP too, in ten seconds and more; by default up to 5,000 pairs.
        seed: of whatever is random.

    One modality alone is refused, and a gap of zero. Time: 5 seconds for 5,000 x 512 pairs, besides UMAP.
    """
    sets = sets_of(given, columns, labels, prompts)
    models = [_described(*each, umap, seed, pictures) for each in sets.items()]
    made = {"files": given, "columns": columns or {}, "labels": labels, "prompts": prompts}
    page = Page(render({"models": models, "made": made if isinstance(given[0], str | Path) else None}))
    if output is not None:
        with replacing(Path(output)) as part:
            part.write_text(page.html, encoding="utf-8")
    return page


def sets_of(given: tuple, columns: Mapping[str, str] | None = None, labels=None, prompts=None) -> dict[str, Embeddings]:
    """Sets of two modalities by name, from whatever ``report`` takes."""
    named = given[0] if len(given) == 1 and isinstance(given[0], Mapping) else dict(zip("xy", given, strict=False))
    if given and all(isinstance(each, str | Path) for each in given):
        named = open_sets(given, columns)
        if labels or prompts:
            named = {name: of_classes(one, labels, None, prompts) for name, one in named.items()}
    elif labels or prompts:
        raise UserError("labels and prompts are for files of embeddings; others hold their labels")
    elif given and all(isinstance(each, Embeddings) for each in given):
        stems = [Path(str(each.source.get("path", "embeddings"))).stem for each in given]
        numbered = map(str, range(1, 1 + len(given)))
        named = dict(zip(stems if len({*stems}) == len(stems) else numbered, given, strict=False))
    elif not named or not all(isinstance(each, Embeddings) for each in named.values()):
        if not named or (len(given) != 2 and not isinstance(given[0], Mapping)):
            raise UserError("a report takes embeddings, paths, arrays by name, or two arrays")
        arrays = {name: to_numpy(as_matrix(array, name)) for name, array in named.items()}
        named = {"embeddings": Embeddings.of(arrays, unit=False)}
    if len(found := duos(named)) > MOST_SETS:
        raise UserError(f"{len(found)} sets of two modalities do not fit one page; give at most {MOST_SETS}")
    return found


def _described(name: str, one: Embeddings, umap: bool | None, seed: int, pictures) -> dict:
    """Everything that the page says about one set of two modalities."""
    card = measure(one, seed=seed)
    given = np.ravel(one.beside.get("logit_scale", 100))
    stored = float(given[0]) if len(given) and given.dtype.kind in "iuf" else 0
    scale = np.exp(stored) if 0 < stored < LEAST_SCALE else stored
    scale = float(scale) if 1 <= scale <= 200 else 100
    notes = [] if scale == stored else [f"logit_scale {given[:1]}: the temperature begins at {1 / scale:.4g}"]
    about = {key: value for key, value in one.source.items() if key not in ("notes", "files", "path")}
    about |= {"files": [each.get("path", "") for each in one.files], "seed": seed, "versions": versions()}
    found = {"name": name, "card": plain(card.rows), "notes": [*card.notes, *notes], "about": plain(about)}
    return found | {"batch": BATCH, "temperature": 1 / scale} | of_two(one, umap, seed, pictures)


def render(content: dict) -> str:
    """The page of some content: arrays as base64, text escaped, and no script or style but its own may run."""
    files = "explorer.js", "style.css", "page.html"
    script, style, page = ((HERE / name).read_text(encoding="utf-8") for name in files)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    names = ", ".join(each["name"] for each in content.get("models", ()))
    parts = {
        "data": json.dumps(content, default=_plain, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        "script": script, "style": style, "script_hash": hashes[0], "style_hash": hashes[1],
        "title": html.escape("".join(filter(str.isprintable, names)) or "Mind the Gap"),
    }  # fmt: skip
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: parts[found[1]], page)


def _plain(value):
    """What json lacks: arrays by their type, shape and bytes, little-endian."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "uf":
        little = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
        return {"kind": value.dtype.str[1:], "shape": value.shape, ARRAY: base64.b64encode(little).decode()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def export(sets: Mapping[str, Embeddings], path) -> None:
    """Every row of sets as .parquet, for tools such as embedding-atlas; in memory.

    Columns: vector (unit, float32), projection_x and projection_y (principal components of the rows that the page
    draws), modality, pair (the number of the row's first pair, -1 without one), and set.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for called, one in sets.items():
        pairs, axes = one.pairs_between(one.names), view(drawn(one)[1])
        for k, (name, rows) in enumerate(one.modalities.items()):
            unit, pair = np.concatenate([each for _, each, _ in units(rows)]).astype("f4"), np.full(len(rows), -1)
            if pairs is not None:
                pair[pairs[::-1, k]] = np.arange(len(pairs))[::-1]
            vector, (x, y) = pa.FixedSizeListArray.from_arrays(unit.ravel(), one.dim), axes @ unit.T
            columns = {"vector": vector, "projection_x": x, "projection_y": y, "modality": [name] * len(unit)}
            tables.append(pa.table(columns | {"pair": pair, "set": [called] * len(unit)}))
    with replacing(Path(path)) as part:
        pq.write_table(pa.concat_tables(tables), part)


def of_two(one: Embeddings, umap: bool | None, seed: int, pictures=None) -> dict:
    """The numbers and arrays of two modalities, stored in any way, that ``explorer.js`` reads.

    ``umap``: whether to lay rows out by UMAP too, None where they are few. ``seed`` is of it and of samples.
    """
    (first, x), (last, y) = one.modalities.items()
    both, where = [moments(part, name) for part, name in ((x, first), (y, last))], one.source.get("path", "embeddings")
    centroids = [part.centroid for part in both]
    gap, pairs = centroids[0] - centroids[1], _pairs(one)
    if (distance := float(np.linalg.norm(gap))) < ZERO_GAP:
        raise UserError(f"{where}: the gap is zero, so there is nothing to drag")
    some, rows, own = drawn(one, MOST_PAIRS)
    unit, axes, shown = gap / distance, view(rows), [_few(np.arange(len(part)), MOST_SHOWN) for part in rows]
    try:
        signed, matched = along(x, y, pairs, unit, SHIFTS)
    except UserError as error:
        raise UserError(f"{where}: a row lies along the gap, so the dial moves it to zero; leave it out") from error
    closed, more = SHIFTS[np.abs(signed).argmin()], {"pairs": 0}
    umap = len(rows[0]) <= MOST_UMAP >= len(rows[1]) if umap is None else umap
    if pairs is not None:
        shown = [np.unique(part) for part in _few(own, MOST_SHOWN).T]
        _, asked, theirs = drawn(one, MOST_ASKED) if len(pairs) > MOST_PAIRS else (some, rows, own)
        more = {"pairs": len(pairs), "own": own.astype("u2"), "hits": shifted.hits(*asked, theirs, SHIFTS, unit)}
        more |= {"asked": [*map(len, asked)], "asked_pairs": len(theirs), **_batches(rows, own)}
        more["ranks"], more["best"] = _ranks(rows, own, shown, [0, closed], unit)
    elif (labels := _labels(one)) is not None:
        more["classes"] = shifted.decisions(x, y, labels, SHIFTS, unit, MOVES)._asdict()
        more["classes"]["names"] = _told(one, 1, some[1], "classes")
    if umap and min(map(len, rows)) > 2:
        more["umap"] = np.split(umap_coordinates(np.concatenate(rows), seed).astype("f4"), [len(rows[0])])
    return more | {
        "first": first, "last": last, "n": len(x), "m": len(y), "dim": one.dim, "shifts": SHIFTS, "closed": closed,
        "rows": [each.astype("u4") for each in some], "signed": signed, "matched": matched, "gap": gap.astype("f4"),
        "norms": [[part.shortest, part.longest] for part in both],
        "along": [(part @ unit).astype("f4") for part in rows],
        "view": [(part @ axes.T).astype("f4") for part in (*rows, unit[None])],
        "within": [_within(part, seed) for part in rows], "search": _search(rows, centroids, shown),
        "ablated": _ablated(x, y, pairs, gap),
        "pictures": _pictures(one, some[0][shown[0]], shown[0], pictures),
        "names": _told(one, 0, some[0], "paths", "ids"), "captions": _told(one, 1, some[1], "captions", "classes"),
    }  # fmt: skip


def drawn(one: Embeddings, most: int = MOST_PAIRS) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray | None]:
    """Numbers of the different rows of each modality in few pairs, these as float64 unit rows, the pairs' places."""
    parts, pairs, labels = [*one.modalities.values()], _pairs(one), _labels(one)
    some = [_few(np.arange(len(part)), most) for part in parts]
    if labels is not None:
        some[1] = np.arange(len(parts[1]))
    elif pairs is not None:
        some = [*_few(pairs, most).T]
    rows = [np.concatenate([unit for _, unit, _ in units(part[each])]) for part, each in zip(parts, some, strict=True)]
    if labels is not None:
        return some, rows, None
    found = [np.unique(items.items(part.astype("f4")), return_inverse=True) for part in rows]
    own = None if pairs is None else np.stack([place for _, place in found], axis=1)
    return *([part[first] for part, (first, _) in zip(each, found, strict=True)] for each in (some, rows)), own


def _few(rows: np.ndarray, most: int) -> np.ndarray:
    """Some rows, or ``most`` of them at even distances."""
    return rows if len(rows) <= most else rows[np.arange(most) * len(rows) // most]


def _labels(one: Embeddings) -> Int[np.ndarray, "n"] | None:
    """The class of each row of the first modality, where the last one has a text for each class."""
    labels, (x, y) = one.labels, one.modalities.values()
    if labels is None or labels.ndim > 1 or labels.dtype.kind != "i" or labels.max() >= len(y):
        return None
    return labels if len(x) != len(y) or len(one.beside.get("classes", ())) == len(y) else None


def _pairs(one: Embeddings) -> Int[np.ndarray, "p 2"] | None:
    return one.pairs_between(one.names) if _labels(one) is None else None


def view(rows: list[np.ndarray]) -> Float[np.ndarray, "2 d"]:
    """The directions of two principal components of both modalities; zero where there are not two."""
    found = joint_pca(rows, min(2, sum(map(len, rows)), rows[0].shape[1])).components_
    return np.pad(found, ((0, 2 - len(found)), (0, 0)))


def along(x, y, pairs, unit: Float[np.ndarray, "d"], shifts: Float[np.ndarray, "k"]) -> tuple[np.ndarray, np.ndarray]:
    """Signed gap distances and mean matched cosines (k,) of all rows after two-sided shifts; (0,) without pairs.

    As ``util.geometry.signed_gap_distances``, and ``matched_cosine`` of ``shift``, in the memory of a block.
    """
    steps, cosines = shifts / 2, np.zeros(len(shifts))
    gaps, t = shifted_centroids(units(x), unit, -steps) - shifted_centroids(units(y), unit, steps), steps[:, None]
    for p, q in _paired(x, y, pairs):
        a, b = p @ unit, q @ unit
        norms = shifted_norms(p, unit, a, -steps) * shifted_norms(q, unit, b, steps)
        cosines += (((p * q).sum(1) + t * (a - b) - t**2) / norms).sum(1)
    signed = np.copysign(np.linalg.norm(gaps, axis=1), gaps @ unit)
    return signed, cosines[:0] if pairs is None else cosines / len(pairs)


def _paired(x, y, pairs):
    """Yields unit rows of both modalities that are pairs, a block at a time; none without pairs."""
    for _, some in blocks(np.empty((0, 2), int) if pairs is None else pairs):
        ((_, p, _),), ((_, q, _),) = units(x[some[:, 0]]), units(y[some[:, 1]])
        yield p, q


def _batches(rows, own: Int[np.ndarray, "p 2"]) -> dict:
    """Places of the pairs in each batch of the loss, cosines of all pairs, and of all in a batch (b, size, size)."""
    x, y = (part[places] for part, places in zip(rows, own.T, strict=True))
    try:
        order = items.batches(x, y, BATCH if len(own) >= BATCH else None)
    except UserError:  # too few different items for one whole batch
        order = items.batches(x, y)
    cosines = np.stack([x[batch] @ y[batch].T for batch in order])
    return {"batches": own[order].astype("u2"), "matches": (x * y).sum(1).astype("f4"), "cosines": cosines.astype("f4")}


def _within(rows, seed: int) -> dict:
    """Random pairs of different rows of a modality, and their cosines."""
    i, j = np.random.default_rng(seed).integers(len(rows), size=(2, WITHIN))
    i, j = i[i != j], j[i != j]
    return {"i": i.astype("u2"), "j": j.astype("u2"), "cosines": (rows[i] * rows[j]).sum(1).astype("f4")}


def _ranks(rows, own, shown, shifts, unit) -> tuple[list, list]:
    """How many come before the best own partner of each shown row, after each shift, and which it is, by modality."""
    mine, found, mates = np.zeros((len(rows[0]), len(rows[1])), bool), [], []
    mine[own[:, 0], own[:, 1]] = True
    for k in (0, 1):
        asking = (shown[0], slice(None)) if k == 0 else (slice(None), shown[1])
        own_cells, scores = mine[asking], shifted.scores(rows[0][asking[0]], rows[1][asking[1]], shifts, unit)
        found.append([])
        mates.append([])
        for cosines in scores:
            those = np.where(own_cells, cosines, -np.inf)
            before = (cosines > those.max(1 - k, keepdims=True) + shifted.TIE) & ~own_cells
            found[k].append(before.sum(1 - k).astype("u2"))
            mates[k].append(those.argmax(1 - k).astype("u2"))
    return found, mates


def _search(rows, centroids, shown) -> dict:
    """The nearest rows of both modalities to each shown row, (q, 10) as stored and with each modality centred."""
    queries = np.concatenate([shown[0], len(rows[0]) + shown[1]])
    found, count = {"queries": queries.astype("u2")}, min(NEAREST, sum(map(len, rows)) - 1)
    for name, minus in (("before", (0, 0)), ("after", centroids)):
        every = np.concatenate([part - centre for part, centre in zip(rows, minus, strict=True)]).astype("f4")
        every /= np.maximum(np.linalg.norm(every, axis=1, keepdims=True), 1e-12)
        cosines = every[queries] @ every.T
        cosines[np.arange(len(queries)), queries] = -np.inf
        top = np.argpartition(-cosines, count - 1)[:, :count]
        top = np.take_along_axis(top, np.argsort(-np.take_along_axis(cosines, top, 1), axis=1, kind="stable"), 1)
        found |= {name: top.astype("u2"), f"{name}_cosines": np.take_along_axis(cosines, top, 1)}
    return found


def _ablated(x, y, pairs, gap: Float[np.ndarray, "d"]) -> dict:
    """Gap and matched cosine of all rows without the 0, 1, ... dimensions that carry most of the gap, made unit."""
    ranked, cosines = np.argsort(-np.abs(gap), kind="stable"), 0
    order = ranked[: min(DIMENSIONS, len(gap) - 1)]

    def remaining(p, q):
        return (p * q).sum(1) - np.cumsum(np.pad((p * q)[:, order], ((0, 0), (1, 0))), axis=1).T

    def inverses(p):  # a row of which nothing remains counts as zero
        squares = remaining(p, p)
        return np.where(squares > 1e-12, np.maximum(squares, 1e-12) ** -0.5, 0)

    first, last = (sum(inverses(p) @ p for _, p, _ in units(part)) / len(part) for part in (x, y))
    kept = np.arange(len(order) + 1)[:, None] <= np.argsort(ranked)
    for p, q in _paired(x, y, pairs):
        cosines = cosines + (remaining(p, q) * inverses(p) * inverses(q)).sum(1)
    found = {"order": order.astype("u2"), "distances": np.linalg.norm((first - last) * kept, axis=1)}
    return found | {"matched": [] if pairs is None else cosines / len(pairs)}


def _told(one: Embeddings, k: int, rows: np.ndarray, *kinds: str) -> list[str]:
    """What stands beside rows of a modality: the first of some kinds that has an entry for each row."""
    n = len(one.modalities[one.names[k]])
    kind = next((kind for kind in kinds if len(one.beside.get(kind, ())) == n), None)
    told = [str(each) for each in np.asarray(one.beside[kind])[rows]] if kind else []
    told = [Path(each).name or each for each in told] if kind == "paths" else told
    return [each if len(each) <= LETTERS else f"{each[: LETTERS - 1]}…" for each in told]


def _pictures(one: Embeddings, rows: np.ndarray, shown: np.ndarray, folder) -> dict[int, str]:
    """Thumbnails by place of shown rows whose ``paths`` are regular files in the folder of the data, or another."""
    from PIL import Image

    found, data = {}, Path(folder or one.files[0].get("path", ""))
    home, paths = (data if data.is_dir() else data.parent).resolve(), np.ravel(one.beside.get("paths", ()))
    places = [*zip(shown.tolist(), rows.tolist(), strict=True)][:MOST_PICTURES]
    for place, row in places if len(paths) == len(one.modalities[one.names[0]]) else ():
        with suppress(OSError, ValueError, Image.DecompressionBombError):
            path = (home / str(paths[row])).resolve()
            if path.is_relative_to(home) and path.is_file():
                with Image.open(path) as picture:
                    picture.draft("RGB", (96, 96))
                    small, out = picture.convert("RGB"), io.BytesIO()
                small.thumbnail((96, 96))
                small.save(out, "jpeg", quality=70)
                found[place] = base64.b64encode(out.getvalue()).decode()
    return found
