"""One self-contained page about embeddings: the gap as a dial, computed in the browser, without a network.

``explorer.js`` is the page's one module, plain JavaScript. What it reads is prepared here: exact numbers at every shift
of the dial, and few enough rows to draw. Numbers of the gap are of all rows. Pairs beyond ``MOST_PAIRS`` are thinned
evenly, and loss, recall and cosines are of those that stay, which the page says. Equal rows are one item
(``util.numerics.items``).
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
from ..records import versions
from ..zero_shot import shifted

HERE = Path(__file__).resolve().parent
MOST_SETS = 4
SHIFTS = np.arange(-50, 251) / 100
"""The places of the dial: from a wider gap to modalities far past each other."""
MOST_PAIRS, MOST_SHOWN, MOST_PICTURES, MOST_UMAP = 10_000, 500, 200, 5000
"""Pairs that are drawn, that can be chosen, that have a thumbnail, and that UMAP takes unless it is asked for."""
BATCH, EXACT = 50, 2000
"""Pairs per batch of the loss, as in the paper; pairs whose cosines are float32, for those of more are 16 bits."""
WITHIN, DIMENSIONS, NEAREST, LETTERS, MOST_DECISIONS = 4000, 24, 10, 160, 150_000_000


@dataclass(frozen=True, repr=False)
class Page:
    """A page as text, ``html``; a notebook shows it in place."""

    html: str
    height: int = 900
    """Pixels in a notebook."""

    def _repr_html_(self) -> str:
        frame = f'title="The modality gap" width="100%" height="{self.height}" style="border:0"'
        page = html.escape(self.html).encode("ascii", "xmlcharrefreplace").decode()  # whatever is said of the encoding
        return f'<iframe {frame} srcdoc="{page}"></iframe>'


def report(*given, output=None, columns=None, umap: bool | None = None, seed: int = 0) -> Page:
    """The page about one set of embeddings of two modalities, or about several side by side.

    Args:
        given: paths as ``Embeddings.load`` takes them, each a set unless it holds one modality; or ``Embeddings``,
            also by name; or arrays by name, {"image": images, "text": texts}; or two arrays, called x and y then.
        output: where to write it, for instance "gap.html".
        columns: modality -> name of its array or column in the files.
        umap: lay the rows out by UMAP too, which takes ten seconds and more; by default up to 5,000 pairs.
        seed: of whatever is random.

    One modality alone is refused, and a gap of zero. Time: 5 seconds for 5,000 x 512 pairs, besides UMAP.
    """
    models = [_described(name, one, umap, seed) for name, one in sets_of(given, columns).items()]
    page = Page(render({"models": models}))
    if output is not None:
        with replacing(Path(output)) as part:
            part.write_text(page.html, encoding="utf-8")
    return page


def sets_of(given: tuple, columns: Mapping[str, str] | None = None) -> dict[str, Embeddings]:
    """Sets of two modalities by name, from whatever ``report`` takes."""
    named = given[0] if len(given) == 1 and isinstance(given[0], Mapping) else dict(zip("xy", given, strict=False))
    if given and all(isinstance(each, str | Path) for each in given):
        named = open_sets(given, columns)
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


def _described(name: str, one: Embeddings, umap: bool | None, seed: int) -> dict:
    """Everything that the page says about one set of two modalities."""
    card = measure(one, seed=seed)
    rows = [{key: None if value != value else value for key, value in row.items()} for row in card.rows]  # json: no NaN
    scale = float(np.ravel(one.beside.get("logit_scale", 100))[0])
    about = {key: value for key, value in one.source.items() if key not in ("notes", "files", "path")}
    about |= {"files": [each.get("path", "") for each in one.files], "seed": seed, "versions": versions()}
    found = {"name": name, "card": rows, "notes": [*card.notes], "about": about, "batch": BATCH}
    return found | {"temperature": 1 / scale if 1 <= scale <= 200 else 0.01} | of_two(one, umap, seed)


def render(content: dict) -> str:
    """The page of some content: arrays as base64, text escaped, and no script or style but its own may run."""
    files = "explorer.js", "style.css", "page.html"
    script, style, page = ((HERE / name).read_text(encoding="utf-8") for name in files)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    parts = {
        "data": json.dumps(content, default=_plain, separators=(",", ":")).replace("<", "\\u003c"),
        "script": script, "style": style, "script_hash": hashes[0], "style_hash": hashes[1],
        "title": html.escape(", ".join(each["name"] for each in content.get("models", ())) or "Mind the Gap"),
    }  # fmt: skip
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: parts[found[1]], page)


def _plain(value):
    """What json lacks: arrays by their type, shape and bytes, little-endian."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "uf":
        little = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
        return {"kind": value.dtype.str[1:], "shape": value.shape, "base64": base64.b64encode(little).decode()}
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


def of_two(one: Embeddings, umap: bool | None, seed: int) -> dict:
    """The numbers and arrays of two modalities, stored in any way, that ``explorer.js`` reads.

    ``umap``: whether to lay rows out by UMAP too, None where they are few. ``seed`` is of it and of samples.
    """
    (first, x), (last, y) = one.modalities.items()
    both, pairs = [moments(part, name) for part, name in ((x, first), (y, last))], _pairs(one)
    centroids = [part.centroid for part in both]
    gap = centroids[0] - centroids[1]
    if (distance := float(np.linalg.norm(gap))) < ZERO_GAP:
        raise UserError(f"{one.source.get('path', 'embeddings')}: the gap is zero, so there is nothing to drag")
    some, rows, own = drawn(one)
    unit, axes, shown = gap / distance, view(rows), [_few(np.arange(len(part)), MOST_SHOWN) for part in rows]
    signed, matched = along(x, y, pairs, unit, SHIFTS)
    more, umap = {"pairs": 0}, len(rows[0]) <= MOST_UMAP >= len(rows[1]) if umap is None else umap
    if pairs is not None:
        shown, closed = [np.unique(part) for part in _few(own, MOST_SHOWN).T], SHIFTS[np.abs(signed).argmin()]
        more = {"pairs": len(pairs), "own": own.astype("u2"), "hits": shifted.hits(*rows, own, SHIFTS, unit)}
        more |= {"closed": closed, "ranks": _ranks(rows, own, shown, [0, closed], unit), **_batches(rows, own)}
    elif (labels := _labels(one)) is not None:
        more |= {"classes": _decisions(rows, labels[some[0]], unit) | {"names": _told(one, 1, some[1], "classes")}}
    if umap and min(map(len, rows)) > 2:
        more["umap"] = np.split(umap_coordinates(np.concatenate(rows), seed).astype("f4"), [len(rows[0])])
    return more | {
        "first": first, "last": last, "n": len(x), "m": len(y), "dim": one.dim, "shifts": SHIFTS,
        "rows": [each.astype("u4") for each in some], "signed": signed, "matched": matched, "gap": gap.astype("f4"),
        "norms": [[part.shortest, part.longest] for part in both],
        "along": [(part @ unit).astype("f4") for part in rows],
        "view": [(part @ axes.T).astype("f4") for part in (*rows, unit[None])],
        "within": [_within(part, seed) for part in rows], "search": _search(rows, centroids, shown),
        "ablated": _ablated(rows, own, gap), "pictures": _pictures(one, some[0], shown[0]),
        "names": _told(one, 0, some[0], "paths", "ids"), "captions": _told(one, 1, some[1], "captions", "classes"),
    }  # fmt: skip


def drawn(one: Embeddings) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray | None]:
    """Numbers of the different rows of each modality that are drawn, these as float64 unit rows, the pairs' places."""
    parts, pairs, labels = [*one.modalities.values()], _pairs(one), _labels(one)
    some = [_few(np.arange(len(part)), MOST_PAIRS) for part in parts]
    if labels is not None:
        some[1] = np.arange(len(parts[1]))
    elif pairs is not None:
        some = [*_few(pairs, MOST_PAIRS).T]
    rows = [np.concatenate([unit for _, unit, _ in units(part[each])]) for part, each in zip(parts, some, strict=True)]
    if labels is not None:
        return some, rows, None
    found = [np.unique(items.items(part.astype("f4")), return_inverse=True) for part in rows]
    own = None if pairs is None else np.stack([place for _, place in found], axis=1)
    return *([part[first] for part, (first, _) in zip(each, found, strict=True)] for each in (some, rows)), own


def _few(rows: np.ndarray, most: int) -> np.ndarray:
    """Every k-th of some rows, so that at most ``most`` stay."""
    return rows[:: -(-len(rows) // most)]


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
    for _, some in blocks(np.empty((0, 2), int) if pairs is None else pairs):
        ((_, p, _),), ((_, q, _),) = units(x[some[:, 0]]), units(y[some[:, 1]])
        a, b = p @ unit, q @ unit
        norms = shifted_norms(p, unit, a, -steps) * shifted_norms(q, unit, b, steps)
        cosines += (((p * q).sum(1) + t * (a - b) - t**2) / norms).sum(1)
    signed = np.copysign(np.linalg.norm(gaps, axis=1), gaps @ unit)
    return signed, cosines[:0] if pairs is None else cosines / len(pairs)


def _batches(rows, own: Int[np.ndarray, "p 2"]) -> dict:
    """The places of the pairs in each batch of the loss, their cosines, and those of all in a batch (b, size, size)."""
    x, y = (part[places] for part, places in zip(rows, own.T, strict=True))
    try:
        order = items.batches(x, y, BATCH if len(own) >= BATCH else None)
    except UserError:  # too few different items for one whole batch
        order = items.batches(x, y)
    cosines = np.stack([x[batch] @ y[batch].T for batch in order])
    found = {"batches": own[order].astype("u2"), "matches": np.diagonal(cosines, axis1=1, axis2=2).astype("f4")}
    if len(own) <= EXACT:
        return found | {"cosines": cosines.astype("f4")}
    lows = cosines.min((1, 2), keepdims=True)
    scales = np.maximum(cosines.max((1, 2), keepdims=True) - lows, 1e-12) / 65535
    return found | {"cosines": ((cosines - lows) / scales).round().astype("u2"), "lows": lows, "scales": scales}


def _within(rows, seed: int) -> dict:
    """Random pairs of different rows of a modality, and their cosines."""
    i, j = np.random.default_rng(seed).integers(len(rows), size=(2, WITHIN))
    i, j = i[i != j], j[i != j]
    return {"i": i.astype("u2"), "j": j.astype("u2"), "cosines": (rows[i] * rows[j]).sum(1).astype("f4")}


def _ranks(rows, own, shown, shifts, unit) -> list:
    """How many come before the best own partner of each shown row, after each shift, by modality."""
    mine, found = np.zeros((len(rows[0]), len(rows[1])), bool), []
    mine[own[:, 0], own[:, 1]] = True
    for k in (0, 1):
        asking = (shown[0], slice(None)) if k == 0 else (slice(None), shown[1])
        own_cells, scores = mine[asking], shifted.scores(rows[0][asking[0]], rows[1][asking[1]], shifts, unit)
        ranks = []
        for cosines in scores:
            best = np.where(own_cells, cosines, -np.inf).max(1 - k, keepdims=True)
            ranks.append(((cosines > best + shifted.TIE) & ~own_cells).sum(1 - k).astype("u2"))
        found.append(ranks)
    return found


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


def _ablated(rows, own, gap: Float[np.ndarray, "d"]) -> dict:
    """Gap and matched cosine of drawn rows without the 0, 1, ... dimensions that carry most of the gap, made unit."""
    order, found = np.argsort(-np.abs(gap), kind="stable")[: min(DIMENSIONS, len(gap) - 1)], []
    squares, products = [np.ones(len(part)) for part in rows], 0
    if own is not None:
        products = np.einsum("ij,ij->i", rows[0][own[:, 0]], rows[1][own[:, 1]])
    for k in range(len(order) + 1):
        norms = [np.sqrt(np.maximum(each, 1e-12)) for each in squares]
        means = [(1 / each) @ part / len(part) for each, part in zip(norms, rows, strict=True)]
        found.append([np.linalg.norm(np.delete(means[0] - means[1], order[:k]))])
        if own is not None:
            found[-1].append((products / norms[0][own[:, 0]] / norms[1][own[:, 1]]).mean())
        x, y = (part[:, order[min(k, len(order) - 1)]] for part in rows)
        squares = [squares[0] - x**2, squares[1] - y**2]
        products = products if own is None else products - x[own[:, 0]] * y[own[:, 1]]
    return {"order": order.astype("u2"), "values": np.array(found)}


def _decisions(rows, labels, unit) -> dict:
    """The class of each drawn row at shifts of a step: those at the first one, and every change that follows."""
    cells = len(rows[0]) * len(rows[1]) * len(SHIFTS)
    step = next((k for k in (1, 5, 10) if cells < k * MOST_DECISIONS), 25)
    predicted = shifted.predict(*rows, SHIFTS[::step], unit).astype("u2")
    at, row = np.nonzero(np.diff(predicted, axis=0))
    changes = [at.astype("u2") + 1, row.astype("u2"), predicted[at + 1, row]]
    return {"step": step, "labels": labels.astype("u2"), "base": predicted[0], "changes": changes}


def _told(one: Embeddings, k: int, rows: np.ndarray, *kinds: str) -> list[str]:
    """What stands beside rows of a modality: the first of some kinds that has an entry for each row."""
    n = len(one.modalities[one.names[k]])
    told = next((one.beside[kind] for kind in kinds if len(one.beside.get(kind, ())) == n), ())
    return [str(each)[-LETTERS:] for each in np.asarray(told)[rows]] if len(told) else []


def _pictures(one: Embeddings, some: np.ndarray, shown: np.ndarray) -> dict[str, str]:
    """Thumbnails of shown rows by their places, where ``paths`` names pictures of this machine."""
    from PIL import Image

    found = {}
    for place, path in zip(shown.tolist(), _told(one, 0, some[shown], "paths"), strict=False):
        with suppress(OSError, ValueError, Image.DecompressionBombError), Image.open(path) as picture:
            picture.draft("RGB", (96, 96))
            small, out = picture.convert("RGB"), io.BytesIO()
            small.thumbnail((96, 96))
            small.save(out, "jpeg", quality=70)
            found[place] = base64.b64encode(out.getvalue()).decode()
        if len(found) == MOST_PICTURES:
            break
    return found
