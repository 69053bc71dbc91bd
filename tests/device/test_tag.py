"""Tagging on the device: labels at the time of their frames, events, files and plots."""

import json
import wave

import numpy as np
import pytest
from onnx import helper
from PIL import Image
from tiny import manifest, onnx_bytes

from edgernn.bundle import LABELS, new_bundle
from edgernn.contract import BATCH, Contract, GraphSpec, StateSpec, TensorSpec
from edgernn.errors import AudioError, ConfigError, CorpusError, ImageError, SamplingError, StreamError
from edgernn.media.events import Event
from edgernn.runtime import Model
from edgernn.runtime.pipelines.tag import TagOptions, TagPipeline, smoothing

NAMES = ("nothing", "left", "right")


def write(path, spec, nodes, weights, names):
    with new_bundle(path) as writer:
        (writer.directory / "step.onnx").write_bytes(onnx_bytes(spec, nodes, weights))
        (writer.directory / LABELS).write_text(json.dumps(names))
        writer.finish(manifest(Contract((spec,)), {"step": "step.onnx"}, task="tag"))
    return path


def write_late(path, delay=1, kind="label"):
    """The scores of a frame are its numbers, one step late: h' = frame, scores = h."""
    spec = GraphSpec(
        "step",
        (TensorSpec("values", "float32", (BATCH, 1, 3)),),
        (TensorSpec("scores", "float32", (BATCH, 3), kind=kind, delay=delay),),
        (StateSpec("h", "float32", (BATCH, 3)),),
    )
    nodes = [
        helper.make_node("ReduceSum", ["values", "axis"], ["h_out"], keepdims=0),
        helper.make_node("Identity", ["h_in"], ["scores"]),
    ]
    return write(path, spec, nodes, {"axis": np.int64([1])}, NAMES)


def write_loudness(path):
    """A step of 80 samples is "sound" if their sum is above 0."""
    spec = GraphSpec(
        "step",
        (TensorSpec("samples", "int16", (BATCH, 80), kind="audio", rate=8000),),
        (TensorSpec("scores", "float32", (BATCH, 2), kind="label"),),
        (StateSpec("h", "float32", (BATCH, 1)),),
    )
    nodes = [
        helper.make_node("Cast", ["samples"], ["x"], to=1),
        helper.make_node("ReduceSum", ["x", "axis"], ["sum"], keepdims=1),
        helper.make_node("Identity", ["h_in"], ["h_out"]),
        helper.make_node("MatMul", ["sum", "weight"], ["made"]),
        helper.make_node("Add", ["made", "bias"], ["scores"]),
    ]
    weights = {"axis": np.int64([1]), "weight": np.float32([[0, 1]]), "bias": np.float32([[0.5, 0]])}
    return write(path, spec, nodes, weights, ("silence", "sound"))


@pytest.fixture
def late(tmp_path):
    return TagPipeline(Model.load(write_late(tmp_path / "late")))


@pytest.fixture
def frames(tmp_path):
    """Frames whose labels are 0 0 1 1 2 0, as a file."""
    np.savez(tmp_path / "x.npz", frames=np.eye(3)[[0, 0, 1, 1, 2, 0]])
    return tmp_path / "x.npz"


def test_labels_stand_at_the_time_of_their_frames(late, frames):
    found = late(late.read(frames), TagOptions())
    assert found.labels == ("nothing", "nothing", "left", "left", "right", "nothing")
    assert found.events == (Event(2, 4, 1), Event(4, 5, 2))
    assert found.to_json()["events"] == [
        {"label": "left", "start": 2, "end": 4},
        {"label": "right", "start": 4, "end": 5},
    ]


def test_the_last_frames_are_labelled_too(late):
    found = late({"values": np.eye(3, dtype=np.float32)[[0, 2]][:, None]}, TagOptions())
    assert found.labels == ("nothing", "right")


def test_a_label_depends_on_no_frame_beyond_its_delay(late):
    values = np.random.default_rng(0).normal(size=(30, 1, 3)).astype(np.float32)
    whole = late({"values": values}, TagOptions()).labels
    for count in (1, 7, 29):
        assert late({"values": values[:count]}, TagOptions()).labels == whole[:count]


def test_events_are_shown_as_they_end(late, frames):
    shown = []
    found = late(late.read(frames), TagOptions(), shown.append)
    assert shown == ["", "", "", "", "frames    2 to    3  left\n", "frames    4 to    4  right\n"]
    assert str(found) == "".join(shown).rstrip("\n")
    assert str(late(late.read(frames), TagOptions(shortest=3))) == "no event"


def test_the_user_can_stop_it(late, frames):
    labels = ("nothing", "nothing", "left", "left", "right")
    assert late(late.read(frames), TagOptions(), lambda text: not text).labels == labels
    assert late(late.read(frames), TagOptions(), lambda text: False).labels == labels[:1]


def test_events_of_sound_are_in_seconds_and_without_flicker(tmp_path):
    pipeline = TagPipeline(Model.load(write_loudness(tmp_path / "loud")))
    labels = np.zeros(100, np.int16)
    labels[20:50], labels[30:33], labels[70:73] = 1, 0, 1  # a word with a gap of 30 ms, and a click of 30 ms
    samples = np.repeat(labels, 80)[:-3]  # silence completes the last step
    with wave.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    found = pipeline(pipeline.read(tmp_path / "x.wav"), TagOptions())
    assert found.labels == tuple(("silence", "sound")[label] for label in labels)
    assert found.to_json()["events"] == [
        {"label": "sound", "start": 20, "end": 50, "start_seconds": 0.2, "end_seconds": 0.5}
    ]
    assert str(found) == "   0.20 to    0.50 s  sound"
    assert len(pipeline(pipeline.read(tmp_path / "x.wav"), TagOptions(shortest=1, gap=0)).events) == 3


def words(*spans, count=100):
    """Samples of steps of 80 of which those of `spans` are loud."""
    labels = np.zeros(count, np.int16)
    for start, end in spans:
        labels[start:end] = 1
    return np.repeat(labels, 80)


@pytest.mark.parametrize("size", [80, 333, 800])
def test_a_microphone_is_tagged_as_events_begin_and_end(size, microphone, tmp_path, call):
    module = microphone(words((20, 50), (60, 62), (90, 100)), size)
    bundle = write_loudness(tmp_path / "loud")
    status, out, err = call("run", bundle, "--microphone")
    assert (status, err, module.closed) == (0, "", True)
    assert out.splitlines() == [
        "   0.20 to     ... s  sound",
        "   0.20 to    0.50 s  sound",
        "   0.90 to     ... s  sound",
        "   0.90 to    1.00 s  sound",  # with Ctrl-C
    ]
    microphone(words((20, 50), (60, 62), (90, 100)), size)
    found = json.loads(call("run", bundle, "--microphone", "--json")[1])
    assert [(each["start"], each["end"]) for each in found["events"]] == [(20, 50), (90, 100)]
    microphone(words())
    assert call("run", bundle, "--microphone")[1] == "no event\n"


def test_a_begin_is_told_while_the_event_lasts(microphone, tmp_path):
    microphone(words((20, 100)), 80)
    pipeline = TagPipeline(Model.load(write_loudness(tmp_path / "loud")))
    shown = []
    pipeline.live(TagOptions(microphone=True))(lambda text: shown.append(text) or len(shown) < 30)
    assert [place for place, text in enumerate(shown) if text] == [24]  # after 50 ms it cannot be dropped
    assert len(shown) == 30
    assert pipeline.live(TagOptions()) is None


def test_a_microphone_needs_a_tagger_of_sound_and_a_plot_that_can_be_written(late, microphone, tmp_path, call):
    microphone(words())
    with pytest.raises(ConfigError, match="--microphone records sound, and the bundle reads rows of numbers"):
        late.live(TagOptions(microphone=True))(lambda text: True)
    loud = write_loudness(tmp_path / "loud")
    assert "leave out a.wav, or --microphone" in call("run", loud, "a.wav", "--microphone")[2]
    assert "must end in" in call("run", loud, "--microphone", "--plot", tmp_path / "a.txt")[2]
    assert call("run", loud, "--microphone", "--plot", tmp_path / "a.png")[0] == 0
    assert (tmp_path / "a.png").exists()


def test_the_command_prints_each_event_once(late, frames, tmp_path, call):
    status, out, _ = call("run", tmp_path / "late", frames)
    assert (status, out) == (0, "frames    2 to    3  left\nframes    4 to    4  right\n")


def test_smoothing_is_50_ms_of_sound_and_none_elsewhere():
    assert smoothing(100.0) == (5, 5)
    assert smoothing(None) == (0, 1)


def test_a_plot_shows_events_and_probabilities(late, frames, tmp_path):
    out = tmp_path / "plot.png"
    late(late.read(frames), TagOptions(plot=out))
    with Image.open(out) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    left, right = ((pixels == colour).all(axis=2) for colour in ((46, 134, 171), (60, 141, 47)))
    assert left.sum() > 1.5 * right.sum() > 0  # the first event is twice as long
    assert right[:, : pixels.shape[1] // 2].sum() == 0


def test_a_plot_that_cannot_be_written_is_refused_before_anything_is_read(late, frames, tmp_path):
    for out, words in (("plot.txt", "must end in"), ("none/plot.png", "there is no directory")):
        with pytest.raises(ConfigError, match=words):
            late.check(TagOptions(plot=tmp_path / out), [frames])
    with pytest.raises(ConfigError, match="name one input, not 2"):
        late.check(TagOptions(plot=tmp_path / "a.png"), [frames, frames])
    with pytest.raises(ImageError, match="cannot be written"):
        late(late.read(frames), TagOptions(plot=tmp_path / "none" / "plot.png"))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"values": np.zeros((4, 3))}, "has no frames"),
        ({"frames": np.float32(3)}, "has no frames"),
        ({"frames": np.zeros((4, 2))}, r"shape \[4, 2\], and the model reads rows of 3"),
        ({"frames": np.zeros((0, 3))}, r"x\.npz is empty"),
        ({"frames": np.array([{}] * 3)}, "holds Python objects"),
    ],
)
def test_what_does_not_fit_is_refused(late, tmp_path, arrays, words):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(CorpusError, match=words):
        late.read(tmp_path / "x.npz")


def test_pictures_of_another_type_or_for_sound_are_refused(tmp_path):
    spec = GraphSpec(
        "step",
        (TensorSpec("frame", "uint8", (BATCH, 2, 2, 3), kind="image"),),
        (TensorSpec("scores", "float32", (BATCH, 12), kind="label"),),
        (StateSpec("h", "float32", (BATCH, 1)),),
    )
    nodes = [
        helper.make_node("Cast", ["frame"], ["x"], to=1),
        helper.make_node("Flatten", ["x"], ["scores"]),
        helper.make_node("Identity", ["h_in"], ["h_out"]),
    ]
    names = [str(place) for place in range(12)]
    clips = TagPipeline(Model.load(write(tmp_path / "clips", spec, nodes, {}, names)))
    np.savez(tmp_path / "x.npz", frames=np.zeros((3, 2, 2, 3)))
    with pytest.raises(CorpusError, match=r"x\.npz has frames of type float64, and the model reads uint8"):
        clips.read(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", frames=np.zeros((3, 4, 2, 3), np.uint8))
    with pytest.raises(CorpusError, match=r"x\.npz has frames of 2 × 4 pixels, and the model reads 2 × 2"):
        clips.read(tmp_path / "x.npz")
    sound = TagPipeline(Model.load(write_loudness(tmp_path / "loud")))
    with pytest.raises(AudioError, match=r"x\.npz is not a WAV file"):
        sound.read(tmp_path / "x.npz")


def test_a_file_that_is_no_archive_is_refused(late, tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK nothing")
    with pytest.raises(CorpusError, match=r"x\.npz is not an \.npz file"):
        late.read(tmp_path / "x.npz")


def test_scores_that_are_not_numbers_are_no_label(late):
    with pytest.raises(SamplingError, match="are not numbers"):
        late({"values": np.full((2, 1, 3), np.nan, np.float32)}, TagOptions())


def test_a_model_without_classes_is_refused(tmp_path):
    with pytest.raises(StreamError, match="it scores no classes"):
        TagPipeline(Model.load(write_late(tmp_path / "plain", delay=0, kind="")))
