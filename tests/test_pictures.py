"""What holds for the pictures and files of several scripts."""

from dataclasses import replace

import pytest

import picture_checks
import scripts
import smoke_runs
from util import figures


@pytest.fixture(params=["depth", "initializations", "loss_landscape", "simulation", "theorems", "training"])
def record(request, tmp_path_factory):
    script = scripts.load(request.param)
    return smoke_runs.record(script, tmp_path_factory), getattr(script, "figure", script).DRAWS.values()


@pytest.mark.parametrize("width", figures.WIDTHS)
def test_every_picture_is_of_the_width_asked_for_and_can_be_read(record, width):
    made, draws = record
    for draw in draws:
        picture_checks.printable(draw(picture_checks.at_width(made, width)), width)


def test_a_run_writes_its_record_its_tables_and_every_picture_and_nothing_else(record):
    made, draws = record
    files = {f"{stem}.{end}" for stem in made.about["captions"] for end in ("png", "pdf")}
    assert len(files) == 2 * (len(draws) - (made.name == "loss_landscape"))  # one set needs no picture of several
    files |= {f"{made.name}.json", *made.about["tables"]}
    assert {path.name for path in made.folder.glob(f"{made.name}*")} == files


@pytest.mark.parametrize("name", ["depth", "loss_landscape", "simulation", "theorems"])
def test_the_same_settings_give_the_same_files(name, tmp_path, tmp_path_factory, own_cache):
    script = scripts.load(name)
    made = smoke_runs.record(script, tmp_path_factory)
    script.run(replace(script.PRESETS["smoke"], output=tmp_path / "again"))
    files = {path.name for path in (tmp_path / "again").iterdir()} - {f"{name}.json"}
    assert len(files) >= 4
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (made.folder / file).read_bytes(), file
