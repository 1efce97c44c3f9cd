"""`make paper DRY=1`: what is missing, disk and hours, from the hub's own client, a server, and folders."""

import io
from types import SimpleNamespace

import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

import faces
from util import UserError, published
from util.corpora import coco, tasks
from util.reporting import paper_forecast as forecast
from util.reporting import paper_needs, paper_run, paper_steps
from util.reporting.paper_forecast import Found, look_up
from util.reporting.paper_needs import Need

COMMIT = "a" * 40
TABLE = io.BytesIO()
pq.write_table(pa.table({"image": [1, 2, 3], "label": [0, 1, 0]}), TABLE)
SIZES = {"data/test-0.parquet": 1000, "weights.bin": 300, "card.md": 5}


@pytest.fixture(autouse=True)
def nothing_here(monkeypatch, tmp_path):
    """No network, an empty cache of the hub's and of the project's."""
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(forecast, "_answers", lambda address: False)


@pytest.fixture
def hub(monkeypatch):
    """A hub with one repository; what it says can be changed."""
    said = SimpleNamespace(gated=False)

    class Api:
        def repo_info(self, name, **asked):
            if "absent" in name:
                raise OSError("404: no such repository")
            files = [SimpleNamespace(rfilename=file, size=size) for file, size in SIZES.items()]
            return SimpleNamespace(siblings=files, sha=COMMIT, gated=said.gated)

        def auth_check(self, name, repo_type):
            answer = SimpleNamespace(headers={}, request=None, status_code=403)
            raise huggingface_hub.errors.GatedRepoError("no", response=answer)

    monkeypatch.setattr(forecast, "_answers", lambda address: True)
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(
        huggingface_hub, "HfFileSystem", lambda: SimpleNamespace(open=lambda _: io.BytesIO(TABLE.getvalue()))
    )
    return said


def dataset(**more):
    about = {"choices": (("data/test-*.parquet",),), "columns": ("image", "label"), "steps": ("zero_shot",)}
    return Need("dataset", "some/thing", COMMIT, **{**about, **more})


def test_size_and_columns_of_a_data_set_come_from_the_hub(hub):
    assert look_up(dataset()) == Found(dataset(), "", COMMIT, 1000, 0)


@pytest.mark.parametrize(
    "need, words",
    [
        (dataset(columns=("img", "label")), "has no column img; it has image, label"),
        (dataset(choices=(("other/*.parquet",),)), "has no files other/*.parquet"),
        (Need("dataset", "some/absent", COMMIT), "could not be asked for: 404: no such repository"),
    ],
)
def test_what_the_hub_lacks_is_said(hub, need, words):
    assert look_up(need).problem == words


def test_a_gated_data_set_is_named_as_such(hub):
    hub.gated = "manual"
    assert look_up(dataset()).problem.startswith("gated: ask for access")


def test_a_model_takes_the_first_choice_of_weights_that_is_there(hub):
    assert look_up(Need("model", "some/thing", choices=(("weights.safetensors",), ("weights.bin",)))).total == 300


def test_what_the_hubs_cache_holds_is_found_without_a_network(tmp_path, monkeypatch):
    place = tmp_path / "hub" / "datasets--some--thing" / "snapshots" / COMMIT / "data" / "test-0.parquet"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"x" * 40)
    found = look_up(dataset())
    assert (found.problem, found.revision, found.total, found.here) == ("", COMMIT, 40, 40)
    place.unlink()
    assert look_up(dataset()).problem == "no connection to the hub, and its files are not in the cache"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert look_up(Need("model", "some/model")).problem == "HF_HUB_OFFLINE is set, and it is not in the cache"


def test_a_file_is_looked_for_in_its_cache_and_then_on_its_server(monkeypatch, tmp_path):
    weights = Need("file", "https://here.org/weights.pth", megabytes=45)
    assert look_up(weights).problem == "no connection to here.org"
    monkeypatch.setattr(forecast, "_answers", lambda address: address == "https://here.org/")
    assert (look_up(weights).problem, look_up(weights).size, look_up(weights).here) == ("", 45_000_000, 0)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "weights.pth").write_bytes(b"x" * 30)
    assert (look_up(weights).size, look_up(weights).here) == (30, 30)


def test_a_local_coco_folder_takes_the_place_of_the_hubs(tmp_path):
    given = next(paper_needs._coco(tmp_path, ("val2017",)))
    assert look_up(given).problem == "not in it: annotations/captions_val2017.json, val2017/*.jpg"
    for name in given.choices[0]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name.replace("*", "1")).write_bytes(b"12345")
    assert (look_up(given).problem, look_up(given).total) == ("", 10)
    assert look_up(Need("folder", "nowhere/at/all")).problem == "no such folder: *"


def test_disk_counts_a_data_set_twice_and_what_is_here_once(tmp_path):
    found = [
        Found(dataset(), total=1000, here=400),
        Found(Need("file", "https://x/resnet.pth"), total=7),
        Found(dataset(megabytes=1), problem="no connection"),
    ]
    needed, free = forecast.disk(found, tmp_path / "not" / "there")
    assert needed == 600 + 1000 + 7 + 2_000_000 and free > 0


@pytest.fixture(scope="module")
def ready():
    return [paper_steps.read(step, paper_run.Path("out"), "cpu", None) for step in paper_steps.STEPS]


def test_what_is_declared_is_what_the_loaders_load(ready):
    found = {(each.kind, each.id): each for each in paper_needs.needs(ready)}
    captions = found["dataset", coco.HUB_DATASET]
    assert (captions.revision, captions.columns) == (coco.HUB_REVISION, coco.HUB_COLUMNS)
    assert {"modality_gap", "cosine_similarity", "initializations", "zero_shot", "denigration"} <= set(captions.steps)
    fairface = found["dataset", faces.HUB_DATASET]
    assert fairface.revision == faces.HUB_REVISION and fairface.choices == ((faces.HUB_FILES["0.25"],),)
    assert fairface.columns == ("image", *faces.HUB_LABELS)
    assert {published.address(name) for name in published.files()} <= {id for kind, id in found if kind == "file"}
    for task in tasks.read().values():
        each = found["dataset", task.dataset]
        assert task.image_column in each.columns and "zero_shot" in each.steps
        assert task.dataset == coco.HUB_DATASET or each.revision == task.commit
    assert ("model", "timm/vit_base_patch32_clip_224.openai") in found


def test_every_step_has_its_hours_and_training_is_not_free():
    assert set(forecast.SECONDS) == {step.name for step in paper_steps.STEPS}
    assert all(cpu >= gpu > 0 for cpu, gpu in forecast.SECONDS.values())
    assert forecast.SECONDS["training"][0] > 86_400


def test_a_dry_run_begins_with_three_lines_and_fits_a_screen(capsys, tmp_path):
    options = paper_run.Options(output=tmp_path, device="cpu", only=["cosine_similarity", "training"])
    with pytest.raises(UserError, match=r"dry run: 4 things are missing .*lmms-lab/COCO-Caption2017.*, training$"):
        forecast.describe(options)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[paper] missing: 3 of 3 downloads; training cannot run"
    assert lines[1].startswith("[paper] disk: 2.25GB needed, ")
    assert lines[2].startswith("[paper] time: ") and "; training " in lines[2] and "on a GPU" in lines[2]
    told = " ".join(line.strip() for line in lines)
    for words in (coco.HUB_REVISION, "columns image, answer, question_id", "COCO=DIR", "used by cosine_similarity"):
        assert words in told
    assert max(map(len, lines[3:])) <= forecast.WIDTH and not list(tmp_path.glob("*/*"))


def test_a_dry_run_that_finds_everything_says_so(capsys, tmp_path):
    forecast.describe(paper_run.Options(output=tmp_path, device="cpu", only=["theorems", "simulation"]))
    told = capsys.readouterr().out
    assert "missing: nothing" in told and "everything is there or can be fetched" in told


def test_too_little_disk_is_a_problem(monkeypatch, tmp_path):
    monkeypatch.setattr(forecast, "disk", lambda found, output: (2_000_000_000, 500_000))
    with pytest.raises(UserError, match="disk space"):
        forecast.describe(paper_run.Options(output=tmp_path, device="cpu", only=["theorems"]))


@pytest.mark.parametrize(
    "amount, words", [(8, "8 seconds"), (90, "1.5 minutes"), (7200, "2.0 hours"), (2e5, "2.3 days")]
)
def test_seconds_in_words(amount, words):
    assert paper_steps.in_words(amount) == words
