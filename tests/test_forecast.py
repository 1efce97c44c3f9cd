"""`make paper DRY=1`: what is missing, disk and hours, from the hub's own client, a server, and folders."""

from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import open_clip
import pytest

import scripts
from util import commands
from util.corpora import tasks
from util.encoders.named import Named
from util.fairness import declared
from util.reporting import steps
from util.reporting.steps import STEPS, Figures, Found, Need, look_up

pytestmark = pytest.mark.usefixtures("no_network", "own_cache")
COMMIT = "a" * 40
SIZES = {"data/test-0.parquet": 1000, "data/test-1.parquet": 300, "card.md": 5}


@pytest.fixture
def hub(monkeypatch):
    """A hub whose repositories hold ``SIZES``; the second file is in the cache."""

    def snapshot_download(repo_id, revision, allow_patterns, dry_run, repo_type):
        assert dry_run and revision == COMMIT
        if "absent" in repo_id:
            raise OSError("404: no such repository")
        names = huggingface_hub.utils.filter_repo_objects(SIZES, allow_patterns=allow_patterns)
        return [SimpleNamespace(file_size=SIZES[name], is_cached="-1" in name) for name in names]

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)


def dataset(id="some/thing", files=("data/test-*.parquet",)):
    return Need("dataset", id, ("zero_shot",), 1, files, COMMIT)


@pytest.mark.parametrize(
    "need, found",
    [
        (dataset(), Found("", 1300, 300)),
        (dataset(files=("other/*",)), Found("has no files other/*", 1_000_000, 0)),
        (dataset("some/absent"), Found("could not be asked for: 404: no such repository", 1_000_000, 0)),
    ],
)
def test_sizes_and_what_is_lacking_come_from_the_hub(hub, need, found):
    assert look_up(need, online=True) == found


def test_what_the_hubs_cache_holds_is_found_without_a_network(tmp_path):
    nothing = "no connection to the hub, and it is not in its cache"
    assert look_up(dataset(), online=False) == Found(nothing, 1_000_000, 0)
    place = tmp_path / "hub" / "datasets--some--thing" / "snapshots" / COMMIT / "data" / "test-0.parquet"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"x" * 40)
    assert look_up(dataset(), online=False) == Found("", 40, 40)
    assert look_up(dataset(files=("data/*", "other/*")), online=False) == Found("not there: other/*", 1_000_000, 0)


def test_a_local_coco_folder_takes_the_place_of_the_hubs(tmp_path):
    (given,) = (need for need in steps.needs(tmp_path) if need.kind == "folder" and "training" not in need.steps)
    assert look_up(given, online=True).problem == "not there: annotations/captions_val2017.json, val2017/*.jpg"
    for name in given.files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name.replace("*", "1")).write_bytes(b"12345")
    assert look_up(given, online=True) == Found("", 10, 10)


def test_disk_counts_a_data_set_twice_and_what_is_here_once(tmp_path):
    model = Need("model", "some/thing", ("zero_shot",), 1, ("*",))
    found = {dataset(): Found("", 1000, 400), model: Found("no connection", 7, 0)}
    needed, free = steps.disk(found, tmp_path / "not" / "there")
    assert needed == 600 + 1000 + 7 and free > 0


def test_what_is_declared_is_what_the_loaders_load():
    found = {(each.kind, each.id): each for each in steps.needs(None)}
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


def test_a_dry_run_begins_with_three_lines_writes_nothing_and_ends_well(capsys, tmp_path):
    commands.main(["paper", "--dry-run", "-o", str(tmp_path / "out"), "--only", "cosine_similarity", "training"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[paper] missing: 4 of 4 downloads and folders"
    assert lines[1].startswith("[paper] disk: 22.1GB needed, ")
    assert lines[2].startswith("[paper] time: ") and "on a GPU" in lines[2]
    told = "\n".join(lines)
    for words in (tasks.read()[tasks.MSCOCO].revision[:12], "COCO=DIR", "used by training"):
        assert words in told
    assert ["cosine_similarity", "6.7", "hours", "6.7", "minutes", "no", "record"] in [line.split() for line in lines]
    assert not (tmp_path / "out").exists()


def test_nothing_missing_and_too_little_disk_are_said(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(steps, "disk", lambda found, output: (2_000_000_000, 500_000))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "theorems.py").write_text("import nowhere_at_all")
    chosen = [step for step in STEPS if step.name == "depth"]
    chosen.append(type(chosen[0])("broken", "theorems", "", 1, 1, 1, root=tmp_path))
    steps.forecast(Figures(preset="paper", output=Path(tmp_path), device="cpu", steps=tuple(chosen)))
    told = capsys.readouterr().out
    assert "missing: nothing" in told and "2.00GB needed, 500kB free: too little" in told
    assert "No module named 'nowhere_at_all'" in told
