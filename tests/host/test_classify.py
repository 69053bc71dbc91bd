"""Classifiers of sound, text, numbers and clips: the network, the scores, and the way from files to a label."""

import csv
import json
import shutil
import sys
import wave
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from targets import TARGETS
from tasks import EXAMPLES, RATE, write_tone

from edgernn.bundle import Bundle
from edgernn.cli.load import load_model
from edgernn.data.batches import batches_by_length, pad
from edgernn.data.sequences import read_sequences
from edgernn.engines.eager import eager_model
from edgernn.errors import BundleError, CheckFailedError, ConfigError, CorpusError, StreamError
from edgernn.exporters import export
from edgernn.media.audio import mono, read_wav
from edgernn.runtime import Model
from edgernn.runtime.pipelines import pipeline_for
from edgernn.runtime.pipelines.classify import ClassifyOptions
from edgernn.runtime.pipelines.sequence_input import SequenceInput
from edgernn.tasks import TASKS
from edgernn.tasks.classify.network import Classifier
from edgernn.tasks.classify.score import evaluate, score_probabilities
from edgernn.tasks.classify.settings import ClassifyConfig, ClassifyEvaluation
from edgernn.tasks.learner import Placement
from edgernn.training import Run, Trainer
from edgernn.training.run import open_learner
from edgernn.training.trainer import ignore_progress

SETTINGS = {**EXAMPLES["classify"].settings, "steps": 60}
OPTIONS = [word for name, value in SETTINGS.items() for word in (f"--{name.replace('_', '-')}", value)]


def write_names(folder):
    """Words of vowels and words of consonants, a file for each."""
    random = np.random.default_rng(0)
    for name, letters in (("vowels", "aeiou"), ("consonants", "bdgkt")):
        lines = ["".join(random.choice(list(letters), random.integers(2, 9))) for _ in range(40)]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def movements(count=36, long=1):
    """Rows of two channels that rise or fall: values, ends, labels and subjects."""
    random = np.random.default_rng(0)
    lengths, labels = random.integers(5, 12, count) * long, np.arange(count) % 2
    rows = [
        np.stack([np.linspace(0, 4 - 8 * label, length), np.ones(length)], 1) + random.normal(0, 0.3, (length, 2))
        for length, label in zip(lengths, labels, strict=True)
    ]
    return np.concatenate(rows).astype(np.float32), np.cumsum(lengths), labels, np.arange(count) // 2 % 6


def write_movements(folder, long=1):
    values, ends, labels, subjects = movements(long=long)
    np.savez(
        folder / "moves.npz",
        values=values,
        ends=ends,
        labels=labels.astype(np.int16),
        classes=np.array(["rises", "falls"]),
        subjects=subjects,
    )
    return folder


def write_table(folder):
    """The same in CSV."""
    values, ends, labels, subjects = movements()
    with (folder / "moves.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["sequence", "label", "group", "up", "level"])
        for row, value in enumerate(values):
            place = int(np.searchsorted(ends, row, "right"))
            lines.writerow([place, ("rises", "falls")[labels[place]], f"p{subjects[place]}", *value.tolist()])
    return folder


def write_clips(folder):
    """Clips that become lighter or darker."""
    for name, shades in (("dawn", range(30, 250, 40)), ("dusk", range(250, 30, -40))):
        (folder / name).mkdir()
        for place in range(12):
            pictures = [Image.new("RGB", (12, 8), (shade, place * 20, 99)) for shade in list(shades)[: 3 + place % 3]]
            pictures[0].save(folder / name / f"{place}.gif", save_all=True, append_images=pictures[1:])
    return folder


def write_tones(folder):
    EXAMPLES["classify"].write(folder)
    return folder


# By the kind of data: what writes it, and an input that is labelled.
KINDS = {
    "sound": (write_tones, lambda folder: folder / "high_3.wav", "high"),
    "text": (write_names, lambda folder: "aeoa", "vowels"),
    "numbers": (write_movements, lambda folder: folder / "row.csv", "falls"),
    "table": (write_table, lambda folder: folder / "row.csv", "falls"),
    "video": (write_clips, lambda folder: folder / "dusk" / "5.gif", "dusk"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """By kind, a folder of data."""
    return {kind: write(tmp_path_factory.mktemp(kind)) for kind, (write, *_) in KINDS.items()}


@pytest.fixture
def item(data, tmp_path):
    """By kind, an input of `edgernn run`."""
    rows = np.stack([np.linspace(0, -4, 9), np.ones(9)], axis=1)
    np.savetxt(tmp_path / "row.csv", rows, delimiter=",", header="up,level", comments="")
    return {kind: of(tmp_path if kind in ("numbers", "table") else data[kind]) for kind, (_, of, _) in KINDS.items()}


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """By kind, a run that is trained when it is first asked for."""
    folder, made = tmp_path_factory.mktemp("runs"), {}

    def run(kind):
        if kind not in made:
            for _ in Trainer.begin(TASKS["classify"], [str(data[kind])], folder / kind, **SETTINGS).fit():
                pass
            made[kind] = folder / kind
        return made[kind]

    return run


@pytest.fixture(scope="module")
def bundles(runs, tmp_path_factory):
    """By kind, target and precision, a bundle that is made when it is first asked for."""
    folder, made = tmp_path_factory.mktemp("bundles"), {}

    def bundle(kind, target="onnx", precision="fp32"):
        key = kind, target, precision
        if key not in made:
            made[key] = folder / "-".join(key)
            export(Run.load(runs(kind)).source(), made[key], target=target, precision=precision, steps=32)
        return made[key]

    return bundle


# The network


def classifier(kind, **changes):
    sizes = {"sound": {"rate": 8000}, "text": {"vocabulary": 9}, "video": {"height": 8, "width": 12}}
    config = {"features": 6, "hidden": 5, "layers": 2, "kind": kind, "classes": 3, "hop": 2, "window": 5, "channels": 2}
    torch.manual_seed(0)
    return Classifier(ClassifyConfig(**{**config, **sizes.get(kind, {}), **changes})).eval().requires_grad_(False)


def values(kind, time=9):
    random = torch.Generator().manual_seed(0)
    shapes = {"sound": (80,), "text": (), "numbers": (2, 2), "video": (8, 12, 3)}
    if kind == "numbers":
        return torch.randn(time, 2, *shapes[kind], generator=random)
    low, high, dtype = {
        "sound": (-9000, 9000, torch.int16),
        "text": (0, 9, torch.int64),
        "video": (0, 256, torch.uint8),
    }[kind]
    return torch.randint(low, high, (time, 2, *shapes[kind]), generator=random).to(dtype)


def first_states(network, batch):
    spec = network.graphs()[0].spec
    return [torch.zeros(each.shape({"batch": batch})) for each in spec.states]


@pytest.mark.parametrize("kind", ["sound", "text", "numbers", "video"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_steps_score_as_the_sequence_for_training_does(kind, cell):
    network, x = classifier(kind, cell=cell), values(kind)
    network.temperature.fill_(2.0)
    expected = network.sequence(x)
    for module in (network, network.graphs()[0].source):
        state = first_states(network, 2)
        for step, logits in zip(x, expected, strict=True):
            scores, *state = module(step, *state)
            torch.testing.assert_close(scores, logits / 2, atol=1e-5, rtol=1e-4)


def test_the_running_mean_is_that_of_all_outputs_so_far():
    network, x = classifier("text"), values("text")
    names = [each.name for each in network.graphs()[0].spec.states]
    h, _ = network.stack.sequence(network.front.sequence(x, ())[0], network.stack.initial_state(2))
    h, state = h.numpy(), first_states(network, 2)
    weight, bias = network.output.weight.numpy(), network.output.bias.numpy()
    for place, step in enumerate(x):
        scores, *state = network(step, *state)
        mean = h[: place + 1].mean(axis=0)
        found = dict(zip(names, state, strict=True))
        np.testing.assert_allclose(found["mean"], mean, atol=1e-6)
        assert found["steps"].tolist() == [[place + 1]] * 2
        pooled = np.hstack([h[place], mean, np.full((2, 1), np.log(place + 1))])
        np.testing.assert_allclose(scores, pooled @ weight.T + bias, atol=1e-5)


def test_padding_changes_no_score():
    network, x = classifier("text"), values("text").numpy()
    batch = pad([x[:4, 0], x[:, 1]])
    assert batch.lengths.tolist() == [4, 9]
    padded = network.sequence(torch.from_numpy(batch.steps))
    torch.testing.assert_close(padded[:4, 0], network.sequence(torch.from_numpy(x[:4, :1]))[:, 0])


def test_every_sequence_is_in_one_batch_with_others_of_its_length():
    lengths = np.random.default_rng(0).integers(1, 100, 203)
    batches = batches_by_length(lengths, 10, np.random.default_rng(1))
    assert sorted(np.concatenate(batches).tolist()) == list(range(203))
    assert sorted(map(len, batches)) == [3, *[10] * 20]
    assert np.mean([np.ptp(lengths[batch]) for batch in batches]) < 20


# The scores


def test_scores_of_a_case_made_by_hand():
    parts = np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.45, 0.55, 0], [0.6, 0.4, 0]])
    score = score_probabilities(parts, np.array([0, 0, 1, 1]), ["a", "b", "c"])
    assert score.confusion.tolist() == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert (score.count, score.accuracy, score.balanced_accuracy) == (4, 0.75, 0.75)
    assert score.nats == pytest.approx(-np.log([0.9, 0.8, 0.55, 0.4]).mean())
    # Each is alone in its bin: the gaps are 0.1, 0.2, 0.45 and 0.6.
    assert score.calibration_error == pytest.approx((0.1 + 0.2 + 0.45 + 0.6) / 4)
    assert score.confusions == [("b", "a", 1)]
    assert str(score).endswith("on 4 sequences; most confused: b taken for a (1)")
    assert score.table.splitlines() == [
        "true class    a    b    c",
        "a             2    ·    ·",
        "b             1    1    ·",
        "c             ·    ·    ·",
    ]
    assert json.loads(json.dumps(score.to_json()))["confusion"] == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_balanced_accuracy_is_the_mean_over_classes():
    parts = np.eye(2)[[0] * 9 + [0]]
    score = score_probabilities(parts, np.array([0] * 9 + [1]), ["many", "few"])
    assert (score.accuracy, score.balanced_accuracy) == (0.9, 0.5)


def test_a_certainty_that_comes_true_has_no_calibration_error():
    parts = np.tile([0.75, 0.25], (4, 1))
    assert score_probabilities(parts, np.array([0, 0, 0, 1]), ["a", "b"]).calibration_error == pytest.approx(0)
    assert score_probabilities(parts, np.array([1, 1, 1, 1]), ["a", "b"]).calibration_error == pytest.approx(0.75)


def test_more_than_twenty_classes_have_no_matrix_as_text():
    parts = np.eye(21)
    assert score_probabilities(parts, np.arange(21), list(map(str, range(21)))).table == ""
    assert len(score_probabilities(parts[:20, :20], np.arange(20), list(map(str, range(20)))).table.splitlines()) == 21


def test_names_above_columns_are_cut_to_the_width_of_counts():
    score = score_probabilities(np.eye(2)[[0] * 12_345], np.zeros(12_345, int), ["Portuguese", "Vietnamese"])
    assert score.table.splitlines()[:2] == ["true class Portug Vietna", "Portuguese 12,345      ·"]


def test_probabilities_that_are_not_numbers_are_refused():
    with pytest.raises(CheckFailedError, match="not numbers"):
        score_probabilities(np.array([[np.nan, 0.5]]), np.array([0]), ["a", "b"])


def test_a_network_whose_scores_are_not_numbers_has_no_score_and_keeps_its_temperature(runs):
    run = Run.load(runs("text"))
    learner, network = open_learner(run, Placement(), ignore_progress), run.network()
    before = float(network.temperature)
    assert learner.evaluate(network).nats == pytest.approx(min(line["nats"] for line in run.metrics()))
    with torch.no_grad():
        network.output.bias.fill_(torch.nan)
    with pytest.raises(CheckFailedError, match="the scores of the classes are not numbers"):
        learner.evaluate(network)
    assert float(network.temperature) == before


# Training


def test_the_temperature_calibrates_the_held_out_data(runs):
    run = Run.load(runs("text"))
    network = run.network()
    assert 0.25 <= float(network.temperature) <= 8
    with torch.no_grad():
        x = torch.from_numpy(np.zeros((3, 1), np.int64))
        logits = network.sequence(x)[-1]
        state = first_states(network, 1)
        for step in x:
            scores, *state = network.eval()(step, *state)
    torch.testing.assert_close(scores * network.temperature, logits.float(), atol=1e-4, rtol=1e-4)


def test_class_weights_make_a_rare_class_count(tmp_path):
    """Of sequences that are all alike, a network learns how frequent the classes are; with weights, nothing."""
    np.savez(
        tmp_path / "alike.npz",
        values=np.ones((200, 1), np.float32),
        ends=np.arange(2, 202, 2),
        labels=(np.arange(100) % 10 == 0).astype(np.int16),
        classes=np.array(["often", "seldom"]),
    )
    settings = {**SETTINGS, "batch_size": 10, "smoothing": 0.0, "augment": False, "dropout": 0.0}
    shares = []
    for weights in (False, True):
        run = tmp_path / f"run{weights}"
        trainer = Trainer.begin(TASKS["classify"], [str(tmp_path)], run, **settings, class_weights=weights)
        for _ in trainer.fit():
            pass
        with torch.no_grad():
            logits = trainer.network.eval().sequence(torch.ones(2, 1, 1, 1))[-1, 0]
        shares.append(float(torch.softmax(logits, 0)[1]))
    assert shares == pytest.approx([0.1, 0.5], abs=0.04)


def test_whole_people_are_held_out(runs):
    record = Run.load(runs("numbers")).prepared.record
    assert record["held-out"]["sequences"] % 6 == 0  # each of the six people has six sequences
    assert record["held-out"]["sequences"] + record["train"]["sequences"] == 36


@pytest.mark.parametrize(("long", "hop", "window"), [(1, 1, 1), (30, 8, 32)])
def test_long_sequences_of_numbers_are_read_eight_rows_at_a_time(tmp_path, long, hop, window):
    trainer = Trainer.begin(TASKS["classify"], [str(write_movements(tmp_path, long))], tmp_path / "run", **SETTINGS)
    config = trainer.run.prepared.chosen.model
    assert (config.hop, config.window) == (hop, window)
    for _ in trainer.fit():
        pass
    assert trainer.score().accuracy > 0.8
    export(trainer.run.source(), tmp_path / "bundle", precision="int8", steps=16)
    (spec,) = Model.load(tmp_path / "bundle").contract["step"].inputs
    assert spec.axes == ("batch", hop, 2)


# From data to a label, by the commands


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data_becomes_a_bundle_that_labels(kind, data, item, tmp_path, call, monkeypatch):
    monkeypatch.setitem(export.__kwdefaults__, "steps", 32)
    run, bundle, source = tmp_path / "run", tmp_path / "bundle", data[kind]
    status, out, err = call("train", "classify", source, "--out", run, *OPTIONS)
    assert status == 0, err
    assert out.startswith(f"{run}: accuracy ")
    score = json.loads(call("evaluate", run, "--data", source, "--json")[1])
    assert score["accuracy"] >= 0.9, score
    assert call("export", run, "--precision", "int8", "--out", bundle)[0] == 0
    assert call("verify", bundle)[0] == 0
    bundle_score = json.loads(call("evaluate", bundle, "--data", source, "--json")[1])
    assert bundle_score["accuracy"] == pytest.approx(score["accuracy"], abs=0.06)
    status, out, err = call("run", bundle, item[kind])
    assert status == 0, err
    assert out.splitlines()[-1].startswith(f"{KINDS[kind][2]} (")
    found = json.loads(call("run", bundle, item[kind], "--json")[1])
    assert found["label"] == KINDS[kind][2] == next(iter(found["probabilities"]))
    assert sum(found["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize("kind", ["sound", "text", "numbers", "video"])
def test_a_batch_of_sequences_of_many_lengths_scores_as_each_alone(kind, bundles, data):
    model, folder = Model.load(bundles(kind)), data[kind]
    score = evaluate(model, ClassifyEvaluation(data=str(folder)), ignore_progress).score
    pipeline, dataset = pipeline_for(model), read_sequences(folder, kind)
    source = SequenceInput(model)
    assert len({len(source.steps(each.value)) for each in dataset.examples}) > 2
    found = [
        pipeline({source.name: source.steps(each.value)}, ClassifyOptions()).probabilities for each in dataset.examples
    ]
    parts = np.array([[each[name] for name in model.labels] for each in found])
    alone = score_probabilities(parts, np.array([each.label for each in dataset.examples]), model.labels)
    assert alone.confusion.tolist() == score.confusion.tolist()
    assert alone.nats == pytest.approx(score.nats, abs=1e-4)


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("target", "precision"), [(target, "int8" if target == "executorch" else "fp32") for target in TARGETS]
)
def test_sound_is_labelled_alike_on_every_target(target, precision, runs, bundles, data):
    run = pipeline_for(eager_model(Run.load(runs("sound")).source()))
    bundle = pipeline_for(load_model(bundles("sound", target, precision)))
    files = sorted(data["sound"].glob("*.wav"))
    labels = [[each(each.read(file), ClassifyOptions()) for file in files] for each in (run, bundle)]
    agree = np.mean([ours.label == theirs.label for ours, theirs in zip(*labels, strict=True)])
    assert agree == 1 if precision == "fp32" else agree >= 0.9
    if precision == "fp32":
        for ours, theirs in zip(*labels, strict=True):
            assert theirs.probabilities == pytest.approx(ours.probabilities, abs=1e-3)


@pytest.mark.parametrize(
    ("target", "precision"),
    [
        *(("onnx", "int8"), ("onnx", "int4"), ("onnx", "fp16"), ("torchscript", "int8")),
        pytest.param("executorch", "int8", marks=pytest.mark.matrix),
    ],
)
def test_the_matrices_of_the_spectrum_stay_in_single_precision(target, precision, bundles):
    record = {
        weight["name"]: weight for weight in Bundle.load(bundles("sound", target, precision)).manifest.weights["step"]
    }
    for name in ("front.spectrum", "front.bands"):
        assert (record[name]["bits"], record[name]["reason"]) == (32, "the network needs single precision")
    assert record["output.weight"]["bits"] < 32


# Sound of other widths, channels and rates


def write_wav(path, samples, *, width=2, channels=1, rate=RATE):
    """Samples of 16 bits in a file of another width, in several equal channels."""
    if width == 1:
        data = (samples // 256 + 128).astype(np.uint8)[:, None]
    else:
        wide = (samples.astype(np.int64) << 8 * (width - 2)).astype("<i8")
        data = wide.view(np.uint8).reshape(-1, 8)[:, :width]
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(np.tile(data.reshape(len(samples), 1, width), (1, channels, 1)).tobytes())
    return path


@pytest.fixture(scope="module")
def listener(bundles):
    return pipeline_for(Model.load(bundles("sound")))


def labelled(pipeline, path, **options):
    return pipeline(pipeline.read(path), ClassifyOptions(**options))


@pytest.mark.parametrize(("width", "channels"), [(1, 1), (2, 2), (3, 1), (4, 1), (3, 2), (1, 3)])
def test_every_width_and_number_of_channels_gives_the_same_answer(width, channels, listener, tmp_path):
    samples = mono(read_wav(write_tone(tmp_path / "tone.wav", 700))) // 256 * 256  # exact in 8 bits too
    plain = labelled(listener, write_wav(tmp_path / "a.wav", samples))
    other = labelled(listener, write_wav(tmp_path / "b.wav", samples, width=width, channels=channels))
    assert other.probabilities == plain.probabilities


@pytest.mark.parametrize("rate", [11_025, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("hertz", [350, 900, 1600])
def test_other_rates_agree_within_a_hundredth(rate, hertz, listener, tmp_path):
    pytest.importorskip("soxr")

    def tone(rate):
        time = np.arange(rate // 4) / rate
        return (8000 * np.sin(2 * np.pi * hertz * time) * np.sin(4 * np.pi * time) ** 2).astype(np.int16)

    exact = labelled(listener, write_wav(tmp_path / "a.wav", tone(RATE)))
    other = labelled(listener, write_wav(tmp_path / "b.wav", tone(rate), rate=rate))
    assert other.label == exact.label
    assert other.probabilities == pytest.approx(exact.probabilities, abs=0.01)


@pytest.mark.parametrize("size", [80, 333, 800])
def test_the_microphone_is_heard_as_a_file_is(size, microphone, bundles, tmp_path, call):
    samples = mono(read_wav(write_tone(tmp_path / "tone.wav", 1600, 0.5)))
    module = microphone(samples, size)
    status, heard, err = call("run", bundles("sound"), "--microphone")
    assert (status, err, module.closed) == (0, "", True)
    write_wav(tmp_path / "more.wav", np.append(samples, np.zeros(80, np.int16)))  # the silence in which Ctrl-C came
    assert heard == call("run", bundles("sound"), tmp_path / "more.wav")[1]
    assert heard.splitlines()[-1].startswith("high (")


def test_the_microphone_takes_the_place_of_files_and_needs_a_model_of_sound(microphone, bundles, monkeypatch, call):
    microphone(np.zeros(800, np.int16))
    for command, words in (
        (
            (bundles("sound"), "--microphone", "a.wav"),
            "--microphone takes the place of INPUT: leave out a.wav, or --mic",
        ),
        ((bundles("text"), "--microphone"), "--microphone records sound, and the bundle reads a text: leave it out"),
    ):
        status, out, err = call("run", *command)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert words in err
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert (
        "sounddevice is not installed: a microphone needs pip install"
        in call("run", bundles("sound"), "--microphone")[2]
    )


# The running guess and the answer


def test_guesses_are_shown_when_they_change(listener, bundles, tmp_path, call):
    tones = [mono(read_wav(write_tone(tmp_path / f"{hertz}.wav", hertz, 0.3))) for hertz in (350, 1600, 350)]
    path = write_wav(tmp_path / "song.wav", np.concatenate(tones))
    shown = []
    found = listener(listener.read(path), ClassifyOptions(), shown.append)
    assert len(shown) == 90  # every step asks whether to go on
    lines = [line for line in shown if line]
    labels = [line.split()[2] for line in lines]
    assert set(labels) == {"low", "high"}
    assert all(one != other for one, other in pairwise(labels))
    assert lines[0].startswith("  0.01 s  ")
    assert call("run", bundles("sound"), path)[1] == "".join([*lines, f"{found}\n"])
    assert call("run", bundles("sound"), path, "--no-guesses")[1] == f"{found}\n"
    stopped = listener(listener.read(path), ClassifyOptions(), lambda line: len(line) == 0)
    assert stopped.label == labels[0]
    assert found.note.startswith("0.90 s of sound, real-time factor 0.")


def test_below_the_threshold_the_answer_is_none_of_these(listener, tmp_path):
    path = write_tone(tmp_path / "tone.wav", 700)
    plain = labelled(listener, path)
    best = plain.probabilities[plain.label]
    assert labelled(listener, path, threshold=best - 1e-6).label == plain.label
    none = labelled(listener, path, threshold=min(1.0, best + 1e-6))
    assert (none.label, none.to_json()["probabilities"]) == ("none of these", plain.to_json()["probabilities"])
    assert str(none) == f"none of these ({plain.label} has {100 * best:.0f} %)"


def test_a_clipped_recording_is_labelled_and_noted(listener, tmp_path):
    samples = np.clip(2 * mono(read_wav(write_tone(tmp_path / "tone.wav", 400))).astype(int) * 3, -32768, 32767)
    found = labelled(listener, write_wav(tmp_path / "loud.wav", samples.astype(np.int16)))
    assert found.note.endswith("it is clipped: record it again, less loud")
    assert "clipped" not in labelled(listener, tmp_path / "tone.wav").note


def test_a_directory_of_frames_is_one_clip(bundles, data, tmp_path, call):
    gif = data["video"] / "dawn" / "2.gif"
    with Image.open(gif) as clip:
        (tmp_path / "frames").mkdir()
        for place in range(clip.n_frames):
            clip.seek(place)
            clip.convert("RGB").save(tmp_path / "frames" / f"{place}.png")
    expected = call("run", bundles("video"), gif)[1]
    assert call("run", bundles("video"), tmp_path / "frames")[1] == expected
    several = call("run", bundles("video"), data["video"] / "dawn")[1].splitlines()
    assert len(several) == 12
    assert several[2].startswith(f"{data['video'] / 'dawn' / '10.gif'}: dawn")  # sorted by name: 0, 1, 10


def test_sequences_may_be_longer_than_any_in_training(bundles, tmp_path):
    for kind, value in (("numbers", np.ones((5000, 2), np.float32)), ("text", "aeiou" * 2000)):
        pipeline = pipeline_for(Model.load(bundles(kind)))
        source = SequenceInput(pipeline.model)
        found = pipeline({source.name: source.steps(value)}, ClassifyOptions())
        assert np.isfinite(list(found.probabilities.values())).all()


def test_characters_that_training_never_saw_are_replaced(bundles, call):
    status, out, err = call("run", bundles("text"), "aeio\u00e9")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1].startswith("vowels (")


def test_a_run_draws_its_confusions(runs, data, tmp_path, call):
    out = tmp_path / "confusion.png"
    status, text, err = call("evaluate", runs("text"), "--data", data["text"], "--confusion", out)
    assert (status, err.count("has no parts, so all of it is scored")) == (0, 1)
    with Image.open(out) as picture:
        assert picture.size == (400, 400)
    line, title, *rows = text.splitlines()
    assert line.startswith("accuracy ")
    assert title.split() == ["true", "class", "cons", "vowe"]
    assert [row.split()[0] for row in rows] == ["consonants", "vowels"]
    assert [sum(int(cell.replace("\u00b7", "0")) for cell in row.split()[1:]) for row in rows] == [40, 40]
    evaluated = json.loads(call("evaluate", runs("text"), "--data", data["text"], "--json")[1])
    assert np.sum(evaluated["confusion"]) == 80


@pytest.mark.parametrize("kind", KINDS)
def test_without_data_a_run_of_every_kind_is_scored_on_what_it_held_out(kind, runs, tmp_path, call):
    run = Run.load(runs(kind))
    held_out = run.prepared.record["held-out"]["sequences"]
    out = tmp_path / "confusion.png"
    status, text, err = call("evaluate", runs(kind), "--confusion", out)
    assert (status, err.count("\n"), out.stat().st_size > 0) == (0, 1, True)
    assert err.startswith(f"scored on {held_out} sequences that the training held out")
    assert f"on {held_out} sequences" in text.splitlines()[0]
    best = min(run.metrics(), key=lambda line: line["nats"])
    found = json.loads(call("evaluate", runs(kind), "--json")[1])
    assert {name: found[name] for name in ("accuracy", "nats")} == pytest.approx(
        {name: best[name] for name in ("accuracy", "nats")}, abs=1e-4
    )


def test_only_a_run_of_whole_data_needs_none(runs, bundles, tmp_path, call):
    for arguments, words in (
        ((bundles("text"),), "name them with --data"),
        ((runs("text"), "--split", "train"), "--split is about the data set of --data: name one, or leave out --split"),
        ((runs("text"), "--digits", tmp_path), "--digits is about the data set of --data: name one, or leave out"),
    ):
        status, out, err = call("evaluate", *arguments)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert words in err
    damaged = shutil.copytree(runs("text"), tmp_path / "run")
    config = json.loads((damaged / "config.json").read_text())
    del config["data"]["held-out"]
    (damaged / "config.json").write_text(json.dumps(config))
    assert "run: packed sequences" in call("evaluate", damaged)[2]
    (runs_data := shutil.copytree(runs("text"), tmp_path / "other") / "data" / "held-out.labels.npy").write_bytes(b"x")
    assert (
        f"{runs_data.parent / 'held-out.values.npy'}, or a file beside it, was changed"
        in call("evaluate", tmp_path / "other")[2]
    )


def test_channels_of_csv_files_are_known_by_their_names(runs, bundles, data, item, tmp_path, call):
    bundle, source = bundles("table"), tmp_path / "moves.csv"
    assert json.loads((bundle / "channels.json").read_text()) == ["up", "level"]
    with (data["table"] / "moves.csv").open(newline="") as file:
        rows = list(csv.reader(file))

    def turned(name):
        with source.open("w", newline="") as file:
            csv.writer(file).writerows(
                [name if place == 0 else row[3], *row[:3], row[4]][::-1] for place, row in enumerate(rows)
            )
        return source

    for trained in (runs("table"), bundle):
        expected = json.loads(call("evaluate", trained, "--data", data["table"], "--json")[1])
        assert json.loads(call("evaluate", trained, "--data", turned("Up"), "--json")[1]) == expected
        status, out, err = call("evaluate", trained, "--data", turned("down"), "--json")
        assert (status, out) == (2, "")
        assert "moves.csv has no channel up: it has level, down, and the model reads up, level" in err
    path, lines = tmp_path / "row.csv", (tmp_path / "row.csv").read_text().splitlines()
    expected = call("run", bundle, path)
    path.write_text("\n".join(",".join(line.split(",")[::-1]) for line in ["UP, level", *lines[1:]]))
    assert call("run", bundle, path) == expected
    for text, words in (
        ("up,down\n1,2\n", "row.csv has no channel level: it has up, down, and the model reads up, level"),
        ("up,level,down\n1,2,3\n", "row.csv has the channel down too, and the model reads up, level: remove it"),
        ("up,level,down\n1,2\n", "row.csv names 3 channels, and its rows have 2"),
    ):
        path.write_text(text)
        assert words in call("run", bundle, path)[2]
    path.write_text("\n".join(lines[1:]))  # without names, in the order of training
    assert call("run", bundle, path) == expected


def test_a_run_that_starts_from_another_has_its_channels_in_its_order(runs, data, tmp_path):
    text = (data["table"] / "moves.csv").read_text().splitlines()
    turned = [",".join([*line.split(",")[:3], *line.split(",")[:2:-1]]) for line in text]
    (tmp_path / "moves.csv").write_text("\n".join(turned))
    begin = {"start_from": runs("table"), "steps": 1, "evaluations": 1}
    trainer = Trainer.begin(TASKS["classify"], [str(tmp_path / "moves.csv")], tmp_path / "run", **begin)
    old = Run.load(runs("table"))
    assert trainer.run.prepared.assets == old.prepared.assets
    assert trainer.run.prepared.record == old.prepared.record  # the digests of the same numbers
    (tmp_path / "moves.csv").write_text("\n".join([turned[0].replace(",up", ",down"), *turned[1:]]))
    with pytest.raises(CorpusError, match="has no channel up: it has level, down, and the model reads up, level"):
        Trainer.begin(TASKS["classify"], [str(tmp_path / "moves.csv")], tmp_path / "other", **begin)


@pytest.mark.parametrize("names", [["up"], ["up", "up"], ["up", ""], "up", ["up", "level", "down"]])
def test_a_bundle_whose_channels_do_not_fit_is_refused(names, bundles):
    bundle = Bundle.load(bundles("table"))
    files = {**bundle.files, "channels.json": json.dumps(names).encode()}
    with pytest.raises((BundleError, StreamError), match="channel"):
        pipeline_for(Model(replace(bundle, files=files)))


def test_the_preset_is_that_of_the_kind_which_is_asked_for(tmp_path):
    write_names(tmp_path)
    write_tones(tmp_path)
    task = TASKS["classify"]
    assert [task.preset_for([str(tmp_path)], {"kind": kind}) for kind in (None, "sound", "text")] == [
        *("sound", "sound", "text")
    ]
    chosen = task.choose([str(tmp_path)], kind="text")
    assert (chosen.model.hidden, chosen.training.batch_size) == (256, 64)
    assert task.choose([str(tmp_path)], kind="text", hidden=3).model.hidden == 3
    assert task.choose([str(tmp_path)], preset="sound", kind="text").training.batch_size == 32
    with pytest.raises(ConfigError, match="--kind smells is not one of sound, text, numbers, video"):
        task.choose([str(tmp_path)], kind="smells")
