"""The training loop: what happens at a step depends on the settings and the step alone, and it repeats exactly."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from util.encoders import small_clip
from util.encoders.small_clip_training import corpus_pairs
from util.errors import UserError
from util.training import (
    Pairs,
    TrainingSettings,
    batch_indices,
    embed,
    learning_rate_at,
    optimizer_for,
    pictures_on_disk,
    temperature_at,
    train,
)
from util.training.losses import LOSSES

SHORT = TrainingSettings(steps=8, batch=32, learning_rate=1e-3, log_every=1, validate_every=3)


@pytest.fixture(scope="module")
def pairs():
    return corpus_pairs(small_clip.random(0), 200, seed=5)


def run(pairs, settings=SHORT, seed=0, **options):
    clip = small_clip.random(seed)
    log = train(clip.model, pairs, settings, clip.prepare, progress=False, **options)
    return clip.model, log


def test_a_short_run_lowers_the_loss_and_logs_every_step(pairs):
    _, log = run(pairs, replace(SHORT, steps=25))
    losses = [entry["loss"] for entry in log]
    assert [entry["step"] for entry in log] == list(range(1, 26))
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:3])
    assert all(0 <= entry["gap_distance"] <= 2 for entry in log)


def test_the_same_settings_give_the_same_run_bit_for_bit(pairs):
    (model, log), (again, log_again), (other, _) = run(pairs), run(pairs), run(pairs, replace(SHORT, seed=1))
    weights, weights_again = model.state_dict(), again.state_dict()
    assert tiny.without_time(log) == tiny.without_time(log_again)
    assert all(torch.equal(weights[name], weights_again[name]) for name in weights)
    assert not torch.equal(weights["text_projection"], other.state_dict()["text_projection"])


def test_the_first_loss_is_the_symmetric_cross_entropy_of_the_first_batch(pairs):
    clip = small_clip.random(0)
    chosen = batch_indices(len(pairs), SHORT.batch, SHORT.seed, 0).copy()
    with torch.no_grad():
        x, y = embed(clip.model.train(), clip.prepare(pairs.images[chosen]), pairs.tokens[chosen])
    cosines = (x.double() @ y.double().T).numpy() / SHORT.temperature
    both = np.stack([cosines, cosines.T])
    top = both.max(2)
    expected = np.mean(np.log(np.exp(both - top[..., None]).sum(2)) + top - np.diag(cosines))
    _, log = run(pairs, replace(SHORT, steps=1))
    assert log[0]["loss"] == pytest.approx(expected, rel=1e-4)
    assert log[0]["gap_distance"] == pytest.approx(float((x.mean(0) - y.mean(0)).norm()), rel=1e-4)


def test_the_loss_that_is_given_is_the_one_that_is_trained(pairs):
    """A loss that only wants the first image coordinate large makes it larger."""
    wanted = lambda x, y, scale: -x[:, 0].mean()  # noqa: E731
    _, log = run(pairs, replace(SHORT, steps=20), loss=wanted)
    assert log[-1]["loss"] < log[0]["loss"] - 0.2


@pytest.mark.parametrize(("n", "batch"), [(10, 5), (11, 3), (7, 7)])
def test_an_epoch_shows_every_pair_at_most_once_and_the_next_is_in_another_order(n, batch):
    per_epoch = n // batch
    epochs = [
        np.concatenate([batch_indices(n, batch, 3, e * per_epoch + i) for i in range(per_epoch)]) for e in range(2)
    ]
    for seen in epochs:
        assert len(set(seen.tolist())) == per_epoch * batch and set(seen.tolist()) <= set(range(n))
    assert epochs[0].tolist() != epochs[1].tolist()


def test_the_order_of_the_data_is_a_function_of_seed_and_step_alone():
    forwards = [batch_indices(50, 8, 2, step).tolist() for step in range(20)]
    backwards = [batch_indices(50, 8, 2, step).tolist() for step in reversed(range(20))]
    assert forwards == backwards[::-1]
    assert forwards[0] != batch_indices(50, 8, 3, 0).tolist()


def test_the_temperature_moves_geometrically_and_is_fixed_for_its_share():
    settings = TrainingSettings(steps=100, first_temperature=0.04, temperature=0.01, fixed_share=0.2)
    found = [temperature_at(settings, step) for step in range(100)]
    assert found[0] == pytest.approx(0.04) and found[40] == pytest.approx(0.02)
    assert found[80:] == [0.01] * 20 and found[79] > 0.01
    assert temperature_at(TrainingSettings(steps=100), 0) == 0.01


def test_the_learning_rate_runs_through_one_cycle():
    settings = TrainingSettings(steps=100, learning_rate=1.0, warmup_share=0.1)
    rates = [learning_rate_at(settings, step) for step in range(100)]
    assert 0 < rates[0] < 0.1 and rates[10] == 1.0 and rates[55] == pytest.approx(0.5) and 0 < rates[-1] < 1e-3
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)


def test_the_logit_scale_is_the_inverse_temperature_and_is_not_learned(pairs):
    model, _ = run(pairs, replace(SHORT, temperature=0.05, first_temperature=0.05))
    assert model.logit_scale.exp().item() == pytest.approx(20)
    optimised = {id(p) for group in optimizer_for(model, SHORT).param_groups for p in group["params"]}
    named = dict(model.named_parameters())
    assert {name for name, p in named.items() if id(p) not in optimised} == {"logit_scale"}


def test_weight_decay_spares_gains_biases_and_embeddings():
    decayed, spared = optimizer_for(small_clip.random(0).model, SHORT).param_groups
    assert decayed["weight_decay"] == 0.1 and spared["weight_decay"] == 0
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert any(p.shape == (14, 128) for p in spared["params"]), "the positional embedding of the texts"


def test_validation_runs_in_evaluation_mode_when_due_and_joins_the_log(pairs):
    seen = []
    clip = small_clip.random(0)

    def validate(done):
        seen.append((done, clip.model.training))
        return {"validation_loss": 1.5}

    log = train(clip.model, pairs, replace(SHORT, log_every=100), clip.prepare, validate=validate, progress=False)
    assert seen == [(3, False), (6, False), (8, False)]
    assert [(entry["step"], entry["validation_loss"]) for entry in log] == [(3, 1.5), (6, 1.5), (8, 1.5)]
    assert not clip.model.training


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(pairs):
    calls = []

    def broken(x, y, scale):
        calls.append(0)
        return (x * y).sum() * (math.nan if len(calls) == 4 else 1)

    clip = small_clip.random(0)
    with pytest.raises(UserError, match="nan at step 3"):
        train(clip.model, pairs, SHORT, clip.prepare, loss=broken, progress=False)
    assert all(torch.isfinite(p).all() for p in clip.model.parameters())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"steps": 0}, "steps"),
        ({"batch": 0}, "batch"),
        ({"temperature": 0.0}, "temperature"),
        ({"first_temperature": -1.0}, "first_temperature"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"fixed_share": 1.5}, "fixed_share"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"gradient_clip": 0.0}, "gradient_clip"),
        ({"loss": "clip"}, "loss must be one of info_nce, .*, not 'clip'"),
        ({"optimizer": "lion"}, "optimizer must be one of adamw, adam, sgd, not 'lion'"),
        ({"schedule": "cosine"}, "schedule must be one of one_cycle, constant, not 'cosine'"),
        ({"learn_temperature": True, "fixed_share": 0.5}, "learned or scheduled, not both"),
        ({"learn_temperature": True, "temperature": 0.005}, "learned temperature must start at 0.01 to 1"),
        ({"learn_temperature": True, "temperature": 2.0}, "clipped, not at 2"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(changes, named):
    with pytest.raises(UserError, match=named):
        replace(SHORT, **changes)


def test_a_batch_larger_than_the_corpus_is_refused(pairs):
    with pytest.raises(UserError, match="201 pairs is larger than the corpus of 200"):
        run(pairs, replace(SHORT, batch=201))


def test_images_and_captions_of_different_counts_are_refused(pairs):
    with pytest.raises(UserError, match="200 images do not pair with 199"):
        Pairs(pairs.images, pairs.tokens[:-1])


TINY = TrainingSettings(steps=3, batch=16, log_every=1, schedule="constant", temperature=0.1, learning_rate=0.01)


def run_tiny(settings=TINY, pairs=None, **options):
    model = tiny.model()
    return model, train(model, pairs or tiny.pairs(), settings, tiny.prepare, progress=False, **options)


def gradients(model, settings):
    """Those of the settings' first step, of every parameter that it reaches."""
    pairs = tiny.pairs()
    chosen = batch_indices(len(pairs), settings.batch, settings.seed, 0).copy()
    with torch.no_grad():
        model.logit_scale.fill_(-math.log(settings.temperature))
    x, y = embed(model, tiny.prepare(pairs.images[chosen]), pairs.tokens[chosen])
    LOSSES[settings.loss](x, y, model.logit_scale.exp()).backward()
    return {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_that_is_named_is_the_one_that_is_trained(loss):
    named, log = run_tiny(replace(TINY, loss=loss))
    given, log_given = run_tiny(loss=LOSSES[loss])
    assert tiny.same(named, given) and tiny.without_time(log) == tiny.without_time(log_given)
    assert loss == "info_nce" or tiny.without_time(log) != tiny.without_time(run_tiny()[1])


def test_sgd_takes_the_gradient_and_its_decay_off_the_weights():
    settings = replace(TINY, steps=1, optimizer="sgd", weight_decay=0.5, gradient_clip=None)
    trained, start = run_tiny(settings)[0], tiny.model()
    expected = gradients(start, settings)
    for name, p in trained.named_parameters():
        if name != "logit_scale":
            before = start.get_parameter(name).detach()
            torch.testing.assert_close(p.detach(), before - 0.01 * (expected[name] + 0.5 * before))


def test_adam_as_released_decays_every_parameter_through_the_gradient_and_adamw_does_not():
    """The first step of Adam is the sign of gradient + decay x weight, where that is not tiny; one by hand."""
    settings = replace(TINY, steps=1, optimizer="adam", weight_decay=0.2, learn_temperature=True, gradient_clip=None)
    trained, start = run_tiny(settings)[0], tiny.model()
    expected = gradients(start, settings)
    for name in ("logit_scale", "ln_final.weight", "text_projection", "token_embedding.weight"):
        before = start.get_parameter(name).detach()
        slope = expected[name] + 0.2 * before
        step = -0.01 * slope / (slope.abs() + settings.epsilon)
        torch.testing.assert_close(trained.get_parameter(name).detach() - before, step, atol=1e-6, rtol=1e-3)
    assert len(optimizer_for(start, settings).param_groups) == 1
    decoupled = run_tiny(replace(settings, optimizer="adamw"))[0]
    assert not torch.equal(decoupled.text_projection, trained.text_projection)


def test_without_clipping_the_whole_gradient_is_used():
    settings = replace(TINY, steps=1, optimizer="sgd", weight_decay=0.0, gradient_clip=None)
    whole, clipped = run_tiny(settings)[0], run_tiny(replace(settings, gradient_clip=1e-3))[0]
    moved = [
        math.sqrt(sum((p - q).detach().square().sum() for p, q in zip(m.parameters(), s.parameters(), strict=True)))
        for m, s in ((whole, tiny.model()), (clipped, tiny.model()))
        for scale in [s.logit_scale.data.copy_(m.logit_scale.data)]
    ]
    assert moved[1] == pytest.approx(0.01 * 1e-3, rel=1e-3) and moved[0] > 10 * moved[1]


def test_a_constant_learning_rate_is_constant():
    assert {entry["learning_rate"] for entry in run_tiny()[1]} == {0.01}


def test_a_learned_temperature_starts_where_it_is_told_and_moves():
    log = run_tiny(replace(TINY, steps=20, learn_temperature=True))[1]
    found = [entry["temperature"] for entry in log]
    assert found[0] == pytest.approx(0.1) and len(set(found)) == 20
    fixed = [entry["temperature"] for entry in run_tiny(replace(TINY, steps=20))[1]]
    assert fixed == [0.1] * 20


def test_pictures_on_disk_train_the_same_model(tmp_path):
    pairs = tiny.pairs()
    file = np.lib.format.open_memmap(tmp_path / "pictures.npy", "w+", np.uint8, tuple(pairs.images.shape))
    file[:] = pairs.images.numpy()
    file.flush()
    mapped = pictures_on_disk(tmp_path / "pictures.npy")
    assert torch.equal(mapped, pairs.images)
    (model, log), (other, log_other) = run_tiny(), run_tiny(pairs=Pairs(mapped, pairs.tokens))
    assert tiny.same(model, other) and tiny.without_time(log) == tiny.without_time(log_other)


def test_pictures_on_disk_are_not_read_into_memory(tmp_path):
    """A file of 2 GB, nearly all of it a hole, is there at once, and one picture of it costs one picture."""
    path = tmp_path / "pictures.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (13_000, 3, 224, 224))[7] = 9
    before = resident_kilobytes()
    images = pictures_on_disk(path)
    assert images[torch.tensor([7, 12_999])].float().mean() == 4.5
    assert resident_kilobytes() - before < 100_000


def resident_kilobytes():
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmRSS:") + 1])


@pytest.mark.parametrize("content", ["missing", "text", "objects", "floats", "channels last"])
def test_what_holds_no_pictures_is_refused(content, tmp_path):
    path = tmp_path / "pictures.npy"
    if content == "text":
        path.write_text("no array")
    elif content != "missing":
        shape, dtype = {"objects": ((2,), object), "floats": ((2, 3, 4, 4), float)}.get(content, ((2, 4, 4, 3), "u1"))
        np.save(path, np.zeros(shape, dtype), allow_pickle=True)
    with pytest.raises(UserError, match=str(path)):
        pictures_on_disk(path)


def test_a_learned_logit_scale_is_clipped_as_clip_was_and_not_as_released():
    scales = {}
    for clip in (True, False):
        model = tiny.model()
        settings = TrainingSettings(
            steps=3, batch=16, temperature=0.0101, learn_temperature=True, clip_logit_scale=clip, optimizer="sgd",
            learning_rate=5.0, weight_decay=0.0, schedule="constant", gradient_clip=0.1, first_temperature=0.0101,
        )  # fmt: skip
        with torch.no_grad():
            model.logit_scale.fill_(-math.log(0.0101))
        train(
            model,
            tiny.pairs(),
            settings,
            tiny.prepare,
            loss=lambda x, y, scale: (x * 0).sum() - scale.log(),
            progress=False,
        )
        scales[clip] = model.logit_scale.exp().item()
    assert scales[True] == pytest.approx(100, rel=1e-5) and scales[False] > 120
