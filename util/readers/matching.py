"""Rows that belong together by equal keys, and texts that belong to the classes of labels by equal names."""

import re
from collections.abc import Mapping
from functools import reduce
from itertools import chain, combinations, product

import numpy as np

from ..errors import UserError
from .beside import checked_labels, unit_means
from .names import KINDS, TEXT, WORDS, WORDS_IN, key_kind, leaf, role

CLASS = re.compile(r"(.*_)?(label|class|cls|category|target|y|number)(e?s)?(_(id|idx|index|no|number|name)s?)?")
"""Names, in small letters, of the columns that say of which class a row is."""


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
    """Labels and texts matched by the names or numbers of their classes.

    Args:
        labels: checked ones: names or numbers. Nothing tells of those (n, C) that give a row several classes.
        classes: names of the numbers (C,); None where nobody said.
        texts: (m, d); several of one class are templates of it, and their mean takes the place of the first.
        beside: arrays (m,) by name, of which one may say the class of each text.

    Gives labels as names, the texts, their names, and what was done. None: nothing tells.
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
