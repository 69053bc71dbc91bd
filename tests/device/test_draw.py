"""Drawing on the device: seeds, temperature, classes, pictures of what was drawn, snapshots and forks."""

import json

import numpy as np
import pytest
from PIL import Image, ImageSequence
from tiny import sigmoid, write_drawer, write_glimpser, write_sound_classifier

from edgernn.errors import BundleError, ConfigError, ImageError, SnapshotError, StreamError
from edgernn.media.drawings import block_text, draw_drawings
from edgernn.runtime import Model, Sampler
from edgernn.runtime.pipelines import pipeline_for
from edgernn.runtime.pipelines.draw import Draw, DrawOptions
from edgernn.sampling import Generator


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model.load(write_drawer(tmp_path_factory.mktemp("drawer") / "b"))


@pytest.fixture(scope="module")
def pipeline(model):
    return pipeline_for(model)


@pytest.mark.parametrize("counts", [[30], [1] * 30, [7, 0, 23]])
def test_deviates_are_the_same_however_many_are_drawn_at_once(counts):
    together, parts = Generator(5), Generator(5)
    whole = together.normal(30)
    assert np.concatenate([parts.normal(count) for count in counts]).tolist() == whole.tolist()
    assert parts.state == together.state


def test_deviates_are_normal():
    drawn = Generator(0).normal(20_000)
    assert [drawn.mean(), drawn.std(), (drawn**3).mean(), (drawn**4).mean()] == pytest.approx([0, 1, 0, 3], abs=0.1)
    for limit, share in ((-1.0, 0.158655), (0.0, 0.5), (2.0, 0.977250)):
        assert (drawn < limit).mean() == pytest.approx(share, abs=0.01)


def test_a_drawing_is_what_its_seed_and_its_class_say(pipeline):
    options = DrawOptions(label="bright", seed=2, temperature=0.5)
    shown = []
    found = pipeline({}, options, shown.append)
    deviates = Generator(2).normal(6).reshape(3, 2)[:, 0]
    expected = sigmoid(np.cumsum(0.5 * deviates + 1))
    np.testing.assert_allclose(found.pictures, np.broadcast_to(expected[:, None, None, None], (3, 1, 6, 6)), rtol=1e-5)
    assert found.boxes.tolist() == [[[at, 0, at + 2, 2]] for at in (0, 1, 2)]
    assert (found.labels, found.seeds) == (("bright",), (2,))
    assert [text.split("\n")[0] for text in shown] == ["step 1", "step 2", "step 3"]
    assert str(found) == "1 drawing of bright in 3 steps"
    value = json.loads(json.dumps(found.to_json()))
    assert value == {"out": None, "steps": 3, "drawings": [{"seed": "2", "label": "bright"}]}


def test_each_of_several_drawings_is_the_one_of_its_seed(pipeline):
    together = pipeline({}, DrawOptions(label="dark", seed=2**64 - 2, count=4))
    assert together.seeds == (2**64 - 2, 2**64 - 1, 0, 1)
    for place, seed in enumerate(together.seeds):
        alone = pipeline({}, DrawOptions(label="dark", seed=seed))
        assert np.array_equal(alone.pictures[:, 0], together.pictures[:, place])
    assert len({picture.tobytes() for picture in together.pictures[-1]}) == 4


def test_without_a_label_the_classes_are_drawn_in_turn(pipeline):
    assert pipeline({}, DrawOptions(count=3)).labels == ("dark", "bright", "dark")


def test_without_a_seed_each_run_draws_something_else_that_its_seed_draws_again(pipeline):
    first, second = (pipeline({}, DrawOptions(label="dark")) for _ in range(2))
    assert first.seeds != second.seeds
    again = pipeline({}, DrawOptions(label="dark", seed=first.seeds[0]))
    assert np.array_equal(again.pictures, first.pictures)


def test_at_temperature_0_all_drawings_of_a_class_are_the_same(pipeline):
    pictures = pipeline({}, DrawOptions(label="bright", temperature=0, count=3)).pictures
    np.testing.assert_allclose(pictures[:, :, 0, 0].T, [sigmoid(np.array([1.0, 2.0, 3.0]))] * 3, rtol=1e-6)


def test_drawing_stops_when_nothing_more_is_to_be_shown(pipeline):
    assert len(pipeline({}, DrawOptions(), lambda text: False).pictures) == 1


def test_a_snapshot_in_mid_drawing_goes_on_elsewhere_with_the_same_deviates(model, tmp_path):
    stream = Draw(model).stream(Sampler(seed=7), "bright")
    stream.step(stream.noise())
    saved, twin = stream.snapshot(), stream.fork()
    whole = [stream.step(stream.noise())["picture"] for _ in range(2)]
    other = Draw(model).stream(Sampler(0.3, seed=1), "dark")
    other.restore(saved)
    for going_on in (other, twin):
        assert going_on.seed == 7
        assert np.array_equal([going_on.step(going_on.noise())["picture"] for _ in range(2)], whole)
    larger = Model.load(write_drawer(tmp_path / "larger", side=8))
    with pytest.raises(SnapshotError):
        Draw(larger).stream(Sampler(), "dark").restore(saved)


def test_a_stream_that_is_reset_draws_the_same_again(model):
    stream = Draw(model).stream(Sampler(seed=4), "dark")
    first = stream.step(stream.noise())["picture"]
    stream.reset()
    assert np.array_equal(stream.step(stream.noise())["picture"], first)


def test_what_cannot_be_drawn_is_named(model, pipeline, tmp_path):
    with pytest.raises(ConfigError, match="there is no class 7 to draw: there is dark, bright"):
        pipeline({}, DrawOptions(label="7"))
    with pytest.raises(ConfigError, match="reads no files"):
        pipeline.read("x.png")
    for out, words in (("x.txt", "must end in"), ("none/x.gif", "there is no directory")):
        with pytest.raises(ConfigError, match=words):
            pipeline.check(DrawOptions(out=tmp_path / out), [])
    (tmp_path / "d.gif").mkdir()
    with pytest.raises(ImageError, match="cannot be written"):
        pipeline({}, DrawOptions(out=tmp_path / "d.gif"))
    for write in (write_glimpser, write_sound_classifier):
        with pytest.raises(StreamError, match="it does not draw"):
            Draw(Model.load(write(tmp_path / write.__name__)))
    with pytest.raises(StreamError, match=r"labels\.json does not name the classes"):
        Draw(Model.load(write_drawer(tmp_path / "nameless", labels=None)))
    with pytest.raises(BundleError, match=r"classes label below 2, and labels\.json names 1"):
        Model.load(write_drawer(tmp_path / "one", labels='["dark"]'))
    stream = Model.load(tmp_path / "write_glimpser").stream(inputs={"image": np.zeros((1, 8, 8, 3), np.uint8)})
    with pytest.raises(StreamError, match="has no input of the kind noise"):
        stream.noise()


def test_drawings_are_shown_in_block_characters():
    picture = np.zeros((5, 3), np.float32)
    picture[:2, 0] = picture[1, 1] = picture[4, 2] = 1
    assert block_text([picture]) == "█▒\n\n  ▒\n"
    assert block_text([picture[:2], picture[:2]]) == "█▒   █▒\n"


def test_drawings_are_written_as_they_grow_or_side_by_side(pipeline, tmp_path):
    options = DrawOptions(label="bright", temperature=0, out=tmp_path / "one.png")
    pipeline({}, options)
    with Image.open(tmp_path / "one.png") as sheet:
        steps = np.asarray(sheet)
    assert steps.shape[1] == 3 * steps.shape[0]
    green = np.flatnonzero(((steps[..., 1].astype(int) - steps[..., 0]) > 100).any(axis=0))
    assert green.min() < steps.shape[0] < 2 * steps.shape[0] < green.max()
    pipeline({}, options.but(count=4, out=tmp_path / "four.png"))
    with Image.open(tmp_path / "four.png") as sheet:
        assert sheet.size == (2 * steps.shape[0], 2 * steps.shape[0])
        assert not ((np.asarray(sheet)[..., 1].astype(int) - np.asarray(sheet)[..., 0]) > 100).any()
    pipeline({}, options.but(out=tmp_path / "grows.gif"))
    with Image.open(tmp_path / "grows.gif") as animation:
        frames = [np.asarray(frame.convert("L"), int) for frame in ImageSequence.Iterator(animation)]
    middle = frames[0].shape[0] * 3 // 4
    assert [frame[middle, middle] for frame in frames] == pytest.approx([186, 225, 243, 243], abs=3)


def test_a_picture_beyond_its_range_is_drawn_as_black_or_white(tmp_path):
    pictures = np.array([[[[-0.5, 1.5]]]])
    draw_drawings(pictures, np.zeros((1, 1, 4)), tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as sheet:
        row = np.asarray(sheet.convert("L"))[sheet.size[1] // 2]
    assert (row[sheet.size[0] // 4], row[3 * sheet.size[0] // 4]) == (0, 255)
