"""Proteins of your own with texts: FASTA files and tables of amino-acid sequences.

FASTA (.fasta, .fa, .faa, .fas) is a line ">id text", then the sequence on any number of lines. A table (.tsv, .tab,
.txt, .csv) has the columns ``sequence`` and ``text``, perhaps ``id``. Both may be packed (.gz). Letters may be small.
White space inside a sequence and one "*" (stop) at its end are dropped. B, J and Z stand for either of two amino acids
and are read as X, any amino acid.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from util.corpora import tables
from util.corpora.captioned import Captioned, assemble, checked_count
from util.errors import UserError

ALPHABET = "ACDEFGHIKLMNOPQRSTUVWYX"
"""The 23 symbols of CLASP by number: the 22 amino acids that proteins are made of (O pyrrolysine, U selenocysteine) in
alphabetical order, and X, any of them. Source: MicPie/clasp, clasp/utils.py at 03f551f."""

AMBIGUOUS = "BJZ"
"""Asparagine or aspartate, leucine or isoleucine, glutamine or glutamate (IUPAC-IUB 1983)."""

KNOWN = ALPHABET + AMBIGUOUS
STRANGE = re.compile(f"[^{KNOWN}{KNOWN.lower()}]")
FASTA = (".fasta", ".fa", ".faa", ".fas")


def load(path: str | Path, n: int | None = None) -> Captioned:
    """The first n sequences of a file (None: all), strings of ``ALPHABET``, with their texts.

    A sequence without a text is left out and named. ``source["letters_read_as_x"]`` counts B, J and Z.
    """
    checked_count(n, "sequences")
    records, digest = _records(Path(path))
    if not records:
        raise UserError(f"{path}: no sequences in it")
    if repeated := [name for name, times in Counter(name for name, _, _ in records).items() if times > 1]:
        raise UserError(f"{path}: the id {repeated[0]!r} is there more than once; give every sequence its own")
    names, texts, sequences = zip(*records[:n], strict=True)
    if not any(texts):
        what = f"none of the {len(texts)} sequences taken has a text; write '>id text' above each, or a table"
        raise UserError(f"{path}: {what} with the columns sequence and text")
    written = [_cleaned(sequence, f"{path}, {name}") for name, sequence in zip(names, sequences, strict=True)]
    about = {"dataset": "proteins, local file", "revision": f"sha256:{digest}"}
    about["letters_read_as_x"] = sum(sequence.count(letter) for sequence in written for letter in AMBIGUOUS)
    openers = [lambda sequence=sequence: re.sub(f"[{AMBIGUOUS}]", "X", sequence) for sequence in written]
    return assemble("amino acid", openers, names, [[text] for text in texts], "first", about)


def residues(sequences: Sequence[str]) -> list[list[int]]:
    """Amino-acid letters as their places in ``ALPHABET``, a letter that is not there as the last."""
    place = {letter: i for i, letter in enumerate(ALPHABET)}
    return [[place.get(letter, len(ALPHABET) - 1) for letter in sequence.upper()] for sequence in sequences]


def _records(path: Path) -> tuple[list[tuple[str, str, str]], str]:
    """Id, text and sequence as written of each record, and the file's sha256."""
    suffix = tables.suffix_of(path)
    if suffix in FASTA:
        content, digest = tables.text_of(path)
        return _fasta(content, path), digest
    if suffix not in tables.SEPARATORS:
        ends = ", ".join((*FASTA, *tables.SEPARATORS))
        raise UserError(f"{path}: expected a FASTA file or a table, its name ending in one of {ends} (or that and .gz)")
    rows, digest = tables.read(path, ("sequence", "text"), ("id",))
    for line, row in rows:
        if row.get("id") == "":
            raise UserError(f"{path}, line {line}: no id")
    return [(row.get("id", f"line {line}"), row["text"], row["sequence"]) for line, row in rows], digest


def _fasta(content: str, path: Path) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, list[str]]] = []
    for number, line in enumerate(re.split(r"\r\n|\r|\n", content), start=1):
        line = line.strip()
        if line.startswith(">"):
            name, *text = line[1:].split(maxsplit=1) or [""]
            if not name:
                raise UserError(f"{path}, line {number}: no id after '>'")
            found.append((name, "".join(text), []))
        elif found:
            found[-1][2].append(line)
        elif line:
            raise UserError(f"{path}, line {number}: expected '>id text' before any sequence, found {line[:20]!r}")
    return [(name, text, "".join(lines)) for name, text, lines in found]


def _cleaned(sequence: str, where: str) -> str:
    """In capitals, without white space and the stop at the end; refuses what is empty or no amino acid."""
    letters = "".join(sequence.split()).removesuffix("*")
    if not letters:
        raise UserError(f"{where}: the sequence is empty")
    if strange := STRANGE.search(letters):
        place = strange.start() + 1
        raise UserError(f"{where}: {strange[0]!r} at position {place} is no amino acid; they are {KNOWN}")
    return letters.upper()
