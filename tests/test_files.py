"""Files of equal content have equal bytes, a killed process leaves nothing for ever, one way to name every cache."""

import ast
import os
import tempfile
import time
from pathlib import Path

import reference
from scripts import REPOSITORY
from util import Embeddings, files, interventions
from util.files import cache_folder, cached_path


def test_a_cached_path_depends_on_every_setting_and_on_the_kind_but_not_on_the_order_of_keys():
    path = cached_path("embeddings", {"seed": 1, "model": {"name": "a", "layers": (1, 2)}}, ".npy")
    assert path == cached_path("embeddings", {"model": {"layers": [1, 2], "name": "a"}, "seed": 1}, ".npy")
    assert path.parent == cache_folder() / "embeddings"
    assert len({cached_path(kind, {"seed": seed}) for kind in ("embeddings", "training") for seed in (1, 2, "1")}) == 6


def test_what_a_killed_process_left_goes_after_a_day_and_never_what_a_living_one_writes(tmp_path):
    others = [tmp_path / name for name in (".part-notes", ".x", "part-abcdefgh")]
    for path in others:
        path.mkdir()
        os.utime(path, (0, 0))
    with files.replacing(tmp_path / "x.npz") as being_written:
        left = Path(tempfile.mkdtemp(prefix=".part-", dir=tmp_path))
        for age in (files.ABANDONED - 60, files.ABANDONED + 60):
            os.utime(left, (time.time() - age,) * 2)
            with files.publishing(tmp_path) as part:
                (part / "a.csv").write_text("a")
                assert left.exists() == (age < files.ABANDONED)
        being_written.write_text("x")
    assert {*tmp_path.iterdir()} == {*others, tmp_path / "x.npz", tmp_path / "a.csv"}


def test_safetensors_of_equal_content_have_equal_bytes(tmp_path, rng):
    """Of two metadata values or more the order differs from one writing to the next."""
    x, y = reference.pairs(rng, 6, 4)
    given = Embeddings.of({"image": x, "text": y}, source={"model": "a", "data": {"b": 1, "a": 2}})
    fitted, contents = interventions.fit("centring", x, y), set()
    for _ in range(8):
        given.save(tmp_path / "e.safetensors")
        interventions.save(tmp_path / "c.safetensors", fitted)
        contents.add(tuple((tmp_path / f"{name}.safetensors").read_bytes() for name in "ec"))
    assert len(contents) == 1


def test_published_files_have_the_mode_of_any_new_file(tmp_path, rng):
    before = os.umask(0o027)
    try:
        interventions.save(tmp_path / "c.safetensors", interventions.fit("centring", *reference.pairs(rng, 6, 4)))
    finally:
        os.umask(before)
    assert [(path.name, path.stat().st_mode & 0o777) for path in tmp_path.iterdir()] == [("c.safetensors", 0o640)]


def test_every_safetensors_file_of_the_project_has_at_most_one_metadata_value():
    calls = []
    for path in [path for part in ("util", "[FT]*_*") for path in REPOSITORY.glob(f"{part}/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "save_file":
                values = [*node.args[2:], *(each.value for each in node.keywords if each.arg == "metadata")]
                calls.append((path.name, [len(each.keys) if isinstance(each, ast.Dict) else each for each in values]))
    assert len(calls) >= 4
    assert [name for name, counts in calls if counts not in ([], [1])] == []
