"""What the arrays of a file are, told by their names, and which rows and classes belong together.

A modality is known by meaning, never by position: "image_features", "img_emb" and "b32_img" are images, "caption",
"txt" and "prompts" texts. Where that cannot be told, the file is refused with how to name its arrays.
Rows belong together by equal keys, and texts to the classes of labels by equal names.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from itertools import chain, combinations, product
from pathlib import Path

import numpy as np

from .. import UserError
from ..files import PACKAGE
from ..numerics.arrays import Parts, nonzero_norms

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
CLASS = re.compile(r"(.*_)?(label|class|cls|category|target|y|number)(e?s)?(_(id|idx|index|no|number|name)s?)?")
"""Names, in small letters, of the columns that say of which class a row is."""


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
    of several modalities those that each has of its own ("image_ids"), and the names of the others.
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


def checked_pairs(pairs, counts: list[int], prefix: str) -> np.ndarray | None:
    """Row numbers (p, modalities) as int64; p = 0 says that nothing is paired."""
    if pairs is None:
        return None
    found = _array(pairs)
    if found.ndim != 2 or found.shape[1] != len(counts) or found.dtype.kind not in "iu":
        what = f"pairs must be whole numbers of shape (pairs, {len(counts)}), found {found.dtype} {found.shape}"
        raise UserError(f"{prefix}{what}")
    if len(found) == 1 or (found < 0).any() or (found >= counts).any():
        raise UserError(f"{prefix}pairs must be at least two rows of row numbers below {counts}")
    return found.astype(np.int64)


def one_order(pairs, names: Sequence[str], stored: Sequence[str], counts: Sequence[int], path: str) -> None:
    """Refuses pairs whose columns may as well be in the order of ``stored`` as in that of ``names``."""
    found = _array(pairs)
    if [*names] == [*stored] or found.ndim != 2 or found.shape[1] != len(names) or not len(found):
        return
    turned = found[:, [stored.index(name) for name in names]]
    if (found < counts).all() and (turned < counts).all() and {*map(tuple, found)} != {*map(tuple, turned)}:
        how = f"give --pairs a table with the columns {' and '.join(names)}, or store {names[0]} first"
        raise UserError(f"{path}: which column of the pairs is of {names[0]} cannot be told; {how}")


def _array(values) -> np.ndarray:
    """Values of somebody else as an array; one of objects where they are none."""
    try:
        return np.asarray(values)
    except ValueError:
        return np.empty(0, object)


def checked_labels(labels, counts: Mapping[str, int], classes, prefix: str) -> np.ndarray | None:
    """Labels of the first modality's rows, one class each or, as bool (n, C), several.

    They are whole numbers, booleans, strings, or a column for each class. ``counts`` are the rows of each modality.
    Strings are looked up in ``classes``, names (C,), or with None kept.
    """
    if labels is None:
        return None
    found = _array(labels)
    first, count = next(iter(counts.items()))
    if found.dtype.kind not in "biufU" or found.ndim not in (1, 2) or len(found) != count:
        what = f"labels must be {count} numbers or strings, as {first} has rows"
        raise UserError(f"{prefix}{what}; found {found.dtype} {found.shape}")
    if found.ndim == 2 and found.shape[1] > 1:
        if found.dtype.kind == "U" or not np.isin(found, (0, 1)).all():
            raise UserError(f"{prefix}labels in {found.shape[1]} columns must be 0 or 1: a column for each class")
        return found.argmax(1) if (found.sum(1) == 1).all() else found.astype(bool)
    found = found.reshape(-1)
    if found.dtype.kind == "U":
        if (found == "").any():
            raise UserError(f"{prefix}labels name classes; row {int((found == '').argmax())} has none; mend it")
        names = [] if classes is None else [*map(str, classes)]
        if not names or len({*names}) < len(names):
            return found
        if not (known := np.isin(found, names)).all():
            row, there = int(known.argmin()), f"{', '.join(names[:8])}{' ...' if len(names) > 8 else ''}"
            what = f"{(~known).sum()} of {len(found)} labels are no class, first '{found[row]}' in row {row}"
            raise UserError(f"{prefix}{what}; classes are {there}")
        return np.argsort(names)[np.searchsorted(np.sort(names), found)]
    whole = np.isfinite(found) & (found == found.round())
    if not whole.all():
        row = int(whole.argmin())
        raise UserError(f"{prefix}labels name classes; row {row} has {found[row]}, no whole number")
    return found.astype(np.int64)


def as_rows(given: Mapping, beside: Mapping, path: str) -> tuple[dict, list[str]]:
    """Texts of several templates as the mean of their unit rows, and texts stored by column as rows; both are said."""
    notes, modalities = [], dict(given)
    widths = {array.shape[-1] for name, array in modalities.items() if role(name) != TEXT and array.ndim == 2}
    for name, array in given.items():
        if role(name) != TEXT:
            continue
        if array.ndim == 3:
            modalities[name], said = _mean_of_templates(array, beside, f"{path}: {name}")
        elif len(widths) == 1 and array.shape[1] not in widths and array.shape[0] in widths:
            modalities[name] = np.asarray(array).T
            said = "holds a column for each text, for its rows are as wide as others"
        else:
            continue
        notes.append(f"{path}: {name} {array.shape}: {said}")
    return modalities, notes


def _mean_of_templates(array: np.ndarray, beside: Mapping, where: str) -> tuple[np.ndarray, str]:
    """(C, T, d) or (T, C, d) as unit rows (C, d): the mean over templates of unit rows."""
    labels, classes = beside.get("labels"), beside.get("classes")
    known, every, least = None if classes is None else len(classes), set(), 2  # of all C labels name, C at the least
    if known is None and labels is not None and labels.dtype.kind in "iufb" and labels.size:
        if labels.ndim == 2:
            known = labels.shape[1]
        else:
            least = int(labels.max()) + int(labels.min() != 1)  # labels without 0 may count from 1
            every = {len(np.unique(labels)), least}
    axes = [axis for axis in (0, 1) if array.shape[axis] == known or (known is None and array.shape[axis] >= least)]
    if array.shape[0] in every and array.shape[1] not in every:
        axes = [0]  # (C, T, d) of labels that name all C
    if len(axes) == 2 and 1 in array.shape[:2]:
        axes = [int(array.shape[0] == 1)]
    if len(axes) != 1:
        how = "store (classes, templates, width) beside labels and class names, or the mean over templates"
        raise UserError(f"{where} {array.shape}: which axis is of the classes cannot be told; {how}")
    rows = np.moveaxis(np.asarray(array), axes[0], 0)
    count, several, width = rows.shape
    mean = unit_means(rows.reshape(-1, width), np.repeat(np.arange(count), several), where)
    return mean, f"mean of {several} templates for each of {count} classes"


def unit_means(rows, numbers: np.ndarray, where: str) -> np.ndarray:
    """Unit rows (C, d): the mean direction of the rows (m, d) of each number (m,), as of the templates of a class."""
    rows = np.asarray(rows[:], np.float64)
    sums = np.zeros((numbers.max() + 1, rows.shape[1]))
    np.add.at(sums, numbers, rows / nonzero_norms(rows, where)[:, None])
    return sums / nonzero_norms(sums, where)[:, None]


def _words(ids: np.ndarray) -> list[str]:
    """Ids as they are written, whole numbers without a point."""
    return [str(int(each) if isinstance(each, float) and each.is_integer() else each) for each in ids[:].tolist()]


def _foreign(name: str, other: str) -> bool:
    """Whether a key is of the rows of the other modality, as the "image_id" of captions."""
    return bool(key_kind(name)) and role(other) in {WORDS[word] for word in WORDS_IN.findall(name.lower())}


def _links(sides: Mapping[str, Mapping[str, list[str]]], path: str, one_file: bool) -> tuple[list, list[str]]:
    """Names of two sides' keys and the rows (p, 2) that these tell, best first; and which are not used, and why."""
    (one, other), (left, right), names, ranked = sides, sides.values(), " and ".join(sides), []
    for a, b in product(left, right):
        first, last = {*left[a]}, {*right[b]}
        unlike = leaf(a) != leaf(b), key_kind(a) != key_kind(b), key_kind(a) != "paths"
        own = not (_foreign(a, other) or _foreign(b, one))
        ranked.append(((own, not (first <= last or last <= first), *unlike), (a, b), len(first & last)))
    taken, doubtful, unused, used = [], [], [], set()
    for (_, partly, *unlike), (a, b), common in sorted(ranked, key=lambda each: each[0]):
        keys, told = (left[a], right[b]), f"{a} and {b} of {names} have {common} values in common"
        single = [len({*key}) == len(key) for key in keys]
        if all(key in ([*map(str, range(n := len(key)))], [*map(str, range(1, n + 1))]) for key in keys):
            unused.insert(0, f"{a} and {b} only count rows")
        elif used & {(0, a), (1, b)}:
            continue
        elif not any(single) or common < 2:
            strict = {KINDS.get(leaf(name)) for name in (a, b)} <= {"ids", "paths"} and not one_file
            strict |= keys[0] != keys[1] and sorted(keys[0]) == sorted(keys[1])  # rows lie in two orders
            (doubtful if strict else unused).append(f"{told}, and {'do not tell' if strict else 'are not used'}")
        elif partly and (all(unlike[:2]) or not key_kind(a) or (one_file and len(keys[0]) == len(keys[1]))):
            doubtful.append(f"{told}, and do not tell")
        else:
            once, key = keys[::-1] if single[1] else keys
            place = {value: row for row, value in enumerate(once)}
            rows = np.array([(place[value], row) for row, value in enumerate(key) if value in place])
            taken.append(((a, b), rows[:, ::-1] if single[1] else rows))
            used |= {(0, a), (1, b)}
    known = [{*map(tuple, rows.tolist())} for _, rows in taken]
    if unlike := [k for k, each in enumerate(known) if not (known[0] <= each or each <= known[0])]:
        said = " tell other pairs than ".join(" and ".join(taken[k][0]) for k in (0, unlike[0]))
        raise UserError(f"{path}: {said}; remove those that are no keys of the pairs")
    if doubtful and not taken:
        raise UserError(f"{path}: {doubtful[0]} whether rows are in one order; mend them, or store pairs of rows")
    return taken, unused


def matched(
    keys: Mapping[str, Mapping[str, np.ndarray]], counts: Mapping[str, int], path: str, one_file: bool = False
) -> tuple[np.ndarray | None, str, list[str]]:
    """Row numbers (p, sides) that belong together by equal keys, how that was told, and the names of the keys used.

    One side may have a key in several rows, as five captions of an image have. Best are keys called after the other
    side ("image_id" of captions), then those with all its values, then of one name, then paths. Others that disagree
    are refused; what only counts rows is no key. None: rows are in one order (as in one file, if equal), or no pairs.
    """
    written = {side: {name: _words(key) for name, key in those.items()} for side, those in keys.items()}
    first, *others = written
    found = {two: _links({side: written[side] for side in two}, path, one_file) for two in combinations(written, 2)}
    best = {two: taken[0] for two, (taken, _) in found.items() if taken}
    equal = len({counts[side] for two in best or found for side in two}) == 1
    if not best:
        for side, name, key in ((side, *item) for side, each in written.items() for item in each.items()):
            alone = one_file and not any(_foreign(name, other) for other in {*keys} - {side})
            numbers = [{*map(str, range(start, start + len(key)))} for start in (0, 1)]
            if equal and not alone and {*key} in numbers and key != sorted(key, key=int):
                raise UserError(f"{path}: {name} tells another order of rows, which nothing else numbers; give all ids")
        return None, "; ".join(unused[0] for _, unused in found.values() if unused), []
    used = [*dict.fromkeys(name for names, _ in best.values() for name in names)]
    kinds = " and ".join(dict.fromkeys(key_kind(name) or "names" for name in used))
    in_order = [np.tile(np.arange(counts[side])[:, None], 2) for side, _ in best]
    if equal and all(np.array_equal(each, rows) for each, (_, rows) in zip(in_order, best.values(), strict=True)):
        return None, f"{kinds} are the same, row by row", used
    if lacking := [other for other in others if (first, other) not in best]:
        odd = first if lacking == others else lacking[0]
        raise UserError(f"{path}: rows are matched by {kinds}, and {odd} has none of them; leave it out")
    import pandas as pd

    tables = [pd.DataFrame(best[first, other][1], columns=[first, other]) for other in others]
    pairs = reduce(lambda left, right: left.merge(right, on=first), tables)[[*keys]]
    unpaired = [f"{count - pairs[name].nunique()} of {count} {name}" for name, count in counts.items()]
    how = f"{len(pairs)} pairs matched by {kinds}; without a partner: {', '.join(unpaired)}"
    return pairs.to_numpy(np.int64), f"{how} (by {' and '.join(used)})", used


def one_label_each(pairs: np.ndarray, labels, path) -> np.ndarray:
    """The pairs (row, label row), one for each row; a row whose labels differ is refused."""
    rows, first, places = np.unique(pairs[:, 0], return_index=True, return_inverse=True)
    told = np.asarray(labels).astype(str)[pairs[:, 1]].reshape(len(pairs), -1)
    if twice := len(np.unique(places[(told != told[first][places]).any(axis=1)])):
        raise UserError(f"{path}: gives {twice} of {len(rows)} rows labels that differ; a row has one label")
    return pairs[first]


def by_class(labels: np.ndarray, classes, texts, beside: Mapping, where: str) -> tuple | None:
    """Labels and texts matched by the names or numbers of their classes: both, the names, what was done. Or None.

    ``labels`` are checked ones; nothing tells of those (n, C). ``classes`` are names of their numbers (C,), or None.
    An array (m,) in ``beside`` may say the class of each text (m, d). Templates of one class become their mean.
    """
    import pandas as pd

    beside = {name: each for name, each in beside.items() if each.shape == (len(texts),)}
    labels, told, names = _spelled(labels, classes, beside)
    if not any(told):
        return None
    wanted = {*labels.tolist()}
    for surest in told:
        if fitting := [each for each in surest if wanted <= {*each.tolist()}]:
            break
    if not fitting or any((each != fitting[0]).any() for each in fitting):
        what = f"labels are '{min(wanted)}' and others, and {'two columns say' if fitting else 'no column says'}"
        raise UserError(f"{where}: {what} the class of each text; give one, called class, spelled as the labels")
    named = fitting[0]
    (of, own), first = pd.factorize(named), ~pd.Series(named).duplicated().to_numpy()
    names = (named if names is None else names)[first]
    labels = names[pd.Index(own).get_indexer(labels)]
    if len(names) == len(named):
        return labels, texts, names, []
    said = f"{where}: {len(named)} texts are templates of {len(names)} classes by their names; the mean of each"
    return labels, unit_means(texts, of, where), names, [said]


def _spelled(labels, classes, beside: Mapping) -> tuple:
    """Labels by name, what may say the class of each text in the same words, surest first, and names to show."""
    words, numbers = ([], []), ([], [])
    for name, each in beside.items():
        called = CLASS.fullmatch(leaf(name))
        if each.dtype.kind == "U":
            words[not called].append(each)
        elif each.dtype.kind in "iuf" and (called or key_kind(name) == "ids") and (each == each.round()).all():
            numbers[not called].append(each.astype(np.int64))
    numbers = numbers[0], [] if numbers[0] else numbers[1]  # ids say nothing beside class numbers
    if labels.dtype.kind == "U" or labels.ndim == 2:
        return labels, words if labels.ndim == 1 else [], None
    if classes is None:
        return labels.astype(str), [[each.astype(str) for each in some] for some in numbers], next(chain(*words), None)
    if not 0 <= labels.min() <= labels.max() < len(classes):
        return labels, [], None  # refused where the task is made
    known = [[classes[each] for each in some if 0 <= each.min() <= each.max() < len(classes)] for some in numbers]
    strange = [each.astype(str) for each in numbers[0] if not 0 <= each.min() <= each.max() < len(classes)]
    return classes[labels], [words[0] + known[0], words[1], known[1] + strange], None


def with_classes(one: dict, classes, beside: Mapping, where: str) -> dict:
    """A set (what ``Embeddings.of`` takes) whose labels and texts are matched ``by_class``, if anything says how."""
    (first, images), *others = one["modalities"].items()
    if one["labels"] is None or [role(name) for name, _ in others] != [TEXT] or len(others[0][1]) == len(images):
        return one
    ((last, texts),) = others
    same = {*(() if classes is None else classes.tolist())}
    named = [name for name, each in beside.items() if CLASS.fullmatch(leaf(name)) or {*each.tolist()} == same]
    one_each = [name for name in named if len({*beside[name].tolist()}) == len(texts)]
    beside = {name: each for name, each in beside.items() if name in ("classes", "labels", *one_each)}
    labels = checked_labels(one["labels"], {first: len(images)}, None, f"{where}: ")
    if classes is not None and len(classes) == len(images) > len({*classes.tolist()}):  # a name for each row
        classes, labels = None, classes
    if (found := by_class(labels, classes, texts, beside, where)) is None:
        return one
    labels, texts, names, notes = found
    notes = [*one["source"].get("notes", []), *notes, f"{where}: texts and labels are matched by their classes"]
    kept = {kind: each for kind, each in one["beside"].items() if kind != "captions"} | {"classes": names}
    changed = {"modalities": {first: images, last: texts}, "labels": labels, "pairs": None, "beside": kept}
    return {**one, **changed, "source": {**one["source"], "notes": notes}}
