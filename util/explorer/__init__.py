"""One self-contained page about embeddings: the gap as a dial, computed in the browser, without a network.

``explorer.js`` is the page's one module, plain JavaScript. ``data`` prepares what it reads.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..embeddings import Embeddings, duos, open_sets
from ..errors import UserError
from ..files import replacing
from ..measures import measure
from ..numerics.arrays import as_matrix, to_numpy
from ..records import versions
from . import data

HERE = Path(__file__).resolve().parent
MOST_SETS = 4


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
    page = Page(
        render({"models": [_described(name, one, umap, seed) for name, one in sets_of(given, columns).items()]})
    )
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
        named = dict(
            zip(stems if len({*stems}) == len(stems) else map(str, range(1, 1 + len(given))), given, strict=True)
        )
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
    found = {"name": name, "card": rows, "notes": [*card.notes], "about": about, "batch": data.BATCH}
    return found | {"temperature": 1 / scale if 1 <= scale <= 200 else 0.01} | data.of_two(one, umap, seed)


def render(content: dict) -> str:
    """The page of some content: arrays as base64, text escaped, and no script or style but its own may run."""
    script, style, page = (
        (HERE / name).read_text(encoding="utf-8") for name in ("explorer.js", "style.css", "page.html")
    )
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
        pairs, axes = one.pairs_between(one.names), data.view(data.drawn(one)[1])
        for k, (name, rows) in enumerate(one.modalities.items()):
            unit, pair = np.concatenate([each for _, each in data.units(rows)]).astype("f4"), np.full(len(rows), -1)
            if pairs is not None:
                pair[pairs[::-1, k]] = np.arange(len(pairs))[::-1]
            vector, (x, y) = pa.FixedSizeListArray.from_arrays(unit.ravel(), one.dim), axes @ unit.T
            columns = {"vector": vector, "projection_x": x, "projection_y": y, "modality": [name] * len(unit)}
            tables.append(pa.table(columns | {"pair": pair, "set": [called] * len(unit)}))
    with replacing(Path(path)) as part:
        pq.write_table(pa.concat_tables(tables), part)
