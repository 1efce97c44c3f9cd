"""Proteins of your own: FASTA and tables as they are found, and one line for what is no protein."""

import gzip
import json

import pytest

from encoder_checks import refused
from systems import proteins

FASTA = """>sp|P1|ONE  A short protein, of two  lines
MKV
  lac\t
>P2 Has a stop

MAAUO*
"""
TABLE = "text\tid\tsequence\nA short protein\tP1\tMKVLAC\n\nHas a stop\tP2\tmaauo*\n"


def write(path, content):
    content = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def read(loaded):
    return [opener() for opener in loaded.openers]


@pytest.mark.parametrize("name", ["a.fasta", "a.FA", "a.faa.gz", "a.fas"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_fasta_is_read_over_several_lines_in_any_case_with_any_line_end(tmp_path, name, end):
    loaded = proteins.load(write(tmp_path / name, FASTA.replace("\n", end)))
    assert read(loaded) == ["MKVLAC", "MAAUO"]
    assert (loaded.modality, list(loaded.ids)) == ("amino acid", ["sp|P1|ONE", "P2"])
    assert loaded.captions == ["A short protein, of two  lines", "Has a stop"]
    assert list(loaded.readable({})) == read(loaded)
    assert loaded.item_of.tolist() == [0, 1]


@pytest.mark.parametrize("name", ["a.tsv", "a.tab", "a.txt", "a.tsv.gz", "a.csv"])
def test_a_table_gives_the_same(tmp_path, name):
    separator = "," if ".csv" in name else "\t"
    path = write(tmp_path / name, TABLE.replace("\t", separator))
    loaded = proteins.load(path)
    assert (read(loaded), list(loaded.ids)) == (["MKVLAC", "MAAUO"], ["P1", "P2"])
    assert loaded.captions == ["A short protein", "Has a stop"]
    assert list(proteins.load(path, n=1).ids) == ["P1"]
    without_ids = "\n".join("\t".join(row.split("\t")[::2]) for row in TABLE.splitlines())
    assert list(proteins.load(write(tmp_path / "b.tsv", without_ids)).ids) == ["line 2", "line 4"]


def test_the_alphabet_is_that_of_clasp_and_ambiguous_letters_are_read_as_its_last_and_counted(tmp_path):
    *letters, last = proteins.ALPHABET
    assert letters == sorted("ARNDCQEGHILKMFPSTWYV" + "UO") and last == "X"
    loaded = proteins.load(write(tmp_path / "a.fa", ">1 all letters\nABCDEFGHIJKLMNOPQRSTUVWXYZ\n>2 none\nMz\n"))
    assert read(loaded) == ["AXCDEFGHIXKLMNOPQRSTUVWXYX", "MX"]
    assert set("".join(read(loaded))) == set(proteins.ALPHABET)
    assert loaded.source["letters_read_as_x"] == 4


@pytest.mark.parametrize(
    ("name", "content"), [("a.fa", ">1\nMA\n>2 text\nMC\n"), ("a.tsv", "id\tsequence\ttext\n1\tMA\t\n2\tMC\ttext\n")]
)
def test_a_sequence_without_a_text_is_left_out_and_named(tmp_path, name, content):
    loaded = proteins.load(write(tmp_path / name, content))
    assert (list(loaded.ids), loaded.captions, read(loaded)) == (["2"], ["text"], ["MC"])
    assert loaded.source["skipped"] == ["1: no caption"]
    with refused("none of the 1 sequences taken has a text"):
        proteins.load(tmp_path / name, n=1)


def test_the_source_tells_contents_apart(tmp_path):
    source = proteins.load(write(tmp_path / "a.fa", FASTA)).source
    assert json.loads(json.dumps(source)) == source
    assert source["revision"].startswith("sha256:")
    assert (source["n"], source["n_captions"]) == (2, 2)
    assert proteins.load(write(tmp_path / "b.fa", FASTA)).source == source
    assert proteins.load(write(tmp_path / "a.fa", FASTA.replace("MKV", "MKI"))).source != source


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.fa", ">1 text\nMAC\nD1K\n", r"a.fa, 1: '1' at position 5 is no amino acid; they are ACD.*XBJZ$"),
        ("a.fa", ">1 text\nMA-C\n", "1: '-' at position 3"),
        ("a.fa", ">1 text\nMA*C*\n", r"1: '\*' at position 3"),
        ("a.fa", ">1 text\nMAC**\n", r"1: '\*' at position 4"),
        ("a.fa", ">1 text\nMAßC\n", "1: 'ß' at position 3"),
        ("a.tsv", "sequence\ttext\nMAC\tgood\nMA.\tbad\n", r"a.tsv, line 3: '.' at position 3"),
        ("a.fa", ">1 text\n\n>2 text\nMA\n", "a.fa, 1: the sequence is empty"),
        ("a.fa", ">1 text\n*\n", "a.fa, 1: the sequence is empty"),
        ("a.tsv", "id\tsequence\ttext\nP1\t\tbad\n", "a.tsv, P1: the sequence is empty"),
        ("a.fa", "", "a.fa: no sequences in it"),
        ("a.fa", "\n\n", "a.fa: no sequences in it"),
        ("a.tsv", "sequence\ttext\n", "a.tsv: no sequences in it"),
        ("a.fa", "MAC\n>1 text\nMA\n", "a.fa, line 1: expected '>id text' before any sequence, found 'MAC'"),
        ("a.fa", ">1 text\nMA\n> \nMC\n", "a.fa, line 3: no id after '>'"),
        ("a.fa", ">1 text\nMA\n>1 other\nMC\n", "a.fa: the id '1' is there more than once"),
        ("a.tsv", "id\tsequence\ttext\n1\tMA\tx\n1\tMC\ty\n", "a.tsv: the id '1' is there more than once"),
        ("a.tsv", "id\tsequence\ttext\n\tMA\tx\n", "a.tsv, line 2: no id"),
        ("a.tsv", "name\tsequence\n1\tMA\n", "with the columns sequence, text, each once; found name"),
        ("a.fa", ">1\nMA\n>2\nMC\n", "a.fa: none of the 2 sequences taken has a text; write '>id text' above each,"),
        ("a.fa.gz", ">1 \nMA\n", "a.fa.gz: none of the 1 sequences taken has a text; .* sequence and text$"),
        ("a.tsv", "sequence\ttext\nMA\t\nMC\t \n", "a.tsv: none of the 2 sequences taken has a text"),
        ("a.gb", "LOCUS", r"a.gb: expected a FASTA file or a table, its name ending in one of .fasta, .*\.txt"),
    ],
)
def test_what_is_no_protein_is_one_line_that_says_where(tmp_path, name, content, message):
    with refused(message):
        proteins.load(write(tmp_path / name, content))


def test_a_damaged_file_and_a_count_of_none_are_refused(tmp_path):
    (tmp_path / "a.fa.gz").write_bytes(gzip.compress(FASTA.encode())[:40])
    with refused(r"a.fa.gz: not a whole gzip file"):
        proteins.load(tmp_path / "a.fa.gz")
    with refused("number of sequences must be at least 1"):
        proteins.load(write(tmp_path / "a.fa", FASTA), n=0)
