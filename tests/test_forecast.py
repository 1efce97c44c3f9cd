"""`make paper DRY=1`: what is missing, disk and hours, from the cache of the hub's own client and folders."""

from pathlib import Path

import open_clip
import pytest
from huggingface_hub import constants

import scripts
from util import commands
from util.corpora import tasks
from util.encoders.named import Named
from util.fairness import declared
from util.reporting import forecast
from util.reporting.forecast import Need, here
from util.reporting.steps import STEPS, Options

COMMIT = "a" * 40


@pytest.fixture(autouse=True)
def nothing_here(monkeypatch, tmp_path):
    """An empty cache of the hub's and of the project's."""
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def dataset(id="some/thing", files=("data/test-*.parquet",)):
    return Need("dataset", id, ("zero_shot",), 1, files, COMMIT)


def test_what_the_hubs_cache_holds_is_found(tmp_path):
    assert here(dataset()) == 0
    place = tmp_path / "hub" / "datasets--some--thing" / "snapshots" / COMMIT / "data" / "test-0.parquet"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"x" * 40)
    assert here(dataset()) == 40
    assert here(dataset(files=("data/*", "other/*"))) == 0


def test_a_local_coco_folder_takes_the_place_of_the_hubs(tmp_path):
    (given,) = (need for need in forecast.needs(tmp_path) if need.kind == "folder" and "training" not in need.steps)
    assert here(given) == 0
    for name in given.files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name.replace("*", "1")).write_bytes(b"12345")
    assert here(given) == 10


def test_disk_counts_a_data_set_twice_and_what_is_here_once(tmp_path):
    model = Need("model", "some/thing", ("zero_shot",), 1, ("*",))
    found = {dataset(): 400, model: 0, dataset("other/thing"): 0}
    needed, free = forecast.disk(found, tmp_path / "not" / "there")
    assert needed == 400 + 1_000_000 + 2 * 1_000_000 and free > 0


def test_what_is_declared_is_what_the_loaders_load():
    found = {(each.kind, each.id): each for each in forecast.needs(None)}
    captions = found["dataset", tasks.read()[tasks.MSCOCO].dataset]
    fairface = found["dataset", declared.HUB_DATASET]
    assert (fairface.revision, fairface.files) == (declared.HUB_REVISION, (declared.HUB_FILES,))
    for task in tasks.read().values():
        each = found["dataset", task.dataset]
        assert "zero_shot" in each.steps
        assert each.revision == task.revision
    for step in STEPS:
        settings = scripts.load(step.name).PRESETS["paper"]
        named = Named.parse(getattr(settings, "model", None) or "small-clip")
        if named.tag:
            id = open_clip.get_pretrained_cfg(named.name, named.tag)["hf_hub"].rstrip("/")
            assert step.name in found["model", id].steps
        takes = step.name in captions.steps or step.name in found["folder", "MSCOCO train2017"].steps
        assert takes == hasattr(settings, "coco")


def test_every_step_has_its_hours_and_training_is_not_free():
    assert all(step.cpu >= step.gpu > 0 for step in STEPS)
    assert next(step.cpu for step in STEPS if step.name == "training") > 86_400


def test_a_dry_run_begins_with_three_lines_writes_nothing_and_ends_well(capsys, tmp_path):
    commands.main(["paper", "--dry-run", "-o", str(tmp_path / "out"), "--only", "cosine_similarity", "training"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[paper] missing: 4 of 4 downloads and folders"
    assert lines[1].startswith("[paper] disk: 22.1GB needed, ")
    assert lines[2].startswith("[paper] time: ") and "on a GPU" in lines[2]
    told = "\n".join(lines)
    for words in (tasks.read()[tasks.MSCOCO].revision[:12], "COCO=DIR", "val2017/*.jpg; used by training"):
        assert words in told
    assert ["cosine_similarity", "6.7", "hours", "6.7", "minutes", "no", "record"] in [line.split() for line in lines]
    assert not (tmp_path / "out").exists()


def test_nothing_missing_and_too_little_disk_are_said(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(forecast, "disk", lambda found, output: (2_000_000_000, 500_000))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "theorems.py").write_text("import nowhere_at_all")
    steps = [step for step in STEPS if step.name == "depth"]
    steps.append(type(steps[0])("broken", "theorems", "", 1, 1, 1, root=tmp_path))
    forecast.describe(Options(preset="paper", output=Path(tmp_path), device="cpu", steps=tuple(steps)))
    told = capsys.readouterr().out
    assert "missing: nothing" in told and "2.00GB needed, 500kB free: too little" in told
    assert "No module named 'nowhere_at_all'" in told
