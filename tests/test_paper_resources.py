"""What the paper downloads, asked for on a server of our own in the place of the hub and the authors' repository."""

import http.server
import io
import json
import threading
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import faces
from util import UserError, published
from util.corpora import coco, tasks
from util.reporting import paper_dry as dry
from util.reporting import paper_estimate as estimate
from util.reporting import paper_needs as resources
from util.reporting import paper_run as run
from util.reporting import paper_steps as steps
from util.reporting import resolve
from util.reporting.paper_needs import Resource
from util.reporting.resolve import Asker, Ranged

COMMIT = "c" * 40
TABLE = io.BytesIO()
pd.DataFrame({"image": [b"a", b"b", b"c"], "label": [0, 1, 0]}).to_parquet(TABLE)
FILES = {"data/test-0.parquet": TABLE.getvalue(), "data/train-0.parquet": b"x" * 700, "weights.bin": b"y" * 300}


class Hub(http.server.ThreadingHTTPServer):
    """Describes one data set and one model as the hub does, and serves parts of their files."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.card, self.gated, self.asked, self.parts = {"license": "cc-by-4.0"}, False, [], True
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        path = self.path.partition("?")[0]
        self.server.asked.append((self.command, path))
        name = path.partition(f"/resolve/{COMMIT}/")[2]
        if path.endswith("/auth-check"):
            return self.send(403, b"{}", body, {"X-Error-Code": "GatedRepo"})
        if path.startswith("/api/") and "absent" not in path:
            sizes = [{"rfilename": each, "size": len(content)} for each, content in FILES.items()]
            about = {"id": "some/thing", "sha": COMMIT, "siblings": sizes, "cardData": self.server.card}
            return self.send(200, json.dumps({**about, "gated": self.server.gated}).encode(), body)
        content = FILES.get(name or path.strip("/"))
        if content is None:
            return self.send(404, b"", body)
        if "Range" in self.headers and self.server.parts:
            first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            return self.send(206, content[first : last + 1], body)
        return self.send(200, content, body)

    def send(self, status, content, body, headers=None):
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    serving = Hub()
    threading.Thread(target=serving.serve_forever, args=(0.05,), daemon=True).start()
    yield serving
    serving.shutdown()
    serving.server_close()


@pytest.fixture
def no_cache(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def dataset(**more):
    about = {"choices": (("data/test-*.parquet",),), "columns": ("image", "label"), "split": "test"}
    return Resource("dataset", "some/thing", COMMIT, **{**about, "steps": ("zero_shot",), **more})


CARD = {"config_name": "default", "features": [{"name": "image"}, {"name": "label"}]}
CARD["splits"] = [{"name": "test", "num_examples": 3}, {"name": "train", "num_examples": 9}]


def test_size_columns_rows_and_licence_come_from_the_hubs_description(hub, no_cache):
    hub.card["dataset_info"] = CARD
    found = resolve.resolve(dataset(), Asker(hub.url))
    assert (found.problem, found.revision, found.total, found.here) == ("", COMMIT, len(TABLE.getvalue()), 0)
    assert (found.rows, found.licence) == (3, "cc-by-4.0")
    assert not [path for command, path in hub.asked if command == "GET" and "/resolve/" in path]


def test_without_a_card_the_columns_come_from_the_end_of_a_table(hub, no_cache):
    found = resolve.resolve(dataset(), Asker(hub.url))
    assert (found.problem, found.rows) == ("", 3)
    assert any("/resolve/" in path for _, path in hub.asked)


def test_a_column_that_is_not_there_is_named_beside_those_that_are(hub, no_cache):
    found = resolve.resolve(dataset(columns=("img", "label")), Asker(hub.url))
    assert found.problem == "has no column img; it has image, label"


@pytest.mark.parametrize(
    "resource, words",
    [
        (dataset(choices=(("other/*.parquet",),)), "has no files other/*.parquet"),
        (Resource("dataset", "some/absent", COMMIT), "could not be asked for: "),
    ],
)
def test_what_is_not_on_the_hub_is_said(hub, no_cache, resource, words):
    assert words in resolve.resolve(resource, Asker(hub.url)).problem


def test_a_gated_data_set_is_named_as_such(hub, no_cache):
    hub.gated = "manual"
    assert resolve.resolve(dataset(), Asker(hub.url)).problem.startswith("gated: ask for access")


def test_a_model_takes_the_first_choice_of_weights_that_is_there(hub, no_cache):
    model = Resource("model", "some/thing", None, (("weights.safetensors",), ("weights.bin",)))
    assert resolve.resolve(model, Asker(hub.url)).total == 300


def test_a_file_that_is_in_the_hubs_cache_is_not_fetched_again_and_is_found_without_a_network(
    hub, no_cache, tmp_path, monkeypatch
):
    place = tmp_path / "hub" / "datasets--some--thing" / "snapshots" / COMMIT / "data" / "test-0.parquet"
    place.parent.mkdir(parents=True)
    place.write_bytes(FILES["data/test-0.parquet"])
    found = resolve.resolve(dataset(), Asker(hub.url))
    assert found.here == found.total == len(TABLE.getvalue()) and found.to_fetch == 0
    monkeypatch.setattr(published, "reachable", lambda url: False)
    offline = resolve.resolve(dataset(), Asker(hub.url))
    assert (offline.problem, offline.here, offline.revision) == ("", found.here, COMMIT)
    place.unlink()
    assert "not in the cache" in resolve.resolve(dataset(), Asker(hub.url)).problem


def test_a_files_size_comes_from_its_head(hub, monkeypatch):
    found = resolve.resolve(Resource("file", f"{hub.url}/weights.bin"), Asker())
    assert (found.total, found.problem) == (300, "")
    assert ("HEAD", "/weights.bin") in hub.asked and ("GET", "/weights.bin") not in hub.asked
    assert "404" in resolve.resolve(Resource("file", f"{hub.url}/nothing.bin"), Asker()).problem


def test_a_ranged_file_reads_as_the_file_does_and_only_its_parts(hub):
    content, remote = FILES["data/test-0.parquet"], Ranged(f"{hub.url}/data/test-0.parquet")
    assert remote.size == len(content)
    remote.seek(-8, io.SEEK_END)
    assert remote.read(8) == content[-8:] and remote.read(1) == b""
    remote.seek(4)
    assert remote.read(10) == content[4:14] and remote.tell() == 14
    hub.parts = False
    with pytest.raises(UserError, match="gives no parts"):
        remote.seek(0), remote.read(4)


def test_without_a_network_each_id_is_named_with_what_is_wanted_of_it(monkeypatch, no_cache, capsys, tmp_path):
    monkeypatch.setattr(published, "reachable", lambda url: False)
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    options = run.Options(output=tmp_path, device="cpu", only=["cosine_similarity", "theorems"])
    with pytest.raises(UserError, match=r"dry run: 3 things would fail or be left out .*lmms-lab/COCO-Caption2017"):
        dry.run(options, speed=estimate.Speed("cpu", 10.0, 100.0))
    told = capsys.readouterr().out
    line = next(line for line in told.splitlines() if line.startswith("[paper] NOT RESOLVED: lmms-lab"))
    for words in (coco.HUB_REVISION, "columns image, answer, question_id", "licence captions CC BY 4.0", "COCO=DIR"):
        assert words in line
    assert "images a second of CLIP ViT-B/32" in told and not list(tmp_path.glob("*/*"))


def test_a_dry_run_that_finds_everything_says_so(capsys, tmp_path):
    options = run.Options(output=tmp_path, device="cpu", only=["theorems", "simulation"])
    dry.run(options, speed=estimate.Speed("cpu", 10.0, 100.0))
    told = capsys.readouterr().out
    assert "resources: none" in told and "everything is there or can be fetched" in told


def test_too_little_disk_is_a_problem():
    place = dry.Place("cache", "somewhere", 2_000_000_000, 500_000)
    assert dry.problems([], [], [place]) == ["somewhere needs 2.0 GB and has 500.0 kB free"]


def test_disk_counts_a_data_set_twice_and_what_is_here_once(tmp_path):
    found = [
        resolve.Resolved(dataset(), total=1000, here=400),
        resolve.Resolved(Resource("file", published.address("features_clip.npy")), total=50),
        resolve.Resolved(Resource("file", "https://x/resnet.pth"), total=7),
        resolve.Resolved(dataset(size=30), problem="no connection"),
    ]
    assert [place.needed for place in dry.disk(found, tmp_path)] == [630, 1080, 7, 0]


@pytest.fixture(scope="module")
def ready():
    chosen = [step for step in steps.STEPS if step.name != "training"]
    return {step.name: steps.read(step, run.Path("out"), "cpu", None) for step in chosen}


def test_what_is_declared_is_what_the_loaders_load(ready):
    found = {(each.kind, each.id): each for each in resources.declared(list(ready.values()))}
    captions = found["dataset", coco.HUB_DATASET]
    assert (captions.revision, captions.columns) == (coco.HUB_REVISION, coco.HUB_COLUMNS)
    assert {"modality_gap", "cosine_similarity", "initializations", "loss_landscape", "denigration"} <= set(
        captions.steps
    )
    assert found["dataset", faces.HUB_DATASET].choices == ((faces.HUB_FILES["0.25"],),)
    assert {published.address(name) for name in published.files()} <= {id for kind, id in found if kind == "file"}
    for task in tasks.read().values():
        each = found["dataset", task.dataset]
        assert task.image_column in each.columns and "zero_shot" in each.steps
        assert task.dataset == coco.HUB_DATASET or each.revision == task.commit
    assert ("model", "timm/vit_base_patch32_clip_224.openai") in found
    assert ("model", "microsoft/xclip-base-patch32") not in found  # without videos its weights are not fetched


def asked(*words):
    """What a step's command line lacks: its own problem, and those of its resources."""
    step = next(step for step in steps.STEPS if step.name == words[0])
    ready = steps.read(step, run.Path("out"), "cpu", None, words[1:])
    return ready.problem, [resolve.resolve(each, Asker()).problem for each in resources.declared([ready])]


def test_a_folder_of_faces_without_a_label_table_or_without_pictures_is_a_problem(tmp_path, monkeypatch, no_cache):
    monkeypatch.setattr(published, "reachable", lambda url: False)
    words = ("denigration", "--data", str(tmp_path))
    (tmp_path / "readme.txt").write_text("no faces")
    assert "expected fairface_label_val.csv or labels.csv" in asked(*words)[1][-1]
    (tmp_path / "labels.csv").write_text("file,race,gender\n1.png,White,Male\n")
    assert "1 labels without a picture, first 1.png" in asked(*words)[1][-1]
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    assert asked(*words)[1][-1] == ""


@pytest.mark.parametrize(
    "model, words",
    [
        ("nosuch:openai", "unknown model: 'nosuch'"),
        ("ViT-B-32:nosuch", "unknown pretrained tag for ViT-B-32: 'nosuch'"),
        ("local-dir:/nowhere", ""),
    ],
)
def test_an_unknown_model_or_tag_is_a_problem(model, words, monkeypatch, no_cache):
    monkeypatch.setattr(published, "reachable", lambda url: False)
    problems = asked("denigration", "--model", model)[1]
    assert any(words in problem for problem in problems) and len(problems) == 2 + bool(words)


def test_what_a_script_refuses_itself_is_a_problem_of_its_command_line():
    assert "--resamples must be a whole number of at least 1" in asked("denigration", "--resamples", "0")[0]


def test_without_a_network_declared_sizes_count_and_others_are_said_to_be_unknown(monkeypatch, no_cache, tmp_path):
    monkeypatch.setattr(published, "reachable", lambda url: False)
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    options = run.Options(output=tmp_path, device="cpu", only=["denigration"])
    found = [resolve.resolve(each, Asker()) for each in resources.declared(run.prepare(options))]
    sizes = {name: 1_000_000 * size for name, size in (("faces", 63), ("coco", 800), ("model", 600))}
    hub, cache, torch_, _ = dry.disk(found, tmp_path)
    assert (hub.needed, hub.unknown) == (sum(sizes.values()), ())
    assert (cache.needed, torch_.needed) == (sizes["faces"] + sizes["coco"], 0)
    assert sorted(dry.described(found)["size"]) == [
        "600.0 MB (declared)", "63.0 MB (declared)", "800.0 MB (declared)",
    ]  # fmt: skip
    unknown = resolve.Resolved(Resource("model", "some/model"), problem="no connection")
    place = dry.disk([*found, unknown], tmp_path)[0]
    assert place.unknown == ("some/model",)
    row = dry._place(place)
    assert row["needed"] == "1.5 GB and some/model of unknown size" and row["fits"] == "unknown"


def test_a_local_coco_folder_takes_the_place_of_the_hubs(tmp_path):
    given = resources.coco_val(tmp_path)
    missing = resolve.resolve(given, Asker())
    assert missing.problem == f"not in {tmp_path}: annotations/captions_val2017.json, val2017/*.jpg"
    for name in given.choices[0]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name.replace("*", "1")).write_bytes(b"12345")
    found = resolve.resolve(given, Asker())
    assert (found.problem, found.total, found.to_fetch, found.rows) == ("", 10, 0, 1)
    assert resolve.resolve(resources.coco_train(None), Asker()).problem.startswith("no such folder here")


def test_operations_of_a_transformer_are_those_that_a_counter_counts():
    width, tokens = 32, 7
    layer = torch.nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, batch_first=True)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # whose products are counted
        layer(torch.randn(1, tokens, width))
    assert estimate.transformer(1, width, tokens) == pytest.approx(counter.get_total_flops(), rel=1e-6)


def test_an_estimate_is_operations_and_photographs_over_speed(ready):
    each = estimate.vision("ViT-B-32-quickgelu") + estimate.text("ViT-B-32-quickgelu")
    found = estimate.work(ready["loss_landscape"], {coco.HUB_DATASET: 5000})
    assert (found.operations, found.pictures) == (pytest.approx(5000 * each), 5000)
    speed = estimate.Speed("cpu", images=10.0, decoded=100.0)
    networks = 5000 * each / (10 * estimate.vision("ViT-B-32-quickgelu"))
    rest = estimate.rest(ready["loss_landscape"])
    assert estimate.seconds(found, speed, ready["loss_landscape"]) == pytest.approx(networks + 50 + rest)
    assert estimate.work(ready["theorems"], {}) == estimate.Work()
    assert estimate.work(ready["zero_shot"], {}).pictures >= sum(t.items for t in tasks.read().values() if t.items)


def test_training_is_three_passes_a_step_and_one_for_each_measurement():
    settings = SimpleNamespace(
        experiments=("temperature", "initialization"), temperatures=(1.0, 0.1), learned=True, seeds=2, steps=None,
        initializations=("original",), epochs=5, pairs=100, batch=10, evaluations=4, held_out=30, model="ViT-B-32",
    )  # fmt: skip
    runs, pictures = 2 * (2 + 1 + 1), 3 * (5 * 10) * 10 + (4 + 1) * 30
    found = estimate.WORK["training"](settings, {})
    assert found.operations == pytest.approx(
        runs * pictures * (estimate.vision("ViT-B-32") + estimate.text("ViT-B-32"))
    )
    assert found.pictures == 130


def test_a_step_that_cannot_be_read_or_counted_says_so(ready):
    assert estimate.work(steps.Ready(ready["theorems"].step, (), problem="broken"), {}).unknown
    odd = steps.read(ready["loss_landscape"].step, run.Path("out"), "cpu", None, ["--model", "RN50"])
    assert "others than those that can be counted" in estimate.work(odd, {}).unknown[0]


@pytest.mark.parametrize(
    "amount, words", [(8, "8 seconds"), (90, "1.5 minutes"), (7200, "2.0 hours"), (2e5, "2.3 days")]
)
def test_seconds_in_words(amount, words):
    assert estimate.in_words(amount) == words
