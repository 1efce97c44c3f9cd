"""Captioned items and their tables: what does not decode is left out, and your own and MSCOCO's folders are read."""

import hashlib
import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from picture_files import CAPTIONS, PHOTOGRAPHS, encoded, photograph, shown, write_coco, write_coco_parquet
from util import UserError
from util.corpora import captioned, tasks
from util.corpora.captioned import Captioned, Readable, Unreadable, assemble, from_folder, picture, read_coco, upright

pytestmark = pytest.mark.usefixtures("own_cache")


def broken():
    raise Unreadable("half of it is missing")


def sequences(openers):
    captions, item_of = ["a", "b", "b too", "c"], np.array([0, 1, 1, 2])
    source = {"n": len(openers), "n_captions": len(captions), "skipped": ["z: no caption"]}
    return Captioned(openers, [f"protein {i}" for i in range(3)], source, "amino acid", captions, item_of)


def test_what_does_not_decode_is_left_out_with_its_captions_and_named_after_what_was_left_out_before():
    captioned, skipped = sequences([lambda: "MA", broken, lambda: "MD"]), {}
    readable = Readable(captioned.openers, skipped)
    assert (len(readable), list(readable)) == (3, ["MA", "MD"])
    kept = captioned.without(skipped)
    assert (list(kept.ids), kept.captions, kept.item_of.tolist()) == (["protein 0", "protein 2"], ["a", "c"], [0, 1])
    assert kept.modality == "amino acid"
    assert kept.source["skipped"] == ["z: no caption", "protein 1: half of it is missing"]
    assert (kept.source["n"], kept.source["n_captions"]) == (2, 2)
    assert captioned.source["skipped"] == ["z: no caption"]
    with pytest.raises(ZeroDivisionError):
        list(Readable([lambda: 1 / 0], {}))  # an error of our own


@pytest.mark.parametrize(
    ("rule", "captions", "item_of"),
    [("first", ["a", "c"], [0, 1]), ("last", ["b", "c"], [0, 1]), ("all", ["a", "b", "c"], [0, 0, 1])],
)
def test_the_rule_chooses_among_captions_that_say_something(rule, captions, item_of):
    made = assemble("image", [None] * 3, ["x", "y", "z"], [["a", " ", "b"], [""], ["c"]], rule, {"dataset": "made"})
    assert (made.captions, made.item_of.tolist(), list(made.ids)) == (captions, item_of, ["x", "z"])
    counts = {"n": 2, "n_captions": len(captions), "caption_rule": rule, "skipped": ["y: no caption"]}
    assert made.source == {"dataset": "made", **counts, "empty_captions": 2}


@pytest.mark.parametrize(("kind", "mode"), [(">u2", "I;16B"), ("<u2", "I;16"), ("i4", "I"), ("f4", "F")])
def test_deep_greyscale_is_not_clipped_but_left_to_whoever_knows_its_range(kind, mode):
    file = io.BytesIO()
    Image.frombytes(mode, (2, 1), np.array([1000, 2000], kind).tobytes()).save(file, "tiff")
    assert Image.open(file).mode == mode
    with pytest.raises(Unreadable, match="greyscale of more than 8 bits; scale it to 8"):
        picture(lambda: Image.open(file))()


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK"])
def test_every_other_mode_becomes_rgb_without_scaling(mode):
    image = picture(lambda: Image.new("L", (2, 2), 255).convert(mode))()
    assert (image.mode, np.asarray(image).min()) == ("RGB", 255)
    grey = picture(lambda: Image.fromarray(np.array([[100, 120]], np.uint8)))()
    assert np.asarray(grey)[0, :, 0].tolist() == [100, 120]


def test_your_own_picture_stands_upright_as_its_exif_data_say(tmp_path):
    image, exif = Image.new("RGB", (16, 8), "black"), Image.Exif()
    image.paste("white", (0, 0, 8, 8))
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise: what is left goes to the top
    image.save(tmp_path / "a.png", exif=exif)
    assert np.asarray(upright(tmp_path / "a.png")())[:, 0, 0].tolist() == [255] * 8 + [0] * 8


@pytest.mark.parametrize("content", [b"", b"no picture", encoded("red", (64, 64))[:60]])
def test_a_damaged_picture_is_unreadable_with_a_reason_of_one_line(content):
    with pytest.raises(Unreadable, match=r"^[^\n]+$"):
        picture(lambda: Image.open(io.BytesIO(content)))()


TABLE = "file,text\nb.png,second\nsub/a.jpg,first of a\nb.png,second again\n"


@pytest.fixture
def pictures(tmp_path):
    """A greyscale PNG, and a JPEG that is to be turned by a quarter."""
    (tmp_path / "sub").mkdir()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "b.png")
    (tmp_path / "sub" / "a.jpg").write_bytes(encoded("green", (16, 8), "jpeg", turned=True))
    (tmp_path / "captions.csv").write_text(TABLE)
    return tmp_path


def test_pictures_and_captions_come_in_the_order_of_the_table(pictures):
    for rule, captions in {"first": ["second"], "last": ["second again"], "all": ["second", "second again"]}.items():
        loaded = from_folder(pictures, rule)
        assert (loaded.modality, list(loaded.ids)) == ("image", ["b.png", "sub/a.jpg"])
        assert (loaded.captions, loaded.item_of.tolist()) == ([*captions, "first of a"], [0] * len(captions) + [1])
    grey, upright = Readable(loaded.openers, {})
    assert grey.mode == upright.mode == "RGB"
    assert np.asarray(grey)[..., 0].ravel().tolist() == list(range(64))
    assert upright.size == (8, 16)


def test_the_source_tells_contents_and_captions_apart_but_not_places(pictures, tmp_path_factory):
    source = from_folder(pictures).source
    assert json.loads(json.dumps(source)) == source
    assert (source["n"], source["n_captions"], source["caption_rule"], source["skipped"]) == (2, 2, "first", [])
    elsewhere = pictures.rename(tmp_path_factory.mktemp("x") / "copy")
    assert from_folder(elsewhere).source == source
    (elsewhere / "captions.csv").write_text(TABLE + "b.png,a third\n")
    assert from_folder(elsewhere).source["revision"] != source["revision"]
    Image.new("L", (8, 8), 91).save(elsewhere / "sub" / "a.jpg")
    assert from_folder(elsewhere).source["files"] != source["files"]


def test_missing_pictures_are_counted_and_only_the_first_n_are_asked_for(pictures):
    (pictures / "captions.csv").write_text(TABLE + "sub,a folder\nd.png,nothing\n")
    with pytest.raises(UserError, match=r"^[^\n]*2 of the 4 captioned pictures are missing, first sub; put[^\n]*$"):
        from_folder(pictures)
    assert list(from_folder(pictures, n=1).ids) == ["b.png"]


def test_captions_are_grouped_by_file_whatever_way_its_path_is_written(tmp_path):
    (tmp_path / "captions.tsv").write_text("file\ttext\nb/1.png\tone\na.png\ttwo\n./b//1.png\tthree\n")
    (tmp_path / "b").mkdir()
    for name in ("a.png", "b/1.png"):
        (tmp_path / name).touch()
    found = from_folder(tmp_path, "all")
    assert (found.ids, found.captions, found.item_of.tolist()) == (
        ["b/1.png", "a.png"],
        ["one", "three", "two"],
        [0, 0, 1],
    )
    assert found.source["dataset"] == "pictures and captions.tsv, local folder"


@pytest.mark.parametrize("path", ["../a.png", "b/../../a.png", "/etc/a.png", "C:\\a.png", "b\\..\\..\\a.png", "", "."])
def test_a_path_that_leads_out_of_the_folder_is_refused_with_its_line(tmp_path, path):
    (tmp_path / "captions.csv").write_text(f"file,text\nok.png,fine\n{path},bad\n")
    with pytest.raises(UserError, match=r"captions.csv, line 3: .*(leads out of the folder|names no file)"):
        from_folder(tmp_path)


def test_no_table_two_tables_or_an_empty_one_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"expected captions.csv or captions.tsv \(columns file, text\).*neither"):
        from_folder(tmp_path)
    (tmp_path / "captions.csv").write_text("file,text\n")
    with pytest.raises(UserError, match=r"captions.csv: no rows under the header"):
        from_folder(tmp_path)
    (tmp_path / "captions.tsv").write_text("file\ttext\n")
    with pytest.raises(UserError, match="found both"):
        from_folder(tmp_path)


RED, GREEN, BLUE = PHOTOGRAPHS
"""Names of the photographs, in their order."""


@pytest.fixture
def folder(tmp_path):
    return write_coco(tmp_path / "coco")


@pytest.fixture
def parquet(tmp_path, monkeypatch):
    """A folder in place of the hub's; what is written there is what the hub has."""
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path / "revision"))
    return tmp_path / "revision"


@pytest.fixture(params=["folder", "hub"])
def place(request, folder, parquet):
    """Where MSCOCO is read from, the folder or, None, the hub."""
    write_coco_parquet(parquet)
    return folder if request.param == "folder" else None


@pytest.mark.parametrize(
    ("rule", "expected", "item_of"),
    [
        ("first", ["red, first", "green, only", "blue, first"], [0, 1, 2]),
        ("last", ["red, third", "green, only", "blue, second"], [0, 1, 2]),
        ("all", [text for texts in CAPTIONS.values() for text in texts], [0, 0, 0, 1, 2, 2]),
    ],
)
def test_the_caption_rule_chooses_captions_in_the_order_of_the_file(place, rule, expected, item_of):
    captioned = tasks.mscoco(place, caption=rule)
    assert (captioned.captions, captioned.item_of.tolist()) == (expected, item_of)
    assert list(captioned.ids) == list(PHOTOGRAPHS)
    assert shown(captioned.openers) == ["red", "green", "blue"]
    source = captioned.source
    assert json.loads(json.dumps(source)) == source
    assert (source["caption_rule"], source["n"], source["n_captions"]) == (rule, 3, len(expected))
    assert set(source) >= {"dataset", "revision", "split", "skipped"}


def test_only_the_first_n_images_are_taken(place):
    assert list(tasks.mscoco(place, n=2).ids) == [RED, GREEN]
    assert len(tasks.mscoco(place, n=99)) == 3


def test_a_photograph_is_shown_as_it_is_stored_whatever_its_exif_data_say_and_left_out_where_it_is_none(folder):
    source = tasks.mscoco(folder).source
    (folder / "val2017" / RED).write_bytes(encoded("red", (8, 4), "jpeg", turned=True))
    (folder / "val2017" / GREEN).write_bytes(photograph(GREEN)[:300])
    captioned, skipped = tasks.mscoco(folder, caption="all"), {}
    assert [image.size for image in Readable(captioned.openers, skipped)] == [(8, 4), (16, 16)]
    kept = captioned.without(skipped)
    assert kept.captions == [*CAPTIONS[RED], *CAPTIONS[BLUE]]
    assert kept.source["skipped"][0].startswith(f"{GREEN}: ")
    assert captioned.source["photographs"] != source["photographs"]


def test_missing_photographs_are_counted_in_one_line_and_captions_can_be_read_without_them(folder):
    (folder / "val2017" / GREEN).unlink()
    with pytest.raises(UserError, match=rf"^[^\n]*val2017: 1 of the 3 [^\n]* first {GREEN}; get val2017.zip[^\n]*$"):
        tasks.mscoco(folder)
    assert len(tasks.mscoco(folder, n=1)) == 1
    rows, digest = read_coco(folder)
    assert rows == [(name, CAPTIONS[name]) for name in PHOTOGRAPHS]
    assert len(digest) == 64


def test_an_unknown_split_names_those_that_are_there(folder, tmp_path):
    with pytest.raises(UserError, match="'test2017' there; it has captions of val2017"):
        tasks.mscoco(folder, split="test2017")
    with pytest.raises(UserError, match=r"expected annotations/captions_<split>.json"):
        tasks.mscoco(folder / "val2017")
    with pytest.raises(UserError, match="no split 'train2017'; there are val2017"):
        tasks.mscoco(None, split="train2017")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"images": [{"id": 1, "file_na',
        b"[]",
        b'{"images": []}',
        b'{"images": [{"id": 1}], "annotations": []}',
        b'{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 2, "caption": "of nothing"}]}',
        b"\xff\xfe\xff",
    ],
)
def test_a_damaged_annotation_file_is_one_line(folder, content):
    (folder / "annotations" / "captions_val2017.json").write_bytes(content)
    with pytest.raises(UserError, match=r"^[^\n]*captions_val2017.json: not a whole MSCOCO caption file[^\n]*$"):
        tasks.mscoco(folder)


@pytest.mark.skipif("MODALITY_GAP_COCO" not in os.environ, reason="MODALITY_GAP_COCO names no COCO folder")
def test_a_real_coco_folder_loads():
    captioned, skipped = tasks.mscoco(os.environ["MODALITY_GAP_COCO"], "train2017", "all", n=20), {}
    assert (len(shown(captioned.openers, skipped)), skipped) == (20, {})
    assert (np.bincount(captioned.item_of) >= 5).all()


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("suffix", "separator"), [(".csv", ","), (".tsv", "\t"), (".tab", "\t"), (".TXT", "\t")])
def test_columns_are_found_by_name_in_any_order_and_others_are_not_read(tmp_path, suffix, separator, end):
    rows = [("Text", "more", " file "), ("a, b", "x", "1.png"), (), ("ü", "", "2.png ")]
    quoted = [separator.join(f'"{field}"' if "," in field else field for field in row) for row in rows]
    path = write(tmp_path / f"table{suffix}", end.join(quoted))
    found, digest = captioned.read_table(path, ("file", "text"))
    assert [row for _, row in found] == [{"file": "1.png", "text": "a, b"}, {"file": "2.png", "text": "ü"}]
    assert [line for line, _ in found] == [2, 4]
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_line_end_inside_quotation_marks_belongs_to_the_text_and_a_byte_order_mark_to_nothing(tmp_path):
    path = write(tmp_path / "a.csv", '\ufefffile,text\na.png,"two\nlines, ""quoted"""\nb.png,c\n')
    (first, row), (second, _) = captioned.read_table(path, ("file", "text"))[0]
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
        captioned.read_table(write(tmp_path / "a.csv", content), ("file", "text"))


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"b.csv: cannot be read \(No such file or directory\)"):
        captioned.read_table(tmp_path / "b.csv", ("file",))
