"""Classification on the device: sound in blocks of any size, the running guess, and what cannot be labelled."""

import sys
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import SOUND_HOP, SOUND_RATE, write_sound_classifier

from edgernn.errors import ConfigError, StreamError
from edgernn.media.steps import live_sound_steps, number_steps, sound_steps
from edgernn.runtime import Model
from edgernn.runtime.pipelines import pipeline_for
from edgernn.runtime.pipelines.classify import ClassifyOptions


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return pipeline_for(Model.load(write_sound_classifier(tmp_path_factory.mktemp("sound") / "b")))


def test_silence_completes_the_last_step_of_sound_and_the_last_row_that_of_numbers():
    assert sound_steps(np.arange(1, 6), 3).tolist() == [[1, 2, 3], [4, 5, 0]]
    assert number_steps(np.array([[1], [2], [3]]), 2).tolist() == [[[1], [2]], [[3], [3]]]
    assert sound_steps(np.arange(0), 3).shape == (0, 3)


@given(st.lists(st.integers(0, 9)), st.integers(1, 7))
def test_sound_in_blocks_of_any_size_has_the_steps_of_the_whole(sizes, hop):
    samples = np.arange(sum(sizes), dtype=np.int16)
    blocks = np.split(samples, np.cumsum(sizes)[:-1]) if sizes else []
    found = list(live_sound_steps(blocks, hop))
    assert np.array_equal(np.reshape(found, (-1, hop)), sound_steps(samples, hop))


def test_a_step_is_there_as_soon_as_its_samples_are():
    heard = []

    def blocks():
        for block in np.arange(12, dtype=np.int16).reshape(4, 3):
            heard.append(len(block))
            yield block

    steps = live_sound_steps(blocks(), 4)
    assert next(steps).tolist() == [0, 1, 2, 3]
    assert len(heard) == 2


def test_the_guess_changes_with_what_is_heard(pipeline):
    samples = np.repeat([1000, 30000, 0], 5 * SOUND_HOP).astype(np.int16)
    shown = []
    found = pipeline({"samples": sound_steps(samples, SOUND_HOP)}, ClassifyOptions(), shown.append)
    assert [line for line in shown if line] == ["  0.01 s  faint (99 %)\n", "  0.06 s  loud (100 %)\n"]
    assert [place for place, line in enumerate(shown) if line] == [0, 5]
    scores = np.array([20 * 30000 / 32768, 5])
    parts = np.exp(scores) / np.exp(scores).sum()
    assert found.to_json() == {"label": "loud", "probabilities": pytest.approx({"loud": parts[0], "faint": parts[1]})}
    assert found.note.startswith("0.15 s of sound, real-time factor ")


def test_a_microphone_is_labelled_until_it_is_stopped(pipeline, monkeypatch):
    module = types.ModuleType("sounddevice")
    module.states = []

    class InputStream:
        def __init__(self, **options):
            assert options["samplerate"] == SOUND_RATE

        def __enter__(self):
            module.states.append("open")
            return self

        def __exit__(self, *error):
            module.states.append("closed")

        def read(self, count):
            return np.full((count, 1), 20000, np.int16), False

    module.InputStream, module.PortAudioError = InputStream, OSError
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    assert pipeline.live(ClassifyOptions()) is None
    steps = []
    found = pipeline.live(ClassifyOptions(microphone=True))(lambda line: steps.append(line) or len(steps) < 25)
    assert (found.label, len(steps), module.states) == ("loud", 25, ["open", "closed"])


def test_an_empty_sequence_has_no_label(pipeline):
    with pytest.raises(StreamError, match="the sequence is empty: there is nothing to label"):
        pipeline({"samples": np.empty((0, SOUND_HOP), np.int16)}, ClassifyOptions())


def test_thresholds_are_probabilities():
    with pytest.raises(ConfigError, match=r"--threshold 1\.5 is not a number of at least 0 and at most 1"):
        ClassifyOptions(threshold=1.5)
