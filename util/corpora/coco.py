"""MSCOCO captions 2017 as its archives unpack: photographs and what people wrote about them.

Images keep the order of the annotation file's "images", captions of an image the order in which the annotation file
lists them. "First" and "last" caption mean that order: the released extraction takes the first, Figure 1 and Table 1
the last. A photograph is shown as it is stored, whatever its EXIF data say, as CLIP's own preprocessing takes it.
"""

import hashlib
import json
from pathlib import Path

from PIL import Image

from ..errors import UserError, reason
from .captioned import Captioned, CaptionRule, assemble, content_digest, picture


def from_folder(
    folder: str | Path, split: str = "val2017", caption: CaptionRule = "first", n: int | None = None
) -> Captioned:
    """The first n images (None: all) that have captions, and these.

    The folder holds annotations/captions_{split}.json and the photographs in {split}/. ``source`` has sha256 of both.
    """
    folder = Path(folder)
    rows, revision = read_captions(folder, split)
    rows = rows[:n]
    paths = [folder / split / name for name, _ in rows]
    if missing := [path.name for path in paths if not path.is_file()]:
        what = f"{len(missing)} of the {len(paths)} captioned photographs are missing, first {missing[0]}"
        raise UserError(f"{folder / split}: {what}; get {split}.zip from https://cocodataset.org/#download")
    about = {"dataset": "MSCOCO captions 2017, local folder", "revision": f"sha256:{revision}", "split": split}
    about["photographs"] = content_digest({path.name: path for path in paths})
    openers = [picture(lambda path=path: Image.open(path)) for path in paths]
    return assemble("image", openers, [name for name, _ in rows], [texts for _, texts in rows], caption, about)


def read_captions(folder: str | Path, split: str = "val2017") -> tuple[list[tuple[str, list[str]]], str]:
    """File name and captions of each image that has some, in the annotation file's order, and that file's sha256."""
    path = Path(folder) / "annotations" / f"captions_{split}.json"
    if not path.is_file():
        splits = sorted(p.stem.removeprefix("captions_") for p in path.parent.glob("captions_*.json"))
        hint = f"it has captions of {', '.join(splits)}" if splits else "expected annotations/captions_<split>.json"
        raise UserError(f"{folder}: no captions of split {split!r} there; {hint}")
    try:
        content = path.read_bytes()
        annotations = json.loads(content)
        images = {image["id"]: (Path(image["file_name"]).name, []) for image in annotations["images"]}
        for annotation in annotations["annotations"]:
            images[annotation["image_id"]][1].append(str(annotation["caption"]))
    except (ValueError, TypeError, KeyError, OSError) as error:
        why = f"{type(error).__name__}: {reason(error)}"
        raise UserError(f"{path}: not a whole MSCOCO caption file ({why}); unpack it again") from error
    return [row for row in images.values() if row[1]], hashlib.sha256(content).hexdigest()
