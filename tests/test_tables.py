"""Tables as people write them: every separator and line end, and one line for whatever is wrong."""

import hashlib

import pytest

from util import UserError
from util.corpora import tables


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("suffix", "separator"), [(".csv", ","), (".tsv", "\t"), (".tab", "\t"), (".TXT", "\t")])
def test_columns_are_found_by_name_in_any_order_and_others_are_not_read(tmp_path, suffix, separator, end):
    rows = [("Text", "more", " file "), ("a, b", "x", "1.png"), (), ("ü", "", "2.png ")]
    quoted = [separator.join(f'"{field}"' if "," in field else field for field in row) for row in rows]
    path = write(tmp_path / f"table{suffix}", end.join(quoted))
    found, digest = tables.read(path, ("file", "text"))
    assert [row for _, row in found] == [{"file": "1.png", "text": "a, b"}, {"file": "2.png", "text": "ü"}]
    assert [line for line, _ in found] == [2, 4]
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_line_end_inside_quotation_marks_belongs_to_the_text_and_a_byte_order_mark_to_nothing(tmp_path):
    path = write(tmp_path / "a.csv", '\ufefffile,text\na.png,"two\nlines, ""quoted"""\nb.png,c\n')
    (first, row), (second, _) = tables.read(path, ("file", "text"))[0]
    assert (first, second, row) == (3, 4, {"file": "a.png", "text": 'two\nlines, "quoted"'})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"a.csv: expected a header with the columns file, text, each once; found nothing"),
        ("name,text\na,b\n", "each once; found name, text"),
        ("file,text,file\na,b,c\n", "each once; found file, text, file"),
        ("file,text\na.png,a cat, asleep\n", "a.csv, line 2: expected 2 fields as in the header, found 3; put a text"),
        ("file,text\na.png\n", "a.csv, line 2: expected 2 fields as in the header, found 1;"),
        ('file,text\na.png,"never closed\nb.png,c\n', "a.csv, line 3: not a row of a table .*check its quotes"),
        ('file,text\na.png,"closed" early\n', "a.csv, line 2: not a row of a table"),
        (b"file,text\na.png,caf\xe9\n", "a.csv: not UTF-8 text .byte 19 is 0xe9."),
    ],
)
def test_a_table_that_is_none_is_one_line_with_file_and_row(tmp_path, content, message):
    with pytest.raises(UserError, match=rf"^[^\n]*{message}[^\n]*$"):
        tables.read(write(tmp_path / "a.csv", content), ("file", "text"))


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"b.csv: cannot be read \(No such file or directory\)"):
        tables.read(tmp_path / "b.csv", ("file",))
