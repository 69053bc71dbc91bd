"""Painting on the device: strokes, tiles, files, snapshots and forks."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageSequence
from tiny import write_drawer, write_glimpser, write_painter

from edgernn.contract import State
from edgernn.errors import ConfigError, ContractError, ImageError, SnapshotError, StreamError
from edgernn.media.brushwork import Painted, Stroke, add_stroke, strokes_json, write_painting
from edgernn.media.image import resized
from edgernn.runtime import Model
from edgernn.runtime.pipelines import pipeline_for
from edgernn.runtime.pipelines.paint import Paint, PaintOptions

SIDE = 8


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model.load(write_painter(tmp_path_factory.mktemp("painter") / "b"))


@pytest.fixture(scope="module")
def pipeline(model):
    return pipeline_for(model)


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def painted(*strokes, height=40, width=60, ratio=2 / 3):
    return Painted(np.float32(strokes), np.float32([1, 1, 1]), height, width, ratio)


def numbers(x=30.0, y=20.0, angle=0.0, length=12.0, width=3.0, bend=0.0, opacity=1.0, colour=(1, 0, 0)):
    """The numbers of a stroke without stripes; angle in degrees."""
    turn = np.radians(angle)
    axis = length * np.cos(2 * turn), length * np.sin(2 * turn)
    return np.float32([x, y, *axis, width, -bend * np.sin(turn), bend * np.cos(turn), opacity, 0, *colour])


# Strokes


@pytest.mark.parametrize("angle", [0, 30, 90, 135, 179])
def test_the_same_stroke_from_its_other_end_has_the_same_numbers(angle):
    turned = numbers(angle=angle + 180, bend=-2)
    np.testing.assert_allclose(numbers(angle=angle, bend=2), turned, atol=1e-5)
    shape = Stroke.of(turned)
    assert [shape.length, shape.width, abs(shape.bend)] == pytest.approx([12, 3, 2], abs=1e-4)
    assert abs(shape.cos * np.sin(np.radians(angle)) - shape.sin * np.cos(np.radians(angle))) < 1e-6


def test_a_stroke_covers_its_rectangle_and_nothing_else():
    canvas = np.ones((40, 60, 3), np.float32)
    add_stroke(canvas, numbers())
    red = canvas[..., 1] < 0.5
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (17, 22, 18, 41)
    assert canvas[20, 30].tolist() == pytest.approx([1, 0, 0], abs=0.02)
    assert np.array_equal(canvas[0], np.ones((60, 3)))


def test_a_bent_stroke_bends_to_the_side_that_its_bend_says():
    canvas = np.ones((40, 60, 3), np.float32)
    add_stroke(canvas, numbers(bend=6))
    centres = [np.average(np.arange(40), weights=1 - canvas[:, column, 1]) for column in (19, 30, 40)]
    assert centres[0] == pytest.approx(centres[2], abs=0.3)
    assert centres[0] - centres[1] == pytest.approx(5, abs=1)


def test_a_stroke_beyond_the_canvas_changes_nothing():
    canvas = np.ones((4, 5, 3), np.float32)
    for x, y in ((-500, 2), (500, 2), (2, -500), (2, 500)):
        add_stroke(canvas, numbers(x=x, y=y))
    np.testing.assert_allclose(canvas, 1, atol=1e-4)


def test_a_finer_canvas_shows_the_same_stroke():
    coarse, fine = np.ones((40, 60, 3), np.float32), np.ones((80, 120, 3), np.float32)
    stroke = numbers(angle=30, bend=4)
    add_stroke(coarse, stroke)
    add_stroke(fine, stroke, (2.0, 2.0))
    shrunk = fine.reshape(40, 2, 60, 2, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - coarse).max() < 0.25
    assert abs(shrunk.mean() - coarse.mean()) < 1e-3


# Files


def test_strokes_are_written_as_json_and_svg(tmp_path):
    picture = painted(numbers(), numbers(angle=90, colour=(0, 0, 1)))
    write_painting(picture, tmp_path / "x.json", None)
    value = json.loads((tmp_path / "x.json").read_text())
    assert value == strokes_json(picture)
    assert (value["width"], value["height"], value["ground"]) == (60, 40, "#ffffff")
    first, second = value["strokes"]
    assert first == {
        **{"x": 30, "y": 20, "angle": 0, "length": 24, "width": 6, "bend": 0, "opacity": 1, "bristles": 0},
        "colour": "#ff0000",
    }
    assert (abs(second["angle"]), second["colour"]) == (90, "#0000ff")
    write_painting(picture, tmp_path / "x.svg", None)
    root = ElementTree.fromstring((tmp_path / "x.svg").read_text())
    assert [each.tag.rpartition("}")[2] for each in root] == ["rect", "path", "path"]
    assert root[1].attrib["d"] == "M18.00 20.00Q30.00 20.00 42.00 20.00"


def test_a_painting_is_written_in_the_proportions_of_its_photograph(tmp_path):
    picture = painted(numbers(), ratio=2.0)
    for name, side, size in (("x.png", None, (256, 512)), ("x.gif", None, (128, 256)), ("y.png", 100, (50, 100))):
        write_painting(picture, tmp_path / name, side)
        with Image.open(tmp_path / name) as image:
            assert image.size == size
    write_painting(painted(*[numbers(x=x) for x in range(50)]), tmp_path / "z.gif", 64)
    with Image.open(tmp_path / "z.gif") as animation:
        frames = [np.asarray(frame.convert("RGB"), int) for frame in ImageSequence.Iterator(animation)]
    assert 10 < len(frames) <= 40
    assert (frames[0][..., 1] < 128).sum() < (frames[-1][..., 1] < 128).sum()


# The pipeline


def test_a_photograph_is_painted_with_as_many_strokes_as_asked(pipeline, photo):
    shown = []
    found = pipeline(pipeline.read(photo), PaintOptions(strokes=25), shown.append)
    assert found.to_json()["steps"] == found.steps == 25
    assert [text for text in shown if text] == [text for text in shown if text.endswith("mean colour\n")]
    assert [text.split(":")[0] for text in shown if text] == ["10 strokes", "20 strokes"]
    assert str(found) == "25 strokes, 0.0 % of the squared error of the mean colour"
    assert pipeline(pipeline.read(photo), PaintOptions()).steps == 30  # as many as in training
    assert pipeline(pipeline.read(photo), PaintOptions(strokes=25), lambda text: False).steps == 1


@pytest.mark.parametrize(("size", "tiles", "grid"), [((30, 20), 3, (2, 3)), ((20, 60), 2, (2, 1)), ((9, 9), 2, (2, 2))])
def test_tiles_share_one_canvas_on_which_all_strokes_are(pipeline, size, tiles, grid, tmp_path):
    picture = Image.new("RGB", size, "blue")
    picture.paste("red", (0, 0, size[0] // 2, size[1]))
    picture.save(tmp_path / "x.png")
    found = pipeline(pipeline.read(tmp_path / "x.png"), PaintOptions(strokes=2, tiles=tiles))
    rows, columns = grid
    assert found.steps == 2 * rows * columns
    assert (found.painted.height, found.painted.width) == (rows * SIDE, columns * SIDE)
    first = found.painted.strokes[: rows * columns]
    expected = [(SIDE * (0.25 + column), SIDE * (0.5 + row)) for row in range(rows) for column in range(columns)]
    np.testing.assert_allclose(first[:, :2], expected, atol=1e-5)
    *_, last = found.painted.rendered(rows * SIDE, columns * SIDE)
    target = resized(np.array(picture), rows * SIDE, columns * SIDE) / np.float32(255)
    plain = np.square(target - target.mean(axis=(0, 1))).mean()
    assert found.ratio == pytest.approx(np.square(last - target).mean() / plain, rel=1e-3)


def test_a_photograph_of_one_colour_has_no_error_of_its_mean_colour(pipeline, tmp_path):
    Image.new("RGB", (9, 9), "blue").save(tmp_path / "x.png")
    shown = []
    found = pipeline(pipeline.read(tmp_path / "x.png"), PaintOptions(strokes=11), shown.append)
    assert "".join(shown).endswith("10 strokes: of a photograph in one colour\n")
    assert (str(found), found.to_json()["squared_error_ratio"]) == ("11 strokes, of a photograph in one colour", None)


def test_tiles_see_the_strokes_of_their_neighbours(model):
    """A step begins from the shared canvas: the graph's own canvas, which has no strokes on it, is not used."""
    paint, image = Paint(model), np.zeros((SIDE, 2 * SIDE, 3), np.uint8)
    steps = paint.paint(image)
    _, first = next(steps)
    expected = np.zeros((SIDE, 2 * SIDE, 3), np.float32)
    for x in (2.0, 10.0):
        add_stroke(expected, np.float32([x, 4, 2, 0, 1, 0, 0, 1, 0, 1, 0, 0]))
    np.testing.assert_allclose(first, expected, atol=1e-6)
    assert first[4, 8:, 0].max() > 0.5


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (7, 9)])
def test_pictures_of_any_size_and_mode_are_painted(pipeline, size, mode, tmp_path):
    path = tmp_path / ("x.tif" if mode in ("CMYK", "F") else "x.png")
    Image.new(mode, size).save(path)
    found = pipeline(pipeline.read(path), PaintOptions(strokes=2, tiles=2, out=tmp_path / "y.png"))
    with Image.open(tmp_path / "y.png") as picture:
        assert max(picture.size) == 512
    assert found.painted.ratio == size[1] / size[0]


def test_a_photograph_lies_as_its_metadata_say(pipeline, tmp_path):
    image = Image.new("RGB", (30, 20))
    exif = image.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(tmp_path / "x.jpg", exif=exif)
    assert pipeline(pipeline.read(tmp_path / "x.jpg"), PaintOptions()).painted.ratio == 1.5


# Streams


def test_a_snapshot_in_mid_painting_goes_on_elsewhere_and_can_be_rewound(model, tmp_path):
    image = np.random.default_rng(1).integers(0, 256, (12, 5, 3), np.uint8)
    paint = Paint(model)
    stream = paint.stream(image)
    stream.step({})
    saved, twin = stream.snapshot(), stream.fork()
    whole = [stream.step({})[paint.stroke_name] for _ in range(3)]
    canvas = stream.state[paint.canvas_name]
    other = paint.stream(np.zeros((3, 3, 3), np.uint8))
    other.restore(saved)
    stream.restore(saved)
    for going_on in (other, twin, stream):
        assert np.array_equal([going_on.step({})[paint.stroke_name] for _ in range(3)], whole)
        assert np.array_equal(going_on.state[paint.canvas_name], canvas)
    larger = Paint(Model.load(write_painter(tmp_path / "larger", side=16)))
    with pytest.raises(SnapshotError):
        larger.stream(image).restore(saved)


def test_the_canvases_of_several_pictures_are_those_of_each(model):
    paint, images = Paint(model), np.random.default_rng(2).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    *_, together = paint.canvases(images, 2)
    for image, canvas in zip(images, together, strict=True):
        stream = paint.stream(image)
        for _ in range(2):
            stream.step({})
        np.testing.assert_allclose(stream.state[paint.canvas_name][0], canvas, atol=1e-6)


def test_a_missing_target_and_a_canvas_of_another_size_are_named(model):
    with pytest.raises((ContractError, StreamError), match="image"):
        model.stream()
    paint = Paint(model)
    conditions, state = model.begin({paint.image_name: np.zeros((1, SIDE, SIDE, 3), np.uint8)})
    wrong = State({**state, paint.canvas_name: np.zeros((1, 4, 4, 3), np.float32)})
    with pytest.raises(ContractError, match="canvas has shape"):
        model.step({}, wrong, conditions=conditions)


def test_what_cannot_be_painted_is_named(model, pipeline, photo, tmp_path):
    for options, words in (
        ({"strokes": 0}, "strokes 0 is not a whole number of at least 1 and at most 100,000"),
        ({"strokes": 10**9}, "is not a whole number of at least 1 and at most 100,000"),
        ({"tiles": 0}, "tiles 0 is not"),
        ({"side": 1}, "side 1 is not"),
    ):
        with pytest.raises(ConfigError, match=words):
            PaintOptions(**options)
    with pytest.raises(ConfigError, match="--strokes 31: the network was trained for 30 strokes: ask for fewer"):
        pipeline(pipeline.read(photo), PaintOptions(strokes=31))
    for out, words in (("x.txt", "must end in"), ("none/x.gif", "there is no directory"), ("photo.png", "the input")):
        with pytest.raises(ConfigError, match=words):
            pipeline.check(PaintOptions(out=tmp_path / out), [photo])
    for name in ("d.gif", "d.svg", "d.png"):
        (tmp_path / name).mkdir()
        with pytest.raises(ImageError, match="cannot be written"):
            pipeline(pipeline.read(photo), PaintOptions(out=tmp_path / name))
    (tmp_path / "noise.jpg").write_bytes(b"noise")
    with pytest.raises(ImageError, match=r"noise\.jpg cannot be read as an image"):
        pipeline.read(tmp_path / "noise.jpg")
    for write in (write_glimpser, write_drawer):
        with pytest.raises(StreamError, match="it does not paint"):
            Paint(Model.load(write(tmp_path / write.__name__)))
