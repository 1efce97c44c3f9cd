"""Figure 3 (a-d), end to end: the script, its files, its faults."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap

import landscapes
import reference
import scripts
import smoke_runs
from picture_files import write_coco
from tiny_encoders import tiny_models, with_weights  # noqa: F401  (registers the tiny models)
from util import Embeddings, cli, figures, published

script = scripts.load("loss_landscape.py")
CONTRACT = ["embeddings", "batch", "temperature", "shift", "signed_gap_distance", "loss", "loss_as_released"]


@pytest.fixture
def mine(tmp_path, rng):
    x, y = reference.pairs(rng, 120, 8)
    return Embeddings.of({"image": x, "text": y}).save(tmp_path / "mine.npz")


def test_the_table_and_the_record_are_complete(smoke):
    assert set(smoke.tables) == {"", "points", "minima", "back_to_back"}
    table = smoke.tables[""]
    assert list(table.columns) == CONTRACT
    assert len(table) == 40 * 6 and table["shift"].eq(0).sum() == 6
    left_out = " ".join(smoke.about["left_out"])
    assert len(smoke.about["left_out"]) == 4 and all(f"features_{name}.npy" in left_out for name in published.SYSTEMS)
    assert smoke.about["data"][0]["data"]["generated"] is True
    assert not [*smoke.folder.glob("loss_landscape_systems*")], "there is one set of embeddings"


def test_the_table_holds_the_losses_of_the_definition(mine):
    settings = replace(script.PRESETS["embedded"], embeddings=(mine,), shift_step=0.5)
    tables = script.measure(settings, "cpu").tables
    table = tables[""]
    assert tables["minima"]["batches"].eq(2).all() and tables["minima"]["gap_low"].isna().all()
    x, y = Embeddings.load(mine).paired()
    for row in table.sample(40, random_state=0).itertuples():
        moved = reference.shifted(x, y, row.shift)
        assert row.loss == pytest.approx(reference.loss(*moved, row.temperature, 50), rel=1e-6)
        assert row.loss_as_released == pytest.approx(reference.loss(*moved, row.temperature, 50, True), rel=1e-6)
        assert abs(row.signed_gap_distance) == pytest.approx(np.linalg.norm(reference.gap(*moved)), abs=1e-6)
    assert table.groupby("temperature")["signed_gap_distance"].apply(lambda gap: gap.is_monotonic_decreasing).all()


def test_every_published_number_is_compared_by_its_key(smoke):
    rows = smoke.about["comparisons"]
    known = [each for each in published.numbers("figure_3.").values() if each.script == "loss_landscape"]
    assert {row["key"] for row in rows} == {each.key for each in known if each.value is not None}
    assert all(row["agrees"] is None for row in rows if isinstance(row["published"], float))
    claims = [row for row in rows if row["key"].startswith("figure_3.claims.")]
    assert ["accepted for these minima" in row["note"] for row in claims] == [True, True, True, False]
    assert all("no interval: 2 batches" in row["note"] and not row["own"] for row in claims[:3])


AS_PUBLISHED = {1 / 100: 0.78, 1 / 50: 0.6, 1.0: 0.08}


def claims(gaps, passed=(1 / 100, 1 / 50), edges=(), flat=(), **changes):
    """Verdicts of the four claims where the lowest losses of a default gap of 0.822 lie at these gaps."""
    one = {"embeddings": "e", "batch": 50, "default_gap": 0.822, "batches": 9, "gap_low": -1.0, "gap_high": 2.0}
    lowest = pd.DataFrame({"temperature": gaps.keys(), "gap_at_minimum": gaps.values()}).assign(**one)
    second = pd.DataFrame({"temperature": passed}).assign(embeddings="e", curve="symmetric", signed_gap_distance=-1.6)
    second = second.reindex(columns=[*second, "shift", "loss", *landscapes.BARRIER])
    curves = pd.DataFrame(columns=CONTRACT, dtype=float)
    facts = {"gap_distance": 0.83, "explained_variance_ratio": [0.25], "n_pairs": 5000} | changes.pop("facts", {})
    settings = replace(script.PRESETS["paper"], **changes)
    lowest["at_edge"], lowest["flat"] = lowest["temperature"].isin(edges), lowest["temperature"].isin(flat)
    rows = script.compare(curves, lowest, second, {"e": facts}, settings)
    return {row.key[-1]: (row.own, row.agrees, row.interval) for row in rows if row.key.startswith("figure_3.claims")}


def test_the_papers_own_model_and_data_are_judged_by_the_rules():
    assert [(own, agrees) for own, agrees, _ in claims(AS_PUBLISHED).values()] == [(True, True)] * 4
    assert [interval for *_, interval in claims(AS_PUBLISHED).values()] == [landscapes.INTERVAL] * 3 + [""]
    elsewhere = ({"facts": {"n_pairs": 60}}, {"caption": "last"}, {"batch": None}, {"model": "open_clip:RN50:openai"})
    assert not any(own for changes in elsewhere for own, *_ in claims(AS_PUBLISHED, **changes).values())
    assert {agrees for _, agrees, _ in claims(AS_PUBLISHED, shift_step=0.5).values()} == {None}
    assert claims(AS_PUBLISHED, embeddings=("mine.npy",)) == claims(AS_PUBLISHED, loss="sigmoid") == {}


def test_one_minimum_elsewhere_refuses_one_claim():
    places = (("0", 1 / 100, 0.6), ("1", 1 / 50, 0.78), ("1", 1 / 50, -0.1), ("2", 1.0, 0.35), ("2", 1.0, -0.19))
    against = [(claim, {"gaps": AS_PUBLISHED | {tau: gap}}) for claim, tau, gap in places]
    against += [("0", {"edges": (1 / 100,)}), ("2", {"flat": (1.0,)})]
    against += [("3", {"passed": (1 / 50,)}), ("3", {"passed": (1 / 100, 1.0)})]
    for claim, changes in against:
        found = claims(**({"gaps": AS_PUBLISHED} | changes))
        assert [key for key, (_, agrees, _) in found.items() if not agrees] == [claim], changes


@pytest.fixture(scope="module")
def systems(tmp_path_factory):
    """A run beside all four published systems: 200 pairs of CLIP's, of the others fewer than five batches."""
    rng, sizes = np.random.default_rng(0), {"clip": 300, "convirt": 60, "videoclip": 100, "clasp": 99}

    def load(system):
        x, y = reference.pairs(rng, sizes[system], 8)
        return Embeddings.of({published.SYSTEMS[system]["modality"]: x, "text": y})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published, "load", load)
        return script.run(replace(script.PRESETS["smoke"], output=tmp_path_factory.mktemp("systems")))


def test_all_four_published_systems_have_rows_and_the_paper_s_layout_is_clip_s(systems):
    minima = systems.tables["minima"].set_index("embeddings")
    assert list(minima.index.unique()) == [landscapes.SMALL_CLIP, *landscapes.PUBLISHED.values()]
    assert minima["batches"].groupby(level=0, sort=False).first().tolist() == [2, 6, 1, 2, 1]
    assert minima["gap_low"].notna().groupby(level=0, sort=False).any().tolist() == [False, True, False, False, False]
    rows = pd.DataFrame(systems.about["comparisons"]).query("key.str.startswith('figure_3.systems.')")
    assert set(rows["on"]) == set(landscapes.FURTHER) and len(rows) == 3 * 4
    assert rows["published"].isna().all() and not rows["own"].any()
    assert landscapes.of_paper(systems) == [landscapes.CLIP]


@pytest.mark.parametrize("width", figures.WIDTHS)
def test_every_picture_is_printable(systems, width):
    for draw in script.DRAWS.values():
        smoke_runs.printable(draw(smoke_runs.at_width(systems, width)), width)


def test_several_files_of_your_own_in_one_call_whatever_their_names(mine, tmp_path, rng, capsys):
    odd = tuple(tmp_path / f"{stem}.npy" for stem in (r"$\\foo$", "_hidden"))
    for path in odd:
        np.save(path, np.stack(reference.pairs(rng, 60, 5)))
    settings = replace(script.PRESETS["smoke"], embeddings=(mine, *odd), shift_step=1.0, output=tmp_path / "out")
    record, names = script.run(settings), ["mine", *(path.stem for path in odd)]
    assert record.tables[""]["embeddings"].unique().tolist() == names
    facts = [record.about["results"][name] for name in names]
    assert [(each["n_pairs"], each["n_given"]) for each in facts] == [(100, 120), (50, 60), (50, 60)]
    left_out, said = record.about["left_out"], capsys.readouterr().out
    assert [": the loss is of 50 of 60 pairs: " in line for line in left_out] == [False, True, True]
    assert all(line.split(";")[0] in said for line in left_out)
    assert record.about["comparisons"] == []
    assert "small CLIP" not in json.dumps(record.about), "your own data carry no claim of it"


def test_copies_are_said_once_and_without_a_second_minimum_the_table_of_them_is_empty(tmp_path, rng, capsys):
    x, y = reference.pairs(rng, 30, 8)
    Embeddings.of({"image": np.repeat(x, 2, axis=0), "text": np.concatenate([y, y + 0.1])}).save(tmp_path / "a.npz")
    words = {"shift_step": 1.0, "batch": 20, "temperatures": (1.0,), "output": tmp_path / "out"}
    record = script.run(replace(script.PRESETS["smoke"], embeddings=(str(tmp_path / "a.npz"),), **words))
    assert record.tables["back_to_back"].empty and record.tables["minima"]["temperature"].tolist() == [1]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "rows equal an earlier one" in line]
    assert line.endswith("image: 30 of 60 rows equal an earlier one exactly, 30 items, which share no batch")


@pytest.mark.parametrize("kind", ["open_clip", "python"])
def test_the_paper_preset_runs_on_a_local_coco_folder(tmp_path, own_cache, own_modules, kind):
    """Everything of --preset paper but the download: a tiny open_clip model or functions of your own, real files."""
    model = with_weights(tmp_path)
    if kind == "python":
        code = "import numpy as np\nrows = lambda given: np.random.default_rng(len(given)).normal(size=(len(given), 9))"
        (tmp_path / "mine.py").write_text(f"{code}\ndef encoders():\n    return rows, lambda texts: rows(texts) + 1\n")
        model = f"python:{tmp_path / 'mine.py'}:encoders"
    paper = replace(script.PRESETS["paper"], coco=write_coco(tmp_path / "coco"), model=model)
    found = script.measure(replace(paper, batch=None), "cpu")
    assert found.tables[""]["batch"].eq(3).all() and len(found.tables[""]) == 40 * 6
    assert found.data[0]["data"]["caption_rule"] == "first"
    name = "mine" if kind == "python" else "tiny weights.safetensors"
    assert next(iter(found.results)).startswith(f"{name}, MSCOCO")
    gap = next(row for row in found.comparisons if row.key == "figure_3.gap_distance")
    assert gap.published == 0.8221026 and gap.agrees is None


def own_files(folder):
    good = np.stack(reference.pairs(np.random.default_rng(0), 60, 5))
    np.save(folder / "good.npy", good)
    np.savez(folder / "scaled.npz", image=good[0], text=good[1], logit_scale=4.7, logit_bias=-10.0)
    good[0, 1, 2] = np.nan
    np.save(folder / "nan.npy", good)


test_a_users_error_is_one_line_exit_code_2_and_no_files = smoke_runs.refuses(
    script,
    ("--embeddings {tmp}/nan.npy", "image holds a value that is not finite, first in row 1"),
    ("--embeddings {tmp}/good.npy --batch 500", "--batch 500 is more than its 60 pairs"),
    ("--embeddings {tmp}/good.npy --batch 0", "--batch must be"),
    ("--embeddings {tmp}/good.npy --temperatures 0", "temperature must be above 0"),
    ("--embeddings {tmp}/good.npy --temperatures 100", "a logit scale? say --temperatures 0.01"),
    ("--embeddings {tmp}/good.npy --logit-scale 100", "--logit-scale only applies to --loss sigmoid"),
    ("--embeddings {tmp}/good.npy --loss sigmoid --bias -9", "needs --logit-scale: no logit_scale"),
    ("--embeddings {tmp}/good.npy --loss sigmoid --temperatures 0.1", "only applies to --loss info_nce"),
    ("--embeddings {tmp}/scaled.npz --loss sigmoid", "scaled: logit_scale 4.7 beside the vectors may be"),
    ("--embeddings {tmp}/good.npy --shift-step 0", "--shift-step must be"),
    ("--embeddings {tmp}/good.npy --points 0", "--points must be"),
    prepare=own_files,
)


NO_LIMITS = pd.DataFrame({"batches": 2, "shift_low": [-0.5], "shift_high": 0.5, "gap_low": 0.1, "gap_high": 0.9})


def found_minimum(loss, released=None, shifts=(-1.0, 0.0, 1.0)):
    columns = {"loss": loss, "loss_as_released": loss if released is None else released}
    gaps = np.linspace(1.5, -0.2, len(shifts))
    return landscapes.minima(one_curve(shifts, gaps, **columns), NO_LIMITS).iloc[0]


def one_curve(shifts, gaps, **losses):
    table = pd.DataFrame({"shift": shifts, "signed_gap_distance": gaps, **losses})
    return table.assign(embeddings="e", batch=2, temperature=0.5)


def test_minima_by_hand():
    row = found_minimum([3.0, 1.0, 2.0])
    assert (row["shift_at_minimum"], row["gap_at_minimum"], row["lowest_loss"]) == (0, pytest.approx(0.65), 1)
    assert (row["default_gap"], row["default_loss"]) == (pytest.approx(0.65), 1.0)
    assert row["gap_at_minimum_as_released"] == row["gap_at_minimum"] and row["gap_high"] == 0.9
    assert not row["at_edge"] and not row["flat"] and landscapes.no_minimum(row) == ""
    assert np.isnan(found_minimum([3.0, 1.0, 2.0], [1.0, 2.0, 3.0])["gap_at_minimum_as_released"])


@pytest.mark.parametrize(
    "loss, why",
    [
        ([3.0, 2.5, 2.0, 1.0, 0.5], "lowest where the shifts end"),
        ([3.0, 2.5, 2.0, 1.0, 1.0005], "lowest where the shifts end"),
        ([3.0, 2.9996, 2.9999, 3.0002, 3.0], "flat curve"),
        ([0.0] * 5, "flat curve"),
        ([3.0, 1.0, 1.0009, 1.0009, 2.0], "flat curve"),
        ([3.0, 1.0, 1.0009, 1.0011, 2.0], ""),
    ],
)
def test_where_the_shifts_end_and_on_a_flat_curve_is_no_minimum(loss, why):
    row = found_minimum(loss, shifts=(-1.0, -0.5, 0.0, 0.5, 1.0))
    assert landscapes.no_minimum(row) == why
    places = row[["shift_at_minimum", "gap_at_minimum", "shift_low", "gap_high", "gap_at_minimum_as_released"]]
    assert places.isna().all() if why else places.notna().all()


def test_limits_over_batches_are_those_of_the_bootstrap(rng):
    """Parabolas: the lowest point of a mean of batches is the mean of theirs."""
    shifts, centres = np.linspace(-1, 1, 401), rng.normal(scale=0.2, size=12)
    losses = (shifts[None, :, None] - centres[:, None, None]) ** 2 + np.zeros((1, 1, 2))
    found = landscapes.limits(losses, shifts, -2 * shifts, rng)
    exact = bootstrap((centres,), np.mean, method="percentile", n_resamples=20_000, rng=rng).confidence_interval
    assert found["batches"].eq(12).all() and len(found) == 2
    assert found[["shift_low", "shift_high"]].to_numpy() == pytest.approx(np.array([exact] * 2), abs=0.015)
    assert found[["gap_low", "gap_high"]].to_numpy() == pytest.approx(
        -2 * found[["shift_high", "shift_low"]].to_numpy()
    )
    assert landscapes.limits(losses[:4], shifts, shifts, rng).drop(columns="batches").isna().all(axis=None)


def test_a_second_minimum_lies_past_the_overlap_and_is_deep_enough():
    shifts = np.arange(-5.0, 5.0)
    loss = np.array([9.0, 1.0, 7.0, 6.0, 0.5, 3.0, 4.0, 2.0, 2.5, 2.4])
    table = one_curve(shifts, -shifts, loss=loss, loss_as_released=shifts**2)
    (row,) = landscapes.back_to_back(table, 0.4).to_dict("records")
    assert (row["curve"], row["shift"], row["signed_gap_distance"], row["loss"]) == ("symmetric", 2.0, -2.0, 2.0)
    assert (row["barrier_shift"], row["barrier_gap"], row["barrier_loss"]) == (1.0, -1.0, 4.0)
    assert landscapes.back_to_back(table, 0.6).empty, "the loss rises by 0.5 after it"


def test_the_shift_grid_of_the_paper_is_numpys():
    assert cli.shift_grid(0.25) == pytest.approx(np.arange(-5, 5, 0.25))
    assert 0.0 in cli.shift_grid(0.05) and len(cli.shift_grid(0.05)) == 200
    assert cli.shift_grid(3).tolist() == [-3, 0, 3]
    assert cli.shift_grid(0.3).min() == pytest.approx(-4.8) and cli.shift_grid(0.3).max() == pytest.approx(4.8)
