"""Networks that draw strokes: the density against numpy, the laws of the network, data, the score and the commands."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tasks import EXAMPLES, figures, write_figures

from edgernn.cli import execute
from edgernn.cli.load import load_model
from edgernn.data import strokes
from edgernn.data.drawn_digits import digit_stroke
from edgernn.data.strokes import drawn_numbers, open_drawings, open_training
from edgernn.engines.eager import eager_model
from edgernn.errors import CheckFailedError, ConfigError, CorpusError
from edgernn.execution import Execution
from edgernn.exporters import export
from edgernn.models.source import Source
from edgernn.pens import START, StrokeUnits, mixture_size
from edgernn.runtime import Model, Sampler
from edgernn.runtime.pipelines.pens import Pen, PensOptions, PensPipeline
from edgernn.tasks import TASKS
from edgernn.tasks.pens.learner import augmented
from edgernn.tasks.pens.network import PenNetwork, negative_log_likelihood
from edgernn.tasks.pens.score import as_batch, evaluate, score_drawings
from edgernn.tasks.pens.settings import PensConfig, PensEvaluation
from edgernn.training import Trainer
from edgernn.training.trainer import ignore_progress

PENS = TASKS["pens"]
CONFIG = PensConfig(scale=20.0, longest=9, components=4, features=5, hidden=9, layers=2, dropout=0.0)
UNITS = StrokeUnits(20.0, 9)
ASSETS = {"strokes.json": json.dumps(UNITS.to_json()).encode()}
DRAWINGS = figures(13, 3)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return PenNetwork(CONFIG).eval()


@pytest.fixture(scope="module")
def model(network):
    return eager_model(Source(network, ASSETS))


# The density


def naive_density(mixture, x, y):
    """The sum of the normal densities of a mixture, one by one, from the inverse of each covariance matrix."""
    logits, across, down, wide, high, steep = mixture[:-3].reshape(6, -1)
    total = 0.0
    for place, chance in enumerate(np.exp(logits) / np.exp(logits).sum()):
        product = steep[place] * wide[place] * high[place]
        covariance = np.array([[wide[place] ** 2, product], [product, high[place] ** 2]])
        apart = np.array([x - across[place], y - down[place]])
        exponent = -0.5 * apart @ np.linalg.inv(covariance) @ apart
        total += chance * np.exp(exponent) / (2 * np.pi * np.sqrt(np.linalg.det(covariance)))
    return total


@given(st.integers(0, 2**32), st.integers(1, 5))
def test_the_density_is_that_of_numpy(seed, components):
    random = np.random.default_rng(seed)
    logits, x, y, wide, high, steep = random.normal(size=(6, components))
    parts = [logits, x, y, np.exp(wide), np.exp(high), np.tanh(steep), random.normal(size=3)]
    mixture, state = np.concatenate(parts), int(random.integers(3))
    target = np.array([*random.normal(size=2), *np.eye(3)[state]])
    offset, pen = negative_log_likelihood(torch.tensor(mixture), torch.tensor(target))
    assert offset.item() == pytest.approx(-np.log(naive_density(mixture, *target[:2])), rel=1e-6, abs=1e-6)
    chances = np.exp(mixture[-3:]) / np.exp(mixture[-3:]).sum()
    assert pen.item() == pytest.approx(-np.log(chances[state]))


def test_the_density_adds_up_to_one(network):
    state = network.stack.initial_state(1)
    with torch.no_grad():
        mixture, _ = network.sequence(torch.from_numpy(START)[None, None], state)
    side = torch.linspace(-12, 12, 601)
    grid = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1).flatten(0, 1)
    points = torch.cat([grid, torch.zeros(len(grid), 3)], dim=1)
    offset, _ = negative_log_likelihood(mixture[0].expand(len(grid), -1).double(), points.double())
    assert (torch.exp(-offset).sum() * 0.04**2).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("bias", [-1e4, -30.0, 0.0, 30.0, 1e4])
def test_no_density_is_narrower_than_the_rounding_of_the_data(bias):
    network = PenNetwork(CONFIG).eval()
    torch.nn.init.constant_(network.mixture.bias, bias)
    mixture = network(torch.from_numpy(START)[None], torch.zeros(1, 5), *network.stack.initial_state(1))[0]
    wide, high, steep = mixture[0, 12:24].detach().double().reshape(3, 4).numpy()
    product = steep * wide * high
    for place in range(4):
        covariance = np.array([[wide[place] ** 2, product[place]], [product[place], high[place] ** 2]])
        assert np.linalg.eigvalsh(covariance)[0] >= 0.99 / 12 / CONFIG.scale**2
    found = negative_log_likelihood(mixture, torch.tensor([[0.0, 0, 1, 0, 0]]))
    assert all(bool(torch.isfinite(each).all()) for each in found)


@pytest.mark.parametrize("bias", [-30.0, 0.0, 30.0])
def test_mixed_precision_does_not_reach_the_mixture(bias):
    torch.manual_seed(0)
    network = PenNetwork(CONFIG).eval()
    torch.nn.init.constant_(network.mixture.bias, bias)  # at 30, nothing but the correlation's limit keeps it below 1
    points, state = torch.from_numpy(START).expand(3, 1, -1), network.stack.initial_state(1)
    with torch.autocast("cpu", torch.bfloat16):
        mixture, _ = network.sequence(points, state)
        h, _ = network.stack.sequence(torch.tanh(network.features(points)), state)
    assert h.dtype == torch.bfloat16
    assert torch.equal(mixture, network._predict(h.float()))
    assert mixture[..., 20:24].abs().max() < 0.9999
    found = negative_log_likelihood(mixture, torch.tensor([0.0, 0, 1, 0, 0]))
    assert all(bool(torch.isfinite(each).all()) for each in found)


# The network


def test_the_network_needs_the_units_of_its_data():
    with pytest.raises(ConfigError, match="needs the scale"):
        PenNetwork(PensConfig())


def test_steps_are_the_sequence_and_the_pen_is_where_the_points_lead(network, model):
    inputs = as_batch(DRAWINGS, UNITS.scale).inputs
    with torch.no_grad():
        mixtures, _ = network.sequence(torch.from_numpy(inputs), network.stack.initial_state(len(DRAWINGS)))
    state = model.begin(batch=len(DRAWINGS))[1]
    assert np.array_equal(state["pen"], np.broadcast_to(START, (len(DRAWINGS), 5)))
    for rows, expected in zip(inputs, mixtures.numpy(), strict=True):
        outputs, state = model.step({"point": rows}, state)
        np.testing.assert_allclose(outputs["mixture"], expected, atol=1e-5)
    assert expected.shape == (len(DRAWINGS), mixture_size(CONFIG.components))
    np.testing.assert_allclose(state["pen"][:, :2], inputs[:, :, :2].sum(axis=0), atol=1e-5)
    assert np.array_equal(state["pen"][:, 2:], inputs[-1, :, 2:])


# The score


def by_hand(model, drawing, *, kept):
    """The nats of the offset, of the pen and of the end of a drawing, point by point, as naive sums."""
    first = state = model.begin()[1]
    batch = as_batch([drawing], UNITS.scale)
    offset = pen = 0.0
    for rows, target in zip(batch.inputs, batch.targets, strict=True):
        outputs, state = model.step({"point": rows}, state if kept else first)
        mixture = outputs["mixture"][0].astype(float)
        last = mixture[-3:] - np.log(np.exp(mixture[-3:]).sum())
        if target[0, 4]:
            return offset, pen, -last[2]
        offset -= np.log(naive_density(mixture, *target[0, :2].astype(float)))
        pen -= last[target[0, 2:].argmax()]
    raise AssertionError


def test_the_score_is_the_mean_over_the_points(model):
    sums = np.array([by_hand(model, each, kept=True) for each in DRAWINGS]).sum(axis=0)
    reset = np.array([by_hand(model, each, kept=False) for each in DRAWINGS]).sum()
    points = sum(map(len, DRAWINGS))
    found = score_drawings(lambda rows: predictions(model, rows), DRAWINGS, UNITS)
    assert (found.points, found.count) == (points, 13)
    assert found.nats == pytest.approx(sums.sum() / points, rel=1e-5)
    assert (found.offset, found.pen) == pytest.approx((sums[0] / points, sums[1:].sum() / points), rel=1e-5)
    assert found.reset == pytest.approx(reset / points, rel=1e-5)
    assert found.sketch_rnn == pytest.approx(sums[:2].sum() / (13 * UNITS.longest), rel=1e-5)
    assert "nats a point" in str(found)


def predictions(model, rows):
    first = model.begin(batch=rows.shape[1])[1]
    state, kept = first, []
    for each in rows:
        outputs, state = model.step({"point": each}, state)
        kept.append(outputs["mixture"])
    return np.stack(kept), np.stack([model.step({"point": each}, first)[0]["mixture"] for each in rows])


def test_a_bundle_is_evaluated_on_data_and_not_without(model, tmp_path):
    write_figures(tmp_path / "all.npz", 20)
    found = evaluate(model, PensEvaluation(data=str(tmp_path / "all.npz")), ignore_progress)
    assert found.score == score_drawings(lambda rows: predictions(model, rows), figures(20), UNITS)
    assert "has no parts, so all of it is scored" in found.notes[0]
    with pytest.raises(ConfigError, match="is evaluated on drawings: name them with --data"):
        evaluate(model, PensEvaluation(), ignore_progress)
    (tmp_path / "parts").mkdir()
    write_figures(tmp_path / "parts" / "train.npz", 20)
    write_figures(tmp_path / "parts" / "val.npz", 5, 1)
    with pytest.raises(CorpusError, match="has no part test; it has train, dev: name one with --split"):
        evaluate(model, PensEvaluation(data=str(tmp_path / "parts")), ignore_progress)
    dev = evaluate(model, PensEvaluation(data=str(tmp_path / "parts"), split="dev"), ignore_progress)
    assert (dev.score.count, dev.notes) == (5, [])


def test_a_density_that_is_not_a_number_is_named():
    network = PenNetwork(CONFIG).eval()
    torch.nn.init.constant_(network.mixture.bias, np.nan)
    with pytest.raises(CheckFailedError, match="the density of the points is not a number"):
        score_drawings(lambda rows: predictions(eager_model(Source(network, ASSETS)), rows), DRAWINGS, UNITS)


# Data


def lines_of(points):
    return np.cumsum(points[:, :2], axis=0), points[:, 2]


@given(st.integers(0, 1000), st.integers(0, 9), st.integers(0, 9))
def test_augmentation_stretches_and_passes_by_points_within_strokes(seed, stretch, drop):
    stretch, drop = stretch / 10, drop / 10
    points = np.concatenate([figures(1, seed)[0]] * 3)
    found = augmented(points, stretch, drop, np.random.default_rng(seed))
    (places, lifts), (moved, lifted) = lines_of(points), lines_of(found)
    assert lifted.sum() == lifts.sum()
    last = places[lifts == 1]
    factors = moved[lifted == 1].sum(axis=0) / np.where(last.sum(axis=0) == 0, 1, last.sum(axis=0))
    np.testing.assert_allclose(moved[lifted == 1], last * factors, atol=1e-6)
    assert np.all((np.abs(factors - 1) <= stretch + 1e-9) | (last.sum(axis=0) == 0))
    assert len(found) <= len(points)


def test_without_augmentation_a_drawing_is_as_it_is():
    points = figures(1)[0]
    assert np.array_equal(augmented(points, 0, 0, np.random.default_rng(0)), points)
    assert len(augmented(points, 0, 0.999, np.random.default_rng(0))) == 2 * points[:, 2].sum()


def test_the_parts_of_the_data_are_those_of_its_files(tmp_path):
    write_figures(tmp_path / "one.npz", 20)
    train, kept = open_training(str(tmp_path / "one.npz"), 0.25, 7)
    assert (len(train), len(kept)) == (15, 5)
    again = open_training(str(tmp_path / "one.npz"), 0.25, 7)[1]
    assert all(np.array_equal(*each) for each in zip(kept, again, strict=True))
    whole = {each.tobytes() for each in figures(20)}
    assert {each.tobytes() for each in (*train, *kept)} == whole
    (tmp_path / "parts").mkdir()
    for part, count in (("train", 6), ("valid", 3), ("test", 2)):
        write_figures(tmp_path / "parts" / f"{part}.npz", count, count)
    assert [len(part) for part in open_training(str(tmp_path / "parts"), 0.5, 0)] == [6, 3]
    assert len(open_drawings(str(tmp_path / "parts"), "test")) == 2


def test_numbers_are_drawn_stroke_by_stroke(monkeypatch):
    monkeypatch.setattr(strokes, "_DRAWN", {"train": 60, "dev": 20, "test": 20})
    drawn = drawn_numbers("train")
    assert {int(each[:, 2].sum()) for each in drawn} == {1, 2, 3}
    assert all(each.dtype == np.int16 and each[-1, 2] == 1 and each[0, :2].any() for each in drawn)
    assert all(np.array_equal(*each) for each in zip(drawn, drawn_numbers("train"), strict=True))
    assert {each.tobytes() for each in drawn}.isdisjoint(each.tobytes() for each in drawn_numbers("dev"))
    stroke = digit_stroke(7, np.random.default_rng(0))
    assert np.ptp(stroke, axis=0) == pytest.approx([0.6, 0.85], abs=0.3)
    with pytest.raises(CorpusError, match="there is no part val of the drawn digits: there is train, dev, test"):
        open_drawings("digits", "val")


# Commands


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"points": np.zeros((4, 3), np.int16), "ends": np.array([2, 4])}, "the pen does not lift at the end"),
        ({"points": np.int16([[0, 0, 1]]), "ends": np.array([1])}, "has one drawing to train on, and one must be"),
        ({"points": np.int16([[0, 0, 1]] * 4), "ends": np.arange(1, 5)}, "drawings whose points are all in one place"),
        ({"points": np.zeros((4, 2), np.int16), "ends": np.array([4])}, "points are int16[4, 2], and not int16"),
    ],
)
def test_data_that_does_not_fit_is_one_line(tmp_path, monkeypatch, capsys, arrays, words):
    np.savez(tmp_path / "x.npz", **arrays)
    monkeypatch.chdir(tmp_path)
    assert execute(["train", "pens", "x.npz", "--out", "run", "--steps", "1"]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("source", "words"),
    [("none", "there is no none"), ("text.csv", "text.csv has no npz files: drawings"), (".", ". has no npz files")],
)
def test_a_source_without_drawings_is_one_line(tmp_path, monkeypatch, capsys, source, words):
    (tmp_path / "text.csv").write_text("sequence,label,x\n1,2,3\n")
    monkeypatch.chdir(tmp_path)
    assert execute(["train", "pens", source, "--out", "run", "--steps", "1"]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1


@pytest.mark.slow
def test_a_network_is_trained_exported_evaluated_and_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    EXAMPLES["pens"].write(tmp_path)
    settings = {**EXAMPLES["pens"].settings, "steps": 60, "evaluations": 1}
    options = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert execute(["train", "pens", ".", "--out", "run", "--json", *options]) == 0
    best = json.loads(capsys.readouterr().out)["best"]
    assert best["nats"] == pytest.approx(best["offset"] + best["pen"])
    assert execute(["evaluate", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == pytest.approx(best, rel=1e-4)
    assert execute(["export", "run", "--precision", "int8", "--out", "bundle"]) == 0
    capsys.readouterr()
    assert execute(["evaluate", "bundle", "--data", ".", "--split", "dev", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["nats"] == pytest.approx(best["nats"], abs=0.05)
    assert execute(["run", "bundle", "--seed", "3", "--out", "one.json"]) == 0
    assert capsys.readouterr().out.endswith("in one.json\n")
    assert execute(["run", "bundle", "--complete", "one.json", "--out", "two.svg", "--max-points", "50", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["out"], found["steps"]) == ("two.svg", found["drawings"][0]["points"])
    assert (tmp_path / "two.svg").read_text().startswith("<svg")
    for words, message in (
        (["--temperature", "0"], "--temperature 0 is not a number of at least 0.001"),
        (["--temperature=-1"], "--temperature -1 is not a number of at least 0"),
        (["drawing.json"], "a pens bundle takes no INPUT: leave out drawing.json"),
        (["--label", "7"], "--label"),
        (["--complete", "none.json"], "none.json cannot be read"),
    ):
        assert execute(["run", "bundle", *words]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_starts_from_another_one_has_its_scale(tmp_path):
    (tmp_path / "own").mkdir()
    sources = EXAMPLES["pens"].write(tmp_path / "own")
    first = Trainer.begin(PENS, sources, tmp_path / "first", **{**EXAMPLES["pens"].settings, "steps": 2})
    for _ in first.fit():
        pass
    large = np.concatenate(figures(30, 5)) * np.int16([3, 3, 1])
    write_figures(tmp_path / "large.npz", 30, 5, points=large)
    training = {"steps": 2, "evaluations": 1, "autocast": "off"}
    second = Trainer.begin(
        PENS, [str(tmp_path / "large.npz")], tmp_path / "second", start_from=tmp_path / "first", **training
    )
    assert second.run.prepared.assets == first.run.prepared.assets


@pytest.mark.slow
def test_the_same_seed_draws_the_same_on_every_target(network, tmp_path):
    """The random numbers are the same to the bit, and the mixtures as far as the precision allows."""
    source = Source(network, ASSETS)
    for target in ("onnx", "ort", "c"):
        export(source, tmp_path / target, target=target, steps=32)
    models = {target: Model.load(tmp_path / target) for target in ("onnx", "ort")}
    models["c"] = load_model(tmp_path / "c", Execution(engine="c"))
    options = PensOptions(seed=11, count=3)
    expected = PensPipeline(eager_model(source))({}, options)
    for model in models.values():
        found = PensPipeline(model)({}, options)
        assert found.ended == expected.ended
        for ours, theirs in zip(found.drawings, expected.drawings, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-2)
    first = Pen(models["c"])
    stream = first.stream(Sampler(seed=11))
    first.draw(stream)
    for name in ("onnx", "ort"):
        pen = Pen(models[name])
        other = pen.stream(Sampler())
        other.restore(stream.snapshot())
        np.testing.assert_allclose(pen.draw(other), first.draw(stream.fork()), atol=1e-3)


@pytest.mark.real_data
def test_sheep_are_read_and_learned_from(real_data, tmp_path):
    folder = real_data / "sketch_sheep"
    train, kept = open_training(str(folder), 0.05, 0)
    assert (len(train), len(kept)) == (7400, 300)
    assert max(map(len, (*train, *kept))) == 250
    np.savez(tmp_path / "few.npz", points=np.concatenate(train[:200]), ends=np.cumsum([*map(len, train[:200])]))
    settings = {"hidden": 32, "components": 5, "batch_size": 20, "steps": 30, "evaluations": 2, "autocast": "off"}
    trainer = Trainer.begin(PENS, [str(tmp_path / "few.npz")], tmp_path / "run", **settings)
    before = trainer.learner.evaluate(trainer.network.eval())
    trainer.network.train()
    for _ in trainer.fit():
        pass
    after = trainer.learner.evaluate(trainer.run.network())
    assert after.nats < before.nats - 1
