"""Published numbers, gains and files: agreement, every verdict could have been no, and faults on our own server."""

import hashlib
import http.server
import io
import re
import threading
import time

import numpy as np
import pytest
from scipy import stats

import contrary
import published_gains
from refusals import refused, refuses
from util import NoConnection, UserError, files, published, records
from util.numerics.statistics import mcnemar
from util.reporting import comparisons

NAMES = list(published.files())


def content(name):
    """A small file of the published layout, different for each name."""
    rows = np.random.default_rng(NAMES.index(name)).normal(size=(2, 20, 64)).astype(np.float32)
    rows[1, -1] = rows[1, 0]
    file = io.BytesIO()
    np.save(file, rows / np.linalg.norm(rows, axis=2, keepdims=True))
    return file.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the eight files; ``fault`` of the server names one thing that it does wrong."""

    def do_HEAD(self):
        fault = self.server.fault
        if fault == "silent":
            self.server.release.wait(30)
        self.send_response(404 if fault == "absent" else 200)
        if fault == "drips":
            self.flush_headers()
            for _ in range(100):
                self.wfile.write(b"X-Patience: please\r\n")
                self.server.release.wait(0.1)
        self.end_headers()

    def do_GET(self):
        name, fault = self.path.strip("/"), self.server.fault
        self.server.asked.append(name)
        body = content(name)
        self.send_response(404 if fault == "absent" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault == "wrong":
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.wfile.write(body[: len(body) // 2] if fault in ("truncated", "stalls") else body)
        if fault == "stalls":
            self.wfile.flush()
            self.server.release.wait(30)

    def log_message(self, *_):
        pass


@pytest.fixture
def cache(own_cache, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return own_cache


def stand_in(monkeypatch, url):
    """Published values whose address and hashes are those of the small files."""
    hashes = {name: hashlib.sha256(content(name)).hexdigest() for name in NAMES}
    monkeypatch.setattr(published, "EMBEDDINGS", {**published.EMBEDDINGS, "base_url": url, "sha256": hashes})


@pytest.fixture
def site(cache, monkeypatch):
    """A server in place of the authors' repository; ``asked`` keeps what it was asked for. The cache is empty."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.fault, server.asked, server.release = None, [], threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    stand_in(monkeypatch, server.url)
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def no_server(cache, monkeypatch):
    """Nobody answers."""
    stand_in(monkeypatch, "http://127.0.0.1:9/")


def fill(cache, names=NAMES):
    cache.mkdir(exist_ok=True)
    for name in names:
        (cache / name).write_bytes(content(name))


def state(folder):
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*")}


def test_published_values_say_where_they_stand_and_agree_with_each_other():
    values, table = published.values(), published.values()["table_2"]
    divided = ("numbers", "rules", "section_4_training")
    sections = [v for key, v in values.items() if isinstance(v, dict) and key not in divided]
    sections += [*values["section_4_training"].values(), values["figure_3"]["sphere_simulation"]]
    assert all(section["where"] for section in sections)
    number = {key: each.value for key, each in published.numbers().items()}
    for side in ("two_sided", "image_only"):
        moved = number[f"figure_3.{side}_shift_to_distance.0.00"]
        assert moved == pytest.approx(number["figure_3.gap_distance"], abs=1e-6)
    assert round(number["figure_3.gap_distance"], 2) == number["table_2.default_percent.gap_distance"]
    for confusion in ("confusion_default", "confusion_shift_-0.20"):
        counts = np.array(table[confusion]["counts"])
        assert counts.shape == (len(table[confusion]["rows"]), len(table[confusion]["columns"]))
        assert counts.sum() == 10954
    white, criminal = table["confusion_default"]["counts"][-1], number["table_2.default_percent.crime_related.1"]
    crimes = [white[table["confusion_default"]["columns"].index(c)] for c in ("criminal", "suspicious person", "thief")]
    assert round(sum(crimes) / sum(white), 3) == criminal
    assert set(values["published_embeddings"]["sha256"]) == set(NAMES)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in values["published_embeddings"]["sha256"].values())


def test_all_eight_files_are_fetched_once_and_read_from_the_cache_after_that(site, cache, capsys):
    path = published.fetch("features_clip.npy")
    assert path == cache / "features_clip.npy" and path.read_bytes() == content(path.name)
    assert path.stat().st_mode & 0o777 == 0o644
    assert published.fetch("features_clip.npy") == path and site.asked == ["features_clip.npy"]
    assert [p.name for p in cache.iterdir()] == ["features_clip.npy"]
    assert published.fetch_all() == []
    assert {path.name for path in cache.iterdir()} == set(NAMES) and len(published.available()) == 8
    assert f"[published] all 8 published files are in {cache}\n" == capsys.readouterr().out and len(site.asked) == 8


def test_loaded_embeddings_say_where_they_come_from(site, cache):
    fill(cache)
    loaded = published.load("clip", "random")
    assert loaded.names == ("image", "text") and loaded.paired_by_row
    said = "features_clip_random.npy: text: 1 of 20 rows equal an earlier one exactly, 19 items"
    assert loaded.source["notes"] == [said]
    assert loaded.source["caption_rule"] == "last" and "shape (2, n, d)" in loaded.source["layout"]
    assert loaded.source["url"] == site.url + "features_clip_random.npy"
    assert loaded.source["sha256"] == hashlib.sha256(content("features_clip_random.npy")).hexdigest()
    assert published.load("clasp").names == ("amino acid", "text")
    assert published.load("videoclip").names == ("video", "text")
    assert published.load("convirt").source["caption_rule"] is None


VALID = "; choose from clip, convirt, videoclip, clasp, with weights trained or random"
test_unknown_systems_and_weights_name_the_valid_ones = refuses(
    (lambda: published.load("blip"), f"'blip' with weights 'trained'{VALID}"),
    (lambda: published.load("clip", "tuned"), f"'clip' with weights 'tuned'{VALID}"),
)


@pytest.mark.parametrize("fault, words", [("truncated", "IncompleteRead"), ("wrong", "SHA256"), ("absent", "404")])
def test_a_broken_download_leaves_nothing_says_what_to_do_and_keeps_no_other_away(
    site, cache, monkeypatch, fault, words
):
    site.fault = fault
    with refused(f"^features_clip.npy: .*{words}.*put what is missing into {cache} by hand"):
        published.fetch("features_clip.npy")
    assert list(cache.iterdir()) == []
    monkeypatch.setattr("util.cli.say", lambda line: setattr(site, "fault", None))
    assert published.fetch_all() == NAMES[:1]
    assert len(published.available()) == 7
    assert published.fetch("features_clip.npy").read_bytes() == content("features_clip.npy")


def test_without_a_network_it_says_so_once_and_asks_no_further(no_server, cache, capsys):
    started = time.monotonic()
    assert published.fetch_all() == NAMES
    assert time.monotonic() - started < 5
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("[published] no network: 8 of the 8 published files are not here; ")
    assert str(cache) in line and len(line) < 200 + len(str(cache))
    assert not cache.exists()


@pytest.mark.parametrize("fault, said", [("silent", "no network"), ("drips", "no network"), ("stalls", "broke off")])
def test_a_server_that_never_answers_or_stands_still_is_given_up_after_one_deadline(
    site, cache, monkeypatch, fault, said
):
    monkeypatch.setattr(files, "CONNECT_SECONDS", 0.4)
    monkeypatch.setattr(published, "STALL_SECONDS", 0.3)
    site.fault, started = fault, time.monotonic()
    assert len(published.fetch_all()) == 8
    with pytest.raises(NoConnection, match=said):
        published.fetch("features_clip.npy")
    assert time.monotonic() - started < 8 and not list(cache.glob("*"))
    assert site.asked == ["features_clip.npy"] * 2 * (fault == "stalls")


def test_a_host_whose_name_is_not_found_is_given_up(monkeypatch):
    started = time.monotonic()
    monkeypatch.setattr(files, "CONNECT_SECONDS", 0.4)
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: time.sleep(30) or [])
    assert not files.reachable("https://nowhere.invalid/")
    assert time.monotonic() - started < 10


def test_a_file_with_a_wrong_hash_is_named_and_fetched_again(site, cache, capsys):
    fill(cache)
    path = cache / "features_clip.npy"
    path.write_bytes(content(path.name)[:-10])
    assert ("clip", "trained") not in published.available()
    assert published.fetch(path.name).read_bytes() == content(path.name)
    assert site.asked == [path.name]
    assert capsys.readouterr().out == f"[published] {path}: wrong sha256, not used; fetching it again\n"


def test_a_file_with_a_wrong_hash_is_never_trusted_without_a_network(no_server, cache, capsys):
    fill(cache)
    for name in NAMES[:2]:
        (cache / name).write_bytes(content(NAMES[5]))
    before = state(cache)
    assert published.fetch_all() == NAMES[:2]
    assert f"({NAMES[0]}, {NAMES[1]}: wrong sha256, not used)" in capsys.readouterr().out
    for weights in published.WEIGHTS:
        with pytest.raises(UserError, match="wrong sha256"):
            published.load("clip", weights)
    assert state(cache) == before


def test_a_cache_that_has_the_files_is_never_written_to_and_no_server_is_asked(site, cache):
    with pytest.raises(UserError, match="make published"):
        published.load("clip")
    fill(cache)
    cache.chmod(0o555)
    before, folder = state(cache), cache.stat().st_mtime_ns
    assert published.fetch_all() == [] and len(published.available()) == 8
    assert published.load("clip").dim == 64
    assert (state(cache), cache.stat().st_mtime_ns) == (before, folder)
    assert site.asked == []
    cache.chmod(0o755)


def test_a_cache_folder_that_cannot_be_made_is_one_line(site, cache):
    cache.write_text("a file where the folder should be")
    with refused(r"features_clip.npy: "):
        published.fetch("features_clip.npy")


@pytest.fixture(scope="module")
def gains():
    return published_gains.table()


def of(gains, dataset):
    return gains[gains.dataset == dataset].iloc[0]


@pytest.mark.parametrize("dataset", ["CIFAR10", "CIFAR100", "EuroSAT", "SVHN"])
def test_the_net_gain_is_one_that_rounding_allows(gains, dataset):
    """Every number of hits is tried."""
    row = of(gains, dataset)
    (printed,) = (each for each in published_gains.published_rows() if each["dataset"] == dataset)
    assert (row.default, row.modified) == (printed["default"], printed["modified"]) and len(gains) == 4
    hits = np.arange(row.n + 1)
    before, after = (hits[np.abs(hits / row.n - value) <= 0.5e-4 + 1e-12] for value in (row.default, row.modified))
    assert after[0] - before[-1] <= row.net_items <= after[-1] - before[0]
    if dataset != "EuroSAT":
        assert row.net_items < row.most_discordant_corrected < row.most_discordant < row.most_possible < row.n
        assert row.most_discordant == pytest.approx((row.net_items / stats.norm.ppf(0.975)) ** 2, rel=0.2)


def test_the_gain_on_svhn_is_18_images_and_significant_for_few_changes_only(gains):
    """46 gained and 28 lost are significant at 0.05, 47 and 29 no more."""
    row = of(gains, "SVHN")
    assert (row.net_items, row.n, row.most_discordant) == (18, 26_032, 74)
    assert mcnemar(46, 28) < 0.05 < mcnemar(47, 29)
    assert row.share == pytest.approx(74 / 26_032) and row.least_p == pytest.approx(2.0**-17)
    lost = (row.most_discordant_corrected - 18) // 2
    assert mcnemar(18 + lost, lost) < 0.05 / 39 < mcnemar(19 + lost, lost + 1)
    assert "at most 74 of 26032 predictions changed; as the best of 40 shifts (Bonferroni) only if at most " in row.note


def test_the_gain_on_eurosat_is_significant_however_many_changed(gains):
    """At most every item right before can be lost, and no more than are wrong after."""
    row = of(gains, "EuroSAT")
    lost = (row.most_possible - row.net_items) // 2
    assert lost <= 0.541 * 27_000 + 2 and lost <= (1 - 0.5645) * 27_000 + 2
    assert mcnemar(int(row.net_items + lost), int(lost)) < 0.05 / 39
    assert row.most_discordant_corrected >= row.most_possible and row.note.startswith("significant however many")


def test_the_published_p_values_are_of_all_images_and_table_1s_are_another_matter():
    """By the statistic's formula: n (p2 - p1)^2 / (2 p (1 - p)), p the mean of both accuracies."""
    found = published_gains.chi_squared()
    mean = (found["default"] + found["modified"]) / 2
    expected = found["n"] * (found["modified"] - found["default"]) ** 2 / (2 * mean * (1 - mean))
    assert found["chi_squared"].to_numpy() == pytest.approx(expected.to_numpy())
    assert found["equal_at"].to_numpy() == pytest.approx((2 * mean * (1 - mean)).to_numpy())
    whole, split, table_1 = (found.iloc[start::3].reset_index(drop=True) for start in range(3))
    assert whole["n"].tolist() == [60_000, 60_000, 27_000]
    assert whole["n_of_published_p"].to_numpy() == pytest.approx(whole["n"].to_numpy(), rel=2e-5)
    assert (split["p_value"][:2] > 0.05).all() and (table_1["p_value"] < 0.05).tolist() == [False, False, True]
    assert (table_1["default"] != whole["default"]).all()
    net, changed = 78, round(0.5 * whole["equal_at"][0] * 10_000)  # half as many changed: the paired p is smaller
    assert mcnemar((changed + net) // 2, (changed - net) // 2) < split["p_value"][0]


@pytest.mark.parametrize("k", range(5))
def test_no_tolerance_is_wider_than_half_the_gain_that_it_judges(k):
    keys = [f"table_1.rows.{k}.{name}" for name in ("default", "modified", "gain")]
    numbers = published.numbers()
    assert {numbers[key].judged_by.tolerance <= numbers[keys[2]].value / 2 for key in keys} == {True}
    gain = numbers[keys[1]].value - numbers[keys[0]].value
    assert numbers[keys[2]].value == pytest.approx(gain, abs=1e-9)


NUMBERS = published.numbers()
FLOATS = {key: each for key, each in NUMBERS.items() if isinstance(each.value, float)}
TOLERATED = [key for key, each in FLOATS.items() if each.judged_by.tolerance is not None]
AGAINST = {"no", "not shown", "paper is wrong"}


def verdict(comparison):
    return comparisons.verdict(records.plain(comparison))


@pytest.mark.parametrize("rule", sorted({NUMBERS[key].rule for key in TOLERATED}))
def test_no_tolerance_is_wider_than_what_it_judges(rule):
    judged = published.Rule(**published.values()["rules"][rule])
    assert judged.tolerance < judged.refuses <= 10 * judged.tolerance


def test_every_number_has_a_rule_with_its_reason():
    assert all(each.judged_by.says and each.judged_by.reason for each in NUMBERS.values())
    assert {each.rule for each in NUMBERS.values()} == set(published.values()["rules"])


@pytest.mark.parametrize("key", TOLERATED)
def test_a_number_is_no_outside_its_tolerance_and_yes_inside_it(key):
    number = NUMBERS[key]
    against = "paper is wrong" if number.judged_by.derivation else "no"
    for share, expected in ((-1.01, against), (-0.99, "yes"), (0.99, "yes"), (1.01, against)):
        ours = number.value + share * number.judged_by.tolerance
        assert verdict(published.compare(key, ours, "the paper's own", own=True)) == expected


@pytest.mark.parametrize("script", sorted({each.script for each in NUMBERS.values()}))
def test_each_claim_of_the_paper_is_refused_where_a_run_contradicts_it(script):
    found = {each.key: verdict(each) for each in getattr(contrary, script)() if NUMBERS[each.key].value is not None}
    claims = {key for key, each in NUMBERS.items() if each.script == script and isinstance(each.value, str)}
    assert claims <= found.keys() and {found[key] for key in claims} <= AGAINST
    assert set(found.values()) - {"not run"} <= AGAINST  # some numbers are told from no other, and not judged
