"""Encoders by name, from strings as the command line has them."""

from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from util import UserError, cli
from util.encoders.named import ModelName, Named
from util.files import sha256

OWN = """
import numpy as np
import torch

SIZES = []

def towers():
    return (lambda images: np.array([[i.width, i.height, 1.0] for i in images])), None

def broken():
    return (lambda images: np.zeros(3)), None

def alone():
    return 5

def words():
    return None, lambda texts: np.ones((len(texts), len(texts)))

def nothing():
    return None, None

def helped():
    import beside
    return beside.images, lambda texts: np.array([[len(text), 1.0] for text in texts])

def later():
    return None, (lambda texts: np.array([[len(text), 1.0] for text in texts]))

def counted():
    return None, count

def count(texts):
    SIZES.append(len(texts))
    return torch.tensor([SIZES + [0] * (9 - len(SIZES))] * len(texts)).float()
"""


@pytest.fixture
def own(tmp_path, own_modules):
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("open_clip:ViT-B-16:openai", ("open_clip", "ViT-B-16", "openai")),
        ("open_clip:RN50", ("open_clip", "RN50", None)),
        ("ViT-B-32:openai", ("open_clip", "ViT-B-32", "openai")),
        ("local-dir:a/b", ("open_clip", "local-dir:a/b", "own")),
        ("open_clip:hf-hub:org/name", ("open_clip", "hf-hub:org/name", "own")),
        ("torchvision:resnet50:IMAGENET1K_V2", ("torchvision", "resnet50", "IMAGENET1K_V2")),
        ("huggingface:openai/clip-vit-base-patch32", ("huggingface", "openai/clip-vit-base-patch32", None)),
        ("python:mine.py:towers", ("python", "mine.py", "towers")),
        ("python:package.mine:towers", ("python", "package.mine", "towers")),
        ("mine.py:towers", ("python", "mine.py", "towers")),
        ("python:C:\\a b\\mine.py:towers", ("python", "C:\\a b\\mine.py", "towers")),
        ("open_clip:RN50:/a:b/weights.pt", ("open_clip", "RN50", "/a:b/weights.pt")),
        ("RN50:C:\\weights.pt", ("open_clip", "RN50", "C:\\weights.pt")),
        ("huggingface:C:\\a:b", ("huggingface", "C:\\a:b", None)),
        ("local-dir:/a:b", ("open_clip", "local-dir:/a:b", "own")),
        ("small-clip", ("small-clip", "small CLIP", None)),
    ],
)
def test_a_name_is_kind_name_and_tag_and_its_whole_spelling_says_the_same(text, parts):
    named = Named.parse(text)
    assert (named.kind, named.name, named.tag) == parts
    assert Named.parse(str(named)) == named and str(named).startswith(parts[0])


def test_a_spelling_has_its_kind_and_whole_paths_wherever_it_was_written(own, monkeypatch):
    monkeypatch.chdir(own.parent)
    for text in ("mine.py:towers", "python:mine.py:towers", f"python:{own}:towers"):
        assert str(Named.parse(text)) == f"python:{own}:towers"
    assert str(Named.parse("RN50:mine.py")) == f"open_clip:RN50:{own}"
    assert str(Named.parse("hf-hub:a/b")) == "open_clip:hf-hub:a/b"
    assert str(Named.parse("local-dir:.")) == f"open_clip:local-dir:{own.parent}"
    for text in ("python:package:towers", "open_clip:RN50:openai"):  # a folder of that name is neither of them
        (own.parent / text.split(":")[1 if "python" in text else 2]).mkdir()
        assert str(Named.parse(text)) == text


@dataclass(frozen=True, kw_only=True)
class OneModel(cli.Common):
    model: ModelName | None = None
    models: tuple[ModelName, ...] = ()


def test_options_hold_the_whole_spelling(tmp_path):
    presets = {"embedded": OneModel(output=tmp_path)}
    read = cli.parse(presets, "", ["--model", "RN50:openai", "--models", "small-clip", "mine.py:towers"])
    assert read.model == "open_clip:RN50:openai" and read.models == ("small-clip", "python:mine.py:towers")
    assert cli.parse(presets, "", ["--model", "huggingface:"]).model == "huggingface:", "refused where it is used"


@pytest.mark.parametrize(
    "text",
    ["open_clip", "open_clip:", "python:mine.py", "python::towers", "huggingface:", "", "ViT-B-32:", "small-clip:a"],
)
def test_other_names_are_refused_with_the_ways_to_write_one(text):
    with pytest.raises(UserError, match=r"unknown encoder .*open_clip:MODEL.*python:MODULE or FILE.py:FUNCTION"):
        Named.parse(text)


def test_functions_of_your_own_become_towers_that_call_them_batch_by_batch(own):
    (tower,) = Named.parse(f"python:{own}:towers").load()
    assert (tower.modality, tower.width) == ("image", 3)
    rows = tower.encode([Image.new("RGB", (3, 4)), Image.new("RGB", (30, 40))], batch_size=1)
    assert np.allclose(rows[0], np.array([3, 4, 1]) / np.sqrt(26))
    assert rows.dtype == np.float32
    (tower,) = Named.parse(f"python:{own}:counted").load()
    sizes = tower.encode(["a", "bb", "ccc"], batch_size=2)[2]
    assert np.allclose(sizes[:4] / sizes[0], [1, 2, 1, 0])  # the first is the trial at construction


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("python:{}:broken", r"1 images gave .*\(3,\), not floats \(1, d\)"),
        ("python:{}:alone", "must give"),
        ("python:{}:absent", "gave no encoders .*absent"),
        ("python:{}:words", r"2 texts gave .*\(2, 2\), not floats \(2, 1\)"),
        ("python:math:towers", "it gave no encoders"),
        ("python:nowhere.at_all:towers", "gave no encoders .*No module named 'nowhere'"),
        ("python:{}:nothing", "must give .*, one of which may be None"),
        ("python:nowhere.py:towers", "gave no encoders .*No such file .*nowhere.py"),
        ("python:{}.txt:towers", "gave no encoders .*SyntaxError"),
        ("python:{}:later", "the text function failed on 2 inputs .*TypeError"),
    ],
)
def test_functions_that_are_no_encoders_are_refused(own, spec, message):
    own.with_suffix(".py.txt").write_text("no Python")
    with pytest.raises(UserError, match=message):
        (tower,) = Named.parse(spec.format(own)).load()
        tower.encode(["a", None])


def test_a_module_is_found_in_the_working_directory_and_what_it_imports_beside_it(own, monkeypatch):
    (own.parent / "beside.py").write_text("images = lambda pictures: __import__('numpy').ones((len(pictures), 2))")
    (own.parent / "package_of_one").mkdir()
    own.rename(own.parent / "package_of_one" / "mine.py")
    monkeypatch.chdir(own.parent)
    named = Named.parse("python:package_of_one.mine:helped")
    pair = named.pair()
    assert pair.name == "package_of_one.mine" and not pair.kept
    assert pair.settings["sha256"] == sha256(own.parent / "package_of_one" / "mine.py")
    assert pair.text.encode(["a", "bb"]) == pytest.approx(np.array([[1, 1], [2, 1]]) / np.sqrt([[2], [5]]))


def test_a_pair_has_both_towers_in_one_space(own):
    with pytest.raises(UserError, match="counted: a tower of images and one of texts are needed"):
        Named.parse(f"python:{own}:counted").pair()
    with pytest.raises(UserError, match="one alone"):
        Named.parse("torchvision:resnet18").pair(seed=0)
    (own.parent / "beside.py").write_text("images = lambda pictures: __import__('numpy').ones((len(pictures), 3))")
    with pytest.raises(UserError, match="embedding is of 3 numbers, a text of 2; a gap needs one space"):
        Named.parse(f"python:{own}:helped").pair()


def test_your_own_functions_have_no_random_twin_and_open_clip_needs_a_tag(own):
    with pytest.raises(UserError, match="no random twin"):
        Named.parse(f"python:{own}:towers").load(seed=0)
    with pytest.raises(UserError, match="say which trained weights"):
        Named.parse("open_clip:ViT-B-32").load()
