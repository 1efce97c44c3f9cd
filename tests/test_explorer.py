"""The explorer page: in a browser where there is one, its numbers beside Python's, and what it makes of odd input."""

import html
import json
import os
import re
import shutil
import subprocess
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

import scripts
import util
from util import commands, explorer
from util.corpora.generated import pictures
from util.reporting import comparisons
from util.zero_shot import shifted

CHROMIUM, NODE = shutil.which("chromium") or shutil.which("chromium-browser"), shutil.which("node")
HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>&amp;"


@pytest.fixture(scope="module")
def captioned():
    """60 images with five captions each, of which some are equal: 300 pairs."""
    rng = np.random.default_rng(3)
    images, repeat = rng.normal(size=(60, 24)) + 0.5, np.repeat(np.arange(60), 5)
    texts = images[repeat] + 0.9 * rng.normal(size=(300, 24)) - 1.2
    texts[7] = texts[3]
    captions = np.array([f"{HOSTILE if k == 0 else 'caption'} {k}" for k in range(300)])
    pairs = np.stack([repeat, np.arange(300)], axis=1)
    beside = {"captions": captions, "logit_scale": np.array(50.0), "ids": np.arange(60)}
    return util.Embeddings.of({"image": images, "text": texts}, pairs, None, {"path": f"{HOSTILE[:9]}.npz"}, beside)


@pytest.fixture(scope="module")
def browser():
    sync = pytest.importorskip("playwright.sync_api", reason="no playwright: the page is not looked at")
    if not CHROMIUM:
        pytest.skip("no chromium: the page is not looked at")
    with sync.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@contextmanager
def opened(browser, page: str, tmp_path, width=1280, address="", **options):
    """The page in a window; whatever it says on the console, asks of a network or scrolls sideways fails the test."""
    path, said = tmp_path / "page.html", []
    path.write_text(page, encoding="utf-8")
    window = browser.new_page(viewport={"width": width, "height": 800}, **options)
    window.on("console", lambda message: said.append(message.text))
    window.on("pageerror", lambda error: said.append(str(error)))
    window.on("request", lambda request: request.url.startswith(("file:", "data:")) or said.append(request.url))
    window.goto(f"{path.as_uri()}{address}")
    window.wait_for_selector("h1, iframe")
    yield window
    window.wait_for_timeout(200)
    assert said == [] and window.evaluate("document.documentElement.scrollWidth") <= width
    assert window.evaluate("window.hacked") is None
    window.close()


SHOWN = """([shift, temperature]) => {
  explorer.set({ shift, temperature }); explorer.draw();
  const { loss, tiles, model } = explorer.views[0], gap = model.signed[Math.round(100 * shift) + 50];
  return { loss, gap, hits: ["recall0", "recall1"].map((key) => tiles[key].textContent) };
}"""


def test_its_numbers_at_twenty_points_are_those_of_python(browser, captioned, tmp_path, rng):
    x, y = captioned.modalities.values()
    p, q = captioned.paired()
    unit = util.geometry.unit_gap_vector(x, y)
    with opened(browser, util.report(captioned, umap=False).html, tmp_path) as window:
        for _ in range(20):
            shift, temperature = int(rng.integers(-50, 251)) / 100, float(np.exp(rng.uniform(np.log(0.005), 0)))
            found = window.evaluate(SHOWN, [shift, temperature])
            with pytest.warns(UserWarning, match="the loss is of"):
                loss = util.contrastive.sweep_both(p, q, shift, temperature, 50, direction=unit).symmetric[0, 0]
            assert found["loss"] == pytest.approx(loss, rel=1e-4)
            assert abs(found["gap"]) == pytest.approx(
                util.geometry.gap_distance(*util.geometry.shift(x, y, shift)), abs=1e-6
            )
            own = util.numerics.items.matched(p, q, np.tile(np.arange(300)[:, None], 2))
            ranks = shifted.retrieve(p[own.first], q[own.second], own.pairs, shift, unit)
            counts = [int(re.search(r"\((\d+)\)", each)[1]) for each in found["hits"]]
            assert counts == [int((each < 1).sum()) for each in ranks]
    x = rng.normal(size=(2500, 32))
    x, y = (util.geometry.unit_rows(x + 0.15 * rng.normal(size=x.shape) + sign) for sign in (0.4, -0.4))
    with opened(browser, util.report(x, y, umap=False).html, tmp_path) as window:
        for shift, temperature in ((0, 0.01), (0.8, 0.005), (0.8, 0.02)):
            loss = util.contrastive.sweep_both(x, y, shift, temperature, 50).symmetric[0, 0]
            assert window.evaluate(SHOWN, [shift, temperature])["loss"] == pytest.approx(loss, rel=1e-4, abs=0)


@pytest.mark.filterwarnings("ignore:the loss is of")
def test_its_python_computes_what_it_shows(browser, captioned, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    util.Embeddings.of(captioned.modalities, captioned.pairs).save("mine.npz")
    image, text = captioned.paired()
    for name, rows in (("image", image), ("text", text), ("prompts", text[:5]), ("labels", np.arange(300) % 5)):
        np.save(f"{name}.npy", rows)
    np.savez("odd.npz", one=image, other=text)
    columns, classes = (
        {"columns": {"image": "other", "text": "one"}},
        {"labels": "labels.npy", "prompts": "prompts.npy"},
    )
    swapped, alone = ["image=text.npy", "text=image.npy"], ["image.npy"]
    for given, more in ((["mine.npz"], {}), (swapped, {}), (["odd.npz"], columns), (alone, classes)):
        page = util.report(*given, umap=False, **more).html
        with opened(browser, page, tmp_path, address="#shift=0.3&t=0.1&removed=2") as window:
            window.wait_for_timeout(500)
            shown, code, ablated = (window.text_content(each) for each in (".tiles", "pre", ".dimensions [aria-live]"))
        exec(code, {})  # noqa: S102
        gap, *between, without, _ = capsys.readouterr().out.replace("\n      ", "").strip().split("\n")
        assert f"distance{float(gap):.3f}" in shown and f"the gap is {float(without):.3f} (" in ablated
        if more is classes:
            accuracy, flipped = between[0].split()
            assert f"Accuracy{100 * float(accuracy):.1f}%" in shown and f"flip{flipped} of 300" in shown
        else:
            assert f"nats{float(between[0].strip('[]')):.4f}" in shown
            assert re.findall(r"array\(\[(\d+)", between[1]) == re.findall(r"\((\d+)\)", shown)


def test_keys_move_the_dials_and_the_address_keeps_the_state(browser, captioned, tmp_path):
    page = util.report(captioned, umap=False).html
    with opened(browser, page, tmp_path, color_scheme="dark") as window:
        window.focus("[aria-label=Shift]")
        for key in ("ArrowRight", "ArrowRight", "PageUp"):
            window.keyboard.press(key)
        window.evaluate("explorer.set({ query: 0 })")
        window.focus("canvas")
        window.keyboard.press("ArrowRight")
        window.click(".bar >> nth=2")
        window.click("text=Light")
        window.wait_for_timeout(500)
        address = window.url
        assert all(each in address for each in ("shift=0.12", "query=1", "removed=3", "theme=light", "t=0.02"))
    with opened(browser, page, tmp_path, address=f"#{address.split('#')[1]}") as window:
        assert window.text_content("output") == "0.12" and "these 3 dimensions" in window.text_content("#dimensions")
        window.evaluate("location.hash = '#shift=0.123&query=9999'")
        window.wait_for_timeout(500)
        kept = window.evaluate("(({ shift, removed, theme, query }) => [shift, removed, theme, query])(explorer.state)")
        assert kept == [0.12, 0, "", 358] and "query=358" in window.url
        window.emulate_media(color_scheme="dark")
        window.click("text=play")
        window.evaluate(SHOWN, [2, 0.1])
        window.wait_for_timeout(400)
        assert window.evaluate("[explorer.state.shift, explorer.views[0].cloud.colours[0]]") == [2, "#56b4e9"]


@pytest.mark.parametrize("width", [360, 1024])
def test_nothing_jumps_while_the_gap_is_dragged(browser, captioned, tmp_path, width):
    with opened(browser, util.report(captioned, umap=False).html, tmp_path, width=width) as window:
        window.wait_for_timeout(500)
        heights = set()
        for shift in (-0.5, 0.0, 0.8, 2.5):
            window.evaluate(SHOWN, [shift, 0.01 + abs(shift) / 7])
            window.wait_for_timeout(400)
            heights.add(window.evaluate("document.querySelector('#search').offsetTop"))
        assert len(heights) == 1
        window.evaluate("explorer.set({ query: 60 }), explorer.draw()")
        assert f"{HOSTILE} 0" in window.text_content(".info")


def test_a_notebook_shows_it_in_a_frame(browser, captioned, tmp_path):
    with opened(browser, f"{captioned._repr_html_()}", tmp_path) as window:
        frame = window.frames[1]
        frame.wait_for_selector("text=Drag the gap")
        frame.click("text=gap closed")
        window.wait_for_timeout(1500)
        assert frame.text_content("output") != "0.00"


def test_classes_unpaired_rows_and_several_models_have_a_page(browser, tmp_path, rng):
    texts = rng.normal(size=(5, 12)) - 0.5
    labels = rng.integers(5, size=80)
    images = texts[labels] + rng.normal(size=(80, 12)) + 1
    beside = {"classes": np.array(["a", "b", "c", HOSTILE, "e"])}
    classes = util.Embeddings.of({"image": images, "text": texts}, labels=labels, beside=beside)
    page = util.report({"classes": classes, "unpaired": util.Embeddings.of({"image": images, "text": images[:50] - 1})})
    with opened(browser, page.html, tmp_path, address="#shift=0.6") as window:
        window.wait_for_timeout(400)
        assert len(window.query_selector_all(".model")) == 2 and "decisions" in window.text_content("#classes")
    pairs = rng.normal(size=(2, 2, 4)) + np.array([1, -1])[:, None, None]
    with opened(browser, util.report(*pairs).html, tmp_path) as window:
        assert float(window.text_content(".tile dd")) > 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([{"image": np.eye(3)}], "two modalities"),
        ([np.eye(3), np.eye(3)], "gap is zero"),
        ([np.eye(3)[[0, 0]], -np.eye(3)[[0, 0]]], "lies along the gap"),
        ([np.eye(3), np.full((3, 3), np.nan)], "not finite"),
        ([], "embeddings, paths"),
        ([np.eye(3), -np.eye(3), np.eye(3)], "embeddings, paths"),
    ],
)
def test_what_has_no_page_is_one_line(given, said):
    with pytest.raises(util.UserError, match=said):
        util.report(*given)


def read(page) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', page.html, re.DOTALL)[1])["models"][0]


def test_odd_words_and_numbers_have_a_page(browser, tmp_path, rng):
    rows = dict(zip(("image", "text"), rng.normal(size=(2, 9, 6)) + np.array([1, -1])[:, None, None], strict=True))
    source, captions = (
        {"path": "caf\udce9\u202e.npz", "loss": np.nan, "base64": "mine"},
        np.array([f"begin {'x' * 200}"] * 9),
    )
    for scale, temperature in (("many", 0.01), ([], 0.01), (4.6052, 0.01), (50, 0.02)):
        beside = {"logit_scale": np.array(scale), "captions": captions}
        page = util.report(util.Embeddings.of(rows, None, None, source, beside), umap=False)
        assert (found := read(page))["temperature"] == pytest.approx(temperature, rel=1e-4)
        assert found["about"]["loss"] is None and found["captions"][0][:5] + found["captions"][0][-1] == "begin…"
    with opened(browser, page.html, tmp_path) as window:
        assert window.title() == "caf: the modality gap"


def test_thumbnails_are_of_regular_files_beside_the_data(browser, tmp_path, rng):
    (tmp_path / "in").mkdir()
    [Image.new("RGB", (200, 100), "red").save(tmp_path / name) for name in ("in/a.png", "out.png")]
    os.mkfifo(tmp_path / "in" / "pipe.png")
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "out.png")
    paths = ["a.png", "../out.png", str(tmp_path / "out.png"), "pipe.png", "link.png", "none.png"]
    rows, file = rng.normal(size=(2, 6, 4)) + np.array([1, -1])[:, None, None], tmp_path / "in" / "e.npz"
    np.savez(file, image=rows[0], text=rows[1], paths=paths)
    page, wider = util.report(file, umap=False), util.report(file, umap=False, pictures=tmp_path)
    assert [*read(page)["pictures"]] == ["0"] and [*read(wider)["pictures"]] == ["2"]
    with opened(browser, page.html, tmp_path, address="#query=0") as window:
        assert window.evaluate("document.querySelector('.info img').naturalWidth") == 96


def test_the_report_falls_back_to_the_small_clip(monkeypatch):
    monkeypatch.setattr(comparisons.published, "load", lambda name: util.embeddings.Embeddings.load("none.npz"))
    monkeypatch.setattr(pictures, "captioned_scenes", lambda n, seed, of=pictures.captioned_scenes: of(12, seed))
    assert "small CLIP, 500 generated scenes" in comparisons._live("loss_landscape")


def test_many_rows_are_thinned_but_what_can_be_is_of_all(monkeypatch, rng):
    monkeypatch.setattr(explorer, "MOST_PAIRS", 100)
    monkeypatch.setattr(explorer, "MOST_ASKED", 500)
    x, y = (util.geometry.unit_rows(rng.normal(size=(1030, 8)) + sign) for sign in (0.4, -0.4))
    one = util.Embeddings.of({"image": 3 * x, "text": y}, unit=False)
    found = explorer.of_two(one, False, 0)
    assert len(found["rows"][0]) == len(found["rows"][1]) == 100 and found["pairs"] == 1030
    signed = util.geometry.signed_gap_distances(x, y, explorer.SHIFTS)
    np.testing.assert_allclose(found["signed"], signed, atol=1e-9)
    moved = util.geometry.shift(x, y, 0.8)
    assert found["matched"][130] == pytest.approx(np.einsum("ij,ij->i", *moved).mean(), abs=1e-9)
    some, unit = np.arange(500) * 1030 // 500, util.geometry.unit_gap_vector(x, y)
    thin = shifted.retrieve(x[some], y[some], np.arange(500), 0.8, unit)
    assert [int(each[130]) for each in found["hits"]] == [int((each < 1).sum()) for each in thin]
    for k, (distance, cosine) in enumerate(
        zip(found["ablated"]["distances"], found["ablated"]["matched"], strict=True)
    ):
        kept = [util.geometry.unit_rows(np.delete(part, found["ablated"]["order"][:k], axis=1)) for part in (x, y)]
        assert distance == pytest.approx(util.geometry.gap_distance(*kept), abs=1e-9)
        assert cosine == pytest.approx((kept[0] * kept[1]).sum(1).mean(), abs=1e-9)


def test_decisions_are_of_all_rows_at_every_shift(monkeypatch, rng):
    monkeypatch.setattr(explorer, "MOST_PAIRS", 100)
    labels, texts = rng.integers(30, size=1500), rng.normal(size=(30, 6))
    images = texts[labels] + rng.normal(size=(1500, 6)) + 0.7
    one = util.Embeddings.of({"image": images, "text": texts}, labels=labels)
    found, (x, y) = (
        explorer.of_two(one, False, 0)["classes"],
        (util.geometry.unit_rows(part) for part in (images, texts)),
    )
    for k in (0, 57, 90, 300):
        before, after = ((p @ q.T).argmax(1) for p, q in ((x, y), util.geometry.shift(x, y, explorer.SHIFTS[k])))
        assert found["right"][k] == (after == labels).sum() and found["flipped"][k] == (before != after).sum() > 20
        table, mine = np.zeros((30, 30), int), found["moves"][found["moves"][:, 0] == k]
        np.add.at(table, (before, after), before != after)
        moves = table[mine[:, 1], mine[:, 2]]
        assert (mine[:, 3] == moves).all() and moves.tolist() == np.sort(table, axis=None)[:-9:-1].tolist()


def test_the_command_writes_the_page_and_a_table_for_others(tmp_path, captioned, capsys):
    captioned.save(tmp_path / "mine.npz")
    words = ["report", str(tmp_path / "mine.npz"), "-o", str(tmp_path / "gap.html"), "--umap", "no"]
    commands.main([*words, "--export", str(tmp_path / "mine.parquet")])
    page = (tmp_path / "gap.html").read_text()
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)', page)[1])
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in policy
    assert read(explorer.Page(page))["name"] == "mine"
    import pandas as pd

    table = pd.read_parquet(tmp_path / "mine.parquet")
    assert [*table] == ["vector", "projection_x", "projection_y", "modality", "pair", "set"] and len(table) == 360
    assert table["pair"][60:].tolist() == [*range(300)] and len(table["vector"][0]) == 24
    prompts, labels = tmp_path / "prompts.npy", tmp_path / "labels.txt"
    np.save(prompts, captioned.modalities["text"][:4])
    labels.write_text("\n".join(map(str, np.arange(60) % 4)))
    commands.main([*words, "--labels", str(labels), "--prompts", str(prompts)])
    assert '"classes":{"right":' in (tmp_path / "gap.html").read_text()
    with pytest.raises(SystemExit):
        commands.main(["report", "--umap", "no"])
    assert "--umap only applies to files" in capsys.readouterr().err


def test_the_module_passes_its_own_tests_in_node(tmp_path):
    if not NODE:
        pytest.skip("no node: the page's module is not tested by itself")
    module = shutil.copy(explorer.HERE / "explorer.js", tmp_path / "explorer.mjs")
    words = [NODE, "--test", str(scripts.REPOSITORY / "tests" / "explorer.test.mjs")]
    done = subprocess.run(words, env={**os.environ, "EXPLORER": str(module)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
