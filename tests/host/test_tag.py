"""The task tag: its training sequences, its delay, and its score."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from tasks import EXAMPLES, RATE, write_frames, write_tone

from edgernn.cli import execute
from edgernn.data.clips import FRAME_CLASSES, FRAMES, SIDE
from edgernn.data.sequences import PackedSequences, read_sequences
from edgernn.data.speech import Recording
from edgernn.engines.eager import eager_model
from edgernn.errors import CheckFailedError, ConfigError, CorpusError
from edgernn.runtime.pipelines import pipeline_for
from edgernn.runtime.pipelines.tag import TagOptions
from edgernn.tasks import TASKS
from edgernn.tasks.tag.data import Clips, Excerpts, Spoken, drawn_frames, open_training, strung
from edgernn.tasks.tag.network import Tagger
from edgernn.tasks.tag.score import score_labels
from edgernn.tasks.tag.settings import TagConfig, TagData, TagEvaluation
from edgernn.training import Run, Trainer
from edgernn.training.trainer import ignore_progress

TAG = TASKS["tag"]
CLASSES = ("nothing", "a", "b")
SMALL = {**EXAMPLES["tag"].settings, "steps": 2, "evaluations": 1}


def score(true, given, delay=0, rate=None):
    return score_labels([(np.array(true), np.array(given))], CLASSES, delay, rate)


# The score.


def test_a_delay_counts_from_the_first_frame_of_an_event():
    assert score([0, 1, 1, 1, 0], [0, 1, 1, 1, 0]).delay == 0
    assert score([0, 1, 1, 1, 0], [0, 0, 0, 1, 1]).delay == 2
    assert score([0, 1, 1, 1, 0], [0, 2, 1, 1, 0]).delay == 1
    assert score([0, 1, 1, 1, 0], [1, 0, 1, 0, 0]).delay == 1  # what was said before the event is not its report


def test_the_look_ahead_is_part_of_the_delay():
    found = score([0, 1, 1, 1, 0], [0, 0, 1, 1, 0], delay=16, rate=100.0)
    assert (found.delay, found.delay_ms) == (17, 170)
    assert score([0, 1], [0, 1], delay=3).delay_ms is None


def test_the_delay_is_the_median_and_a_missed_event_is_infinitely_late():
    true = [0, 1, 1, 0, 2, 2, 0, 1, 1, 0]
    assert score(true, [0, 1, 1, 0, 0, 2, 0, 0, 0, 0]).delay == 1
    missed = score(true, [0, 1, 1, 0, 0, 0, 0, 0, 0, 0])
    assert (missed.delay, missed.to_json()["delay_frames"]) == (None, None)
    assert ", no median delay, since half of the events have no right frame" in str(missed)
    assert missed.event_recall == pytest.approx(1 / 3)


def test_frames_are_counted_by_their_true_class():
    found = score([0, 0, 0, 1, -1, 2], [0, 0, 1, 1, 2, 1])
    assert found.frames == 5
    assert found.frame_accuracy == pytest.approx(3 / 5)
    assert found.balanced_accuracy == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found.confusion.tolist() == [[2, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert found.confusions == [("nothing", "a", 1), ("b", "a", 1)]


def test_events_are_found_where_reports_overlap_with_them():
    found = score([0, 1, 1, 0, 2, 2, 0, 0], [0, 0, 1, 1, 1, 0, 2, 0])
    assert (found.event_recall, found.event_precision) == (0.5, 0.5)
    assert score([0, 0], [0, 0]).to_json()["event_precision"] is None
    flicker = np.zeros(100, int)
    flicker[50:54] = 1
    assert score(np.zeros(100, int), flicker, rate=100.0).reported == 0  # 40 ms of sound are no event


def test_the_score_of_no_event_has_no_delay():
    found = score([0, 0], [0, 1])
    assert found.to_json() | {"classes": None, "confusion": None} == {
        "frame_accuracy": 0.5,
        "balanced_accuracy": 0.5,
        "frames": 2,
        "delay_ms": None,
        "delay_frames": None,
        "events": 0,
        "event_recall": None,
        "event_precision": 0.0,
        "classes": None,
        "confusion": None,
    }
    text = "50.0 % of 2 frames right, balanced 50.0 %, 0.0 % of reported events right"
    assert str(found) == f"{text}; most confused: nothing taken for a (1)"


# Training sequences.


def test_excerpts_reach_every_frame_and_cross_no_end(tmp_path):
    sequences = [np.arange(start, start + count) for start, count in ((0, 9), (100, 3), (200, 5))]
    record = PackedSequences.write(tmp_path, "x", sequences, [0, 0, 0])
    packed = PackedSequences.open(tmp_path, "x", record)
    source, seen = Excerpts(packed, packed, 4), set()
    assert source.frames == 17
    for seed in range(300):
        drawn = source.draw(np.random.default_rng(seed))
        assert len(drawn.steps) == (3 if drawn.steps[0] == 100 else 4)
        assert (np.diff(drawn.steps) == 1).all()
        seen.update(drawn.labels.tolist())
    assert seen == {value for each in sequences for value in each.tolist()}


def test_speech_is_strung_together_anew():
    word = (8000 * np.sin(np.arange(2000) / 3)).astype(np.int16)
    source = Spoken([Recording(word, 0), Recording(-word, 1)], 8000, 150)
    first, second = (source.draw(np.random.default_rng(seed)) for seed in (0, 1))
    assert first.steps.shape == (150, 80)
    assert len(first.labels) == 150
    assert not np.array_equal(first.steps, second.steps)
    assert np.array_equal(first.steps, source.draw(np.random.default_rng(0)).steps)


def test_no_clip_is_trained_on_twice():
    first, second = (Clips(None).draw(np.random.default_rng(seed)) for seed in (0, 1))
    assert first.steps.shape == (FRAMES, SIDE, SIDE, 3)
    assert not np.array_equal(first.steps, second.steps)
    held_out = drawn_frames("dev", None).sequences[0]
    assert held_out.labels.shape == first.labels.shape == (FRAMES,)
    with pytest.raises(CorpusError, match="no part novel"):
        drawn_frames("novel", None)


def write_tones(folder):
    folder.mkdir(exist_ok=True)
    for place in range(8):
        write_tone(folder / f"low_{place}.wav", 300 + 5 * place, 0.2, place)
        write_tone(folder / f"high_{place}.wav", 1500 + 9 * place, 0.2, 100 + place)
    return folder


def test_held_out_speech_has_only_held_out_recordings(tmp_path, monkeypatch):
    from edgernn.tasks.tag import data

    strung_from = []
    monkeypatch.setattr(data, "strung", lambda dataset, split: strung_from.append((dataset, split)))
    found = open_training(str(write_tones(tmp_path / "tones")), TagData(held_out=0.25), 0, ignore_progress)
    ((held_out, split),) = strung_from
    assert (found.kind, found.classes, found.rate, split) == ("sound", ("silence", "high", "low"), RATE, "dev")
    assert len(found.recordings), len(held_out.examples) == (12, 4)
    trained = {each.samples.tobytes() for each in found.recordings}
    assert not trained & {each.value.tobytes() for each in held_out.examples}


def test_speech_to_evaluate_on_is_always_the_same(tmp_path):
    recordings = read_sequences(write_tones(tmp_path / "tones"))
    first, second = (strung(recordings, "test") for _ in range(2))
    assert all(np.array_equal(one.steps, other.steps) for one, other in zip(first, second, strict=True))
    assert not np.array_equal(first[0].steps, first[1].steps)
    assert first[0].steps.shape == (1000, 80)  # ten seconds


# Training, and what comes of it.


def train(sources, out, **settings):
    trainer = Trainer.begin(TAG, [str(each) for each in sources], out, **{**SMALL, **settings})
    for _ in trainer.fit():
        pass
    return Run.load(out)


def write_parts(folder, seed=0, **changed):
    for place, part in enumerate(("train", "val", "test")):
        write_frames(folder / f"{part}.npz", seed + place, **changed)
    return folder


@pytest.mark.parametrize("delay", [0, 3])
def test_targets_are_the_labels_later_by_the_delay(tmp_path, delay):
    trainer = Trainer.begin(TAG, [str(write_parts(tmp_path / "data"))], tmp_path / "run", **SMALL | {"delay": delay})
    steps, targets = trainer.learner._batch(0)
    assert len(steps) == len(targets) == 20 + delay
    assert (targets[:delay] == -1).all()
    frames = steps[: len(steps) - delay, :, 0]
    assert (frames.argmax(-1) == targets[delay:]).float().mean() > 0.95  # the channel of the label is high
    assert torch.equal(trainer.learner._batch(0)[0], steps)


def test_run_and_pipeline_label_the_same_frames(tmp_path):
    run = train([write_parts(tmp_path / "data")], tmp_path / "run", steps=60, delay=2)
    model = eager_model(run.source())
    assert model.labels == ("nothing", "left", "right")
    assert model.contract["step"].output_of("label").delay == 2
    pipeline = pipeline_for(model)
    labels = pipeline(pipeline.read(tmp_path / "data" / "test.npz"), TagOptions()).labels
    settings = TagEvaluation(data=str(tmp_path / "data"))
    found = TAG.evaluate(model, settings, ignore_progress).score
    with np.load(tmp_path / "data" / "test.npz") as arrays:
        true = arrays["classes"][arrays["labels"]]
    assert found.frames == len(labels) == 48
    assert found.frame_accuracy == pytest.approx(np.mean(true == np.array(labels)))
    assert found.frame_accuracy > 0.9
    assert found.delay >= 2


def test_a_picture_tagger_labels_frames_of_a_gif(tmp_path):
    from PIL import Image

    frames = np.zeros((48, 8, 8, 3), np.uint8)
    write_parts(tmp_path / "data", frames=frames)
    run = train([tmp_path / "data"], tmp_path / "run", preset="video", features=4)
    shades = [Image.new("RGB", (8, 8), (50 * place, 0, 0)) for place in range(3)]
    shades[0].save(tmp_path / "x.gif", save_all=True, append_images=shades[1:])
    pipeline = pipeline_for(eager_model(run.source()))
    shown = []
    found = pipeline(pipeline.read(tmp_path / "x.gif"), TagOptions(), shown.append)
    assert shown == [f"frame {place:4}  {label}\n" for place, label in enumerate(found.labels)]
    assert len(shown) == 3


@pytest.mark.slow
def test_a_sound_tagger_is_trained_evaluated_exported_and_run(tmp_path, capsys):
    def call(*arguments):
        status = execute([*map(str, arguments), "--json"])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return json.loads(captured.out.splitlines()[-1])

    data, run, bundle = write_tones(tmp_path / "tones"), tmp_path / "run", tmp_path / "bundle"
    model = ["--features", 8, "--hidden", 8, "--layers", 1, "--delay", 2]
    trained = call(
        "train", "tag", data, "--out", run, *model, "--steps", 40, "--excerpt", 50, "--batch-size", 4,
        "--evaluations", 1, "--learning-rate", 0.02,
    )  # fmt: skip
    assert trained["best"]["frames"] == 30_000
    call("export", run, "--out", bundle)
    assert execute(["inspect", str(bundle)]) == 0
    assert "scores: float32[batch, 3], label, 2 steps late" in capsys.readouterr().out
    of_run, of_bundle = (call("evaluate", each, "--data", data) for each in (run, bundle))
    assert of_bundle["frame_accuracy"] == pytest.approx(of_run["frame_accuracy"], abs=1e-4)
    assert of_run["frames"] == 60_000
    assert of_run["delay_ms"] is None or of_run["delay_ms"] == 10 * of_run["delay_frames"] >= 20
    with wave.open(str(tmp_path / "all.wav"), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(strung(read_sequences(data), "test")[0].steps.tobytes())
    found = call("run", bundle, tmp_path / "all.wav")
    assert [*found] == ["input", "labels", "events"]
    assert len(found["labels"]) == 1000
    assert set(found["labels"]) <= {"silence", "high", "low"}


@pytest.mark.parametrize(
    ("write", "settings", "words"),
    [
        (lambda folder: folder / "none", {}, "there is no"),
        (lambda folder: write_tones(folder), {"digits": Path("x")}, "--digits belongs to the drawn clips"),
        (lambda folder: write_parts(folder, labels=np.full(48, -1)), {}, "all labels are -1"),
        (lambda folder: write_parts(folder, labels=np.full(48, 1)), {}, "has one class, left"),
        (lambda folder: write_tone(folder / "silence_1.wav", 300).parent, {}, "has one class"),
    ],
)
def test_data_that_cannot_be_trained_on_is_one_line(tmp_path, write, settings, words):
    (tmp_path / "data").mkdir()
    with pytest.raises((CorpusError, ConfigError), match=words):
        train([write(tmp_path / "data")], tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_recordings_of_silence_and_texts_are_refused(tmp_path):
    write_tones(tmp_path / "tones")
    for place in range(2):
        write_tone(tmp_path / "tones" / f"silence_{place}.wav", 300)
    with pytest.raises(CorpusError, match="has a class silence, which is what pauses are called"):
        train([tmp_path / "tones"], tmp_path / "run")
    (tmp_path / "names").mkdir()
    for name in ("a", "b"):
        (tmp_path / "names" / f"{name}.txt").write_text("x\ny\n")
    with pytest.raises(CorpusError, match="has no frames with labels: name a directory of WAV files"):
        train([tmp_path / "names"], tmp_path / "run")


def test_parts_of_other_sizes_are_refused(tmp_path):
    write_frames(tmp_path / "train.npz", 0)
    write_frames(tmp_path / "val.npz", 0, frames=np.zeros((48, 2)))
    with pytest.raises(CorpusError, match="the part dev are not of the size"):
        train([tmp_path], tmp_path / "run")


def test_a_run_that_starts_from_another_has_its_classes(tmp_path):
    run = train([write_parts(tmp_path / "a")], tmp_path / "run")
    write_parts(tmp_path / "b", classes=np.array(["nothing", "up", "down"]))
    training = {name: SMALL[name] for name in ("batch_size", "excerpt", "steps", "evaluations")}
    with pytest.raises(CorpusError, match=r"other classes than the run .*run, which has nothing, left, right"):
        Trainer.begin(TAG, [str(tmp_path / "b")], tmp_path / "new", start_from=run.path, **training)


def test_an_evaluation_says_what_is_missing(tmp_path):
    model = eager_model(train([write_parts(tmp_path / "data")], tmp_path / "run").source())
    for settings, error, words in (
        ({}, ConfigError, "name them with --data"),
        ({"data": "clips"}, CorpusError, "the drawn clips have the classes nothing, enters"),
        ({"data": str(tmp_path / "none")}, CorpusError, "there is no"),
    ):
        with pytest.raises(error, match=words):
            TAG.evaluate(model, TagEvaluation(**settings), ignore_progress)


def test_scores_that_are_not_numbers_are_no_score(tmp_path):
    trainer = Trainer.begin(TAG, [str(write_parts(tmp_path / "data"))], tmp_path / "run", **SMALL)
    with torch.no_grad():
        trainer.network.output.bias.fill_(torch.nan)
    with pytest.raises(CheckFailedError, match="are not numbers"):
        trainer.learner.evaluate(trainer.network)


def test_presets_are_those_of_the_data(tmp_path):
    write_frames(tmp_path / "video.npz", 0, frames=np.zeros((48, 4, 4, 3), np.uint8))
    write_frames(tmp_path / "numbers.npz", 0)
    sources = ("clips", tmp_path / "video.npz", tmp_path / "numbers.npz", write_tones(tmp_path / "tones"))
    assert [TAG.preset_for([str(each)], {}) for each in sources] == ["video", "video", "numbers", "sound"]


def test_a_tagger_needs_kind_and_classes():
    with pytest.raises(ConfigError, match="needs the kind of its data"):
        Tagger(TagConfig())


def test_the_classes_of_clips_are_those_of_frames():
    assert drawn_frames("dev", None).classes == FRAME_CLASSES
