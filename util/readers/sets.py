"""Files as sets of embeddings: those of one modality each make one set, whose rows belong together by equal ids."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import UserError
from ..files import named_path
from . import read
from .beside import as_rows, one_order
from .matching import matched, with_classes
from .names import BESIDE, TEXT, in_order, role, sort_out

RESERVED = ("labels", "pairs")
"""What stands beside the vectors and is an argument of its own."""


def read_sets(paths: Sequence, columns: Mapping[str, str] | None = None) -> list[dict]:
    """What ``Embeddings.of`` takes, for each set that files hold; of several files each takes the columns it has."""
    whole, alone, used, columns = [], [], set(), columns or {}
    places = [Path(path).resolve() for name, path in map(named_path, paths) if not name]
    if twice := [path for path in places if places.count(path) > 1]:
        raise UserError(f"{twice[0]}: is named twice; leave one out")
    if len({*columns.values()}) < len(columns) and not all(name for name, _ in map(named_path, paths)):
        raise UserError(f"--columns: one for {' and '.join(columns)}; name each file: {'=FILE '.join(columns)}=FILE")
    for name, path in map(named_path, paths):
        arrays, source = read(path)
        mine = {key: value for key, value in columns.items() if key == (name or key)}
        mine = {key: value for key, value in mine.items() if len(paths) == 1 or value in arrays}
        used |= mine.keys()
        one = _of_arrays(arrays, source, path, mine)
        if name or len(one["modalities"]) == 1:
            alone.append((name, one))
        else:
            whole.append({key: value for key, value in one.items() if key != "keys"})
    if left := [f"{key}={value}" for key, value in columns.items() if key not in used]:
        raise UserError(f"--columns {' '.join(left)}: no such column in {', '.join(map(str, paths))}")
    return [*whole, _joined(_by_name(alone))] if alone else whole


def _of_arrays(arrays: Mapping, source: Mapping, path: str, columns: Mapping[str, str]) -> dict:
    """The arrays of one file as a set."""
    found = sort_out(arrays, path, columns)
    unused = [f"{path}: not used: {', '.join(found.ignored)}"] if found.ignored else []
    stored = [name for array in arrays.values() for name, each in found.modalities.items() if each is array]
    found, changed = as_rows(found, path)
    notes = [*source.get("notes", []), *unused, *changed]
    named = {kind: found.beside.pop(kind, None) for kind in RESERVED}
    ordered = in_order(found.modalities)
    counts = {name: len(found.modalities[name]) for name in ordered}
    if (pairs := named["pairs"]) is not None:
        one_order(pairs, ordered, stored, [*counts.values()], path)
    elif len(found.keys) > 1:
        named["pairs"], how, _ = matched({name: found.keys[name] for name in ordered}, counts, path, one_file=True)
        notes += [f"{path}: {how}"] if how else []
    source = {k: each for k, each in source.items() if (k, type(each)) != ("files", list)}  # of a set once saved
    source |= {"path": path, **({"notes": notes} if notes else {})}
    one = {"modalities": found.modalities, "source": source, "beside": found.beside, "keys": found.keys, **named}
    told = {name: arrays[name] for name in found.ignored if role(name) == TEXT and arrays[name].dtype.kind in "iuf"}
    told = {name: each for name, each in told.items() if each.ndim == 1} | found.keys[ordered[-1]]
    if (names := found.beside.get("classes")) is not None and len({*names.tolist()}) < len(names):
        names, told = None, {**told, "classes": names}
    return with_classes(one, names, told, path)


def _by_name(alone: Sequence[tuple[str, dict]]) -> dict[str, dict]:
    """Sets of one modality each by its name, which is given or told by the name of the file or its array."""
    found: dict[str, dict] = {}
    for given, one in alone:
        path, (held, *more) = one["source"]["path"], one["modalities"]
        name = given or held
        if more:
            raise UserError(f"{path}: holds {', '.join([held, *more])}; files of a set hold one modality each")
        if name in found:
            raise UserError(f"{found[name]['source']['path']} and {path} are both {name}; name them, as image={path}")
        if len(alone) > 1 and not given and not role(name):
            raise UserError(f"{path}: which modality it holds cannot be told by name; name it, as image={path}")
        found[name] = {**one, "modalities": {name: one["modalities"][held]}}
    return found


def _joined(parts: Mapping[str, dict]) -> dict:
    """Sets of one modality each as one; equal ids say which rows are pairs."""
    keys = {name: next(iter(part.pop("keys").values())) for name, part in parts.items()}
    if len(parts) == 1:
        return next(iter(parts.values()))
    sources = {name: dict(part["source"]) for name, part in parts.items()}
    notes = [note for source in sources.values() for note in source.pop("notes", [])]
    path = " + ".join(source["path"] for source in sources.values())
    ordered = {name: parts[name] for name in in_order(parts)}
    modalities = {name: part["modalities"][name] for name, part in ordered.items()}
    counts = {name: len(rows) for name, rows in modalities.items()}
    for name, beside in ((name, part["beside"]) for name, part in ordered.items()):
        if odd := [kind for kind in ("ids", "paths") if kind in beside and beside[kind].size != counts[name]]:
            raise UserError(f"{path}: {name} has {counts[name]} rows, and not as many {odd[0]}; give one for each")
    pairs, how, _ = matched({name: keys[name] for name in ordered}, counts, path)
    notes += [f"{path}: {how}"] if how else []
    first, *others = ordered
    beside = dict(ordered[first]["beside"])  # captions are of the last modality that has them, all else of the first
    for kind, each in [item for other in others for item in ordered[other]["beside"].items()]:
        moved = pairs is not None and kind in ("ids", "paths")  # they number other rows
        if kind == "captions" or (kind in BESIDE and kind not in beside and not moved):
            beside[kind] = each
    source = {"path": path, "files": [sources[name] for name in ordered], **({"notes": notes} if notes else {})}
    one = {**ordered[first], "modalities": modalities, "pairs": pairs, "source": source, "beside": beside}
    last = ordered[others[-1]]
    told = {"classes": last["beside"].get("classes"), "labels": last["labels"]}
    told = keys[others[-1]] | {kind: each for kind, each in told.items() if each is not None and each.ndim == 1}
    if (matching := with_classes(one, ordered[first]["beside"].get("classes"), told, path)) is not one:
        return matching
    unused = [name for name in others if ordered[name]["labels"] is not None]
    notes += [f"{path}: labels of {name} not used: labels are of {first}" for name in unused]
    return {**one, "source": {**source, **({"notes": notes} if notes else {})}}
