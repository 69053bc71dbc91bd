"""Looking by glimpses on the device: pictures of any size and mode, early stopping, drawings, and snapshots."""

import io
import json

import numpy as np
import pytest
from PIL import Image, ImageSequence
from tiny import write_captioner, write_glimpser, write_sound_classifier

from edgernn.errors import ConfigError, ImageError, SnapshotError, StreamError
from edgernn.media.image import fitted
from edgernn.runtime import Model
from edgernn.runtime.pipelines import pipeline_for
from edgernn.runtime.pipelines.glimpse import GlimpseOptions, GlimpsePipeline, Look


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return Model.load(write_glimpser(tmp_path_factory.mktemp("glimpser") / "b"))


@pytest.fixture(scope="module")
def pipeline(model):
    return pipeline_for(model)


def picture(level=255, size=(8, 8), **changes):
    data = io.BytesIO()
    image = Image.new("L", size, level)
    image.convert(changes.pop("mode", "L")).save(data, "PNG", **changes)
    return data.getvalue()


def probability(score):
    parts = np.exp([score, 0.5])
    return pytest.approx(parts[0] / parts.sum(), rel=1e-5)


def test_each_glimpse_has_its_boxes_and_the_guess_after_it(pipeline):
    shown = []
    found = pipeline(pipeline.read(picture()), GlimpseOptions(), shown.append)
    expected = [probability(2.0), probability(4.0), probability(6.0)]
    assert [each.probability for each in found.glimpses] == expected
    assert [each.boxes.tolist() for each in found.glimpses] == [[[at, 0, at + 2, 2]] for at in (0, 1, 2)]
    assert found.label == "bright"
    assert shown[0] == "glimpse 1  at (  1.0,   1.0)  bright (82 %)\n"
    assert len(shown) == 3
    value = json.loads(json.dumps(found.to_json()))
    assert value["label"] == "bright"
    assert value["glimpses"][1]["boxes"] == [[1.0, 0.0, 3.0, 2.0]]
    assert found.note.startswith("3 glimpses, ")


def test_looking_stops_when_a_class_is_certain_enough(pipeline):
    inputs = pipeline.read(picture())
    counts = [len(pipeline(inputs, GlimpseOptions(certainty=each)).glimpses) for each in (0.0, 0.9, 0.999, 1.0)]
    assert counts == [1, 2, 3, 3]
    assert len(pipeline(inputs, GlimpseOptions(glimpses=2)).glimpses) == 2
    assert len(pipeline(inputs, GlimpseOptions(glimpses=5)).glimpses) == 5
    assert len(pipeline(inputs, GlimpseOptions(), lambda text: False).glimpses) == 1


@pytest.mark.parametrize("size", [(8, 8), (3, 5), (500, 20), (1, 1)])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "I;16", "LA"])
def test_pictures_of_any_size_and_mode_are_fitted_onto_the_canvas(pipeline, size, mode):
    read = pipeline.read(picture(size=size, mode=mode))["image"]
    assert (read.shape, read.dtype) == ((8, 8, 3), np.uint8)
    assert pipeline({"image": read}, GlimpseOptions()).label in ("bright", "dark")


def test_a_picture_of_the_size_of_the_canvas_is_not_changed(pipeline):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    assert np.array_equal(pipeline.read(data.getvalue())["image"], pixels)
    inverted = pipeline.read_as(data.getvalue(), GlimpseOptions(invert=True))["image"]
    assert np.array_equal(inverted, 255 - pixels)


def test_a_picture_keeps_its_proportions_and_has_a_margin_in_the_colour_of_its_edge():
    image = np.full((2, 4, 3), 40, np.uint8)
    image[:, 1:3] = 200
    found = fitted(image, 6, 6)
    assert found[2:4, 1:5].tolist() == image.tolist()
    assert (np.delete(found, [2, 3], axis=0) == np.median([40, 200, 200, 40, 40, 200, 200, 40, 40, 40, 40, 40])).all()
    assert fitted(np.full((100, 50, 3), 9, np.uint8), 10, 20).shape == (10, 20, 3)


def test_the_rotation_of_a_camera_is_undone(pipeline):
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:2] = 255
    image, data = Image.fromarray(pixels), io.BytesIO()
    exif = image.getexif()
    exif[0x0112] = 6  # rotated by 90 degrees
    image.save(data, "PNG", exif=exif)
    read = pipeline.read(data.getvalue())["image"]
    assert read[:, 5].mean() > 250 > 5 > read[:, 2].mean()


def test_glimpses_are_drawn(pipeline, tmp_path):
    inputs = pipeline.read(picture(0))
    pipeline(inputs, GlimpseOptions(out=tmp_path / "x.gif"))
    with Image.open(tmp_path / "x.gif") as animation:
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(animation)]
    assert len(frames) == 3
    green = [(frame[..., 1].astype(int) - frame[..., 0] > 60).nonzero() for frame in frames]
    assert [int(columns.max()) for _, columns in green] == sorted({int(columns.max()) for _, columns in green})
    pipeline(inputs, GlimpseOptions(out=tmp_path / "x.png"))
    with Image.open(tmp_path / "x.png") as sheet:
        assert sheet.size == (3 * frames[0].shape[1], frames[0].shape[0])


def test_what_cannot_be_drawn_or_read_is_named(pipeline, tmp_path):
    for out, words in (("x.txt", "must end in"), ("none/x.gif", "there is no directory")):
        with pytest.raises(ConfigError, match=words):
            pipeline.check(GlimpseOptions(out=tmp_path / out), [])
    (tmp_path / "d.gif").mkdir()
    inputs = pipeline.read(picture())
    with pytest.raises(ImageError, match="cannot be written"):
        pipeline(inputs, GlimpseOptions(out=tmp_path / "d.gif"))
    with pytest.raises(ImageError, match="cannot be read as an image"):
        pipeline.read(b"\x89PNG\r\n\x1a\n")


def test_models_that_do_not_look_are_refused(tmp_path):
    with pytest.raises(StreamError, match="it scores no classes"):
        GlimpsePipeline(Model.load(write_captioner(tmp_path / "captioner")))
    with pytest.raises(StreamError, match="it does not look by glimpses"):
        Look(Model.load(write_sound_classifier(tmp_path / "sound")))
    with pytest.raises(StreamError, match="of the kind image with a fixed size"):
        Look(Model.load(write_glimpser(tmp_path / "free", "side")))


def test_a_snapshot_in_mid_looking_carries_the_picture(model, tmp_path):
    image = np.random.default_rng(1).integers(0, 256, (1, 8, 8, 3)).astype(np.uint8)
    stream = model.stream(inputs={"image": image})
    stream.step({})
    saved, whole = stream.snapshot(), [stream.step({}) for _ in range(2)]
    other = model.stream(inputs={"image": np.zeros_like(image)})
    other.restore(saved)
    for one in whole:
        again = other.step({})
        assert all(np.array_equal(again[name], array) for name, array in one.items())
    larger = Model.load(write_glimpser(tmp_path / "larger", side=10))
    with pytest.raises(SnapshotError):
        larger.stream(inputs={"image": np.zeros((1, 10, 10, 3), np.uint8)}).restore(saved)


def test_streams_that_take_turns_see_their_own_pictures(model):
    images = np.random.default_rng(2).integers(0, 256, (3, 1, 8, 8, 3)).astype(np.uint8)
    alone = [
        [stream.step({})["scores"] for _ in range(3)] for stream in (model.stream(inputs={"image": i}) for i in images)
    ]
    streams = [model.stream(inputs={"image": image}) for image in images]
    turns = [[stream.step({})["scores"] for stream in streams] for _ in range(3)]
    assert np.array_equal(np.array(turns).swapaxes(0, 1), np.array(alone))
    together = Look(model).scores(np.concatenate(images))
    np.testing.assert_allclose(together, np.array(turns)[:, :, 0], rtol=1e-6)
