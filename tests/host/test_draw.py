"""Networks that draw: the window against numpy, the bound, the state laws, the score and the commands."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tasks import EXAMPLES, bars, idx, write_bars
from tiny import write_drawer

from edgernn.cli import execute
from edgernn.cli.load import load_model
from edgernn.data import pictures as labelled
from edgernn.engines.eager import eager_model
from edgernn.engines.executorch import LARGEST_BATCH
from edgernn.errors import CheckFailedError, ConfigError, CorpusError
from edgernn.execution import Execution
from edgernn.exporters import export
from edgernn.models.source import Source
from edgernn.runtime import Model, Sampler
from edgernn.runtime.pipelines.draw import Draw, DrawOptions, DrawPipeline
from edgernn.runtime.pipelines.glimpse import Look
from edgernn.sampling import Generator
from edgernn.tasks import TASKS
from edgernn.tasks.draw.network import Drawer, window_at
from edgernn.tasks.draw.score import binary, evaluate, score_drawing
from edgernn.tasks.draw.settings import DrawConfig, DrawEvaluation
from edgernn.tasks.glimpse.network import Glimpser
from edgernn.tasks.glimpse.settings import GlimpseConfig
from edgernn.tasks.score import RunData
from edgernn.training.trainer import ignore_progress

DRAW = TASKS["draw"]
CONFIG = DrawConfig(height=9, width=11, classes=3, writes=4, window=4, latents=2, hidden=7)
LABELS = {"labels.json": json.dumps(["0", "1", "2"]).encode()}


def naive_write(patch, place, height, width):
    """The sum of all points of a patch, each spread over the pixels around it, one by one; and the box."""
    points = len(patch)
    apart = 1 + (max((max(height, width) - 1) / (points - 1), 1) - 1) / (1 + np.exp(-place[2]))
    x, y = ((np.tanh(at) + 1) / 2 * size for at, size in zip(place, (width, height), strict=False))
    canvas = np.zeros((height, width))
    for row in range(points):
        for column in range(points):
            down, across = (
                np.maximum(0, 1 - np.abs(np.arange(size) + 0.5 - centre - (at - (points - 1) / 2) * apart) / apart)
                for size, centre, at in ((height, y, row), (width, x, column))
            )
            canvas += patch[row, column] * np.outer(down, across)
    half = points * apart / 2
    return canvas, [x - half, y - half, x + half, y + half]


@given(st.integers(1, 14), st.integers(1, 14), st.integers(2, 6), st.tuples(*[st.integers(-30, 30)] * 3))
def test_a_window_is_written_as_numpy_writes_it(height, width, points, place):
    patch = np.random.default_rng(points).normal(size=(points, points))
    numbers = np.array(place) / 10
    window = window_at(
        torch.tensor(numbers, dtype=torch.float32)[None], CONFIG.but(height=height, width=width, window=points)
    )
    canvas, box = naive_write(patch, numbers, height, width)
    written = window.write(torch.tensor(patch, dtype=torch.float32)[None])
    np.testing.assert_allclose(written[0].numpy(), canvas, atol=1e-4)
    np.testing.assert_allclose(window.box[0].numpy(), box, atol=1e-4)


def test_the_largest_window_covers_the_canvas_and_reads_what_is_constant_as_it_is():
    window = window_at(torch.tensor([[0.0, 0.0, 30.0]]), CONFIG.but(height=28, width=28, window=10))
    np.testing.assert_allclose(window.box[0].numpy(), [-1, -1, 29, 29], atol=1e-3)
    written = window.write(torch.ones(1, 10, 10))
    np.testing.assert_allclose(written.numpy(), 1, atol=1e-4)
    read = window_at(torch.tensor([[0.0, 0.0, 0.0]]), CONFIG.but(height=60, width=60)).read(torch.ones(1, 60, 60))
    np.testing.assert_allclose(read.numpy(), 1, atol=0.02)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return Drawer(CONFIG).eval()


@pytest.fixture(scope="module")
def model(network):
    return eager_model(Source(network, LABELS))


def batch(count, seed=0):
    random = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 2, (count, 9, 11), generator=random).float()
    return pictures, torch.arange(count) % 3, torch.randn(4, count, 2, generator=random)


def test_the_bound_of_a_network_that_writes_nothing_is_that_of_its_blank_canvas():
    network = Drawer(CONFIG)
    for layer in (network.decoder.patch, network.latents):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    pictures, labels, noise = batch(5)
    bound = network.bound(pictures, labels, noise)
    chance = 1 / (1 + np.exp(2.0))
    ones = pictures.sum(dim=(1, 2)).numpy()
    expected = -ones * np.log(chance) - (99 - ones) * np.log(1 - chance)
    np.testing.assert_allclose(bound.reconstruction.detach().numpy(), expected, rtol=1e-5)
    assert bound.divergence.tolist() == [0] * 5
    torch.nn.init.constant_(network.latents.bias, 0.5)  # the mean and the logarithm of the scale
    divergence = 4 * 2 * (0.5 * (0.25 + np.e - 1) - 0.5)
    np.testing.assert_allclose(
        network.bound(pictures, labels, noise).divergence.detach().numpy(), divergence, rtol=1e-5
    )


def test_the_bound_of_a_picture_does_not_depend_on_its_neighbours(network):
    pictures, labels, noise = batch(6)
    with torch.no_grad():
        together = torch.stack(network.bound(pictures, labels, noise))
        alone = [torch.stack(network.bound(pictures[[at]], labels[[at]], noise[:, [at]])) for at in range(6)]
    np.testing.assert_allclose(together.numpy(), torch.cat(alone, dim=1).numpy(), rtol=1e-5)


def test_the_bound_is_of_the_canvas_that_the_deployed_steps_draw():
    """With latent variables that do not depend on the picture, they are the noise itself."""
    network = Drawer(CONFIG)
    torch.nn.init.zeros_(network.latents.weight)
    torch.nn.init.zeros_(network.latents.bias)
    pictures, labels, noise = batch(4)
    with torch.no_grad():
        lost = network.bound(pictures, labels, noise).reconstruction.numpy()
    model = eager_model(Source(network.eval(), LABELS))
    conditions, state = model.begin({"label": labels.numpy()})
    for deviates in noise.numpy():
        outputs, state = model.step({"noise": deviates}, state, conditions=conditions)
    chances = np.where(pictures.numpy() == 1, outputs["picture"], 1 - outputs["picture"])
    np.testing.assert_allclose(-np.log(chances).sum(axis=(1, 2)), lost, rtol=1e-4)


def test_the_canvas_stays_as_it_is_after_the_last_step(model):
    stream = Draw(model).stream(Sampler(seed=1), "2")
    pictures = [stream.step(stream.noise())["picture"] for _ in range(9)]
    assert not np.array_equal(pictures[2], pictures[3])
    assert all(np.array_equal(each, pictures[3]) for each in pictures[4:])
    assert stream.state["step"].item() == 4


def test_any_number_of_drawings_is_drawn_and_no_engine_is_given_too_many(model, monkeypatch):
    random, labels = np.random.default_rng(0), np.arange(150) % 3
    noise = random.standard_normal((CONFIG.writes, 150, CONFIG.latents), np.float32)
    draw, counts, step = Draw(model), [], model.step
    alone = np.concatenate([draw.finished(noise[:, [place]], labels[[place]]) for place in range(150)])
    monkeypatch.setattr(
        model, "step", lambda given, *rest, **named: counts.append(len(given["noise"])) or step(given, *rest, **named)
    )
    np.testing.assert_allclose(draw.finished(noise, labels), alone, atol=1e-6)
    assert max(counts) <= LARGEST_BATCH
    assert sum(counts) == 150 * CONFIG.writes


def test_gradients_reach_every_parameter():
    network = Drawer(CONFIG)
    bound = network.bound(*batch(4))
    (bound.reconstruction + bound.divergence).mean().backward()
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in network.parameters())


def test_a_network_without_labels_draws_what_it_likes():
    network = Drawer(CONFIG.but(labels=False, classes=0)).eval()
    model = eager_model(Source(network))
    assert model.contract["step"].conditions == ()
    found = DrawPipeline(model)({}, DrawOptions(seed=1, count=2))
    assert found.labels == ()
    assert found.to_json()["drawings"] == [{"seed": "1"}, {"seed": "2"}]
    with pytest.raises(ConfigError, match="trained without labels"):
        Draw(model).stream(Sampler(), "1")
    assert network.bound(*batch(3)).reconstruction.shape == (3,)


def test_a_network_needs_its_sizes():
    for config in (DrawConfig(), CONFIG.but(classes=0), CONFIG.but(labels=False)):
        with pytest.raises(ConfigError, match="the size of its pictures, and the number of their classes"):
            Drawer(config)


def test_the_default_network_has_at_most_650_000_parameters():
    config = DRAW.choose(["digits"]).model.but(height=28, width=28, classes=10)
    assert sum(each.numel() for each in Drawer(config).parameters()) <= 650_000


# Score


def test_binary_pictures_are_drawn_from_the_intensities():
    images = np.zeros((1000, 1, 3), np.uint8)
    images[..., 1:] = 51, 255
    found = binary(images, np.random.default_rng(0))
    assert found.dtype == np.float32
    assert found.mean(axis=(0, 1)) == pytest.approx([0, 0.2, 1], abs=0.03)
    assert np.array_equal(found, binary(images, np.random.default_rng(0)))


def small(folder):
    """The test part of bars, cut to the size of CONFIG, as IDX files; and its pictures and labels."""
    images, labels = bars(20, 1)
    images = images[:, :9, :11]
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        (folder / f"t10k-{name}-ubyte").write_bytes(idx(array))
    return images, labels.astype(np.int64)


def test_a_run_is_evaluated_with_its_encoder_and_a_bundle_is_not(network, model, tmp_path):
    (tmp_path / "small").mkdir()
    images, labels = small(tmp_path / "small")
    own = RunData({}, tmp_path, lambda: network)
    settings = DrawEvaluation(data=str(tmp_path / "small"))
    score = evaluate(model, settings, ignore_progress, own).score
    expected = score_drawing(network, images, labels)
    assert score.reconstruction == pytest.approx(expected.reconstruction, rel=1e-5)
    assert score.divergence == expected.divergence
    assert score.nats == score.reconstruction + score.divergence
    assert score.to_json() == {
        "nats": score.nats,
        "reconstruction": score.reconstruction,
        "divergence": score.divergence,
        "count": 20,
    }
    assert "nats a picture" in str(score)
    write_bars(tmp_path)
    with pytest.raises(CorpusError, match="does not have grey pictures of 11 × 9 pixels"):
        evaluate(model, DrawEvaluation(data=str(tmp_path)), ignore_progress, own)
    with pytest.raises(CorpusError, match="has no part dev; it has test"):
        evaluate(model, settings.but(split="dev"), ignore_progress, own)
    with pytest.raises(ConfigError, match=r"takes the encoder, which a bundle .* does not have: name the run"):
        evaluate(model, settings, ignore_progress)


def test_the_decoder_of_a_bundle_is_scored_with_the_encoder_of_its_run(network, model, tmp_path):
    (tmp_path / "small").mkdir()
    images, labels = small(tmp_path / "small")
    own = RunData({}, tmp_path, lambda: network)
    settings = DrawEvaluation(data=str(tmp_path / "small"))
    for name, source in (("bundle", network), ("other", Drawer(CONFIG).eval())):
        export(Source(source, LABELS), tmp_path / name, precision="int8", steps=8)
    score = evaluate(model, settings.but(decoder=tmp_path / "bundle"), ignore_progress, own).score
    plain = evaluate(model, settings, ignore_progress, own).score
    assert score.divergence == plain.divergence
    assert score.reconstruction != plain.reconstruction
    pictures = binary(images, np.random.default_rng(0))
    noise = torch.from_numpy(np.random.default_rng((0, 1)).standard_normal((4, 20, 2), np.float32))
    with torch.no_grad():
        latents = network.explain(torch.from_numpy(pictures), torch.from_numpy(labels), noise).latents
    drawn = Draw(Model.load(tmp_path / "bundle")).finished(latents.numpy(), labels)
    chances = np.where(pictures == 1, drawn, 1 - drawn)
    assert score.reconstruction == pytest.approx(-np.log(chances).sum() / 20, rel=1e-4)
    with pytest.raises(ConfigError, match=r"--decoder .*other is no bundle of this run"):
        evaluate(model, settings.but(decoder=tmp_path / "other"), ignore_progress, own)


def looking(folder, **changes):
    """A bundle of an untrained network that looks at pictures of the size of CONFIG."""
    config = GlimpseConfig(height=9, width=11, channels=1, classes=3, glimpses=2, side=4, features=5, hidden=6)
    names = changes.pop("names", ["0", "1", "2"])
    network = Glimpser(config.but(**changes)).eval()
    export(Source(network, {"labels.json": json.dumps(names).encode()}), folder, steps=32)
    return folder


def test_a_judge_says_how_many_drawings_it_recognises(model, tmp_path):
    judge = looking(tmp_path / "judge")
    score = evaluate(model, DrawEvaluation(judge=judge, drawings=7), ignore_progress).score
    look, draw = Look(Model.load(judge)), Draw(model)
    deviates, right = Generator(0).normal(7 * 4 * 2).reshape(7, 4, 2).astype(np.float32), 0
    for number, noise in enumerate(deviates):
        stream = draw.stream(Sampler(), str(number % 3))
        for latents in noise:
            picture = stream.step({"noise": latents[None]})["picture"]
        image = np.rint(255 * picture).astype(np.uint8)[..., None].repeat(3, axis=3)
        right += int(look.scores(image)[-1].argmax() == number % 3)
    assert score.to_json() == {"asked_for": right / 7, "drawings": 7}
    assert str(score) == f"the judge recognises {100 * right / 7:.1f} % of 7 new drawings"


def test_a_judge_that_does_not_fit_is_one_line(model, tmp_path):
    for name, changes, words in (
        ("small", {"height": 8}, "drawings have 11 × 9 pixels, and the judge looks at 11 × 8: name another judge"),
        ("letters", {"names": ["a", "b", "c"]}, "the judge does not know the class 0, which can be asked for"),
    ):
        with pytest.raises(ConfigError, match=words):
            evaluate(model, DrawEvaluation(judge=looking(tmp_path / name, **changes)), ignore_progress)
    without = eager_model(Source(Drawer(CONFIG.but(labels=False, classes=0)).eval()))
    with pytest.raises(ConfigError, match="trained without labels, so no class can be asked for"):
        evaluate(without, DrawEvaluation(judge=tmp_path / "small"), ignore_progress)
    fitting = DrawEvaluation(judge=looking(tmp_path / "fitting"), drawings=1)
    for strange, words in (
        ({"data": "digits"}, "--data and --decoder are for a run"),
        ({"decoder": tmp_path / "small"}, "--data and --decoder are for a run"),
        ({"split": "train"}, "--split is about the data set of --data"),
        ({"judge": None, "drawings": 5}, "--drawings is about those that --judge classifies"),
    ):
        with pytest.raises(ConfigError, match=words):
            evaluate(model, fitting.but(**strange), ignore_progress)
    write_drawer(tmp_path / "drawer")
    with pytest.raises(
        ConfigError, match=r"--judge .*drawer is a bundle of the task draw: name one of the task glimpse"
    ):
        evaluate(model, fitting.but(judge=tmp_path / "drawer"), ignore_progress)


def test_a_bound_that_is_not_a_number_is_named():
    network = Drawer(CONFIG)
    torch.nn.init.constant_(network.latents.bias, np.nan)
    with pytest.raises(CheckFailedError, match="the bound is not a number"):
        score_drawing(network, np.zeros((2, 9, 11), np.uint8), np.zeros(2, np.int64))


# Targets and commands


@pytest.mark.slow
def test_the_same_seed_draws_the_same_on_every_target(network, tmp_path):
    """The deviates are the same to the bit, and the pictures as far as the precision allows."""
    source = Source(network, LABELS)
    for target in ("onnx", "ort", "c"):
        export(source, tmp_path / target, target=target, steps=32)
    models = {target: Model.load(tmp_path / target) for target in ("onnx", "ort")}
    models["c"] = load_model(tmp_path / "c", Execution(engine="c"))
    options = DrawOptions(label="1", seed=11, count=4)
    expected = DrawPipeline(eager_model(source))({}, options).pictures
    for model in models.values():
        np.testing.assert_allclose(DrawPipeline(model)({}, options).pictures, expected, atol=1e-5)
    streams = [Draw(model).stream(Sampler(seed=11), "1") for model in models.values()]
    noises = [stream.noise()["noise"] for stream in streams]
    assert all(np.array_equal(each, Generator(11).normal(2)[None].astype(np.float32)) for each in noises)
    first, *others = streams
    first.step(first.noise())
    for other in others:
        other.restore(first.snapshot())
        np.testing.assert_allclose(
            other.step(other.noise())["picture"], first.fork().step(first.fork().noise())["picture"], atol=1e-5
        )


@pytest.mark.slow
def test_a_network_is_trained_exported_evaluated_and_run(tmp_path, monkeypatch, capsys):
    write_bars(tmp_path)
    monkeypatch.chdir(tmp_path)
    settings = {**EXAMPLES["draw"].settings, "steps": 8, "evaluations": 1}
    options = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert execute(["train", "draw", ".", "--out", "run", "--json", *options]) == 0
    best = json.loads(capsys.readouterr().out)["best"]
    assert best["nats"] == pytest.approx(best["reconstruction"] + best["divergence"])
    assert execute(["evaluate", "run", "--data", ".", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 20
    assert execute(["export", "run", "--out", "bundle"]) == 0
    assert execute(["evaluate", "bundle", "--data", "."]) == 2
    assert "name the run" in capsys.readouterr().err
    assert execute(["run", "bundle", "--label", "1", "--seed", "3", "--out", "bar.gif"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("step 1\n")
    assert out.endswith("1 drawing of 1 in 3 steps, in bar.gif\n")
    assert (tmp_path / "bar.gif").read_bytes()[:4] == b"GIF8"
    assert execute(["run", "bundle", "bar.png"]) == 2
    assert "a draw bundle takes no INPUT: leave out bar.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("scenes", [], "scenes has coloured pictures, and a network learns to draw grey ones"),
        (".", ["--window", "1"], "--window 1 is not a whole number of at least 2"),
        ("none", [], "there is no none"),
    ],
)
def test_data_and_settings_that_do_not_fit_are_one_line(tmp_path, monkeypatch, capsys, source, options, words):
    monkeypatch.setattr(labelled, "_SCENES", {"train": 4, "dev": 2, "test": 2})
    write_bars(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert execute(["train", "draw", source, "--out", "run", *options]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
    assert not (tmp_path / "run").exists()
