"""The training loop, its loss and the Procrustes map: beside plain loops and by hand, and it repeats exactly."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from open_clip.model import CLIP
from scipy.stats import ortho_group

import reference
from refusals import refuses
from tiny_encoders import undisturbed
from util import UserError
from util.encoders.tower import drawn
from util.geometry import gap_distance, mapped, orthogonal_map, unit_rows
from util.training import (
    LOSSES,
    Pairs,
    TrainingSettings,
    batch_indices,
    info_nce,
    learning_rate_at,
    optimizer_for,
    train,
)

VISION = {"image_size": 8, "patch_size": 4, "width": 16, "layers": 1, "head_width": 8}
TEXT = {"context_length": 5, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1}


def tiny_model(seed: int = 0) -> CLIP:
    """open_clip's CLIP with 8-pixel pictures, five tokens and embeddings of width 8."""
    return drawn(lambda: CLIP(embed_dim=8, vision_cfg=VISION, text_cfg=TEXT).eval(), seed)


def tiny_pairs(n: int = 48, seed: int = 0) -> Pairs:
    """Random pictures, each captioned by four tokens that its first pixels decide, and an end."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8)
    tokens = np.concatenate([images[:, 0, 0, :4] % 19, np.full((n, 1), 19)], axis=1)
    return Pairs(torch.from_numpy(images), torch.from_numpy(tokens.astype(np.int64)))


def tiny_prepare(pixels):
    """uint8 pictures to numbers about 0."""
    return pixels.float() / 128 - 1


def tiny_without_time(log: list[dict]) -> list[dict]:
    """A log without the seconds, which no two runs share."""
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in log]


def tiny_same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether all weights are the same bit for bit."""
    there = other.state_dict()
    return all(torch.equal(value, there[name]) for name, value in one.state_dict().items())


TINY = TrainingSettings(
    steps=8, batch=16, log_every=1, validate_every=3, schedule="constant", temperature=0.1, learning_rate=0.01
)
ONE_STEP = replace(TINY, steps=1, optimizer="sgd", weight_decay=0.0, gradient_clip=None)


def run(settings=TINY, pairs=None, model=None, **options):
    model = model or tiny_model()
    return model, train(model, pairs or tiny_pairs(), settings, tiny_prepare, **options)


def first_batch(model, settings=TINY):
    """Unit rows of the pairs of the first step."""
    pairs = tiny_pairs()
    chosen = batch_indices(len(pairs), settings.batch, settings.seed, 0)
    x = model.encode_image(tiny_prepare(pairs.images[chosen]), normalize=True)
    return x, model.encode_text(pairs.tokens[chosen], normalize=True)


def gradients(model, settings):
    """Those of the settings' first step, of every parameter that it reaches."""
    with torch.no_grad():
        model.logit_scale.fill_(-math.log(settings.temperature))
    LOSSES[settings.loss](*first_batch(model, settings), model.logit_scale.exp()).backward()
    return {name: p.grad for name, p in model.named_parameters()}


def test_a_short_run_lowers_the_loss_and_logs_every_step():
    log = run(replace(TINY, steps=25))[1]
    losses = [entry["loss"] for entry in log]
    assert [entry["step"] for entry in log] == list(range(1, 26))
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:3])
    assert all(0 <= entry["gap_distance"] <= 2 and entry["learning_rate"] == 0.01 for entry in log)


@pytest.mark.parametrize(("n", "batch"), [(10, 5), (11, 3), (7, 7)])
def test_an_epoch_shows_every_pair_at_most_once_in_an_order_of_its_own_whatever_was_asked_before(n, batch):
    per_epoch = n // batch
    steps = {step: batch_indices(n, batch, 3, step).tolist() for step in reversed(range(2 * per_epoch))}
    assert steps == {step: batch_indices(n, batch, 3, step).tolist() for step in range(2 * per_epoch)}
    every = np.array([*steps.values()])[::-1].reshape(2, -1).tolist()
    for seen in every:
        assert len(set(seen)) == per_epoch * batch and set(seen) <= set(range(n))
    assert every[0] != every[1] and steps[0] != batch_indices(n, batch, 4, 0).tolist()


def test_the_learning_rate_runs_through_one_cycle():
    settings = TrainingSettings(steps=100, learning_rate=1.0, warmup_share=0.1)
    rates = [learning_rate_at(settings, step) for step in range(100)]
    assert 0 < rates[0] < 0.1 and rates[10] == 1.0 and rates[55] == pytest.approx(0.5) and 0 < rates[-1] < 1e-3
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)


def test_adamw_leaves_the_logit_scale_alone_and_its_decay_spares_gains_biases_and_embeddings():
    model, _ = run(replace(TINY, temperature=0.05))
    assert model.logit_scale.exp().item() == pytest.approx(20)
    decayed, spared = optimizer_for(model, TINY).param_groups
    optimised = {id(p) for p in decayed["params"] + spared["params"]}
    assert [name for name, p in model.named_parameters() if id(p) not in optimised] == ["logit_scale"]
    assert decayed["weight_decay"] == 0.1 and spared["weight_decay"] == 0
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert any(p is model.positional_embedding for p in spared["params"])


def test_validation_runs_in_evaluation_mode_when_due_and_joins_the_log():
    model, seen = tiny_model(), []

    def validate(done):
        seen.append((done, model.training))
        return {"validation_loss": 1.5}

    log = run(replace(TINY, log_every=100), model=model, validate=validate)[1]
    assert seen == [(3, False), (6, False), (8, False)] and not model.training
    assert [(entry["step"], entry["validation_loss"]) for entry in log] == [(3, 1.5), (6, 1.5), (8, 1.5)]


test_settings_that_make_no_sense_are_refused_by_name = refuses(
    (lambda: replace(TINY, steps=0), "steps"),
    (lambda: replace(TINY, batch=0), "batch"),
    (lambda: replace(TINY, temperature=0.0), "temperature"),
    (lambda: replace(TINY, learning_rate=math.nan), "learning_rate"),
    (lambda: replace(TINY, weight_decay=-1.0), "weight_decay"),
    (lambda: replace(TINY, loss="clip"), "loss must be one of info_nce, not 'clip'"),
    (lambda: run(replace(TINY, batch=49)), "49 pairs is larger than the corpus of 48"),
    (lambda: Pairs(tiny_pairs().images, tiny_pairs(47).tokens), "48 images do not pair with 47"),
)


@pytest.mark.parametrize("loss", ["info_nce", "squares"])
def test_sgd_takes_the_gradient_of_the_named_loss_and_its_decay_off_the_weights(loss, monkeypatch):
    monkeypatch.setitem(LOSSES, "squares", lambda x, y, scale: scale * (x - y).square().sum(1).mean())
    settings = replace(ONE_STEP, weight_decay=0.5, loss=loss)
    trained, log = run(settings)
    start = tiny_model()
    expected = gradients(start, settings)
    for name, p in trained.named_parameters():
        if name != "logit_scale":
            before = start.get_parameter(name).detach()
            torch.testing.assert_close(p.detach(), before - 0.01 * (expected[name] + 0.5 * before))
    with torch.no_grad():
        x, y = first_batch(tiny_model())
    assert log[0]["loss"] == pytest.approx(LOSSES[loss](x, y, torch.tensor(10.0)).item(), rel=1e-5)
    assert log[0]["gap_distance"] == pytest.approx(float((x.mean(0) - y.mean(0)).norm()), rel=1e-5)


def test_adam_as_released_decays_every_parameter_through_the_gradient_and_adamw_does_not():
    """The first step of Adam is the sign of gradient + decay x weight, where that is not tiny; one by hand."""
    settings = replace(ONE_STEP, optimizer="adam", weight_decay=0.2, learn_temperature=True)
    trained, start = run(settings)[0], tiny_model()
    expected = gradients(start, settings)
    for name in ("logit_scale", "ln_final.weight", "text_projection", "token_embedding.weight"):
        before = start.get_parameter(name).detach()
        slope = expected[name] + 0.2 * before
        step = -0.01 * slope / (slope.abs() + settings.epsilon)
        torch.testing.assert_close(trained.get_parameter(name).detach() - before, step, atol=1e-6, rtol=1e-3)
    assert len(optimizer_for(start, settings).param_groups) == 1
    decoupled = run(replace(settings, optimizer="adamw"))[0]
    assert not torch.equal(decoupled.text_projection, trained.text_projection)


def test_without_clipping_the_whole_gradient_is_used():
    moved = []
    for clip in (None, 1e-3):
        trained, start = run(replace(ONE_STEP, gradient_clip=clip))[0], tiny_model()
        start.logit_scale.data.copy_(trained.logit_scale.data)
        steps = [(p - q).detach() for p, q in zip(trained.parameters(), start.parameters(), strict=True)]
        moved.append(math.sqrt(sum(step.square().sum() for step in steps)))
    assert moved[1] == pytest.approx(0.01 * 1e-3, rel=1e-3) and moved[0] > 10 * moved[1]


def test_a_learned_temperature_starts_where_it_is_told_and_is_not_clipped_as_released(monkeypatch):
    """CLIP stops the logit scale at 100 (Radford et al. 2021, section 2.5)."""
    found = [entry["temperature"] for entry in run(replace(TINY, learn_temperature=True))[1]]
    assert found[0] == pytest.approx(0.1) and len(set(found)) == 8
    assert [entry["temperature"] for entry in run()[1]] == pytest.approx([0.1] * 8)
    monkeypatch.setitem(LOSSES, "info_nce", lambda x, y, scale: (x * 0).sum() - scale.log())
    hot = replace(TINY, steps=3, temperature=0.0101, learn_temperature=True, optimizer="sgd", learning_rate=5.0)
    assert run(replace(hot, weight_decay=0.0, gradient_clip=0.1))[0].logit_scale.exp().item() > 120


def test_a_run_repeats_bit_for_bit_by_its_seed_also_what_a_model_draws_and_the_global_generator_stays():
    def dropping():
        model = tiny_model()
        model.ln_final = torch.nn.Sequential(model.ln_final, torch.nn.Dropout(0.3))
        return model

    (model, log), (again, log_again), (other, _) = run(), run(), run(replace(TINY, seed=1))
    assert tiny_without_time(log) == tiny_without_time(log_again)
    assert tiny_same(model, again) and not tiny_same(model, other)
    with undisturbed():
        first, again = (run(model=dropping())[0] for _ in range(2))
    assert tiny_same(first, again) and not torch.equal(first.text_projection, model.text_projection)


@pytest.mark.parametrize(
    ("diverging", "said"),
    [
        (lambda x: x.sum() * math.inf, r"the loss is -?inf, .* at step 7; training stopped"),
        # the root of 0 has a finite value and an infinite slope
        (lambda x: (x - x.detach()).square().sum().sqrt(), r"the norm of its gradient (nan|inf) at step 7"),
    ],
)
def test_what_diverges_names_the_step_and_leaves_the_weights_of_before(monkeypatch, diverging, said):
    calls = itertools.count(1)
    monkeypatch.setitem(LOSSES, "info_nce", lambda x, y, scale: diverging(x) if next(calls) == 8 else (x * y).sum())
    model = tiny_model()
    with pytest.raises(UserError, match=said):
        run(model=model)
    assert all(torch.isfinite(p).all() for p in model.parameters())


SCALE = torch.tensor(7.0, dtype=torch.float64)


def rows(rng, noise=0.5):
    x, y = (unit_rows(rng.normal(size=(6, 4))) for _ in range(2))
    return torch.from_numpy(x), torch.from_numpy(unit_rows(x + noise * y))


def entropies(x, y, scale):
    """-log of the share of the matched row among the rows of y, for each row of x."""
    sums = [sum(math.exp(scale * float(a @ b)) for b in y) for a in x]
    return [math.log(total) - scale * float(a @ b) for total, a, b in zip(sums, x, y, strict=True)]


@pytest.mark.parametrize("noise", [0.3, 3.0])
def test_the_loss_is_what_plain_loops_in_float64_give(noise, rng):
    x, y = rows(rng, noise)
    found, scale = info_nce(x, y, SCALE), SCALE.item()
    expected = (np.mean(entropies(x, y, scale)) + np.mean(entropies(y, x, scale))) / 2
    assert found.ndim == 0 and found.item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_its_gradient_is_that_of_finite_differences(rng):
    inputs = [part.requires_grad_() for part in (*rows(rng), SCALE.clone())]
    assert torch.autograd.gradcheck(info_nce, inputs, atol=1e-6, fast_mode=True)


def test_equal_rows_are_chance():
    same = torch.ones(5, 4) / 2
    assert info_nce(same, same, SCALE).item() == pytest.approx(math.log(5))


PLAIN = TrainingSettings(
    steps=5, batch=16, optimizer="sgd", schedule="constant", learning_rate=0.5, temperature=0.1, log_every=1
)


def test_a_turned_copy_is_turned_back(rng):
    x, _ = reference.pairs(rng, 40, 6, dtype=np.float64)
    turn = ortho_group.rvs(6, random_state=rng)
    np.testing.assert_allclose(orthogonal_map(x, x @ turn), turn.T, atol=1e-12)


def test_the_map_is_of_the_kind_and_precision_of_the_images(rng):
    x, y = reference.pairs(rng, 40, 6)
    assert orthogonal_map(x, y).dtype == np.float32
    tensor = orthogonal_map(torch.from_numpy(x), torch.from_numpy(y))
    assert isinstance(tensor, torch.Tensor) and np.allclose(tensor.numpy(), orthogonal_map(x, y))
    assert mapped(x, None) is x


def test_training_with_a_map_starts_from_the_amended_gap():
    """The first entry of the log is measured on the turned texts."""
    pairs, model = tiny_pairs(), tiny_model()
    with torch.no_grad():
        x = model.encode_image(tiny_prepare(pairs.images), normalize=True)
        y = model.encode_text(pairs.tokens, normalize=True)
    turn = orthogonal_map(x, y)
    whole = replace(PLAIN, steps=1, batch=len(pairs))
    amended = train(tiny_model(), pairs, whole, tiny_prepare, text_map=turn.numpy())[0]
    original = train(model, pairs, whole, tiny_prepare)[0]
    assert amended["gap_distance"] == pytest.approx(gap_distance(x, mapped(y, turn)), rel=1e-4)
    assert original["gap_distance"] == pytest.approx(gap_distance(x, y), rel=1e-4)
    assert amended["gap_distance"] < 0.3 * original["gap_distance"]


@pytest.mark.parametrize(
    ("turn", "told"),
    [
        (np.eye(8)[:7], "must be square"),
        (2 * np.eye(8), "must be orthogonal"),
        (np.full((8, 8), np.nan), "not finite"),
        (np.eye(7), "texts have 8 numbers"),
    ],
)
def test_what_is_not_an_orthogonal_map_of_the_texts_is_refused(turn, told):
    with pytest.raises(UserError, match=told):
        train(tiny_model(), tiny_pairs(), PLAIN, tiny_prepare, text_map=turn)


test_a_map_needs_pairs = refuses(
    (lambda: orthogonal_map(np.eye(3), np.eye(3)[:2]), "x has 3 rows and y 2"),
    (lambda: orthogonal_map(2 * np.eye(3), np.eye(3)), "unit-norm"),
)
