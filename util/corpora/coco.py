"""MSCOCO captions 2017: photographs and what people wrote about them, from a local folder or from the hub.

Images keep the order of the annotation file's "images" (on the hub: of the rows); captions of an image keep the
order in which the annotation file lists them. "First" and "last" caption mean that order: the released extraction
takes the first, Figure 1 and Table 1 the last.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int
from PIL import Image

from util.errors import UserError
from util.files import cache_folder, sha256
from util.published import reachable

CaptionRule = Literal["first", "last", "all"]
RULES = {"first": slice(0, 1), "last": slice(-1, None), "all": slice(None)}

HUB_DATASET = "lmms-lab/COCO-Caption2017"
HUB_REVISION = "3bdd5827e243cc3084ac69a1111e69c3ab9193ff"
HUB_COLUMNS = ("image", "answer", "question_id")
"""Photograph, list of captions, file name of the photograph."""
HUB_SPLITS = {"val2017": "val"}
"""Our name of a split and the hub's, whose files are data/<split>-*.parquet. Its "test" has no captions."""

UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What PIL raises for files that are not, or not whole, pictures."""


@dataclass(frozen=True)
class CaptionedImages:
    """n photographs, opened only when they are needed, and m captions of them.

    Attributes:
        openers: n functions without arguments, each of which opens one photograph (PIL, any mode).
        ids: n strings, unique.
        captions: m strings.
        image_of: int array (m,), the row number of the photograph that a caption describes, ascending.
        source: dataset, revision, split, n, n_captions, caption_rule and skipped (photographs that could not be
            read, with the reason); plain values that json can hold.
    """

    openers: Sequence[Callable[[], Image.Image]]
    ids: Sequence[str]
    captions: Sequence[str]
    image_of: Int[np.ndarray, "m"]
    source: Mapping

    def __len__(self) -> int:
        return len(self.ids)

    def readable(self, skipped: dict[int, str]) -> "Readable":
        """The photographs in RGB, one at a time; one that cannot be read is left out.

        Args:
            skipped: receives the row number of each photograph that was left out, and why. Complete only once
                all photographs have been taken.
        """
        return Readable(self.openers, skipped)

    def without(self, skipped: Mapping[int, str]) -> "CaptionedImages":
        """The same without the photographs of these row numbers and their captions; ``source`` counts them."""
        kept = np.array([row for row in range(len(self)) if row not in skipped], dtype=np.int64)
        stays = np.isin(self.image_of, kept)
        captions = [caption for caption, stay in zip(self.captions, stays, strict=True) if stay]
        named = [f"{self.ids[row]}: {reason}" for row, reason in sorted(skipped.items())]
        counts = {"n": len(kept), "n_captions": len(captions), "skipped": [*self.source.get("skipped", []), *named]}
        return replace(
            self,
            openers=[self.openers[row] for row in kept],
            ids=[self.ids[row] for row in kept],
            captions=captions,
            image_of=np.searchsorted(kept, self.image_of[stays]),
            source={**self.source, **counts},
        )


@dataclass(frozen=True)
class Readable:
    """An iterable over photographs that leaves out, and notes, those that cannot be read.

    Its length, for a progress bar, counts all of them; it gives fewer where some are left out.
    """

    openers: Sequence[Callable[[], Image.Image]]
    skipped: dict[int, str]

    def __len__(self) -> int:
        return len(self.openers)

    def __iter__(self) -> Iterator[Image.Image]:
        for row, opener in enumerate(self.openers):
            try:
                image = opener().convert("RGB")
            except UNREADABLE as error:
                self.skipped[row] = (str(error).splitlines() or [type(error).__name__])[0]
            else:
                yield image


def load(
    folder: str | Path | None = None, split: str = "val2017", caption: CaptionRule = "first", n: int | None = None
) -> CaptionedImages:
    """MSCOCO captions from a local folder, or from the hub where no folder is given.

    Args:
        folder: holds annotations/captions_{split}.json and the photographs in {split}/; None for the hub.
        split: val2017 or train2017 (the hub: val2017).
        caption: which captions of an image: "first", "last" or "all".
        n: take only the first n images.

    Raises:
        UserError: as ``from_folder`` and ``from_hub``.
    """
    return from_folder(folder, split, caption, n) if folder else from_hub(split, caption, n)


def from_folder(
    folder: str | Path, split: str = "val2017", caption: CaptionRule = "first", n: int | None = None
) -> CaptionedImages:
    """A folder laid out as MSCOCO's archives unpack.

    ``source["revision"]`` is the sha256 of the annotation file and ``source["photographs"]`` one of the names and
    contents of the photographs, so that another folder, or a photograph mended since, counts as other data.

    Raises:
        UserError: no such folder, an unknown split, a damaged annotation file, missing photographs.
    """
    folder = Path(folder)
    rows, revision = read_captions(folder, split)
    rows = rows[: _checked_count(n)]
    paths = [folder / split / name for _, name, _ in rows]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise UserError(
            f"{folder / split}: {len(missing)} of the {len(paths)} captioned photographs are missing, "
            f"first {missing[0].name}; get {split}.zip from https://cocodataset.org/#download"
        )
    content = json.dumps([[path.name, sha256(path)] for path in paths])
    about = {"dataset": "MSCOCO captions 2017, local folder", "revision": f"sha256:{revision}", "split": split}
    about["photographs"] = f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"
    openers = [lambda path=path: Image.open(path) for path in paths]
    return _assemble(openers, [name for _, name, _ in rows], [texts for _, _, texts in rows], caption, about)


def read_captions(folder: str | Path, split: str = "val2017") -> tuple[list[tuple[int, str, list[str]]], str]:
    """The captions of a local COCO folder, with or without its photographs.

    Returns:
        for each image that has captions its id, file name and captions, in the annotation file's order; and the
        sha256 of that file.

    Raises:
        UserError: no such folder or split, or a damaged annotation file.
    """
    path = Path(folder) / "annotations" / f"captions_{split}.json"
    if not path.is_file():
        splits = sorted(p.stem.removeprefix("captions_") for p in path.parent.glob("captions_*.json"))
        hint = f"it has captions of {', '.join(splits)}" if splits else "expected annotations/captions_<split>.json"
        raise UserError(f"{folder}: no captions of split {split!r} there; {hint}")
    try:
        content = path.read_bytes()
        annotations = json.loads(content)
        images = {image["id"]: (image["id"], Path(image["file_name"]).name, []) for image in annotations["images"]}
        for annotation in annotations["annotations"]:
            images[annotation["image_id"]][2].append(str(annotation["caption"]))
    except (ValueError, TypeError, KeyError, OSError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{path}: not a whole MSCOCO caption file ({reason}); unpack it again") from error
    return [row for row in images.values() if row[2]], hashlib.sha256(content).hexdigest()


def from_hub(
    split: str = "val2017", caption: CaptionRule = "first", n: int | None = None, path: str | Path | None = None
) -> CaptionedImages:
    """The same from the hub's lmms-lab/COCO-Caption2017 at a pinned revision (val2017: two files, 0.8 GB).

    Only the files of the split are fetched, into the Hugging Face cache (HF_HOME); they are found there again
    without a network.

    Args:
        path: a folder of parquet files of the same columns, in place of the hub's.

    Raises:
        UserError: an unknown split, no connection, or files that lack the columns image, answer, question_id.
    """
    if split not in HUB_SPLITS:
        raise UserError(f"{HUB_DATASET} has captions of {', '.join(HUB_SPLITS)}, not of {split!r}; use a COCO folder")
    folder, revision = (Path(path), None) if path else _snapshot(HUB_SPLITS[split])
    table = _read_parquet(folder, HUB_SPLITS[split])
    table = table.select(range(min(len(table), _checked_count(n) or len(table))))
    ids, texts = list(table["question_id"]), [list(captions) for captions in table["answer"]]
    about = {"dataset": str(path) if path else HUB_DATASET, "revision": revision, "split": split}
    openers = [lambda row=row: _decode(table[row]["image"]) for row in range(len(table))]
    return _assemble(openers, ids, texts, caption, about)


@contextmanager
def hub_or_cache() -> Iterator[None]:
    """Inside the block the Hugging Face hub is asked if it answers; if not, only its cache on disk is.

    Without it every file is asked for again and again, half a minute and a screen of warnings for each.
    """
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    online = not any(before) and reachable(constants.ENDPOINT)
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = not online
    try:
        yield
    except Exception as error:
        if online:
            raise
        raise ConnectionError(f"no connection to {constants.ENDPOINT}, and not whole in its cache") from error
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _snapshot(split: str) -> tuple[Path, str]:
    """The folder of a split's files in the Hugging Face cache, and the revision it was resolved to."""
    from huggingface_hub import snapshot_download

    patterns = f"data/{split}-*.parquet"
    try:
        with hub_or_cache():
            folder = snapshot_download(HUB_DATASET, repo_type="dataset", revision=HUB_REVISION, allow_patterns=patterns)
    except Exception as error:  # the hub's client raises errors of many kinds, its http library's included
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"MSCOCO captions: https://huggingface.co/datasets/{HUB_DATASET} ({patterns}) could not be fetched "
            f"({reason}); use a local COCO folder, or copy the Hugging Face cache (HF_HOME) of a machine that has it"
        ) from error
    return Path(folder) / "data", Path(folder).name


def _read_parquet(folder: Path, split: str):
    """The rows of a split's parquet files, photographs undecoded."""
    import datasets

    files = sorted(str(path) for path in folder.glob(f"{split}-*.parquet"))
    if not files:
        raise UserError(f"{folder}: no files {split}-*.parquet there")
    try:
        table = datasets.load_dataset(
            "parquet", data_files={split: files}, split=split, cache_dir=str(cache_folder() / "datasets")
        )
    except Exception as error:  # pyarrow, datasets and the file system each raise their own
        raise UserError(f"{files[0]}: not readable as parquet ({' '.join(str(error).split())[:160]})") from error
    lacking = [column for column in HUB_COLUMNS if column not in table.column_names]
    if lacking:
        raise UserError(f"{folder}: expected columns {', '.join(HUB_COLUMNS)}; found {', '.join(table.column_names)}")
    return table.cast_column("image", datasets.Image(decode=False))


def _decode(encoded: Mapping) -> Image.Image:
    return Image.open(io.BytesIO(encoded["bytes"]) if encoded["bytes"] else encoded["path"])


def _assemble(
    openers: Sequence, ids: Sequence[str], texts: Sequence[Sequence[str]], caption: str, about: Mapping
) -> CaptionedImages:
    """Applies the caption rule to the captions that are not empty; an image without any is left out and named."""
    if caption not in RULES:
        raise UserError(f"unknown caption rule {caption!r}; choose from {', '.join(RULES)}")
    said = [[text for text in captions if text.strip()] for captions in texts]
    empty = sum(map(len, texts)) - sum(map(len, said))
    skipped = [f"{name}: no caption" for name, captions in zip(ids, said, strict=True) if not captions]
    openers = [opener for opener, captions in zip(openers, said, strict=True) if captions]
    ids = [name for name, captions in zip(ids, said, strict=True) if captions]
    chosen = [captions[RULES[caption]] for captions in said if captions]
    image_of = np.repeat(np.arange(len(ids)), [len(captions) for captions in chosen])
    captions = [text for captions in chosen for text in captions]
    counts = {"n": len(ids), "n_captions": len(captions), "caption_rule": caption, "skipped": skipped}
    if empty:
        counts["empty_captions"] = empty
    return CaptionedImages(openers, ids, captions, image_of, {**about, **counts})


def _checked_count(n: int | None) -> int | None:
    if n is not None and n < 1:
        raise UserError(f"the number of images must be at least 1, not {n}")
    return n
