"""``modality-gap measure``, ``merge`` and ``compare``, and the options of all commands that read embeddings."""

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from .. import UserError, cli
from ..embeddings import Embeddings, open_sets
from ..files import place, replacing
from ..numerics.engines import share


@dataclass(frozen=True, kw_only=True)
class OfFiles:
    embeddings: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Files or folders of any format: files of one modality each make one set (image=a.npy says which)."""
    columns: tuple[str, ...] = ()
    """Names of the arrays or columns in them, for instance --columns image=COLUMN text=COLUMN."""

    def load(self) -> Embeddings:
        """The one set of embeddings that the files hold."""
        found = Embeddings.load(*self.given(), columns=cli.named_columns(self.columns))
        note(*found.source.get("notes", ()))
        return found

    def given(self) -> tuple[str, ...]:
        """The files that were named; none are refused."""
        if not self.embeddings:
            raise UserError("name a file of embeddings, for instance mine.npz, or two: images.npy texts.npy")
        return self.embeddings


def note(*notes: str) -> None:
    """Sentences beside the output, which another program may read."""
    for each in notes:
        print(f"note: {each}", file=sys.stderr)


@dataclass(frozen=True, kw_only=True)
class _Told:
    json: bool = False
    """Print one json list: an object for each number, with the columns of the table in CONTRIBUTING.md."""
    csv: Path | None = None
    """Write the same as a table."""

    def apart(self, read: Iterable, save: Path | None = None) -> None:
        """Refuses to write over a file that is read."""
        for output in filter(None, (self.csv, save)):
            if place(output) in map(place, read):
                raise UserError(f"{output}: is read here; choose another file to write")

    def tell(self, rows: list[dict], tables: list) -> None:
        """Prints tables to read, or rows, and writes the csv."""
        import pandas as pd

        if share()[0]:
            return  # the first process of torchrun speaks
        if self.csv is not None:
            with replacing(self.csv) as part:
                pd.DataFrame(rows).to_csv(part, index=False)
        cli.say(json.dumps(rows, indent=1) if self.json else "\n\n".join(map(str, tables)))


@dataclass(frozen=True, kw_only=True)
class _Measured(OfFiles, _Told):
    seed: int = 0
    """Seed of the sample, the folds of the separability and the nulls."""
    rows: int = 1000
    """Items of each modality, at most, for what needs rows: neighbours, uniformity, separability, overlap."""
    second: bool = True
    """With second moments: ranks, IsoScore, CKA, axes. Without them a pass over a large file is quicker."""
    ci: bool = True
    """With 95%% intervals, and nulls of 200 permutations."""
    device: cli.Device = "cpu"
    """Where neighbours are searched."""
    engine: str = ""
    """Where a large file is summed: by default on threads here; or dask://HOST:PORT, ray, spark."""

    def cards(self, save: Path | None = None) -> dict:
        """The card of each set of embeddings, by its name."""
        from .card import measure

        self.apart(self.given())
        columns = cli.named_columns(self.columns)
        sets, found = open_sets(self.given(), columns), {}
        if save is not None and len(sets) > 1:
            raise UserError(f"--save keeps the sums of one set, and these files hold {len(sets)}: {', '.join(sets)}")
        for name, one in sets.items():
            reopen: Callable[[], Embeddings] = partial(_reopened, self.given(), columns, name)
            options = {"seed": self.seed, "most": self.rows, "second": self.second, "intervals": self.ci}
            place = {"device": cli.resolve_device(self.device), "engine": self.engine, "save": save, "reopen": reopen}
            found[name] = measure(one, **options, **place)
            note(*found[name].notes)
        return found


def _reopened(given: tuple[str, ...], columns, name: str) -> Embeddings:
    """The set of that name, in a worker."""
    return open_sets(given, columns)[name]


@dataclass(frozen=True, kw_only=True)
class Measure(_Measured):
    """Print the card of your embeddings: the gap, the cone, scores, alignment, structure, with 95%% intervals."""

    save: Path | None = None
    """Keep the sums of all rows, an .npz for ``modality-gap merge``. A run that is stopped goes on."""

    def __call__(self) -> None:
        cards = self.cards(self.save)
        tables = [f"{card.sums.source['path']}: {card}" for card in cards.values()]
        self.tell([row for card in cards.values() for row in card.rows], tables)


@dataclass(frozen=True, kw_only=True)
class Merge(_Told):
    """Print the card of all rows whose sums ``measure --save`` kept in parts, here or on other machines."""

    sums: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Files of sums."""
    save: Path | None = None
    """Keep the sums of the whole."""

    def __call__(self) -> None:
        from .card import merged

        self.apart(self.sums, self.save)
        card = merged(*self.sums)
        note(*card.notes)
        if self.save is not None:
            card.sums.save(self.save)
        self.tell(card.rows, [card])


@dataclass(frozen=True, kw_only=True)
class Compare(_Measured):
    """Print the cards of several models side by side: each number, and what it has more than the first, with limits."""

    same_items: bool = False
    """Row i is the same item in all files, so that differences are paired and their intervals narrow."""

    def __call__(self) -> None:
        from .card import compare

        found = compare(self.cards(), self.same_items)
        rows = found.astype(object).where(found.notna(), None).to_dict("records")
        self.tell(rows, [found.to_string(index=False, na_rep="-", float_format="{:.4f}".format)])
