"""Networks that paint: the strokes against numpy, the best colour, the sequence of places, data, and commands."""

import json

import numpy as np
import pytest
import torch
from gallery import write_image
from PIL import Image
from tasks import EXAMPLES

from edgernn.cli import execute
from edgernn.data.photographs import open_album
from edgernn.engines.eager import eager_model
from edgernn.errors import CheckFailedError, ConfigError, CorpusError
from edgernn.exporters import export
from edgernn.media.brushwork import add_stroke
from edgernn.models.source import Source
from edgernn.runtime import Model
from edgernn.runtime.pipelines.paint import Paint
from edgernn.tasks import TASKS
from edgernn.tasks.paint.network import Painter, _best_colour, _edges, _half_angle
from edgernn.tasks.paint.score import score_network
from edgernn.tasks.paint.settings import PaintConfig, PaintTraining
from edgernn.tasks.paint.strokes import Stroke, coverage
from edgernn.training import Trainer

CONFIG = PaintConfig(side=32, strokes=20, points=6, features=12, hidden=10)


def lively(config=CONFIG, seed=0, times=20):
    """A network whose choices differ much from stroke to stroke."""
    torch.manual_seed(seed)
    network = Painter(config).eval()
    with torch.no_grad():
        network.choose.weight.mul_(times)
    return network


def photographs(count, side, seed=0):
    """Smooth coloured pictures."""
    coarse = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    return (255 * smooth).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


@pytest.fixture(scope="module")
def network():
    return lively()


# Strokes


def test_the_canvas_of_the_graph_is_that_of_the_renderer_in_numpy(network):
    """The oracle renders each stroke from the numbers of the step's output alone, stroke upon stroke."""
    model, images = eager_model(Source(network)), photographs(2, 32).numpy()
    paint = Paint(model)
    for image in images:
        stream, canvas = paint.stream(image), np.full((32, 32, 3), 0.5, np.float32)
        for _ in range(24):
            numbers = stream.step({})[paint.stroke_name][0].copy()
            numbers[:7] *= 32
            add_stroke(canvas, numbers)
            np.testing.assert_allclose(stream.state["canvas"][0], canvas, atol=3e-4)


def test_a_stroke_fades_at_its_edges_as_the_formula_says():
    one = [torch.tensor([[value]]) for value in (10.0, 8.0, 1.0, 0.0, 6.0, 3.0, 0.0, 0.9, 0.0)]
    found = coverage(Stroke(*one), 16, 20)[0].numpy()
    x, y = np.arange(20) + 0.5 - 10, np.arange(16) + 0.5 - 8
    expected = 0.9 / (1 + np.exp(-(3 - np.abs(y)) / 0.6))[:, None] / (1 + np.exp(-(6 - np.abs(x)) / 1.2))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    striped = coverage(Stroke(*one[:-1], torch.tensor([[0.5]])), 16, 20)[0].numpy()
    assert (striped <= found + 1e-6).all()
    assert striped[8, 10] < found[8, 10]


def test_gradients_reach_every_number_of_a_stroke():
    values = torch.tensor([[10.3, 8.2, 0.8, 0.6, 6.0, 2.5, 1.0, 0.9, 0.3]], requires_grad=True)
    covered = coverage(Stroke(*values.split(1, dim=1)), 16, 20)
    (covered * torch.rand(16, 20)).sum().backward()
    assert (values.grad != 0).all()


@pytest.mark.parametrize("angle", range(-89, 91, 7))
def test_half_an_angle_is_exact_wherever_it_points(angle):
    turn = np.radians(angle)
    doubled = torch.tensor([[np.cos(2 * turn), np.sin(2 * turn)]], dtype=torch.float32)
    cos, sin = (each.item() for each in _half_angle(100 * doubled))
    assert cos**2 + sin**2 == pytest.approx(1, abs=1e-5)
    assert cos * np.sin(turn) - sin * np.cos(turn) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 120])
def test_the_direction_along_edges_is_found(angle):
    turn = np.radians(angle)
    rows, columns = np.mgrid[:8, :8]
    wave = np.sin(columns * np.sin(turn) - rows * np.cos(turn))  # constant along the angle
    seen = torch.tensor(np.repeat(wave[None, :, :, None], 3, axis=3), dtype=torch.float32)
    along = _edges(seen)[0].numpy()
    assert along / np.linalg.norm(along) == pytest.approx([np.cos(2 * turn), np.sin(2 * turn)], abs=0.15)
    assert _edges(torch.ones(1, 8, 8, 3)).abs().max() == 0


def test_no_other_colour_reduces_the_error_more():
    random = torch.Generator().manual_seed(1)
    target, canvas = (torch.rand(1, 6, 7, 3, generator=random) for _ in range(2))
    painted = torch.rand(1, 6, 7, 1, generator=random)
    best = _best_colour(painted, canvas, target - canvas)

    def error(colour):
        return ((target - canvas - painted * (colour - canvas)) ** 2).sum().item()

    assert all(error(best) <= error(best + 0.01 * torch.randn(1, 3, generator=random)) for _ in range(50))


def test_strokes_of_a_new_network_reduce_the_error_and_are_elongated():
    network = Painter(PaintConfig(side=64)).eval()
    images, shapes, errors = photographs(4, 64), [], []
    after = network.begin(4, 64)
    with torch.no_grad():
        for _ in range(100):
            numbers, after = network.paint(images.float() / 255, after)
            shapes.append(numbers[:, 2:4].norm(dim=1) / numbers[:, 4])
            errors.append(((images.float() / 255 - after.canvas) ** 2).mean().item())
    assert torch.stack(shapes).min() >= 2
    assert errors[-1] < 0.2 * errors[0]


def test_places_cover_the_canvas_evenly_and_the_canvas_stays_after_the_last_stroke():
    network = lively(CONFIG.but(strokes=400))
    after, seen, target = network.begin(1, 32), [], torch.zeros(1, 32, 32, 3)
    with torch.no_grad():
        for _ in range(400):
            seen.append(after.home[0].numpy())
            _, after = network.paint(target, after)
        numbers, later = network.paint(target, after)
    assert numbers[0, 7] == 0
    assert torch.equal(later.canvas, after.canvas)
    assert torch.equal(later.home, after.home)
    counts = np.histogram2d(*np.array(seen).T, bins=5, range=[[0, 1], [0, 1]])[0]
    assert counts.min() >= 12
    assert counts.max() <= 20
    assert later.step.item() == 400  # it does not count beyond


# Data


def folder_of(path, *names):
    for number, name in enumerate(names):
        write_image(path / name, number)
    return str(path)


def test_lists_and_folders_name_the_parts(tmp_path):
    source = folder_of(tmp_path / "lists", *(f"images/{letter}.jpg" for letter in "abcde"))
    (tmp_path / "lists" / "Flickr_8k.trainImages.txt").write_text("a.jpg\nb.jpg\nmissing.jpg\n")
    (tmp_path / "lists" / "Flickr_8k.devImages.txt").write_text("c.jpg\r\n")
    album = open_album(source)
    assert album.parts == ["dev", "train"]
    train, dev = album.training(0.5, 0)
    assert [len(each.read(8, None, lambda *_: None).images) for each in (train, dev)] == [2, 1]
    with pytest.raises(CorpusError, match="has no part test; it has dev, train: name one with --split"):
        album.part("test")
    folders = open_album(folder_of(tmp_path / "folders", "train/a.png", "validation/b.png", "Test/c.png"))
    assert sorted(folders.parts) == ["dev", "test", "train"]
    plain = open_album(folder_of(tmp_path / "plain", "a.png", "b.png", "c.png"))
    assert plain.parts == []
    assert "the score is too good" in plain.part("test")[1][0]
    with pytest.raises(CorpusError, match="has no parts: leave out --split"):
        plain.part("dev")
    train, dev = (each.read(8, None, lambda *_: None).images for each in plain.training(0.34, 0))
    assert (len(train), len(dev)) == (2, 1)


def test_unreadable_files_are_left_out_and_named(tmp_path):
    source = folder_of(tmp_path, "a.png", "b.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    found = open_album(source).read(8, None, lambda *_: None)
    assert len(found.images) == 2
    assert found.notes == ("broken.jpg: left out, because it cannot be read as an image",)
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(CorpusError, match="none of 3 files can be read as an image"):
        open_album(source).read(8, None, lambda *_: None)


def test_what_is_no_album_is_named(tmp_path):
    (tmp_path / "x.txt").write_text("x")
    for source, words in (
        (tmp_path / "none", "there is no"),
        (tmp_path / "x.txt", "is a file: name a folder"),
        (tmp_path, "has no photographs: name a folder with files that end in"),
    ):
        with pytest.raises(CorpusError, match=words):
            open_album(str(source))
    with pytest.raises(CorpusError, match="has one photograph to train on"):
        open_album(folder_of(tmp_path / "one", "a.png")).training(0.1, 0)


# Training and score


def test_the_score_of_a_perfect_canvas_is_0_and_of_the_mean_colour_1(network, monkeypatch):
    images = photographs(3, 32).numpy()
    for canvas, expected in ((lambda t: t, 0.0), (lambda t: t.mean((1, 2), keepdim=True).expand_as(t), 1.0)):
        monkeypatch.setattr(
            network, "paint", lambda target, before, canvas=canvas: (None, before._replace(canvas=canvas(target)))
        )
        assert score_network(network, images, 2).squared_error_ratio == pytest.approx(expected, abs=1e-6)
    monkeypatch.setattr(network, "paint", lambda target, before: (None, before._replace(canvas=target * np.nan)))
    with pytest.raises(CheckFailedError, match="not made of numbers"):
        score_network(network, images, 2)


def test_training_paints_on_and_begins_anew_after_random_numbers_of_strokes(tmp_path):
    example = EXAMPLES["paint"]
    (tmp_path / "data").mkdir()
    trainer = Trainer.begin(TASKS["paint"], example.write(tmp_path / "data"), tmp_path / "run", **example.settings)
    learner, steps = trainer.learner, []
    for step in range(12):
        learner.loss(step, 0.0)
        steps.append(learner.carried()["step"][:, 0].numpy().copy())
    moves = np.diff(np.stack(steps), axis=0)
    assert set(np.unique(moves[moves > 0])) <= {1.0, 2.0}
    assert (moves < 0).any()
    assert np.stack(steps).max() <= example.settings["strokes"]


def test_sides_that_do_not_fit_are_named():
    with pytest.raises(ConfigError, match="--side 100 is not a multiple of 8"):
        PaintConfig(side=100)
    with pytest.raises(ConfigError, match="--train-side 33 is not a multiple of 8"):
        PaintTraining(train_side=33)


# Targets and commands


@pytest.mark.slow
def test_a_painting_is_the_same_on_every_target_and_goes_on_from_one_on_another(tmp_path):
    network = lively(times=3)
    for target in ("onnx", "ort"):
        export(Source(network), tmp_path / target, target=target, steps=32)
    image, models = photographs(1, 32)[0].numpy(), [Model.load(tmp_path / target) for target in ("onnx", "ort")]
    streams = [Paint(model).stream(image) for model in (eager_model(Source(network)), *models)]
    for _ in range(10):
        for stream in streams:
            stream.step({})
    for stream in streams[1:]:
        np.testing.assert_allclose(stream.state["canvas"], streams[0].state["canvas"], atol=1e-4)
    streams[2].restore(streams[1].snapshot())
    for stream in streams[1:]:
        stream.step({})
    np.testing.assert_allclose(streams[2].state["canvas"], streams[1].state["canvas"], atol=1e-5)


@pytest.mark.slow
def test_a_network_is_trained_exported_evaluated_and_run(tmp_path, monkeypatch, capsys):
    folder_of(tmp_path / "photos", *(f"{number}.png" for number in range(6)))
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no picture")
    monkeypatch.chdir(tmp_path)
    settings = {**EXAMPLES["paint"].settings, "steps": 4, "evaluations": 1}
    options = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert execute(["train", "paint", "photos", "--out", "run", "--json", *options]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["best"]["squared_error_ratio"] > 0
    assert execute(["export", "run", "--out", "bundle"]) == 0
    capsys.readouterr()
    for path in ("run", "bundle"):
        assert execute(["evaluate", path, "--data", "photos", "--pictures", "3", "--strokes", "11", "--json"]) == 0
        score = json.loads(capsys.readouterr().out)
        assert (score["count"], score["strokes"], list(score["ratios"])) == (3, 11, ["10"])
    assert execute(["evaluate", "bundle"]) == 2
    assert "is evaluated on photographs: name them with --data" in capsys.readouterr().err
    assert execute(["run", "bundle", "photos/1.png", "--strokes", "12", "--out", "out.gif", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["out"], value["steps"]) == ("out.gif", 12)
    assert (tmp_path / "out.gif").read_bytes()[:4] == b"GIF8"
    for words, message in (
        (["photos/1.png", "--strokes", "0"], "--strokes 0 is not a whole number of at least 1"),
        (["photos/1.png", "--out", "x.txt"], "must end in"),
        (["photos/broken.jpg"], "cannot be read as an image"),
        ([], "a paint bundle runs on photographs"),
    ):
        assert execute(["run", "bundle", *words]) in (1, 2)
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1


@pytest.mark.real_data
def test_real_photographs_are_painted_better_than_their_mean_colour(real_data, tmp_path):
    source = real_data / "flickr8k"
    (tmp_path / "photos").mkdir()
    names = (source / "Flickr_8k.trainImages.txt").read_text().split()[:12]
    for name in names:
        with Image.open(source / "images" / name) as photo:
            photo.save(tmp_path / "photos" / name)
    settings = {**EXAMPLES["paint"].settings, "side": 64, "train_side": 32, "strokes": 60, "points": 8, "steps": 6}
    trainer = Trainer.begin(TASKS["paint"], [str(tmp_path / "photos")], tmp_path / "run", **settings)
    for _ in trainer.fit():
        pass
    images = open_album(str(tmp_path / "photos")).read(64, 4, lambda *_: None).images
    assert score_network(trainer.run.network(), images, 60).squared_error_ratio < 0.6
