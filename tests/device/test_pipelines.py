"""Pipelines on the device: text, a task that does not exist yet, and what the command makes of them."""

import io
import json
import subprocess
import sys
from dataclasses import dataclass, replace

import numpy as np
import pytest
from onnx import helper
from tiny import TinyLanguage, manifest, onnx_bytes

from edgernn.bundle import LABELS, new_bundle
from edgernn.contract import BATCH, Contract, GraphSpec, StateSpec, TensorSpec
from edgernn.errors import BundleError, ConfigError, CorpusError, StreamError, UnknownTokenError
from edgernn.runtime import Model, Sampler
from edgernn.runtime.pipelines import PIPELINES, Pipeline, Result, pipeline_for
from edgernn.runtime.pipelines.language import LanguageOptions, LanguagePipeline
from edgernn.runtime.pipelines.pipeline import ignore
from edgernn.settings import Settings, option

WEIGHT = np.array([[1.0, -1.0], [0.0, 2.0], [3.0, 0.5]], np.float32)


@pytest.fixture
def language(model):
    return pipeline_for(model)


# A task of the future: a sequence of frames to one label.


@dataclass(frozen=True)
class Label(Result):
    label: str
    probabilities: dict

    def to_json(self):
        return {"label": self.label, "probabilities": self.probabilities}

    def __str__(self):
        return f"{self.label} {self.probabilities[self.label]:.2f}"


@dataclass(frozen=True, kw_only=True)
class LabelOptions(Settings):
    guesses: bool = option(False, "Print the most likely class after every frame.")


class LabelPipeline(Pipeline[LabelOptions]):
    task = "classify"
    inputs = ("SEQUENCE", "sequences of frames")
    suffixes = (".npy",)
    options = LabelOptions
    example = "bundles/gestures wave.npy"

    def __init__(self, model):
        super().__init__(model)
        (self._graph,) = model.contract.graphs
        self._scores = self._graph.output_of("label")
        if self._scores is None or model.labels is None or len(model.labels) != self._scores.axes[-1]:
            raise StreamError("the bundle does not predict labels")

    def read(self, source):
        try:
            frames = np.load(io.BytesIO(source) if isinstance(source, bytes) else source, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise CorpusError(f"{source} cannot be read: {error}") from None
        return {self._graph.inputs[0].name: frames}

    def __call__(self, inputs, options, show=ignore):
        ((name, frames),) = inputs.items()
        stream = self.model.stream()
        for number, frame in enumerate(frames):
            found = self._label(stream.step({name: frame[None]})[self._scores.name][0])
            if options.guesses and show(f"{number}: {found}\n") is False:
                break
        return found

    def _label(self, scores):
        weights = np.exp(scores - scores.max())
        probabilities = dict(zip(self.model.labels, (weights / weights.sum()).tolist(), strict=True))
        return Label(max(probabilities, key=probabilities.get), probabilities)


def write_classifier(path, labels=b'["still", "wave"]', task="classify"):
    """h' = h + frame; scores = h' W."""
    spec = GraphSpec(
        "step",
        (TensorSpec("frame", "float32", (BATCH, 3)),),
        (TensorSpec("scores", "float32", (BATCH, 2), kind="label"),),
        (StateSpec("h", "float32", (BATCH, 3)),),
    )
    nodes = [
        helper.make_node("Add", ["h_in", "frame"], ["h_out"]),
        helper.make_node("MatMul", ["h_out", "weight"], ["scores"]),
    ]
    with new_bundle(path) as writer:
        (writer.directory / "step.onnx").write_bytes(onnx_bytes(spec, nodes, {"weight": WEIGHT}))
        (writer.directory / LABELS).write_bytes(labels)
        writer.finish(manifest(Contract((spec,)), {"step": "step.onnx"}, task=task))
    return path


@pytest.fixture
def classifier(tmp_path, monkeypatch):
    monkeypatch.setitem(PIPELINES, "classify", LabelPipeline)
    return write_classifier(tmp_path / "classifier")


@pytest.fixture
def frames(tmp_path):
    """Frames, their file, and the probabilities after each."""
    values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", values)
    scores = values.cumsum(0) @ WEIGHT
    weights = np.exp(scores)
    return tmp_path / "x.npy", weights / weights.sum(1, keepdims=True)


def test_a_new_task_is_a_pipeline_and_a_line(call, classifier, frames):
    path, expected = frames
    names = ("still", "wave")
    labels = [f"{names[row.argmax()]} {row.max():.2f}" for row in expected]
    assert call("run", classifier, path) == (0, f"{labels[-1]}\n", "")
    guesses = "".join(f"{number}: {label}\n" for number, label in enumerate(labels))
    assert call("run", classifier, path, "--guesses") == (0, f"{guesses}{labels[-1]}\n", "")
    status, out, _ = call("run", classifier, path, path, "--json")
    assert (status, out.count("\n")) == (0, 2)
    answer = json.loads(out.splitlines()[1])
    assert [*answer] == ["input", "label", "probabilities"]
    assert answer["label"] == names[expected[-1].argmax()]
    assert answer["probabilities"]["wave"] == pytest.approx(expected[-1, 1], rel=1e-5)
    assert "--guesses" in call("run", "--help")[1]


def test_a_file_that_cannot_be_read_does_not_stop_the_others(call, classifier, frames):
    path, _ = frames
    path.with_name("a.npy").write_bytes(b"nothing")
    status, out, err = call("run", classifier, path.parent)
    assert (status, out.count("\n")) == (2, 1)
    assert "a.npy cannot be read" in err
    assert err.endswith("edgernn: 1 of 2 inputs failed: the lines above say why\n")
    status, out, err = call("run", classifier, path.with_name("a.npy"))
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_a_bundle_carries_the_names_of_its_classes(tmp_path, model):
    assert Model.load(write_classifier(tmp_path / "named")).labels == ("still", "wave")
    assert model.labels is None
    for number, labels in enumerate([b"[", b"{}", b"[1, 2]", b'["a", "a"]', b'["a", ""]', b"[]"]):
        with pytest.raises(BundleError, match=r"labels\.json"):
            Model.load(write_classifier(tmp_path / str(number), labels))


def test_a_task_without_a_pipeline_says_how_to_drive_it(tmp_path, call):
    path = write_classifier(tmp_path / "b", task="weather")
    with pytest.raises(StreamError, match=r"no pipeline for the task 'weather'.*Model\.stream and Stream\.step"):
        pipeline_for(Model.load(path))
    assert call("run", path, "x")[0] == 2


@pytest.mark.parametrize("task", ["language", "caption"])
def test_a_contract_of_another_task_is_refused(tmp_path, task):
    with pytest.raises(StreamError, match=f"the bundle's task is {task}"):
        pipeline_for(Model.load(write_classifier(tmp_path / "b", task=task)))


def test_kinds_decide_and_not_names(tmp_path, tiny):
    """A contract with kinds is read by them: a token that is called otherwise, and logits that are no next token."""
    spec = tiny.contract["step"]
    plain = replace(spec, outputs=(replace(spec.outputs[0], kind="label"),))
    path = TinyLanguage.write(tiny, tmp_path / "b", contract=Contract((plain,)))
    with pytest.raises(StreamError, match="it does not continue a text"):
        LanguagePipeline(Model.load(path))


# Text.


def test_the_pipeline_continues_a_prompt(language, model, tmp_path):
    stream = model.stream(Sampler(0.9, 3, 5, top_p=0.9, min_p=0.1, repetition_penalty=1.2))
    expected = stream.complete("abc\nd", 20)
    options = LanguageOptions(
        max_tokens=20, temperature=0.9, top_k=3, seed=5, top_p=0.9, min_p=0.1, repetition_penalty=1.2, echo=True
    )
    (tmp_path / "p.txt").write_bytes(b"abc\r\nd")
    for source in (tmp_path / "p.txt", str(tmp_path / "p.txt"), b"abc\r\nd"):
        shown = io.StringIO()
        found = language(language.read(source), options, shown.write)
        assert found.to_json() == {"text": expected, "tokens": 20, "ended": "length"}
        assert str(found) == shown.getvalue() == f"abc\nd{expected}"
        assert found.note.startswith("20 tokens, ")
        silent = language(language.read(source), replace(options, echo=False))
        assert (str(silent), silent.to_json()) == (expected, found.to_json())
    inputs = language.read_typed("abc\nd", options)
    np.testing.assert_array_equal(inputs["token"], language.read(b"abc\nd")["token"])
    ended = language(inputs, options, lambda text: len(text) > 1)  # the prompt is shown first
    assert (ended.tokens, ended.ended) == (1, None)


def test_prompts_that_cannot_be_read_are_named(language, tmp_path):
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    for source, error, words in (
        (tmp_path / "empty.txt", CorpusError, "empty.txt is empty"),
        (tmp_path / "none.txt", CorpusError, "none.txt: cannot be read"),
        (tmp_path / "latin.txt", CorpusError, "latin.txt is not UTF-8"),
        (b"\0", CorpusError, "the prompt is not text"),
        (b"", ConfigError, "the prompt is empty"),
        (b"xyz", UnknownTokenError, "the vocabulary has no 'x'"),
    ):
        with pytest.raises(error, match=words):
            language.read(source)
    for prompt in ("", "\ud800", "x"):
        with pytest.raises((ConfigError, CorpusError, UnknownTokenError)):
            language.read_typed(prompt, LanguageOptions())


def test_a_prompt_is_read_as_training_reads_texts(language, tmp_path):
    expected = language.read(b"abc\nd")["token"]
    (tmp_path / "p.txt").write_bytes("\ufeffabc\r\nd".encode("utf-16"))
    (tmp_path / "p.jsonl").write_text('{"text": "abc", "n": 1}\n{"text": "d"}\n')
    for source, format in (
        (b"\xef\xbb\xbfabc\rd", {}),
        (tmp_path / "p.txt", {"encoding": "utf-16"}),
        ((tmp_path / "p.txt").read_bytes(), {"encoding": "utf-16"}),
        (tmp_path / "p.jsonl", {"field": "text"}),
    ):
        found = language.read_as(source, LanguageOptions(**format))["token"]
        np.testing.assert_array_equal(found, expected)
    found = language.read_typed("\ufeffabc\r\nd", LanguageOptions())["token"]
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(CorpusError, match="the prompt is not UTF-8: byte 3 is 0xe9"):
        language.read_typed("abc\udce9", LanguageOptions())
    for options, words in (
        (
            LanguageOptions(encoding="cp1252"),
            "--encoding says how files and standard input are read, and a prompt on the command line is neither: leave",
        ),
        (LanguageOptions(encoding="cp1252", field="x"), "--encoding and --field say how .* leave them out"),
    ):
        with pytest.raises(ConfigError, match=words):
            language.read_typed("a", options)
    with pytest.raises(ConfigError, match=r"--field says how files .* are read, and what is typed is neither"):
        language.conversation(LanguageOptions(field="x"))


def test_what_the_vocabulary_lacks_is_refused_skipped_or_replaced(language, model):
    options = {unknown: LanguageOptions(unknown=unknown) for unknown in ("refuse", "skip", "replace")}
    known = language.read(b"abd")["token"].tolist()
    for read in (language.read_typed, lambda text, options: language.read_as(text.encode(), options)):
        assert read("ab\U0001f600d", options["skip"])["token"].tolist() == known
        replaced = [*known[:2], model.tokenizer.unknown_id, *known[2:]]
        assert read("ab\U0001f600d", options["replace"])["token"].tolist() == replaced
        with pytest.raises(UnknownTokenError, match=r"U\+1F600\); --unknown skip leaves out what the vocabulary lacks"):
            read("ab\U0001f600d", options["refuse"])
        with pytest.raises(ConfigError, match="the prompt has no character of the vocabulary"):
            read("\U0001f600", options["skip"])


def test_json_never_has_the_prompt(call, bundle):
    options = ["abc", "--max-tokens", 5, "--seed", 1]
    said = json.loads(call("run", bundle, *options, "--json")[1])["text"]
    assert call("run", bundle, *options, "--json") == call("run", bundle, *options, "--json", "--no-echo")
    assert call("run", bundle, *options)[1] == f"abc{said}\n"


def test_pipelines_do_not_import_the_command_line():
    code = "import sys, edgernn.runtime.pipelines; print([m for m in sys.modules if m.startswith('edgernn.cli')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
