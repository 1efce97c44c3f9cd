"""What the arrays of a file are, told by their names: modalities, what stands beside them, and the rest.

A modality is known by meaning, never by position: "image_features", "img_emb" and "b32_img" are images, "caption",
"txt" and "prompts" texts. Where that cannot be told, the file is refused with how to name its arrays.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .. import UserError
from ..files import PACKAGE
from ..numerics.arrays import Parts

TEXT = "text"
DECLARED = tomllib.loads((PACKAGE / "data" / "names.toml").read_text(encoding="utf-8"))
"""The words, and what each table of them is."""
WORDS = {word: role for role, words in DECLARED["modalities"].items() for word in words.split()}
WORDS_IN = re.compile(rf"(?<![a-z])({'|'.join(WORDS)})s?(?=(?:ids?|idx)?(?![a-z]))")
SHORT, BESIDE = DECLARED["in_print"], DECLARED["beside"]
KINDS = {name: kind for kind, names in BESIDE.items() for name in names.split()}
NAME = re.compile(r"\w[\w .+-]*")
"""What a modality may be called: it names a member of an archive."""
KEYS = {
    "paths": re.compile(r"(?i)(.*[_./])?(paths?|files?|file_?names?|names?|urls?)"),
    "ids": re.compile(
        rf"(?i)(.*[\W_]|{'|'.join(WORDS)})?(ids?|[ug]?uids?|keys?|index|idx|skus?|rows?|items?|samples?)"
        r"|images?|img|unnamed(: 0)?|__index_level_0__"
    ),
}
"""Names of the columns that say whose a row is; the last are those of pandas."""


def word(name: str) -> str | None:
    """The one word of a name that means a modality; None where there is none, or where two disagree."""
    parts = [part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]
    found = [each for part in parts for each in (part, part.removesuffix("s")) if each in WORDS]
    if len({WORDS[each] for each in found}) != 1 or {*DECLARED["no_rows"].split()}.intersection(parts):
        return None
    return SHORT.get(found[0], found[0])


def leaf(name: str) -> str:
    """The last part of a name in groups: "labels" of "train/Labels"."""
    return re.split(r"[./]", name)[-1].lower()


def role(name: str) -> str | None:
    """The modality that a name means ("text" of "caption_embeds"), or None."""
    return WORDS.get(word(name) or "")


def in_order(names: Iterable[str]) -> list[str]:
    """Names of modalities, those that mean text last."""
    return sorted(names, key=lambda name: (role(name) == TEXT, name == TEXT))


def sort_out(arrays: Mapping, where: str, columns: Mapping[str, str]) -> tuple[dict, dict, dict, list[str]]:
    """Tells modalities from what stands beside them in ``where``, a file, whose name says what a lone array may not.

    ``columns`` are modality -> name of its array; then no other of the ``arrays`` (by name) is a modality. Gives the
    modalities by name, what stands beside them by kind, by modality the arrays (by name) that may say whose a row is,
    of several modalities those that each has of its own ("image_ids"), and the names of the others. Keys of the first,
    and what names no modality, stand beside it too.
    """
    if unknown := [name for name in columns.values() if name not in arrays]:
        raise UserError(f"{where}: no array or column {unknown[0]!r}; there are {', '.join(arrays) or 'none'}")
    others = {name: array for name, array in arrays.items() if name not in columns.values()}
    kinds: dict[str, str] = {}
    for name in sorted(others, key=lambda name: [*KINDS, leaf(name)].index(leaf(name))):
        if (kind := _kind(name, others[name])) and kind not in kinds.values():
            kinds[name] = kind  # of several names of one kind the first in BESIDE
    left = {name: each for name, each in others.items() if name not in kinds}
    rows = [name for name, each in left.items() if each.ndim in (2, 3) and each.dtype.kind in "fiu"]
    if not columns and len(rows) == 1:
        stem = Path(where).name.split(".")[0]
        columns = {role(rows[0]) or role(stem) or re.sub(r"[^\w .+-]|^\W+", "_", stem or rows[0]): rows[0]}
    columns = columns or _by_meaning(rows, where, arrays)
    modalities = {modality: arrays[name] for modality, name in columns.items()}
    keys = {modality: keys_of(_owned(others, modality, modalities), len(modalities[modality])) for modality in columns}
    first = in_order(columns)[0]
    free = {name: each for name, each in left.items() if not WORDS_IN.search(name.lower())}
    own = keys[first] | keys_of(free, len(modalities[first]))
    beside = {name: each for name, each in own.items() if name not in kinds}
    beside |= {kind: arrays[name] for name, kind in kinds.items()}
    used = {*kinds, *columns.values(), *own, *(name for each in keys.values() for name in each)}
    return modalities, beside, keys, [name for name in arrays if name not in used]


def _owned(arrays: Mapping, modality: str, modalities: Mapping) -> dict:
    """The arrays that belong to a modality: all of one alone, of several those that name it first, but captions."""
    if len(modalities) == 1:
        return dict(arrays)
    alone = [role(each) for each in modalities].count(role(modality)) == 1
    found = {name: WORDS_IN.search(name.lower()) for name in arrays if KINDS.get(leaf(name)) != "captions"}
    words = {name: SHORT.get(each[1], each[1]) for name, each in found.items() if each}
    mine = [name for name, each in words.items() if each == modality or (alone and role(each) == role(modality))]
    return {name: arrays[name] for name in mine}


def key_kind(name: str) -> str:
    """Whether a name says "paths" or "ids"; otherwise ""."""
    told, name = KINDS.get(leaf(name), ""), re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)  # "photo_Id"
    return told or next((kind for kind, pattern in KEYS.items() if pattern.fullmatch(name)), "")


def keys_of(arrays: Mapping, n: int) -> dict:
    """The arrays that may say whose each of n rows is: strings that are no labels, and numbers that are called ids."""
    whole = {name: each for name, each in arrays.items() if not isinstance(each, Parts) and each.size == n}
    named = [name for name in whole if key_kind(name) in ("ids", "paths") and whole[name].dtype.kind in "iuf"]
    written = [name for name in whole if whole[name].dtype.kind in "US" and key_kind(name) not in ("labels", "classes")]
    return {name: whole[name].reshape(-1) for name in [*named, *written]}


def _kind(name: str, array) -> str | None:
    """What an array beside the vectors is: captions are strings, and numbers in rows of that name a modality."""
    kind = KINDS.get(leaf(name))
    if kind in ("captions", "paths", "classes") and (isinstance(array, Parts) or array.dtype.kind not in "US"):
        return None
    unusable = array.dtype.kind == "O" and kind != "labels"  # labels are refused where they are used
    return None if unusable or (leaf(name) == "y" and array.ndim > 1) else kind


def _by_meaning(rows: Sequence[str], where: str, arrays: Mapping) -> dict[str, str]:
    """Modality -> array, of two arrays or more."""
    how = "name them: --columns image=COLUMN text=COLUMN, and of several files each: image=FILE text=FILE"
    meant = {name: modality for name in rows if (modality := role(name))}
    if not rows:
        shapes = ", ".join(f"{name or 'an array'} {tuple(each.shape)}" for name, each in [*arrays.items()][:6])
        raise UserError(f"{where}: no arrays (rows, width) of numbers; it holds {shapes or 'nothing'}")
    if len(meant) < 2:
        unknown = ", ".join(name for name in rows if name not in meant)
        raise UserError(f"{where}: what {unknown} hold cannot be told by name; {how}")
    found: dict[str, str] = {}
    for name, modality in meant.items():
        called = word(name) if [*meant.values()].count(modality) > 1 else modality
        if called in found:
            raise UserError(f"{where}: {found[called]} and {name} are both {called}; {how}")
        found[called] = name
    return found
