"""`export/CONTRACT.md` is enough to write a runtime from, and `export/golden/` is what such a runtime must reproduce.

`reader.py` is such a runtime. edgernn's own has to give the same.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from reader import Reader
from reader import Sampler as ReadSampler

from edgernn.bundle import Bundle
from edgernn.contract import DTYPES, KINDS
from edgernn.pens import draw_point
from edgernn.runtime import Model, OnnxEngine, Sampler
from edgernn.runtime.golden import verify
from edgernn.runtime.parity import TOLERANCES
from edgernn.sampling import Generator

EXPORT = Path(__file__).parents[2] / "export"
GOLDEN = EXPORT / "golden"
BUNDLES = sorted(path.parent.name for path in GOLDEN.glob("*/bundle.json"))


def read(name):
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


def sampler(case):
    settings = dict(case["sampler"])
    bias = {token: -np.inf if value is None else value for token, value in settings.pop("bias")}
    return Sampler(**{**settings, "seed": int(settings["seed"])}, bias=bias)


def test_there_are_golden_bundles():
    assert BUNDLES == ["attender", "characters-fp32", "characters-int4", "characters-int8", "looker"]
    assert not re.search(
        r"^(import|from) +edgernn", (Path(__file__).parents[1] / "reader.py").read_text(), re.MULTILINE
    )


@pytest.mark.parametrize("name", BUNDLES)
def test_a_runtime_from_the_document_reproduces_the_vectors(name):
    reader = Reader(GOLDEN / name)
    limits = TOLERANCES[reader.manifest["precision"]]
    for graph in reader.graphs:
        outputs, states = reader.golden(graph)
        for key, (actual, expected) in {**outputs, **states}.items():
            assert actual.shape == expected.shape, key
            allowed = np.maximum(limits.absolute, limits.relative * np.abs(expected))
            assert np.all(np.abs(actual - expected) <= allowed)
            assert np.sqrt(np.mean((actual - expected) ** 2)) <= limits.rms * np.sqrt(np.mean(expected**2))


@pytest.mark.parametrize("name", BUNDLES)
def test_the_runtime_reproduces_the_vectors(name):
    bundle = Bundle.load(GOLDEN / name)
    parity = verify(bundle, OnnxEngine)
    assert parity.steps in {record["steps"] for record in bundle.manifest.golden.values()}
    assert parity.max_abs_diff_outputs > 0 or name == "characters-fp32"


@pytest.mark.parametrize("case", read("draws.json"), ids=lambda case: case["sampler"]["seed"])
def test_draws(case):
    theirs = ReadSampler(case["sampler"])
    assert [theirs(case["logits"]) for _ in case["tokens"]] == case["tokens"]
    ours, drawn = sampler(case), []
    generator, logits = Generator(ours.seed), np.array(case["logits"], np.float32)
    for _ in case["tokens"]:
        drawn.append(ours(logits, generator, drawn))
    assert drawn == case["tokens"]


@pytest.mark.parametrize("case", read("normals.json"), ids=lambda case: case["seed"])
def test_normal_deviates(case):
    theirs = ReadSampler({"seed": case["seed"]})
    assert [theirs.normal() for _ in case["normals"]] == case["normals"]
    assert Generator(int(case["seed"])).normal(len(case["normals"])).tolist() == case["normals"]


@pytest.mark.parametrize("case", read("points.json"), ids=lambda case: case["seed"])
def test_points_of_a_pen(case):
    plain = {"repetition_window": 0, "bias": [], "top_k": 0, "top_p": 1, "min_p": 0}
    theirs = ReadSampler({"seed": case["seed"], "temperature": case["temperature"], **plain})
    for point in case["points"]:
        assert np.float32(theirs.point(list(case["mixture"]))).tolist() == point
    generator, mixture = Generator(int(case["seed"])), np.float32(case["mixture"])
    assert [draw_point(mixture, case["temperature"], generator).tolist() for _ in case["points"]] == case["points"]


def test_the_golden_points_have_every_state_of_the_pen():
    assert {point.index(1, 2) for case in read("points.json") for point in case["points"]} == {2, 3, 4}


@pytest.mark.parametrize("case", read("texts.json"), ids=lambda case: case["sampler"]["seed"])
def test_texts(case):
    assert Reader(GOLDEN / case["bundle"]).write(case["prompt"], len(case["text"]), case["sampler"]) == case["text"]
    stream = Model.load(GOLDEN / case["bundle"]).stream(sampler(case))
    stream.prefill(case["prompt"])
    assert "".join(stream.decode(len(case["text"]))) == case["text"]


@pytest.mark.parametrize("case", read("snapshots.json"), ids=lambda case: case["snapshot"])
def test_snapshots(case):
    saved = (GOLDEN / case["snapshot"]).read_bytes()
    assert Reader(GOLDEN / case["bundle"]).go_on(saved, len(case["text"])) == case["text"]
    stream = Model.load(GOLDEN / case["bundle"]).stream()
    stream.load(GOLDEN / case["snapshot"])
    assert "".join(stream.decode(len(case["text"]))) == case["text"]


@pytest.mark.parametrize("case", read("streams.json"), ids=lambda case: case["bundle"])
def test_streams_that_another_graph_begins(case):
    begin, inputs, outputs = (
        [{name: np.array(value, np.float32) for name, value in each.items()} for each in part]
        for part in ([case["begin"]], case["inputs"], case["outputs"])
    )
    reader = Reader(GOLDEN / case["bundle"])
    conditions, states = reader.begin("step", begin[0])
    stream = Model.load(GOLDEN / case["bundle"]).stream(inputs=begin[0])
    for given, expected in zip(inputs, outputs, strict=True):
        ours = stream.step(given)
        theirs, states = reader.call("step", {**given, **conditions}, states)
        for name, values in expected.items():
            np.testing.assert_allclose(ours[name], values, atol=1e-5)
            np.testing.assert_allclose(theirs[name], values, atol=1e-5)


def test_the_document_states_the_tolerances():
    text = (EXPORT / "CONTRACT.md").read_text(encoding="utf-8")
    for name in ("absolute", "relative", "rms", "mismatches"):
        (row,) = re.findall(rf"^\| `{name}`.*$", text, re.MULTILINE)
        assert [float(cell) for cell in row.split("|")[-5:-1]] == [getattr(t, name) for t in TOLERANCES.values()]


def test_the_document_states_the_kinds():
    text = (EXPORT / "CONTRACT.md").read_text(encoding="utf-8")
    table = text[text.index("| `kind` |") : text.index("Bundles of the tasks `language` and `caption`")]
    rows = [re.findall(r"`([^`]+)`", row) for row in table.splitlines()[2:] if row.startswith("|")]
    stated = {kind: tuple(dtype for dtype in rest if dtype in DTYPES) for kind, *rest in rows}
    assert stated == dict(KINDS)
