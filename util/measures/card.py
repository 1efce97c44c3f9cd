"""The card of a set of embeddings: what ``modality-gap measure`` prints, and what stands at each panel of Figure 1."""

import math
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from itertools import combinations, permutations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import UserError
from ..embeddings import MOST_COMPARED, Embeddings
from ..files import PACKAGE
from ..numerics.arrays import as_count, as_rows, to_numpy
from ..numerics.items import copies
from ..numerics.statistics import delete_group_interval
from . import of_rows, of_sums
from .of_rows import Found, Sample
from .sums import WIDE, Sums, sums

if TYPE_CHECKING:
    import pandas as pd

MOST = 1000
"""Rows of each modality, at most, that what needs rows is measured on."""

CARD: dict[str, Mapping] = tomllib.loads((PACKAGE / "data" / "card.toml").read_text())
"""Every measure by name, in the order of the table."""
GROUPS = tuple(dict.fromkeys(entry["group"] for entry in CARD.values()))
OF_ROWS: dict[str, Callable[..., Found]] = {
    "matched_above_unmatched": lambda s, swapped, seed, device: of_rows.outranked(s, None, device),
    "score_overlap": lambda s, swapped, seed, device: of_rows.outranked(s, int(swapped), device),
    "uniformity": lambda s, swapped, seed, device: of_rows.uniformity(s.x, s.groups[0], device),
    "mutual_knn": lambda s, swapped, seed, device: of_rows.mutual_knn(s, seed, device),
    "separability": lambda s, swapped, seed, device: (
        of_rows.separability(*s.single_rows, seed) if len(s.single) > 1 else Found(None, len(s.single))
    ),
    "hubness_skewness": lambda s, swapped, seed, device: of_rows.hubness_skewness(s, swapped, seed, device),
}
"""What each takes of a sample, with ``swapped`` where the second modality is first."""
Wanted = tuple[str, str, str]
"""A measure, and the modalities that it is of, first and last."""
COLUMNS = ("file", "first", "last", "measure", "value", "low", "high", "n", "unit", "note", "interval", "null")
COLUMNS += ("p_value",)
HOW = dict.fromkeys(("separability", "score_overlap", "matched_above_unmatched"), "Wilson")
NONE, TOO_WIDE = (
    "all rows are one, or too few",
    f"no interval: second moments of more than {WIDE} columns are one group",
)


@dataclass(frozen=True, repr=False)
class Measures:
    """The card: every number of one set of embeddings. It prints as a table, in a notebook too.

    Attributes:
        rows: a mapping for each number, with the keys of COLUMNS. First and last are modalities, the same where it is
            of one; of both ways the first asks, or is the one whose rows count. n counts rows, or pairs where it is of
            pairs. A value that there is not is None, and its note says why. low and high are the 95% interval that
            ``interval`` names. null is what chance gives: the 95th percentile of 200 draws, with a p-value, or what
            the docstring of the measure says.
        counts: rows of each modality, by name.
        dim: the width.
        norms: the least and the largest norm of each modality's rows, before they were normalised here.
        notes: sentences for whoever reads the numbers.
        sums: all that of the rows was read, to be saved and merged; None where there is none.
    """

    rows: Sequence[Mapping]
    counts: Mapping[str, int]
    dim: int
    norms: Mapping[str, tuple[float, float]]
    notes: Sequence[str] = ()
    sums: Sums | None = None
    left: Mapping[Wanted, tuple] = field(default_factory=dict)
    """Of each number with a jackknife: its value, those without each block in turn, and the sizes of blocks."""

    def row(self, measure: str, *modalities: str) -> Mapping:
        """The row of a measure; where several have one, of the modality or of the first and last that are named."""
        found = [row for row in self.rows if row["measure"] == measure]
        named = [row for row in found if (row["first"], row["last"]) == modalities]
        found = named or [row for row in found if {*modalities} <= {row["first"], row["last"]}]
        if len(found) != 1:
            said = " of ".join([measure, *filter(None, [" and ".join(modalities)])])
            raise UserError(f"{said}: {len(found)} rows of this card; measures are {', '.join(CARD)}, name modalities")
        return found[0]

    def __getitem__(self, key: str | tuple[str, ...]) -> float | None:
        """The value of ``card["gap_distance"]`` or of ``card["mean_cosine", "text"]``."""
        return self.row(*([key] if isinstance(key, str) else key))["value"]

    @property
    def values(self) -> dict[tuple[str, str, str], float | None]:
        """Every value by measure, first and last modality."""
        return {(row["measure"], row["first"], row["last"]): row["value"] for row in self.rows}

    def to_frame(self) -> "pd.DataFrame":
        """The rows as a pandas table."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=COLUMNS)

    def matrix(self, measure: str) -> "pd.DataFrame":
        """A measure of every two modalities: a row for each first, a column for each last one."""
        table = self.to_frame().query("measure == @measure").pivot(index="first", columns="last", values="value")
        table = table.reindex(index=list(self.counts), columns=list(self.counts))
        return table if CARD[measure]["of"] == "both ways" else table.fillna(table.T)

    def lines(self) -> Iterable[tuple[str, str, str, str, str]]:
        """The card to read: group, name, value, interval or null, and what it means."""
        for name, entry in CARD.items():
            for row in (row for row in self.rows if row["measure"] == name):
                several = entry["of"] != "two" or len(self.counts) > 2
                of = ", ".join(dict.fromkeys([row["first"], row["last"]])) if several else ""
                limits, meaning = _limits(row), "; ".join(filter(None, [entry["says"], row["note"]]))
                value = "-" if row["value"] is None else f"{row['value']:z.4f}"
                yield entry["group"], f"{entry['title']}{' of ' if of else ''}{of}", value, limits, meaning

    def _repr_html_(self) -> str:
        import pandas as pd

        table = pd.DataFrame(self.lines(), columns=["group", "measure", "value", "95%", "meaning"])
        return table.set_index(["group", "measure"]).to_html()

    def __str__(self) -> str:
        said = ", ".join(f"{name} ({count} x {self.dim})" for name, count in self.counts.items())
        lines = [*self.lines()]
        width = max(len(each[1]) for each in lines)
        for group in GROUPS:
            some = [each for each in lines if each[0] == group]
            said += f"\n{group}" if some else ""
            for _, name, value, limits, meaning in some:
                said += f"\n  {name:<{width}}  {value:>9}  {limits:<22}  {meaning}"
        if len(self.counts) > 2:
            said += f"\n\ngap distances\n{self.matrix('gap_distance').to_string(float_format='{:.4f}'.format)}"
        return said

    __repr__ = __str__


def _limits(row: Mapping) -> str:
    if row["low"] is not None:
        return f"[{row['low']:z.4f}, {row['high']:z.4f}]"
    return "" if row["null"] is None else f"by chance {row['null']:z.4f}"


def measure(
    *given,
    columns: Mapping[str, str] | None = None,
    seed: int = 0,
    most: int = MOST,
    only: Sequence[str] = (),
    second: bool = True,
    intervals: bool = True,
    device: str = "cpu",
    engine: str = "",
    save: str | Path | None = None,
    reopen: Callable[[], Embeddings] | None = None,
) -> Measures:
    """The card of one set of embeddings: of each modality, and of every two.

    Args:
        given: embeddings, in memory or mapped from a file of any size (``unit=False``); or paths as
            ``Embeddings.load`` takes them; or arrays by name, {"image": images, "text": texts}; or one array or two,
            called x and y then.
        columns: modality -> name of its array or column in the files.
        seed: of the sample, the folds of the separability, and nulls.
        most: items of each modality, at most, that is measured on rows; of several captions of an image all are taken.
        only: names of measures, where not all are wanted; what only others need is not computed.
        second: with second moments. Without them the pass is quicker, and spectral measures are left out.
        intervals: with intervals and nulls.
        device: where products of the sample run, "cpu" or "cuda".
        engine, save, reopen: those of ``util.measures.sums.sums``.
    """
    found = _opened(given, columns)
    if reopen is None and given and all(isinstance(each, (str, Path)) for each in given):
        reopen = partial(Embeddings.load, *given, columns=columns, unit=False)
    if unknown := {*only} - {*CARD}:
        raise UserError(f"no measure {', '.join(sorted(unknown))}; choose {', '.join(CARD)}")
    chosen = {name: entry["needs"] for name, entry in CARD.items() if not only or name in only}
    as_count(most, "rows", 2)
    copied = copies({name: rows for name, rows in found.modalities.items() if len(rows) <= MOST_COMPARED})
    unseen = [f"equal rows are not looked for among {len(rows)} {name}" for name, rows in found.modalities.items()]
    unseen = [said for name, said in zip(found.names, unseen, strict=True) if name not in copied]
    second = second and any("second" in needs for needs in chosen.values())
    whole = sums(found, second, engine, save, reopen, [copied.get(name, -1) for name in found.names])
    groups = {names: _unmet(found, names, copied) for names in _groups(found.names)}
    wanted = {names: _wanted(names, chosen) for names in groups}
    met = {
        names: [each for each in some if not {*groups[names]} & {*chosen[each[0]]}] for names, some in wanted.items()
    }
    numbers = _of_sums(whole, [each for some in met.values() for each in some], intervals)
    for names, some in wanted.items():
        rest, cka = [each for each in some if each not in met[names]], ("cka", *names)
        if not rest and cka not in numbers:
            continue
        part = of_rows.sample(found, names, most, seed)
        numbers |= _of_sample(part, rest, names, intervals, seed, device)
        if intervals and len(part.single) > 3 and (found_cka := numbers.get(cka)) and found_cka.value is not None:
            level, p_value = of_rows.cka_null(part, seed)
            numbers[cka] = found_cka._replace(null=level, p_value=p_value)
    return _card(whole, numbers, [*found.source.get("notes", ()), *unseen, *found.remarks(whole.moments(), copied)])


def merged(*paths: str | Path) -> Measures:
    """The card of all rows whose sums ``modality-gap measure --save`` wrote in parts: what sums give."""
    if not paths:
        raise UserError("name files of sums, as modality-gap measure --save writes them")
    parts = [Sums.load(path) for path in paths]
    for a, b in combinations(range(len(parts)), 2):
        if all(np.array_equal(parts[a].arrays[name], parts[b].arrays.get(name)) for name in parts[a].arrays):
            raise UserError(f"{paths[a]} and {paths[b]} hold the same sums; leave one out")
    whole = reduce(Sums.__add__, parts)
    chosen = [name for name, entry in CARD.items() if "rows" not in entry["needs"]]
    numbers = _of_sums(whole, [each for names in _groups(whole.names) for each in _wanted(names, chosen)], True)
    rows, apart = ([name for name, entry in CARD.items() if need in entry["needs"]] for need in ("rows", "apart"))
    notes = [f"left out, because they need rows: {', '.join(rows)}"]
    if any(whole.copies) or len(parts) > 1:
        why = "there are some, or nobody looked" if any(whole.copies) else "nobody looked across parts"
        notes.append(f"{', '.join(apart)} take equal rows for different ones: {why}")
    return _card(whole, numbers, notes)


def _groups(names: Sequence[str]) -> list[tuple[str, ...]]:
    return [(name,) for name in names] + list(combinations(names, 2))


def _unmet(found: Embeddings, names: tuple[str, ...], copied: Mapping[str, int]) -> tuple[str, ...]:
    """The needs that sums of all rows do not meet, so that a sample serves: copies, and rows in several pairs."""
    pairs = None if found.pairs is None or len(names) == 1 else found.pairs_between(names)
    shared = pairs is not None and any(len(np.unique(column)) < len(column) for column in pairs.T)
    return ("rows", *(["apart"] if any(map(copied.get, names)) else []), *(["single"] if shared else []))


def _wanted(names: tuple[str, ...], chosen: Iterable[str]) -> list[Wanted]:
    """The measures of one modality, or of two, among those that were chosen."""
    couples = {"one": [names * 2], "two": [names], "both ways": [*permutations(names)]}
    kinds = ("one",) if len(names) == 1 else ("two", "both ways")
    some = [name for name in chosen if CARD[name]["of"] in kinds]
    return [(name, *couple) for name in some for couple in couples[CARD[name]["of"]]]


def _of_sums(whole: Sums, wanted: list[Wanted], intervals: bool, note: str = "") -> dict[Wanted, Found]:
    """Measures that follow from sums, with a jackknife over their groups, or with what chance gives."""
    places, totals, numbers = {name: place for place, name in enumerate(whole.names)}, whole.totals, {}
    at = {each: (places[each[1]], places[each[2]]) for each in wanted}
    for second in (False, True):
        some = [each for each in wanted if ("second" in CARD[each[0]]["needs"]) == second]
        if not some or (second and not whole.second):
            continue
        left = {each: [] for each in some if intervals and each[0] not in of_sums.BY_CHANCE}
        for view in whole.left_out(second) if left and (not second or len(whole.arrays["second"]) > 1) else ():
            for each, values in left.items():
                a, b = at[each]
                values.append(getattr(of_sums, each[0])(view, a, b) if view.n[a] and view.n[b] else None)
        for each in some:
            a, b = at[each]
            value = getattr(of_sums, each[0])(totals, a, b)
            sizes = whole.sizes(second)[:, sorted({a, b})].sum(1)
            n = int(totals.pairs[totals.couple(a, b), 0] if CARD[each[0]].get("paired") else sizes.sum())
            found, without = Found(value, n, note=note.format(n=n)), left.get(each)
            if without and n < whole.dim * CARD[each[0]].get("rows_per_column", 0):
                found = found._replace(note=f"no interval: fewer than {CARD[each[0]]['rows_per_column']} rows a column")
            elif value is not None and without and None not in without:
                low, high = delete_group_interval(value, without, sizes)
                found = found._replace(low=low, high=high, left=(without, sizes) if low is not None else None)
            elif value is not None and intervals and each[0] in of_sums.BY_CHANCE:
                found = found._replace(null=of_sums.BY_CHANCE[each[0]](totals, a, b))
            if value is not None and intervals and not found.note and found.low is found.null is None:
                found = found._replace(note=TOO_WIDE if second and whole.dim > WIDE else "no interval: too few rows")
            numbers[each] = found
    return numbers


def _of_sample(s: Sample, wanted: list[Wanted], names, intervals: bool, seed: int, device: str) -> dict[Wanted, Found]:
    """Measures that need rows, and those of sums in which some rows may not count."""
    numbers: dict[Wanted, Found] = {}
    for each in wanted:
        if "rows" in CARD[each[0]]["needs"]:
            found = OF_ROWS[each[0]](s, each[1] != names[0], seed, device)
            numbers[each] = found if intervals else Found(found.value, found.n, note=found.note)
    for need, some, note in (
        ("apart", s.items, "of {n} pairs of different items"),
        ("single", s.singles, "of {n} pairs that share no row"),
    ):
        rest = [each for each in wanted if each not in numbers and need in CARD[each[0]]["needs"]]
        numbers |= _of_sums(sums(some(names)), rest, intervals, note) if rest else {}
    return numbers


def _card(whole: Sums, numbers: Mapping[Wanted, Found], notes: Sequence[str]) -> Measures:
    """The table of numbers, in the order of the card, and what to say of them."""
    moments, totals, rows, said = whole.moments(), whole.totals, [], [*notes]
    all_of = {*totals.n.tolist(), *totals.pairs[:, 0].tolist()}
    for name, entry in CARD.items():
        for (_, first, last), found in ((each, number) for each, number in numbers.items() if each[0] == name):
            limits, some = [None, None], "" if "rows" not in entry["needs"] or found.n in all_of else f"of {found.n}"
            note = found.note or some
            if found.value is None:
                note = "not paired" if entry.get("paired") and not found.n else entry.get("none", NONE)
            elif found.low is not None:
                least, most = entry["range"]
                most = min(most, whole.dim) if entry["unit"] == "columns" else most
                limits = [float(np.clip(end, least, most)) for end in (found.low, found.high)]
                if limits[0] == limits[1] and found.low < found.high:
                    limits, note = [None, None], "no interval: so few rows put it out of range"
                elif not limits[0] <= found.value <= limits[1]:
                    note = "; ".join(filter(None, [note, "so few rows bias it"]))
            how = HOW.get(name, "jackknife over blocks") if limits[0] is not None else ""
            row = (whole.source.get("path", ""), first, last, name, found.value, *limits, found.n, entry["unit"], note)
            rows.append(dict(zip(COLUMNS, (*row, how, found.null, found.p_value), strict=True)))
            if name == "siglip_margin" and limits[0] is not None and limits[0] <= 0:
                said.append(f"{first} and {last}: pairs are hardly closer than others: shuffled, or random weights?")
    for name, each in moments.items():
        if each.n < whole.dim and whole.second:
            few = f"{name}: fewer rows ({each.n}) than columns ({whole.dim})"
            said.append(f"{few}: effective rank, IsoScore and axes are of this sample")
    left = {wanted: (number.value, *number.left) for wanted, number in numbers.items() if number.left}
    norms = {name: (each.shortest, each.longest) for name, each in moments.items()}
    counts = {name: each.n for name, each in moments.items()}
    return Measures(rows, counts, whole.dim, norms, tuple(dict.fromkeys(said)), whole, left)


def _opened(given: tuple, columns: Mapping[str, str] | None) -> Embeddings:
    """What was given as a set of embeddings."""
    if given and all(isinstance(each, (str, Path)) for each in given):
        return Embeddings.load(*given, columns=columns, unit=False)
    if columns:
        raise UserError("columns name the arrays of files; arrays are given by name, as {'image': x, 'text': y}")
    if len(given) == 1 and isinstance(given[0], Embeddings):
        return given[0]
    if len(given) == 1 and isinstance(given[0], Mapping):
        arrays = given[0]
    elif 1 <= len(given) <= 2:
        arrays = dict(zip("xy", given, strict=False))
    else:
        raise UserError(f"measure takes embeddings, paths, arrays by name, or an array or two, not {len(given)} things")
    return Embeddings.of({name: to_numpy(as_rows(array, name)) for name, array in arrays.items()}, unit=False)


def compare(cards: Mapping[str, Measures], same_items: bool = False) -> "pd.DataFrame":
    """Cards side by side, and for each number what the others have more than the first.

    Args:
        cards: two or more, by the name of the model. Their modalities are called the same.
        same_items: row i is the same item in all of them, so that what models share cancels. Nothing in a file says so.

    Returns:
        measure, first, last, model, value, difference, its 95% limits low and high where both have a jackknife, and
        interval: "paired", or "unpaired" from the widths of both.
    """
    import pandas as pd

    (base, first), *others = cards.items()
    if not others:
        raise UserError("compare takes two sets of embeddings or more, each in a file or folder of its own")
    for name, card in others:
        if [*card.counts] != [*first.counts]:
            these, those = (", ".join(each.counts) for each in (card, first))
            raise UserError(f"{name} holds {these} and {base} {those}; name them alike")
        if same_items and card.counts != first.counts:
            raise UserError(f"{name} holds other numbers of rows than {base}; leave --same-items out")
    keys = dict.fromkeys((row["measure"], row["first"], row["last"]) for card in cards.values() for row in card.rows)
    rows = []
    for key in keys:
        values = {name: card.values.get(key) for name, card in cards.items()}
        for name, value in values.items():
            apart = None if None in (value, values[base]) or name == base else value - values[base]
            low, high, how = (None, None, "") if apart is None else _apart(first, cards[name], key, apart, same_items)
            rows.append((*key, name, value, apart, low, high, how))
    columns = ["measure", "first", "last", "model", "value", "difference", "low", "high", "interval"]
    return pd.DataFrame(rows, columns=columns)


def _apart(first: Measures, card: Measures, key: tuple[str, str, str], apart: float, same_items: bool) -> tuple:
    """The 95% interval of a difference, and how it was found."""
    if key not in first.left or key not in card.left:
        return None, None, ""
    (_, left, sizes), (_, others, same) = first.left[key], card.left[key]
    if same_items and np.array_equal(sizes, same):
        return *delete_group_interval(apart, np.subtract(others, left), sizes), "paired"
    (low, high), (least, most) = (delete_group_interval(*each.left[key]) for each in (first, card))
    half, middle = math.hypot(high - low, most - least) / 2, (least + most - low - high) / 2
    return middle - half, middle + half, "unpaired"
