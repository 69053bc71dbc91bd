"""Networks that look by glimpses: the crop against numpy, the state laws, the data, the score and the commands."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tasks import EXAMPLES, bars, idx, write_bar, write_bars

from edgernn.cli import execute
from edgernn.data import drawn_digits
from edgernn.data import pictures as labelled
from edgernn.data.drawn_digits import draw_digits
from edgernn.data.pictures import Pictures, open_part, open_training
from edgernn.engines.eager import eager_model
from edgernn.errors import CheckFailedError, ConfigError, CorpusError
from edgernn.models.source import Source
from edgernn.runtime.pipelines.class_scores import probabilities
from edgernn.runtime.pipelines.glimpse import Look
from edgernn.tasks import TASKS
from edgernn.tasks.glimpse.data import Canvas, vary
from edgernn.tasks.glimpse.learner import reinforced
from edgernn.tasks.glimpse.network import Glimpser, crop
from edgernn.tasks.glimpse.score import evaluate, score_glimpses
from edgernn.tasks.glimpse.settings import GlimpseConfig, GlimpseEvaluation
from edgernn.training import Run
from edgernn.training.trainer import ignore_progress

GLIMPSE = TASKS["glimpse"]
CONFIG = GlimpseConfig(height=9, width=11, channels=1, classes=3, glimpses=4, side=4, features=10, hidden=7)


def naive_crop(canvas, place, side, scales):
    """Each value of a patch as the weighted sum of all pixels (height, width), one by one."""
    height, width = canvas.shape
    centre = (place[1] + 1) / 2 * height, (place[0] + 1) / 2 * width
    found = []
    for apart in 2.0 ** np.arange(scales):
        for row in range(side):
            for column in range(side):
                y, x = (c + (at - (side - 1) / 2) * apart for c, at in zip(centre, (row, column), strict=True))
                down = np.maximum(0, 1 - np.abs(np.arange(height) + 0.5 - y) / apart) / apart
                across = np.maximum(0, 1 - np.abs(np.arange(width) + 0.5 - x) / apart) / apart
                found.append((canvas * np.outer(down, across)).sum())
    return np.array(found)


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(-99, 99),
    st.integers(-99, 99),
)
def test_the_crop_is_that_of_numpy(height, width, side, scales, x, y):
    canvas = np.random.default_rng(height * 10 + width).random((height, width))
    place = torch.tensor([[x, y]], dtype=torch.float32) / 99
    patches, boxes = crop(torch.tensor(canvas, dtype=torch.float32)[None, None], place, side, scales)
    expected = naive_crop(canvas, place[0].double().numpy(), side, scales)
    np.testing.assert_allclose(patches[0].numpy(), expected, atol=2e-5)
    for scale, (left, top, right, bottom) in enumerate(boxes[0].tolist()):
        assert [right - left, bottom - top] == pytest.approx([side * 2**scale] * 2, abs=1e-4)
        centre = [(left + right) / 2, (top + bottom) / 2]
        assert centre == pytest.approx([(x / 99 + 1) / 2 * width, (y / 99 + 1) / 2 * height], abs=1e-4)


def test_the_crop_at_whole_pixels_is_a_part_of_the_picture():
    canvas = torch.rand(1, 2, 8, 8)
    patch, boxes = crop(canvas, torch.tensor([[0.25, -0.25]]), 4, 1)  # the centre is (5, 3)
    assert torch.allclose(patch.view(1, 2, 4, 4), canvas[:, :, 1:5, 3:7], atol=1e-6)
    assert boxes.tolist() == [[[3, 1, 7, 5]]]


def test_a_constant_picture_looks_constant_at_every_scale_and_black_beyond_its_edges():
    patches, _ = crop(torch.ones(1, 1, 40, 40), torch.tensor([[0.013, -0.027]]), 4, 3)
    assert torch.allclose(patches, torch.ones(1, 48), atol=1e-5)
    patches, _ = crop(torch.ones(1, 1, 40, 40), torch.tensor([[1.0, 0.0]]), 4, 1)
    assert torch.allclose(patches.view(4, 4)[0], torch.tensor([1.0, 1.0, 0.0, 0.0]), atol=1e-5)


def test_gradients_reach_the_place():
    place = torch.full((1, 2), 0.01, requires_grad=True)
    ramp = torch.arange(20.0).expand(1, 1, 20, 20)
    patches, _ = crop(ramp, place, 4, 2)
    patches.sum().backward()
    assert place.grad.tolist() == [[pytest.approx(32 * 10, rel=1e-4), pytest.approx(0, abs=1e-3)]]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return Glimpser(CONFIG).eval()


@pytest.fixture(scope="module")
def model(network):
    labels = {"labels.json": json.dumps(["0", "1", "2"]).encode()}
    return eager_model(Source(network, labels))


def pictures(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 9, 11, 3)).astype(np.uint8)


def test_steps_one_by_one_are_the_sequence(network, model):
    images = pictures(5)
    with torch.no_grad():
        whole = network.sequence(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(Look(model).scores(images), whole, atol=1e-6)
    for row, image in enumerate(images):
        stream = model.stream(inputs={"image": image[None]})
        alone = [stream.step({})["scores"][0] for _ in range(CONFIG.glimpses)]
        np.testing.assert_allclose(alone, whole[:, row], atol=1e-6)


def test_a_snapshot_goes_on_with_the_same_glimpses(model):
    stream = model.stream(inputs={"image": pictures(1)})
    stream.step({})
    saved, expected = stream.snapshot(), stream.step({})
    other = model.stream(inputs={"image": pictures(1, seed=1)})
    other.restore(saved)
    assert all(np.array_equal(array, expected[name]) for name, array in other.step({}).items())


def test_the_first_places_are_learned_and_all_lie_on_the_picture(network, model):
    stream = model.stream(inputs={"image": pictures(1)})
    first = np.tanh(network.places[0].detach().numpy())
    for number in range(3 * CONFIG.glimpses):
        assert stream.state["glimpse"].item() == min(number, CONFIG.glimpses)
        boxes = stream.step({})["boxes"][0]
        centre = (boxes[0, :2] + boxes[0, 2:]) / 2
        assert (centre >= 0).all()
        assert (centre <= (11, 9)).all()
        if number == 0:
            np.testing.assert_allclose(centre, (first + 1) / 2 * (11, 9), atol=1e-5)


def test_glimpses_beyond_those_of_the_training_are_not_remembered(model):
    stream = model.stream(inputs={"image": pictures(1)})
    for _ in range(CONFIG.glimpses):
        stream.step({})
    last = {name: array.copy() for name, array in stream.state.items() if name not in ("place", "glimpse")}
    assert last
    found = [stream.step({})["scores"] for _ in range(5)]
    assert all(np.array_equal(stream.state[name], array) for name, array in last.items())
    assert all(np.array_equal(each, found[1]) for each in found[1:])


def test_places_that_do_not_follow_the_crop_get_no_gradient_of_the_scores(network):
    images, trials = torch.from_numpy(pictures(5)), torch.full((CONFIG.glimpses, 5, 2), 0.1)
    expected = network.sequence(images)
    scores, places = network.explore(images, torch.zeros_like(trials), follows_crop=False)
    assert torch.equal(scores, expected)
    assert not torch.equal(network.explore(images, trials, follows_crop=True)[0], expected)
    placing = (network.places, network.offset.weight, network.offset.bias)
    unreached = torch.autograd.grad(scores.square().sum(), placing, retain_graph=True, allow_unused=True)
    assert unreached == (None, None, None)
    for reached in (expected, places):
        assert all(each.abs().max() > 0 for each in torch.autograd.grad(reached.square().sum(), placing))


def test_reinforce_follows_the_gradient_of_the_expected_loss_on_average():
    torch.manual_seed(0)
    spread, best, weights = 0.3, torch.tensor([[0.2, -0.4], [0.5, 0.1]]), torch.tensor([[0.5], [1.0]])
    chosen = torch.tensor([[0.0, 0.1], [-0.3, 0.4]], requires_grad=True)  # (glimpses, 2), the same for all of a batch
    trials = spread * torch.randn(2, 400_000, 2)
    missed = (chosen.detach()[:, None] + trials - best[:, None]).square().sum(dim=2)
    losses = missed.cumsum(dim=0)  # a place decides on the losses after it too
    reinforced(losses, weights, chosen[:, None].expand_as(trials), trials, spread).backward()
    decided = torch.tensor([[1.5], [1.0]])  # the sum of the weights from each glimpse on
    expected = 2 * decided * (chosen.detach() - best)
    np.testing.assert_allclose(chosen.grad, expected, atol=0.02)


def test_coloured_pictures_keep_their_channels():
    torch.manual_seed(0)
    network = Glimpser(CONFIG.but(channels=3))
    red, green = (torch.zeros(1, 9, 11, 3, dtype=torch.uint8) for _ in range(2))
    red[..., 0] = green[..., 1] = 255
    assert not torch.allclose(network.sequence(red), network.sequence(green))
    grey = Glimpser(CONFIG)
    assert torch.allclose(grey.sequence(red), grey.sequence(green))


def test_a_network_needs_its_sizes():
    with pytest.raises(ConfigError, match="the size of its pictures and the number of its classes"):
        Glimpser(GlimpseConfig())


def test_the_default_network_has_at_most_350_000_parameters():
    for source, channels in (("digits", 1), ("scenes", 3)):
        config = GLIMPSE.choose([source]).model.but(height=64, width=64, channels=channels, classes=24)
        assert sum(each.numel() for each in Glimpser(config).parameters()) <= 350_000


# Data


def test_drawn_digits_depend_only_on_seed_and_part(monkeypatch):
    monkeypatch.setattr(drawn_digits, "_COUNT", {"train": 30, "dev": 20, "test": 20})
    one, again, other = draw_digits("train"), draw_digits("train"), draw_digits("train", seed=1)
    assert np.array_equal(one.images, again.images)
    assert not np.array_equal(one.images, other.images)
    assert one.images.shape == (30, 28, 28)
    assert (one.images.max(axis=(1, 2)) > 200).all()
    assert not one.images[:, [0, -1]].any()  # the digit is whole
    assert not np.array_equal(draw_digits("dev").images, draw_digits("test").images)
    with pytest.raises(CorpusError, match="there is no part novel of the drawn digits"):
        open_part("digits", "novel")


def test_scenes_have_one_class_each(monkeypatch):
    monkeypatch.setattr(labelled, "_SCENES", {"train": 12, "dev": 4, "test": 4})
    scenes = open_part("scenes", "train")
    assert scenes.images.shape == (12, 64, 64, 3)
    assert len(scenes.classes) == 24
    assert scenes.labels.max() < 24
    assert "red circle" in scenes.classes


def test_pictures_are_held_out_at_random_and_never_trained_on(tmp_path):
    write_bars(tmp_path)
    images, _ = bars(48)
    train, held_out = open_training(str(tmp_path), 0.25, 0)
    assert (len(train.labels), len(held_out.labels)) == (36, 12)
    known = {image.tobytes() for image in train.images}
    assert not known & {image.tobytes() for image in held_out.images}
    last = {image.tobytes() for image in images[-12:]}
    assert {image.tobytes() for image in held_out.images} != last


def test_classes_that_the_model_does_not_know_are_named():
    found = Pictures(np.zeros((2, 3, 3), np.uint8), np.array([0, 2]), ("0", "1", "2"))
    assert found.among(("2", "0"), "x").labels.tolist() == [1, 0]
    with pytest.raises(CorpusError, match="x has the class 2, which is not among 0, 1"):
        found.among(("0", "1"), "x")


def test_pictures_are_placed_whole_with_their_clutter():
    images = np.random.default_rng(0).integers(1, 100, (40, 6, 5)).astype(np.uint8)
    others = np.full((3, 6, 5), 200, np.uint8)
    plain = Canvas(20, 0).place(images, others, np.random.default_rng(1))
    assert plain.shape == (40, 20, 20)
    for image, canvas in zip(images, plain, strict=True):
        rows, columns = (np.flatnonzero(canvas.any(axis=axis)) for axis in (1, 0))
        assert np.array_equal(canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], image)
    assert len({canvas.tobytes() for canvas in plain}) == 40
    cluttered = Canvas(20, 4).place(images, others, np.random.default_rng(1))
    assert ((cluttered == 200).sum(axis=(1, 2)) >= 30).all()


@pytest.mark.parametrize(("spread", "furthest"), [(0.0, 0), (0.5, 4), (1.0, 8)])
def test_pictures_lie_as_far_from_the_middle_as_they_may(spread, furthest):
    images = np.full((200, 4, 4), 200, np.uint8)
    placed = Canvas(20, 0).place(images, images, np.random.default_rng(1), spread)
    tops = np.array([np.flatnonzero(canvas.any(axis=1))[0] for canvas in placed])
    assert (tops.min(), tops.max()) == (8 - furthest, 8 + furthest)


@pytest.mark.slow
@pytest.mark.parametrize("places", ["reinforce", "both"])
def test_places_are_trained_by_reinforce(tmp_path, monkeypatch, capsys, places):
    write_bars(tmp_path)
    monkeypatch.chdir(tmp_path)
    settings = {**EXAMPLES["glimpse"].settings, "steps": 3, "evaluations": 1, "places": places, "weight_decay": 0.0}
    options = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    found = []
    for out, exploration in (("one", "0.05"), ("again", "0.05"), ("wider", "0.3")):
        assert execute(["train", "glimpse", ".", "--out", out, "--exploration", exploration, *options]) == 0
        found.append(Run.load(tmp_path / out).source().network.state_dict()["places"])
    capsys.readouterr()
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.slow
def test_in_training_pictures_come_to_lie_anywhere_on_their_canvas(tmp_path, monkeypatch, capsys):
    write_bars(tmp_path)
    monkeypatch.chdir(tmp_path)
    spreads, place = [], Canvas.place

    def watched(self, images, others, random, spread=1.0):
        spreads.append(spread)
        return place(self, images, others, random, spread)

    monkeypatch.setattr(Canvas, "place", watched)
    settings = {**EXAMPLES["glimpse"].settings, "steps": 8, "evaluations": 1, "canvas": 20}
    options = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert execute(["train", "glimpse", ".", "--out", "run", *options]) == 0
    capsys.readouterr()
    held_out, *training = spreads
    assert held_out == 1.0
    assert training == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0]


def test_what_cannot_be_placed_is_named():
    with pytest.raises(ConfigError, match="--canvas 4 is smaller than the pictures of x, 5 × 6 pixels"):
        Canvas(4, 0).check(np.zeros((1, 6, 5)), "x")
    with pytest.raises(ConfigError, match="those of scenes are coloured"):
        Canvas(80, 0).check(np.zeros((1, 6, 5, 3)), "scenes")


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 28, 28, 3)])
def test_varied_pictures_stay_similar(shape):
    images = np.zeros(shape, np.uint8)
    images[:, 10:18, 10:18] = 200
    varied = vary(images, np.random.default_rng(0), 0.03)
    assert (varied.shape, varied.dtype) == (shape, np.uint8)
    assert np.array_equal(varied, vary(images, np.random.default_rng(0), 0.03))
    assert not np.array_equal(varied[0], varied[1])
    assert varied.mean() == pytest.approx(images.mean(), rel=0.3)
    assert (varied[:, 13:15, 13:15] > 100).all()


def test_pictures_are_bent_by_shifts_of_the_declared_size(monkeypatch):
    for name in ("_TURN", "_SLANT", "_SCALE", "_SHIFT"):
        monkeypatch.setattr(f"edgernn.tasks.glimpse.data.{name}", 0.0)
    ramp = np.tile(np.arange(0, 130, 2, np.uint8), (500, 65, 1))  # 2 levels a pixel
    shifts = (vary(ramp, np.random.default_rng(0), 0.03) - ramp.astype(float)) / 2
    assert shifts[:, 32, 32].std() == pytest.approx(0.03 * 65, rel=0.1)  # at a knot
    assert shifts[:, 32, 32].mean() == pytest.approx(0, abs=0.3)
    knots = np.corrcoef([shifts[:, 32, 32], shifts[:, 32, 48], shifts[:, 32, 33]])
    assert abs(knots[0, 1]) < 0.15  # places that are bent apart
    assert knots[0, 2] > 0.95
    assert np.array_equal(vary(ramp, np.random.default_rng(0), 0.0), ramp)


# Score


def test_the_error_and_when_looking_stops():
    parts = np.array(
        [
            [[0.5, 0.5], [0.1, 0.9], [0.4, 0.6]],
            [[0.8, 0.2], [0.2, 0.8], [0.96, 0.04]],
            [[0.99, 0.01], [0.7, 0.3], [0.2, 0.8]],
        ]
    )
    score = score_glimpses(parts, np.array([0, 1, 1]), 0.9)
    assert score.errors == (0.0, pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert score.error == pytest.approx(1 / 3)  # the second
    assert score.early_error == pytest.approx(1 / 3)  # the third, after two glimpses
    assert score.mean_glimpses == pytest.approx((3 + 1 + 2) / 3)
    assert score.nats == pytest.approx(-np.log([0.99, 0.3, 0.8]).mean())
    assert "after 2.00 glimpses on average, on 3 pictures" in str(score)
    with pytest.raises(CheckFailedError, match="not numbers"):
        score_glimpses(np.full((1, 1, 2), np.nan), np.array([0]), 0.9)


def test_a_model_is_evaluated_on_the_part_that_is_named(model, tmp_path):
    write_bars(tmp_path)
    small = bars(20, 1)[0][:, :9, :11], bars(20, 1)[1]
    score = evaluate(*_on(model, tmp_path, small), ignore_progress).score
    parts = probabilities(Look(model).scores(np.repeat(small[0][..., None], 3, axis=3)))
    assert score == score_glimpses(parts, small[1], 0.99)
    with pytest.raises(CorpusError, match="has no part dev; it has test: name one with --split"):
        evaluate(model, GlimpseEvaluation(data=str(tmp_path / "small"), split="dev"), ignore_progress)
    with pytest.raises(CorpusError, match="has pictures of 12 × 12 pixels, and the model looks at 11 × 9"):
        evaluate(model, GlimpseEvaluation(data=str(tmp_path)), ignore_progress)
    with pytest.raises(ConfigError, match="name them with --data"):
        evaluate(model, GlimpseEvaluation(), ignore_progress)


def test_clutter_that_is_asked_for_lies_on_pictures_of_any_size(tmp_path):
    square = eager_model(Source(Glimpser(CONFIG.but(width=9, classes=2)), {"labels.json": b'["0", "1"]'}))
    data = _on(square, tmp_path, (bars(20, 1)[0][:, :9, :9], bars(20, 1)[1]))[1]
    plain, cluttered = (evaluate(square, data.but(clutter=clutter), ignore_progress) for clutter in (None, 5))
    assert plain.score != cluttered.score
    assert "placed at random on 9 × 9 pixels, with 5 pieces of others" in cluttered.notes[-1]


def _on(model, folder, pictures):
    (folder / "small").mkdir()
    for name, array in zip(("images-idx3", "labels-idx1"), pictures, strict=True):
        (folder / "small" / f"t10k-{name}-ubyte").write_bytes(idx(array))
    return model, GlimpseEvaluation(data=str(folder / "small"))


# Commands


@pytest.mark.slow
def test_a_canvas_with_clutter_is_trained_exported_evaluated_and_run(tmp_path, monkeypatch, capsys):
    write_bars(tmp_path)
    write_bar(tmp_path / "bar.png")
    monkeypatch.chdir(tmp_path)
    settings = {**EXAMPLES["glimpse"].settings, "steps": 8, "evaluations": 1, "canvas": 20, "clutter": 2}
    options = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert execute(["train", "glimpse", ".", "--out", "run", "--json", *options]) == 0
    best = json.loads(capsys.readouterr().out)["best"]
    assert {"error", "mean_glimpses", "count"} <= best.keys()
    assert best["count"] == 12
    assert execute(["export", "run", "--out", "bundle"]) == 0
    capsys.readouterr()
    assert execute(["evaluate", "bundle", "--data", ".", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["count"] == 20
    assert "placed at random on 20 × 20 pixels, with 2 pieces of others" in captured.err
    assert execute(["run", "bundle", "bar.png", "--json", "--out", "bar.gif"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["input"] == "bar.png"
    assert found["label"] in ("0", "1")
    assert len(found["glimpses"]) == 3
    assert (tmp_path / "bar.gif").read_bytes()[:4] == b"GIF8"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--clutter", "3"],
            "--clutter lies on a canvas that is larger than the pictures: give its side with --canvas",
        ),
        (["--canvas", "9"], "--canvas 9 is smaller than the pictures of ., 12 × 12 pixels"),
        (["--exploration", "0.1"], "--exploration is of glimpses at random places: choose --places reinforce or both"),
        (["--places", "both", "--batch-size", "1"], "--places both compares the pictures of a batch, of which each"),
        (["--side", "0"], "--side 0 is not a whole number of at least 1"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(tmp_path, monkeypatch, capsys, options, words):
    write_bars(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert execute(["train", "glimpse", ".", "--out", "run", *options]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_pictures_of_one_class_are_refused(tmp_path, monkeypatch, capsys):
    write_bars(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.ones(48)))
    monkeypatch.chdir(tmp_path)
    assert execute(["train", "glimpse", ".", "--out", "run"]) == 2
    assert ". has one class to train on, 1: two are needed" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.real_data
def test_mnist_is_read(real_data):
    train, held_out = open_training(str(real_data / "mnist"), 0.05, 0)
    assert (len(train.labels), len(held_out.labels)) == (57_000, 3_000)
    assert train.classes == tuple("0123456789")
    counts = np.bincount(held_out.labels)
    assert counts.min() > 200
